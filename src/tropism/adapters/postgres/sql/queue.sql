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
            f.attributes, now_ + make_interval(secs => delay_seconds), 0, false,
            f.key = '' OR (row_number() OVER (PARTITION BY f.key ORDER BY f.i) = 1 AND NOT EXISTS (
                SELECT FROM :schema.messages e
                WHERE e.queue_id = target.id AND e.key = f.key AND e.key <> ''))
        FROM fresh f RETURNING 1)
    SELECT count(*) INTO added FROM stored;
    UPDATE :schema.queues q SET next_place = q.next_place + added WHERE q.id = target.id AND added > 0;
    RETURN added;
END $$ LANGUAGE plpgsql;

CREATE FUNCTION :schema.receive(queue text, count_max integer, lease_seconds double precision)
RETURNS TABLE(at_place bigint, message_id text, message_key text, message_body bytea,
    message_attributes text, loans integer) AS $$
-- Lends messages that are due; of each key only its head.
DECLARE target integer; now_ timestamptz := clock_timestamp();
BEGIN
    SELECT q.id INTO target FROM :schema.queues q WHERE q.name = queue;
    RETURN QUERY
        WITH ready AS (
            SELECT m.place FROM :schema.messages m
            WHERE m.queue_id = target AND m.head AND m.due <= now_
            ORDER BY m.due, m.place LIMIT count_max FOR UPDATE SKIP LOCKED)
        UPDATE :schema.messages m SET due = now_ + make_interval(secs => lease_seconds), leased = true,
            attempts = m.attempts + 1
        FROM ready r WHERE m.queue_id = target AND m.place = r.place
        RETURNING m.place, m.id, m.key, m.body, m.attributes, m.attempts;
END $$ LANGUAGE plpgsql;

CREATE FUNCTION :schema.loans(names text[], places bigint[], loans integer[])
RETURNS TABLE(queue_id integer, place bigint, i bigint) AS $$
-- Locks messages by the loans that are the newest of theirs, in one order: ``i`` says which of those asked.
BEGIN
    RETURN QUERY SELECT m.queue_id, m.place, a.i
        FROM unnest(names, places, loans) WITH ORDINALITY a(name, place, loan, i)
        JOIN :schema.queues q ON q.name = a.name
        JOIN :schema.messages m ON m.queue_id = q.id AND m.place = a.place
        WHERE m.attempts = a.loan AND m.leased ORDER BY m.queue_id, m.place FOR UPDATE OF m;
END $$ LANGUAGE plpgsql;

CREATE FUNCTION :schema.finish(names text[], places bigint[], loans integer[], causes text[])
RETURNS bigint[] AS $$
-- Ends messages on loan for good, as dead letters where there are causes, and lets those behind them follow.
-- Returns which of the loans were held.
DECLARE held bigint[];
BEGIN
    -- Who sends a message of the same key now either sees these, or is seen by what follows.
    PERFORM 1 FROM :schema.queues q WHERE q.id IN (
        SELECT k.id FROM unnest(names, places) a(name, place) JOIN :schema.queues k ON k.name = a.name
        JOIN :schema.messages m ON m.queue_id = k.id AND m.place = a.place WHERE m.key <> '')
        ORDER BY q.id FOR UPDATE;
    WITH lent AS MATERIALIZED (SELECT * FROM :schema.loans(names, places, loans)),
    gone AS (
        DELETE FROM :schema.messages m USING lent l WHERE m.queue_id = l.queue_id AND m.place = l.place
        RETURNING m.queue_id, m.place, m.id, m.key, m.body, m.attributes, m.attempts, l.i),
    followed AS (
        UPDATE :schema.messages m SET head = true FROM gone g
        WHERE g.key <> '' AND m.queue_id = g.queue_id AND m.place = (
            SELECT n.place FROM :schema.messages n
            WHERE n.queue_id = g.queue_id AND n.key = g.key AND n.key <> '' AND n.place > g.place
            ORDER BY n.place LIMIT 1)),
    buried AS (
        INSERT INTO :schema.dead
        SELECT DISTINCT ON (g.queue_id, g.id) g.queue_id, g.id, g.key, g.body, g.attributes, causes[g.i],
            g.attempts, extract(epoch FROM clock_timestamp()) * 1000000
        FROM gone g WHERE causes IS NOT NULL ORDER BY g.queue_id, g.id, g.place DESC
        ON CONFLICT (queue_id, id) DO UPDATE SET key = excluded.key, body = excluded.body,
            attributes = excluded.attributes, cause = excluded.cause, attempts = excluded.attempts,
            died_us = excluded.died_us)
    SELECT array_agg(g.i) INTO held FROM gone g;
    RETURN held;
END $$ LANGUAGE plpgsql;

CREATE FUNCTION :schema.reschedule(
    names text[], places bigint[], loans integer[], seconds double precision, keep boolean)
RETURNS bigint[] AS $$
-- Makes messages on loan due so much later, on loan still or given back; returns which loans were held.
DECLARE held bigint[];
BEGIN
    WITH lent AS MATERIALIZED (SELECT * FROM :schema.loans(names, places, loans)),
    moved AS (
        UPDATE :schema.messages m SET leased = keep, due = clock_timestamp() + make_interval(secs => seconds)
        FROM lent l WHERE m.queue_id = l.queue_id AND m.place = l.place RETURNING l.i)
    SELECT array_agg(moved.i) INTO held FROM moved;
    RETURN held;
END $$ LANGUAGE plpgsql;

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
            g.attributes, clock_timestamp(), 0, false,
            g.key = '' OR (row_number() OVER (PARTITION BY g.key ORDER BY g.id) = 1 AND NOT EXISTS (
                SELECT FROM :schema.messages e
                WHERE e.queue_id = target.id AND e.key = g.key AND e.key <> ''))
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
