CREATE FUNCTION :schema.acquire(
    consumer text, asked_holder text, seconds double precision,
    OUT held_by text, OUT held_seconds double precision, OUT newest bigint, OUT was_clean boolean,
    OUT at_cursor bytea, OUT at_watermark_us bigint) AS $$
-- Takes a lease; ``held_by`` is set, and nothing done, where another holds it. Time is the server's.
DECLARE before record; started boolean;
BEGIN
    INSERT INTO :schema.consumers VALUES (consumer, 0, '', 0, '-infinity', true)
        ON CONFLICT (name) DO NOTHING;
    SELECT c.* INTO before FROM :schema.consumers c WHERE c.name = consumer FOR UPDATE;
    IF NOT before.clean AND before.held_until > clock_timestamp() AND before.holder <> asked_holder THEN
        held_by := before.holder;
        held_seconds := before.lease_seconds;
        RETURN;
    END IF;
    UPDATE :schema.consumers SET token = before.token + 1, holder = asked_holder, lease_seconds = seconds,
        held_until = :schema.after(seconds), clean = false WHERE name = consumer;
    newest := before.token + 1;
    was_clean := before.clean;
    at_cursor := before.cursor;
    at_watermark_us := before.watermark_us;
END $$ LANGUAGE plpgsql;

CREATE FUNCTION :schema.after(seconds double precision) RETURNS timestamptz AS $$
    -- A century is as good as for ever, and fits a timestamp.
    SELECT clock_timestamp() + make_interval(secs => least(seconds, 3155760000));
$$ LANGUAGE sql;

CREATE FUNCTION :schema.renew(consumer text, lease bigint, seconds double precision) RETURNS bigint AS $$
-- Keeps a lease, and returns null; or the newest token, where it was lost.
DECLARE before record;
BEGIN
    SELECT token, clean INTO before FROM :schema.consumers WHERE name = consumer FOR UPDATE;
    IF before IS NULL OR before.token <> lease OR before.clean THEN
        RETURN coalesce(before.token, 0);
    END IF;
    UPDATE :schema.consumers SET lease_seconds = seconds, held_until = :schema.after(seconds)
        WHERE name = consumer;
    RETURN NULL;
END $$ LANGUAGE plpgsql;
