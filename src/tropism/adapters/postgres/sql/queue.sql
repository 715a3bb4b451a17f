CREATE FUNCTION :schema.send(
    queue text, delay_seconds double precision, dedup_seconds double precision,
    ids text[], keys text[], bodies bytea[], attributes text[]) RETURNS integer AS $$
-- Adds the messages whose ids were not taken lately, each id once, in their order.
DECLARE target record; now_ timestamptz; added integer;
BEGIN
    INSERT INTO :schema.queues(name, next_place) VALUES (queue, 0) ON CONFLICT (name) DO NOTHING;
    SELECT q.id, q.next_place INTO target FROM :schema.queues q WHERE q.name = queue FOR UPDATE;
    now_ := clock_timestamp();
    DELETE FROM :schema.sent s WHERE s.queue_id = target.id AND s.id IN (
        SELECT o.id FROM :schema.sent o
        WHERE o.queue_id = target.id AND o.sent < now_ - make_interval(secs => dedup_seconds)
        ORDER BY o.sent LIMIT 100 + 2 * cardinality(ids));
    WITH taken AS (
        INSERT INTO :schema.sent AS s SELECT target.id, id, now_ FROM (SELECT DISTINCT unnest(ids)) d(id)
        ON CONFLICT (queue_id, id) DO UPDATE SET sent = now_
            WHERE s.sent < now_ - make_interval(secs => dedup_seconds)
        RETURNING s.id),
    fresh AS (
        SELECT DISTINCT ON (g.id) g.* FROM unnest(ids, keys, bodies, attributes) WITH ORDINALITY
            g(id, key, body, attributes, i) JOIN taken USING (id) ORDER BY g.id, g.i),
    stored AS (
        INSERT INTO :schema.messages
        SELECT target.id, target.next_place + row_number() OVER (ORDER BY f.i) - 1, f.id, f.key, f.body,
            f.attributes, now_ + make_interval(secs => delay_seconds), 0, false
        FROM fresh f RETURNING 1)
    SELECT count(*) INTO added FROM stored;
    UPDATE :schema.queues q SET next_place = q.next_place + added WHERE q.id = target.id AND added > 0;
    RETURN added;
END $$ LANGUAGE plpgsql;

CREATE FUNCTION :schema.receive(queue text, count_max integer, lease_seconds double precision)
RETURNS TABLE(at_place bigint, message_id text, message_key text, message_body bytea,
    message_attributes text, loans integer) AS $$
-- Lends messages that are due; of each key only the first there is, lent or not.
DECLARE target integer; now_ timestamptz := clock_timestamp();
BEGIN
    SELECT q.id INTO target FROM :schema.queues q WHERE q.name = queue;
    RETURN QUERY
        WITH ready AS (
            SELECT m.place FROM :schema.messages m
            WHERE m.queue_id = target AND m.due <= now_ AND (m.key = '' OR NOT EXISTS (
                SELECT FROM :schema.messages e
                WHERE e.queue_id = target AND e.key = m.key AND e.key <> '' AND e.place < m.place))
            ORDER BY m.due, m.place LIMIT count_max FOR UPDATE SKIP LOCKED)
        UPDATE :schema.messages m SET due = now_ + make_interval(secs => lease_seconds), leased = true,
            attempts = m.attempts + 1
        FROM ready r WHERE m.queue_id = target AND m.place = r.place
        RETURNING m.place, m.id, m.key, m.body, m.attributes, m.attempts;
END $$ LANGUAGE plpgsql;

CREATE FUNCTION :schema.loans(names text[], places bigint[], attempts_ integer[])
RETURNS TABLE(queue_id integer, place bigint, i bigint) AS $$
-- Locks messages by the loans that are the newest of theirs, in one order: ``i`` says which of those asked.
    SELECT m.queue_id, m.place, a.i
    FROM unnest(names, places, attempts_) WITH ORDINALITY a(name, place, attempt, i)
    JOIN :schema.queues q ON q.name = a.name
    JOIN :schema.messages m ON m.queue_id = q.id AND m.place = a.place
    WHERE m.attempts = a.attempt AND m.leased ORDER BY m.queue_id, m.place FOR UPDATE OF m;
