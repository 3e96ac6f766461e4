-- Statements of db/archive.py.

-- name: save
-- The rows that the backfill of a fresh start does not bring back, with the load that wrote each; and all revisions.
COPY (
    SELECT 'metrics', m.source, m.asset, m.metric_name, m.pulled_at, m.value, loads.loaded_at, loads.pull_id,
        NULL
    FROM metrics m
    LEFT JOIN unnest(%(assets)s::text[], %(metrics)s::text[], %(api_ids)s::text[]) AS refetched (asset, metric, api_id)
        ON refetched.asset = m.asset AND refetched.metric = m.metric_name
    LEFT JOIN LATERAL (
        SELECT * FROM loads WHERE loads.source = m.source AND first_id <= m.id ORDER BY first_id DESC LIMIT 1
    ) AS loads ON loads.last_id >= m.id
    LEFT JOIN coverage c ON (c.source, c.asset, c.metric_name) = (m.source, m.asset, m.metric_name)
    WHERE m.source = %(source)s AND (
        refetched.asset IS NULL OR m.pulled_at < %(start)s::date OR m.pulled_at >= %(end)s::date
        OR NOT coalesce(c.found, '{}') @> m.pulled_at::date  -- a live value, or a day that the API no longer has
        OR NOT coalesce(c.answered, '{}') @> (%(end)s::date - 1)  -- the API no longer answers for the series
        OR c.api_id <> refetched.api_id  -- the API answered for another identifier
    )
    UNION ALL (
        SELECT 'revisions', source, asset, metric_name, pulled_at, value, replaced_at, pull_id, reason
        FROM revisions WHERE source = %(source)s ORDER BY id
    )
) TO STDOUT (FORMAT csv)

-- name: clear
-- Deletes the rows of a source, and records it as a run of the kind 'fresh'.
WITH cleared AS (
    DELETE FROM metrics WHERE source = %(source)s RETURNING 1
), others AS (
    DELETE FROM coverage WHERE source = %(source)s
), loaded AS (
    DELETE FROM loads WHERE source = %(source)s
), revised AS (
    DELETE FROM revisions WHERE source = %(source)s
), refusals AS (
    DELETE FROM refused WHERE source = %(source)s
), quarantined AS (
    DELETE FROM quarantine WHERE source = %(source)s
)
INSERT INTO pulls (source_name, kind, status, records_count, finished_at)
SELECT %(source)s, 'fresh', 'success', count(*), now() FROM cleared RETURNING records_count

-- name: stage
-- The name of a constraint is the message for a line that breaks it. Times are texts, because a TIMESTAMP column would
-- also accept what `save` never writes: 'yesterday', or a time zone, which it would ignore.
CREATE TEMPORARY TABLE kept (
    line INTEGER GENERATED ALWAYS AS IDENTITY,
    kind TEXT,
    source TEXT,
    asset TEXT,
    metric_name TEXT,
    pulled_at TEXT,
    value DOUBLE PRECISION CONSTRAINT "value is not a finite number" CHECK (value > '-Infinity' AND value < 'Infinity'),
    at TEXT,
    pull_id INTEGER CONSTRAINT "pull_id is negative" CHECK (pull_id >= 0),
    reason TEXT CONSTRAINT "reason is not sample, restated or accepted"
        CHECK (reason IS NULL OR kind = 'revisions' AND reason IN ('sample', 'restated', 'accepted')),
    CONSTRAINT "table is neither metrics nor revisions" CHECK (kind IS NOT NULL AND kind IN ('metrics', 'revisions')),
    CONSTRAINT "unknown source ({main} sources lists the known ones)"
        CHECK (source IS NOT NULL AND source = ANY(%(known)s::text[])),
    CONSTRAINT "asset or metric is empty or too long" CHECK (
        asset IS NOT NULL AND length(asset) BETWEEN 1 AND 100
        AND metric_name IS NOT NULL AND length(metric_name) BETWEEN 1 AND 200
    ),
    CONSTRAINT "pulled_at is not a time such as 2026-01-31 00:00:00" CHECK (
        pulled_at IS NOT NULL AND pulled_at ~ '^[0-9-]{10} [0-9:]{8}([.][0-9]{1,6})?$'
        AND isfinite(pulled_at::timestamp)
    ),
    CONSTRAINT "at is not a time such as 2026-01-31 00:00:00" CHECK (CASE
        WHEN at IS NULL THEN kind = 'metrics'
        ELSE at ~ '^[0-9-]{10} [0-9:]{8}([.][0-9]{1,6})?$' AND isfinite(at::timestamp)
    END)
) ON COMMIT DROP

-- name: fill_stage
-- Files of an older version have no column `reason`.
COPY kept (kind, source, asset, metric_name, pulled_at, value, at, pull_id{reason}) FROM STDIN (FORMAT csv, HEADER)

-- name: staged_sources
SELECT DISTINCT source FROM kept ORDER BY source

-- name: scope
-- The series of the file, and the time of their points: see db/cluster.py.
SELECT source, asset, metric_name, min(pulled_at::timestamp), max(pulled_at::timestamp) FROM kept
GROUP BY source, asset, metric_name

