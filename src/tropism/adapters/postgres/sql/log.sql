-- Every write is a call of one function: one round trip, and one transaction by itself.
-- Functions check before they write: one that refuses has changed nothing, whatever shares its transaction.

CREATE FUNCTION :schema.create_topics(names text[], counts integer[]) RETURNS integer[] AS $$
-- Creates topics, and returns how many partitions each has now; where one exists with another count it
-- creates none, and returns null for those that do not exist.
DECLARE there integer[];
BEGIN
    LOCK TABLE :schema.topics IN SHARE ROW EXCLUSIVE MODE;
    SELECT array_agg(t.partitions ORDER BY n.i) INTO there
        FROM unnest(names) WITH ORDINALITY n(name, i) LEFT JOIN :schema.topics t ON t.name = n.name;
    IF EXISTS (SELECT FROM unnest(there, counts) c(has, wanted) WHERE has <> wanted OR wanted < 1) THEN
        RETURN there;
    END IF;
    WITH made AS (
        INSERT INTO :schema.topics(name, partitions)
        SELECT n.name, n.wanted FROM unnest(names, counts, there) n(name, wanted, has) WHERE n.has IS NULL
        RETURNING id, partitions)
    INSERT INTO :schema.partitions
        SELECT id, number, 0, -9223372036854775807 FROM made, generate_series(0, partitions - 1) number;
    RETURN counts;
END $$ LANGUAGE plpgsql;

CREATE FUNCTION :schema.lock_rows(consumers text[], queues text[], names text[], numbers integer[])
RETURNS void AS $$
-- Locks what a group of calls will lock, in one order, so that groups of several processes never cross.
BEGIN
    PERFORM 1 FROM :schema.consumers c WHERE c.name = ANY(consumers) ORDER BY c.name FOR UPDATE;
    PERFORM 1 FROM :schema.queues q WHERE q.name = ANY(queues) ORDER BY q.id FOR UPDATE;
    PERFORM 1 FROM unnest(names, numbers) s(name, number)
        JOIN :schema.topics t ON t.name = s.name
        JOIN :schema.partitions p ON p.topic_id = t.id AND p.number = s.number
        ORDER BY p.topic_id, p.number FOR UPDATE OF p;
END $$ LANGUAGE plpgsql;

CREATE FUNCTION :schema.append(
    names text[], counts integer[],
    slot_topics integer[], slot_numbers integer[], slot_counts integer[], slot_knowns bigint[],
    slots integer[], ranks integer[], knowns bigint[],
    ids text[], types text[], subjects text[], times bigint[], datas bytea[], sources text[],
    extensions text[],
    OUT stored integer, OUT ends bigint[], OUT recount integer[]) AS $$
-- A slot is a partition that the records go to; ``ranks`` number the records of each, ``knowns`` are their
-- latest times so far. ``recount`` is set, and nothing done, where a topic has another number of partitions.
DECLARE
    topic_ids integer[]; there integer[]; slot_ids integer[]; starts bigint[]; lasts bigint[];