$$ LANGUAGE sql;

CREATE FUNCTION :schema.ack(names text[], places bigint[], attempts_ integer[]) RETURNS bigint[] AS $$
-- Deletes messages on loan, and returns which of the loans were held.
    WITH held AS MATERIALIZED (SELECT * FROM :schema.loans(names, places, attempts_)),
    done AS (
        DELETE FROM :schema.messages m USING held h WHERE m.queue_id = h.queue_id AND m.place = h.place)
    SELECT array_agg(i) FROM held;
$$ LANGUAGE sql;

CREATE FUNCTION :schema.reschedule(
    names text[], places bigint[], attempts_ integer[], seconds double precision, keep boolean)
RETURNS bigint[] AS $$
-- Makes messages on loan due so much later, on loan still or given back; returns which loans were held.
    WITH held AS MATERIALIZED (SELECT * FROM :schema.loans(names, places, attempts_)),
    done AS (
        UPDATE :schema.messages m SET leased = keep, due = clock_timestamp() + make_interval(secs => seconds)
        FROM held h WHERE m.queue_id = h.queue_id AND m.place = h.place)
    SELECT array_agg(i) FROM held;
$$ LANGUAGE sql;

CREATE FUNCTION :schema.bury(names text[], places bigint[], attempts_ integer[], causes text[])
RETURNS bigint[] AS $$
-- Moves messages on loan to the dead letters, and returns which of the loans were held.
    WITH held AS MATERIALIZED (SELECT * FROM :schema.loans(names, places, attempts_)),
    gone AS (
        DELETE FROM :schema.messages m USING held h WHERE m.queue_id = h.queue_id AND m.place = h.place
        RETURNING m.*, h.i),
    kept AS (
        INSERT INTO :schema.dead
        SELECT DISTINCT ON (queue_id, id) queue_id, id, key, body, attributes, causes[i], attempts,
            extract(epoch FROM clock_timestamp()) * 1000000 FROM gone ORDER BY queue_id, id, place DESC
        ON CONFLICT (queue_id, id) DO UPDATE SET key = excluded.key, body = excluded.body,
            attributes = excluded.attributes, cause = excluded.cause, attempts = excluded.attempts,
            died_us = excluded.died_us)
    SELECT array_agg(i) FROM held;
$$ LANGUAGE sql;

CREATE FUNCTION :schema.redrive(queue text, wanted text[]) RETURNS integer AS $$
-- Sends dead letters again as new messages, in order of id, whatever ids were taken lately.
DECLARE target record; added integer;
BEGIN
    SELECT q.id, q.next_place INTO target FROM :schema.queues q WHERE q.name = queue FOR UPDATE;
    WITH gone AS (
        DELETE FROM :schema.dead d WHERE d.queue_id = target.id AND d.id = ANY(wanted) RETURNING d.*),
    stored AS (
        INSERT INTO :schema.messages
        SELECT target.id, target.next_place + row_number() OVER (ORDER BY g.id) - 1, g.id, g.key, g.body,
            g.attributes, clock_timestamp(), 0, false
        FROM gone g RETURNING 1)
    SELECT count(*) INTO added FROM stored;
    UPDATE :schema.queues q SET next_place = q.next_place + added WHERE q.id = target.id AND added > 0;
    RETURN added;
END $$ LANGUAGE plpgsql;

CREATE FUNCTION :schema.discard(queue text, wanted text[]) RETURNS bigint AS $$
    WITH gone AS (
        DELETE FROM :schema.dead d USING :schema.queues q
        WHERE q.name = queue AND d.queue_id = q.id AND d.id = ANY(wanted) RETURNING 1)
    SELECT count(*) FROM gone;
$$ LANGUAGE sql;
