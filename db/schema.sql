-- The whole schema; it may be run any number of times. All times are naive UTC.

CREATE TABLE IF NOT EXISTS pulls (
    pull_id SERIAL PRIMARY KEY,
    source_name VARCHAR(100) NOT NULL,
    pulled_at TIMESTAMP NOT NULL DEFAULT NOW(),
    status VARCHAR(50) NOT NULL,            -- 'success', 'error', 'no_data'
    records_count INTEGER DEFAULT 0
);

-- A run counts as an error until it succeeds. finished_at is NULL while it runs, and stays NULL if it is killed.
ALTER TABLE pulls
    ADD COLUMN IF NOT EXISTS kind VARCHAR(20),             -- 'pull', 'backfill', 'settle', 'fresh'
    ADD COLUMN IF NOT EXISTS finished_at TIMESTAMP,
    ADD COLUMN IF NOT EXISTS calls INTEGER,                -- answered or failed
    ADD COLUMN IF NOT EXISTS failed_calls INTEGER,
    ADD COLUMN IF NOT EXISTS points_received BIGINT,       -- of these, records_count were new or changed
    ADD COLUMN IF NOT EXISTS failure TEXT,                 -- what failed, without secrets
    ADD COLUMN IF NOT EXISTS points_differing BIGINT,      -- another value was stored: replaced, or kept by a backfill
    ADD COLUMN IF NOT EXISTS slot TIMESTAMP;               -- the slot of the schedule; NULL for a manual run
CREATE INDEX IF NOT EXISTS idx_pulls_source ON pulls (source_name, pulled_at);
CREATE INDEX IF NOT EXISTS idx_pulls_slot ON pulls (source_name, kind, slot);

-- The running scheduler, or the last one that ran.
CREATE TABLE IF NOT EXISTS scheduler (
    only_row BOOLEAN PRIMARY KEY DEFAULT true CHECK (only_row),
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    sources TEXT[] NOT NULL,                -- those that it serves
    started_at TIMESTAMP NOT NULL,
    beaten_at TIMESTAMP NOT NULL,           -- when it last updated this row
    doing TEXT NOT NULL,
    first_pull_id INTEGER NOT NULL,         -- the last run before it started
    fresh_after INTEGER                     -- the last run before the first of the latest consecutive --fresh starts
);

CREATE TABLE IF NOT EXISTS metrics (
    id SERIAL PRIMARY KEY,
    pulled_at TIMESTAMP NOT NULL,           -- date of the data point
    source VARCHAR(100) NOT NULL,           -- 'artemis', 'defillama'
    asset VARCHAR(100) NOT NULL,            -- as the config names it: artemis 'sol', defillama 'solana'
    metric_name VARCHAR(200) NOT NULL,      -- standard upper-case name: 'PRICE', 'TVL', 'FEES'
    value DOUBLE PRECISION
);
CREATE UNIQUE INDEX IF NOT EXISTS idx_metrics_unique ON metrics (source, asset, metric_name, pulled_at);

-- The backup of a cluster has no key of the ids, since a cluster can't have one.
DO $$ BEGIN
    IF to_regclass('pg_dist_partition') IS NULL
        AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = 'metrics'::regclass AND indisprimary) THEN
        ALTER TABLE metrics ADD PRIMARY KEY (id);
    END IF;
END $$;

-- One metric of all assets at one date.
CREATE INDEX IF NOT EXISTS idx_metrics_cross_section ON metrics (source, metric_name, pulled_at);

-- The days of a series for which the API has answered. Every series ever requested has a row here.
CREATE TABLE IF NOT EXISTS coverage (
    source VARCHAR(100) NOT NULL,
    asset VARCHAR(100) NOT NULL,
    metric_name VARCHAR(200) NOT NULL,
    answered DATEMULTIRANGE NOT NULL DEFAULT '{}',  -- with data or without
    found DATEMULTIRANGE NOT NULL DEFAULT '{}',     -- with data in the last answer: metrics has a row for each of them
    row_count BIGINT NOT NULL DEFAULT 0,            -- rows that loads have put into metrics
    found_count BIGINT NOT NULL DEFAULT 0,          -- days in found, so that a change made by hand is noticed
    PRIMARY KEY (source, asset, metric_name)
);
ALTER TABLE coverage
    ADD COLUMN IF NOT EXISTS api_id TEXT,               -- the identifier in the request; NULL if it is not known
    ADD COLUMN IF NOT EXISTS verified_at TIMESTAMP,     -- start of the last settle that has compared all answered days
    ADD COLUMN IF NOT EXISTS withdrawn DATEMULTIRANGE NOT NULL DEFAULT '{}',  -- had data before the last answer
    ADD COLUMN IF NOT EXISTS withdrawn_at TIMESTAMP;    -- when the last of these days was withdrawn

