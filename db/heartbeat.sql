-- Statements of db/heartbeat.py.

-- name: start
-- A supervisor may restart a scheduler with --fresh several times in a row; the fresh start is made once. `fresh_after`
-- is the last run before the first of these starts: a source that was cleared after that run is not cleared again.
INSERT INTO scheduler AS old (host, pid, sources, started_at, beaten_at, doing, first_pull_id, fresh_after)
SELECT %(host)s, %(pid)s, %(sources)s, at, at, 'starting', last, CASE WHEN %(fresh)s THEN last END
FROM (SELECT clock_timestamp() AT TIME ZONE 'UTC' AS at, coalesce((SELECT max(pull_id) FROM pulls), 0) AS last) AS now
ON CONFLICT (only_row) DO UPDATE SET host = excluded.host, pid = excluded.pid, sources = excluded.sources,
    started_at = excluded.started_at, beaten_at = excluded.beaten_at, doing = excluded.doing,
    first_pull_id = excluded.first_pull_id,
    fresh_after = CASE WHEN %(fresh)s THEN coalesce(old.fresh_after, excluded.fresh_after) END
RETURNING host, pid, sources, started_at, beaten_at, doing, first_pull_id, fresh_after

-- name: beat
UPDATE scheduler SET beaten_at = clock_timestamp() AT TIME ZONE 'UTC', doing = %(doing)s
RETURNING clock_timestamp() AT TIME ZONE 'UTC'

-- name: last
SELECT clock_timestamp() AT TIME ZONE 'UTC', host, pid, sources, started_at, beaten_at, doing, first_pull_id
FROM (VALUES (1)) AS always LEFT JOIN scheduler ON true
