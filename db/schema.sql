-- The whole schema; may be run any number of times. All times are naive UTC.

CREATE TABLE IF NOT EXISTS pulls (
    pull_id SERIAL PRIMARY KEY,
    source_name VARCHAR(100) NOT NULL,
    pulled_at TIMESTAMP NOT NULL DEFAULT NOW(),
    status VARCHAR(50) NOT NULL,            -- 'success', 'error', 'no_data'
    records_count INTEGER DEFAULT 0
);

-- A run is an error until it has ended otherwise: finished_at stays NULL while it runs, and where it was killed.
ALTER TABLE pulls
    ADD COLUMN IF NOT EXISTS kind VARCHAR(20),             -- 'pull', 'backfill', 'settle', 'fresh'
    ADD COLUMN IF NOT EXISTS finished_at TIMESTAMP,
    ADD COLUMN IF NOT EXISTS calls INTEGER,                -- answered or given up
    ADD COLUMN IF NOT EXISTS failed_calls INTEGER,
    ADD COLUMN IF NOT EXISTS points_received BIGINT,       -- records_count of them were new or changed
    ADD COLUMN IF NOT EXISTS failure TEXT,                 -- what failed, without secrets
    ADD COLUMN IF NOT EXISTS points_differing BIGINT,      -- stored with another value: adopted, or kept by a backfill
    ADD COLUMN IF NOT EXISTS slot TIMESTAMP;               -- of the schedule, for which it was made; NULL by hand
CREATE INDEX IF NOT EXISTS idx_pulls_source ON pulls (source_name, pulled_at);
CREATE INDEX IF NOT EXISTS idx_pulls_slot ON pulls (source_name, kind, slot);

-- The scheduler, or the last one that there was.
CREATE TABLE IF NOT EXISTS scheduler (
    only_row BOOLEAN PRIMARY KEY DEFAULT true CHECK (only_row),
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    sources TEXT[] NOT NULL,                -- that it serves
    started_at TIMESTAMP NOT NULL,
    beaten_at TIMESTAMP NOT NULL,           -- the last time that it told of itself
    doing TEXT NOT NULL,
    first_pull_id INTEGER NOT NULL,         -- the last run before it started
    fresh_after INTEGER                     -- the last run before the first of the latest starts with --fresh
);

CREATE TABLE IF NOT EXISTS metrics (
    id SERIAL PRIMARY KEY,
    pulled_at TIMESTAMP NOT NULL,           -- date of the data point
    source VARCHAR(100) NOT NULL,           -- 'artemis', 'defillama'
    asset VARCHAR(100) NOT NULL,            -- the source's own identifier: artemis 'sol', defillama 'solana'
    metric_name VARCHAR(200) NOT NULL,      -- standard upper-case name: 'PRICE', 'TVL', 'FEES'
    value DOUBLE PRECISION
);
CREATE UNIQUE INDEX IF NOT EXISTS idx_metrics_unique ON metrics (source, asset, metric_name, pulled_at);

-- One metric of all assets at one date.
CREATE INDEX IF NOT EXISTS idx_metrics_cross_section ON metrics (source, metric_name, pulled_at);

-- Which days of a series the API has been asked for and has answered. A row stands here for every series ever asked.
CREATE TABLE IF NOT EXISTS coverage (
    source VARCHAR(100) NOT NULL,
    asset VARCHAR(100) NOT NULL,
    metric_name VARCHAR(200) NOT NULL,
    answered DATEMULTIRANGE NOT NULL DEFAULT '{}',  -- with data or without
    found DATEMULTIRANGE NOT NULL DEFAULT '{}',     -- with data when last asked: metrics has a row for each of them
    row_count BIGINT NOT NULL DEFAULT 0,            -- rows that loads have put into metrics
    found_count BIGINT NOT NULL DEFAULT 0,          -- days of found, so that a change by other hands shows
    PRIMARY KEY (source, asset, metric_name)
);
ALTER TABLE coverage ADD COLUMN IF NOT EXISTS api_id TEXT;  -- by which the API was asked; NULL where that is not known

-- When rows came into metrics. The loads of one source take turns, so the ids of each are a range of their own.
CREATE TABLE IF NOT EXISTS loads (
    source VARCHAR(100) NOT NULL,
    first_id BIGINT NOT NULL,
    last_id BIGINT NOT NULL,
    loaded_at TIMESTAMP NOT NULL,           -- shortly before its commit
    pull_id INTEGER,                        -- the run; NULL for rows older than this table
    PRIMARY KEY (source, first_id)
);

-- Values of closed days that were replaced by others.
CREATE TABLE IF NOT EXISTS revisions (
    source VARCHAR(100) NOT NULL,
    asset VARCHAR(100) NOT NULL,
    metric_name VARCHAR(200) NOT NULL,
    pulled_at TIMESTAMP NOT NULL,           -- of the point, as in metrics
    value DOUBLE PRECISION,                 -- the old one
    replaced_at TIMESTAMP NOT NULL,
    pull_id INTEGER                         -- the run that replaced it
);

-- The revisions of a point are in the order of their ids: where a clock was ahead, their times are not. Those from
-- before they had ids are in the order of their times.
DO $$ BEGIN
    IF to_regclass('idx_revisions_point') IS NOT NULL THEN
        CLUSTER revisions USING idx_revisions_point;
        DROP INDEX idx_revisions_point;
    END IF;
END $$;
ALTER TABLE revisions ADD COLUMN IF NOT EXISTS id BIGINT GENERATED ALWAYS AS IDENTITY;
CREATE UNIQUE INDEX IF NOT EXISTS idx_revisions_order ON revisions (source, asset, metric_name, pulled_at, id);

-- What was stored before these tables existed is known from now on.
INSERT INTO loads (source, first_id, last_id, loaded_at)
SELECT source, min(id), max(id), clock_timestamp() AT TIME ZONE 'UTC' FROM metrics
WHERE NOT EXISTS (SELECT FROM loads) GROUP BY source;
INSERT INTO coverage (source, asset, metric_name, row_count)
SELECT source, asset, metric_name, count(*) FROM metrics
WHERE NOT EXISTS (SELECT FROM coverage) GROUP BY source, asset, metric_name;
