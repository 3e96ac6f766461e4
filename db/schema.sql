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
    ADD COLUMN IF NOT EXISTS kind VARCHAR(20),             -- 'pull', 'backfill'
    ADD COLUMN IF NOT EXISTS finished_at TIMESTAMP,
    ADD COLUMN IF NOT EXISTS calls INTEGER,                -- answered or given up
    ADD COLUMN IF NOT EXISTS failed_calls INTEGER,
    ADD COLUMN IF NOT EXISTS points_received BIGINT,       -- records_count of them were new or changed
    ADD COLUMN IF NOT EXISTS failure TEXT;                 -- what failed, without secrets

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