-- The days of a series for which answers were refused since they were last answered, by reason.
CREATE TABLE IF NOT EXISTS refused (
    source VARCHAR(100) NOT NULL,
    asset VARCHAR(100) NOT NULL,
    metric_name VARCHAR(200) NOT NULL,
    reason TEXT NOT NULL,
    days DATEMULTIRANGE NOT NULL,
    dates INTEGER NOT NULL DEFAULT 1,       -- on how many different UTC days such an answer was refused
    last_on DATE NOT NULL,                  -- the last of them
    PRIMARY KEY (source, asset, metric_name, reason)
);

-- What runs have found out about the limits of an API.
CREATE TABLE IF NOT EXISTS api_limits (
    account VARCHAR(150) NOT NULL,          -- the source, and a hash of server and key
    name VARCHAR(50) NOT NULL,              -- 'request_delay' in seconds, 'series_a_call', 'calls_left' in the month
    value DOUBLE PRECISION NOT NULL,
    found_at TIMESTAMP NOT NULL,
    PRIMARY KEY (account, name)
);

-- Which asset the API means by the identifier of a config row. If it means another one, runs leave the row out until the
-- user corrects or confirms it.
CREATE TABLE IF NOT EXISTS identities (
    source VARCHAR(100) NOT NULL,
    kind VARCHAR(100) NOT NULL,             -- of the row; '' where the source has no kinds
    asset VARCHAR(100) NOT NULL,
    canonical_id TEXT NOT NULL,             -- the identifier of the row, in lower case
    lasting_id TEXT NOT NULL,               -- what the API calls the asset for good: at Artemis the artemis_id
    title TEXT NOT NULL,
    other_lasting_id TEXT,                  -- of the other asset that the API means now
    other_title TEXT,
    PRIMARY KEY (source, kind, asset, canonical_id)
);

-- When rows were inserted into metrics. The loads of one source take turns, so each load has its own range of ids.
CREATE TABLE IF NOT EXISTS loads (
    source VARCHAR(100) NOT NULL,
    first_id BIGINT NOT NULL,
    last_id BIGINT NOT NULL,
    loaded_at TIMESTAMP NOT NULL,           -- shortly before its commit
    pull_id INTEGER,                        -- the run; NULL for rows older than this table
    PRIMARY KEY (source, first_id)
);

-- Old values of closed days that were replaced.
CREATE TABLE IF NOT EXISTS revisions (
    source VARCHAR(100) NOT NULL,
    asset VARCHAR(100) NOT NULL,
    metric_name VARCHAR(200) NOT NULL,
    pulled_at TIMESTAMP NOT NULL,           -- of the point, as in metrics
    value DOUBLE PRECISION,                 -- the old one
    replaced_at TIMESTAMP NOT NULL,
    pull_id INTEGER                         -- the run that replaced it
);

-- The revisions of a point are ordered by id, because their times are out of order if a clock was ahead. Revisions from
-- before the column id existed get their ids in the order of their times.
DO $$ BEGIN
    IF to_regclass('idx_revisions_point') IS NOT NULL THEN
        CLUSTER revisions USING idx_revisions_point;
        DROP INDEX idx_revisions_point;
    END IF;
END $$;
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'revisions'::regclass AND attname = 'id') THEN
        ALTER TABLE revisions ADD COLUMN id BIGINT GENERATED ALWAYS AS IDENTITY;
    END IF;
END $$;
CREATE UNIQUE INDEX IF NOT EXISTS idx_revisions_order ON revisions (source, asset, metric_name, pulled_at, id);

