CREATE OR REPLACE FUNCTION :schema.commit_step(
    consumer text, lease bigint, commit_id bytea, new_cursor bytea, new_watermark_us bigint,
    put_namespaces text[], put_keys text[], put_values bytea[], put_expiries bigint[],
    cut_namespaces text[], cut_keys text[],
    names text[], counts integer[],
    slot_topics integer[], slot_numbers integer[], slot_counts integer[], slot_knowns bigint[],
    slots integer[], ranks integer[], knowns bigint[],
    ids text[], types text[], subjects text[], times bigint[], datas bytea[], sources text[],
    extensions text[],
    OUT lost_to bigint, OUT stored integer, OUT ends bigint[], OUT recount integer[]) AS $$
-- Applies one step of a consumer; ``lost_to`` is set, and nothing done, where its lease was lost.
DECLARE before record;
BEGIN
    SELECT c.token, c.clean, c.applied, c.lease_seconds INTO before
        FROM :schema.consumers c WHERE c.name = consumer FOR UPDATE;
    IF before.applied = commit_id THEN
        -- Asked again by one who lost the reply: it was done.
        RETURN;
    END IF;
    IF substring(before.applied FOR 8) = substring(commit_id FOR 8) AND commit_id < before.applied THEN
        -- Ids begin with who gives them, and count on: this one was held up on its way, and given up. Whoever
        -- asked has asked again meanwhile, and gone on; nobody hears the answer.
        RETURN;
    END IF;
    IF before.token IS NULL OR before.token <> lease OR before.clean THEN
        lost_to := coalesce(before.token, 0);
        RETURN;
    END IF;
    IF cardinality(ids) > 0 THEN
        SELECT a.* INTO stored, ends, recount FROM :schema.append(
            names, counts, slot_topics, slot_numbers, slot_counts, slot_knowns, slots, ranks, knowns,
            ids, types, subjects, times, datas, sources, extensions) a;
        IF recount IS NOT NULL THEN
            RETURN;
        END IF;
    END IF;
    IF cardinality(put_keys) > 0 THEN
        INSERT INTO :schema.state
            SELECT * FROM unnest(put_namespaces, put_keys, put_values, put_expiries)
            ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value, expires_us = excluded.expires_us;
    END IF;
    IF cardinality(cut_keys) > 0 THEN
        DELETE FROM :schema.state s USING unnest(cut_namespaces, cut_keys) c(namespace, key)
            WHERE s.namespace = c.namespace AND s.key = c.key;
    END IF;
    UPDATE :schema.consumers SET cursor = new_cursor, watermark_us = new_watermark_us, applied = commit_id,
        held_until = :schema.after(before.lease_seconds) WHERE name = consumer;
END $$ LANGUAGE plpgsql;
