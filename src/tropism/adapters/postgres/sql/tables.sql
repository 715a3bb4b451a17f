-- Texts are compared by bytes (COLLATE "C"), which for UTF-8 is the order of code points.

CREATE TABLE :schema.store(version integer NOT NULL, id uuid NOT NULL);

CREATE TABLE :schema.topics(
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    partitions integer NOT NULL);

-- A partition's row is its lock: who appends holds it until the commit, so that offsets become visible in
-- their order. Half of each page stays free: rows are updated in place, at every append.
CREATE TABLE :schema.partitions(
    topic_id integer NOT NULL, number integer NOT NULL,
    next_offset bigint NOT NULL, known_us bigint NOT NULL,
    PRIMARY KEY(topic_id, number)) WITH (fillfactor = 50);

CREATE TABLE :schema.events(
    topic_id integer NOT NULL, partition integer NOT NULL, "offset" bigint NOT NULL, known_us bigint NOT NULL,
    id text COLLATE "C" NOT NULL, type text COLLATE "C" NOT NULL, subject text COLLATE "C" NOT NULL,
    time_us bigint NOT NULL, data bytea NOT NULL, source text COLLATE "C" NOT NULL, extensions text,
    PRIMARY KEY(topic_id, partition, "offset"));
CREATE UNIQUE INDEX event_ids ON :schema.events(topic_id, id);

CREATE VIEW :schema.log AS
    SELECT t.name AS topic, e.* FROM :schema.events e JOIN :schema.topics t ON t.id = e.topic_id;

CREATE TABLE :schema.state(
    namespace text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL,
    value bytea NOT NULL, expires_us bigint,
    PRIMARY KEY(namespace, key));
CREATE INDEX state_expiries ON :schema.state(namespace, expires_us) WHERE expires_us IS NOT NULL;

CREATE TABLE :schema.consumers(
    name text COLLATE "C" PRIMARY KEY, token bigint NOT NULL, holder text COLLATE "C" NOT NULL,
    lease_seconds double precision NOT NULL, held_until timestamptz NOT NULL, clean boolean NOT NULL,
    cursor bytea, watermark_us bigint, applied bytea) WITH (fillfactor = 50);

-- A queue's row is its lock: whoever adds messages, or ends those of a key, holds it until the commit. So an
-- earlier message of a key is never seen after a later one, and each key with messages has one head.
CREATE TABLE :schema.queues(
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    next_place bigint NOT NULL) WITH (fillfactor = 50);

-- ``due`` is when a message may be received (again): the end of its delay, or of its loan. ``head`` says that
-- none of its key stands before it: a receive need not walk over those that wait their turn.
CREATE TABLE :schema.messages(
    queue_id integer NOT NULL, place bigint NOT NULL,
    id text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, body bytea NOT NULL, attributes text,
    due timestamptz NOT NULL, attempts integer NOT NULL, leased boolean NOT NULL,
    head boolean NOT NULL,
    PRIMARY KEY(queue_id, place));
CREATE INDEX message_dues ON :schema.messages(queue_id, due, place) WHERE head;
CREATE INDEX message_keys ON :schema.messages(queue_id, key, place) WHERE key <> '';

CREATE TABLE :schema.sent(
    queue_id integer NOT NULL, id text COLLATE "C" NOT NULL, sent timestamptz NOT NULL,
    PRIMARY KEY(queue_id, id));
CREATE INDEX sent_times ON :schema.sent(queue_id, sent);

CREATE TABLE :schema.dead(
    queue_id integer NOT NULL, id text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL, body bytea NOT NULL, attributes text,
    cause text NOT NULL, attempts integer NOT NULL, died_us bigint NOT NULL,
    PRIMARY KEY(queue_id, id));