-- Why a value was replaced. 'sample': the value was observed while its day was open, and the API gave the first value of
-- the closed day. 'restated': the API gave another value of a closed day. 'accepted': the same, and a person has accepted
-- it. NULL: unknown. Of older rows, the first revision of a point replaced a sample if the point was inserted while its
-- day was open.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'revisions'::regclass AND attname = 'reason') THEN
        ALTER TABLE revisions ADD COLUMN reason TEXT;
        UPDATE revisions SET reason = CASE
            WHEN found.place > 1 OR found.loaded_at >= revisions.pulled_at::date + interval '25 hours' THEN 'restated'
            ELSE 'sample'
        END
        FROM (
            SELECT r.id, loads.loaded_at, loads.pull_id,
                row_number() OVER (PARTITION BY r.source, r.asset, r.metric_name, r.pulled_at ORDER BY r.id) AS place
            FROM revisions r
            LEFT JOIN metrics m USING (source, asset, metric_name, pulled_at)
            LEFT JOIN LATERAL (
                SELECT * FROM loads WHERE loads.source = m.source AND first_id <= m.id ORDER BY first_id DESC LIMIT 1
            ) AS loads ON last_id >= m.id
        ) AS found
        WHERE found.id = revisions.id AND (found.place > 1 OR found.pull_id IS NOT NULL);
    END IF;
END $$;

-- Values of closed days that the API gives now, and that differ from the stored ones. At its end, a settle adopts what
-- looks like a usual restatement; the rest waits for a person.
CREATE TABLE IF NOT EXISTS quarantine (
    source VARCHAR(100) NOT NULL,
    asset VARCHAR(100) NOT NULL,
    metric_name VARCHAR(200) NOT NULL,
    pulled_at TIMESTAMP NOT NULL,           -- of the point, as in metrics
    value DOUBLE PRECISION,                 -- NULL: the API no longer has the point
    state VARCHAR(20) NOT NULL,             -- 'waiting' if it is doubtful; 'new' if not yet; 'rejected' by a person
    seen_at TIMESTAMP NOT NULL,             -- when the API first gave this value
    pull_id INTEGER,                        -- the run that received it
    PRIMARY KEY (source, asset, metric_name, pulled_at)
);

-- The open problems that a message to NOTIFY_URL has reported, by source.
CREATE TABLE IF NOT EXISTS notified (
    source VARCHAR(100) NOT NULL,
    kind VARCHAR(20) NOT NULL,              -- 'configuration', 'identity', 'waiting', 'runs', 'freshness'
    about TEXT NOT NULL,                    -- which one of its kind: an asset, a series, the verb of a run; or ''
    notified_at TIMESTAMP NOT NULL,
    PRIMARY KEY (source, kind, about)
);

-- What the program knows about each metric, for the views.
CREATE TABLE IF NOT EXISTS metric_facts (
    source VARCHAR(100) NOT NULL,
    metric_name VARCHAR(200) NOT NULL,
    unit TEXT NOT NULL,
    shift INTERVAL NOT NULL,
    live_only BOOLEAN NOT NULL,
    PRIMARY KEY (source, metric_name)
);
COMMENT ON TABLE metric_facts IS 'crypto-metrics: what the program knows about each metric of a source';
COMMENT ON COLUMN metric_facts.source IS 'the API: artemis or defillama';
COMMENT ON COLUMN metric_facts.metric_name IS 'the metric';
COMMENT ON COLUMN metric_facts.unit IS 'of its values; empty for a plain number, or where the API does not say';
COMMENT ON COLUMN metric_facts.shift IS 'added to the time of a point before its UTC date is taken as its day';
COMMENT ON COLUMN metric_facts.live_only IS 'the API has only the value of today, and no history';

-- For as_of queries, rows stored before these tables existed count as known from now on.
INSERT INTO loads (source, first_id, last_id, loaded_at)
SELECT source, min(id), max(id), clock_timestamp() AT TIME ZONE 'UTC' FROM metrics
WHERE NOT EXISTS (SELECT 1 FROM loads) GROUP BY source;
INSERT INTO coverage (source, asset, metric_name, row_count)
SELECT source, asset, metric_name, count(*) FROM metrics
WHERE NOT EXISTS (SELECT 1 FROM coverage) GROUP BY source, asset, metric_name;