BEGIN
    SELECT array_agg(t.id ORDER BY n.i), array_agg(t.partitions ORDER BY n.i) INTO topic_ids, there
        FROM unnest(names) WITH ORDINALITY n(name, i) LEFT JOIN :schema.topics t ON t.name = n.name;
    IF there IS DISTINCT FROM counts THEN
        there := :schema.create_topics(names, counts);
        IF there IS DISTINCT FROM counts THEN
            recount := there;
            RETURN;
        END IF;
        SELECT array_agg(t.id ORDER BY n.i) INTO topic_ids
            FROM unnest(names) WITH ORDINALITY n(name, i) JOIN :schema.topics t ON t.name = n.name;
    END IF;
    -- Locked rows are read as they are now, not as they were when the statement began to wait.
    SELECT array_agg(l.topic_id ORDER BY i), array_agg(l.next_offset ORDER BY i), array_agg(l.known_us ORDER BY i)
        INTO slot_ids, starts, lasts
        FROM (SELECT p.topic_id, p.next_offset, p.known_us, s.i
            FROM unnest(slot_topics, slot_numbers) WITH ORDINALITY s(topic, number, i)
            JOIN :schema.partitions p ON p.topic_id = topic_ids[s.topic] AND p.number = s.number
            ORDER BY p.topic_id, p.number FOR UPDATE OF p) l;
    BEGIN
        INSERT INTO :schema.events
            SELECT slot_ids[r.slot], slot_numbers[r.slot], starts[r.slot] + r.rank,
                greatest(lasts[r.slot], r.known), r.id, r.type, r.subject, r.time_us, r.data, r.source,
                r.extensions
            FROM unnest(slots, ranks, knowns, ids, types, subjects, times, datas, sources, extensions)
                r(slot, rank, known, id, type, subject, time_us, data, source, extensions);
    EXCEPTION WHEN unique_violation THEN
        -- Duplicates are rare: finding them by the failed insert costs the usual batch nothing.
        SELECT f.counts, f.knowns INTO slot_counts, slot_knowns
            FROM :schema.append_new(slot_ids, slot_numbers, starts, lasts, slots, ids, types, subjects, times,
                datas, sources, extensions) f;
    END;
    UPDATE :schema.partitions p
        SET next_offset = p.next_offset + s.added, known_us = greatest(p.known_us, s.known)
        FROM unnest(slot_ids, slot_numbers, slot_counts, slot_knowns) s(topic_id, number, added, known)
        WHERE p.topic_id = s.topic_id AND p.number = s.number AND s.added > 0;
    SELECT sum(s.added), array_agg(s.start + s.added ORDER BY s.i) INTO stored, ends
        FROM unnest(slot_counts, starts) WITH ORDINALITY s(added, start, i);
END $$ LANGUAGE plpgsql;

CREATE FUNCTION :schema.append_new(
    slot_ids integer[], slot_numbers integer[], starts bigint[], lasts bigint[], slots integer[],
    ids text[], types text[], subjects text[], times bigint[], datas bytea[], sources text[],
    extensions text[], OUT counts integer[], OUT knowns bigint[]) AS $$
-- Appends the records whose ids the topic does not hold, each id once.
BEGIN
    LOOP
        BEGIN
            WITH given AS (
                SELECT DISTINCT ON (slot_ids[r.slot], r.id) r.*
                FROM unnest(slots, ids, types, subjects, times, datas, sources, extensions) WITH ORDINALITY
                    r(slot, id, type, subject, time_us, data, source, extensions, i)
                ORDER BY slot_ids[r.slot], r.id, r.i),
            placed AS (
                SELECT g.*, row_number() OVER w - 1 AS rank, max(g.time_us) OVER w AS known FROM given g
                WHERE NOT EXISTS (
                    SELECT FROM :schema.events e WHERE e.topic_id = slot_ids[g.slot] AND e.id = g.id)
                WINDOW w AS (PARTITION BY g.slot ORDER BY g.i)),
            added AS (
                INSERT INTO :schema.events
                SELECT slot_ids[p.slot], slot_numbers[p.slot], starts[p.slot] + p.rank,
                    greatest(lasts[p.slot], p.known), p.id, p.type, p.subject, p.time_us, p.data, p.source,
                    p.extensions FROM placed p),
            sums AS (SELECT p.slot, count(*) AS added, max(p.known) AS known FROM placed p GROUP BY p.slot)
            SELECT array_agg(coalesce(sums.added, 0)::integer ORDER BY i), array_agg(sums.known ORDER BY i)
                INTO counts, knowns FROM generate_subscripts(slot_ids, 1) i LEFT JOIN sums ON sums.slot = i;
            RETURN;
        EXCEPTION WHEN unique_violation THEN
            -- Another process stored one of the ids in another partition just now: it is seen the next time.
        END;
    END LOOP;
END $$ LANGUAGE plpgsql;