-- name: restore_metrics
WITH
-- the points of the file, one for each key
fitting AS (
    SELECT DISTINCT ON (source, asset, metric_name, pulled_at) source, asset, metric_name,
        pulled_at::timestamp AS pulled_at, value, pull_id,
        coalesce(at::timestamp, statement_timestamp() AT TIME ZONE 'UTC') AS at
    FROM kept WHERE kind = 'metrics' ORDER BY source, asset, metric_name, pulled_at, line
),
-- each point, compared with what is stored
judged AS (
    SELECT fitting.*, m.id IS NOT NULL AS stored, m.value IS DISTINCT FROM fitting.value AS differs
    FROM fitting LEFT JOIN metrics m ON (m.source, m.asset, m.metric_name, m.pulled_at)
        = (fitting.source, fitting.asset, fitting.metric_name, fitting.pulled_at)
),
-- the points that are not stored, written in the order of their first load, so that each load is one range of ids again
written AS (
    INSERT INTO metrics (source, asset, metric_name, pulled_at, value)
    SELECT source, asset, metric_name, pulled_at, value FROM judged WHERE NOT stored
    ORDER BY source, at, pull_id, asset, metric_name, pulled_at
    ON CONFLICT (source, asset, metric_name, pulled_at) DO NOTHING
    RETURNING id, source, asset, metric_name, pulled_at
),
-- the written points with their loads
placed AS (
    SELECT written.*, at, pull_id FROM written JOIN fitting USING (source, asset, metric_name, pulled_at)
),
loaded AS (
    INSERT INTO loads (source, first_id, last_id, loaded_at, pull_id)
    SELECT source, min(id), max(id), at, pull_id FROM placed GROUP BY source, at, pull_id
),
-- only the days of live-only metrics count as answered; a backfill requests all other days again
covered AS (
    INSERT INTO coverage AS c (source, asset, metric_name, answered, found, row_count, found_count)
    SELECT source, asset, metric_name, days, days, number, days_in(days)
    FROM (
        SELECT source, asset, metric_name, count(*) AS number, coalesce(
            range_agg(daterange(pulled_at::date, pulled_at::date + 1)) FILTER (WHERE live.metric IS NOT NULL), '{}'
        ) AS days
        FROM placed LEFT JOIN unnest(%(live_sources)s::text[], %(live_only)s::text[]) AS live (origin, metric)
            ON live.origin = source AND live.metric = metric_name
        GROUP BY source, asset, metric_name
    ) AS series ORDER BY source, asset, metric_name
    ON CONFLICT (source, asset, metric_name) DO UPDATE SET answered = c.answered + excluded.answered,
        found = c.found + excluded.found, row_count = c.row_count + excluded.row_count,
        found_count = days_in(c.found + excluded.found)
)
SELECT (SELECT count(*) FROM written), count(*) FILTER (WHERE stored AND NOT differs),
    count(*) FILTER (WHERE stored AND differs)
FROM judged

-- name: restore_revisions
-- Revisions count in the order of their ids. So those made since the file was written get new ids, after those of the
-- file; within both groups the order stays as it was.
WITH
-- the revisions of the file
fitting AS (
    SELECT source, asset, metric_name, pulled_at::timestamp AS pulled_at, value, at::timestamp AS replaced_at, pull_id,
        reason, min(line) AS place
    FROM kept WHERE kind = 'revisions'
    GROUP BY source, asset, metric_name, pulled_at::timestamp, value, at::timestamp, pull_id, reason
),
-- Those that are not stored. The stored row of a point may have been loaded earlier than the time of such a revision,
-- if a clock was ahead. The time of the load ends the old value then, so that `as_of` never shows it for the row.
back AS MATERIALIZED (
    SELECT source, asset, metric_name, pulled_at, value, ended.at AS replaced_at, pull_id, reason, place
    FROM fitting LEFT JOIN LATERAL (
        SELECT loads.loaded_at FROM metrics m CROSS JOIN LATERAL (
            SELECT * FROM loads WHERE loads.source = m.source AND first_id <= m.id ORDER BY first_id DESC LIMIT 1
        ) AS loads
        WHERE loads.last_id >= m.id AND (m.source, m.asset, m.metric_name, m.pulled_at)
            = (fitting.source, fitting.asset, fitting.metric_name, fitting.pulled_at)
    ) AS stored ON true CROSS JOIN LATERAL (SELECT least(replaced_at, stored.loaded_at) AS at) AS ended
    WHERE NOT EXISTS (
        SELECT FROM revisions r
        WHERE (r.source, r.asset, r.metric_name, r.pulled_at)
            = (fitting.source, fitting.asset, fitting.metric_name, fitting.pulled_at)
            AND r.replaced_at IN (fitting.replaced_at, ended.at) AND r.value IS NOT DISTINCT FROM fitting.value
    )
),
-- the stored revisions of the same points: deleted here, and written again below
since AS (
    DELETE FROM revisions r USING (SELECT DISTINCT source, asset, metric_name, pulled_at FROM back) AS point
    WHERE (r.source, r.asset, r.metric_name, r.pulled_at)
        = (point.source, point.asset, point.metric_name, point.pulled_at)
    RETURNING r.source, r.asset, r.metric_name, r.pulled_at, r.value, r.replaced_at, r.pull_id, r.reason, r.id
),
written AS (
    INSERT INTO revisions (source, asset, metric_name, pulled_at, value, replaced_at, pull_id, reason)
    SELECT source, asset, metric_name, pulled_at, value, replaced_at, pull_id, reason
    FROM (SELECT 0 AS part, * FROM back UNION ALL SELECT 1, * FROM since) AS each
    ORDER BY min(replaced_at) OVER (
        PARTITION BY source, asset, metric_name, pulled_at, part ORDER BY place DESC
    ), part, place
)
SELECT (SELECT count(*) FROM back), (SELECT count(*) FROM fitting) - (SELECT count(*) FROM back)
