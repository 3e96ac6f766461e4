-- Statements of db/pulls.py.

-- name: begin_run
-- Enters a run. If an earlier run of this source and kind has no end, it was killed: otherwise it would hold the lock.
WITH killed AS (
    UPDATE pulls SET failure = 'the process ended before the run did'
    WHERE source_name = %(source)s AND kind = %(kind)s AND finished_at IS NULL AND failure IS NULL
)
INSERT INTO pulls (source_name, kind, slot, status) VALUES (%(source)s, %(kind)s, %(slot)s, 'error') RETURNING pull_id

-- name: latest_day
-- The latest day of a run: if a clock jumps back, the days before it stay closed. But a run dated more than a day ahead
-- does not count: until that date, each day would be closed as soon as it begins.
SELECT max(pulled_at) FILTER (WHERE pulled_at < today + 2)::date, max(pulled_at)::date, today
FROM pulls, (SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS today) AS clock
WHERE source_name = %(source)s GROUP BY today

-- name: end_run
UPDATE pulls SET status = %(status)s, records_count = %(records)s, finished_at = now(), calls = %(calls)s,
    failed_calls = %(failed)s, points_received = %(received)s, failure = %(failure)s,
    points_differing = %(differing)s
WHERE pull_id = %(pull_id)s

-- name: enter_refused_run
INSERT INTO pulls (source_name, kind, slot, status, finished_at, calls, failed_calls, failure)
VALUES (%(source)s, %(kind)s, %(slot)s, 'error', now(), 0, 0, %(failure)s)

-- name: clear_future_slots
UPDATE pulls SET slot = NULL
WHERE source_name = ANY(%(sources)s) AND pulled_at > %(now)s::timestamp + interval '5 min' AND slot IS NOT NULL

-- name: first_runs
SELECT source, (SELECT pulled_at FROM pulls WHERE source_name = source ORDER BY pulled_at LIMIT 1)
FROM unnest(%(sources)s::text[]) AS source

-- name: tries
SELECT number::int - 1, finished_at, finished_at IS NOT NULL AND status <> 'error' AND NOT EXISTS (
    SELECT FROM pulls AS fresh
    WHERE (fresh.source_name, fresh.kind) = (run.source_name, 'fresh') AND fresh.pull_id > run.pull_id
), pull_id > %(first_pull_id)s
FROM unnest(%(sources)s::text[], %(kinds)s::text[], %(slots)s::timestamp[])
    WITH ORDINALITY AS wanted (source, kind, slot, number)
JOIN pulls AS run ON (run.source_name, run.kind, run.slot) = (wanted.source, wanted.kind, wanted.slot)
ORDER BY pull_id

-- name: cleared
SELECT DISTINCT source_name FROM pulls WHERE kind = 'fresh' AND pull_id > %(after)s

-- name: last_runs
-- How the last runs of each wanted source and kind went.
WITH
-- The last run of each kind, the last success and the last failure. All of pulls is read, but only once: to search for
-- the last failure of a kind that never failed would read all of it for each kind. A run that was stopped has not
-- failed (its failure says that it was stopped). A run that was killed has no end.
last AS (
    SELECT source_name, kind, max(pull_id) AS latest, max(finished_at) AS ended,
        max(pull_id) FILTER (WHERE finished_at IS NOT NULL AND status <> 'error') AS good,
        max(pull_id) FILTER (WHERE status = 'error' AND failure NOT LIKE %(stopped)s) AS bad
    FROM pulls GROUP BY source_name, kind
)
SELECT wanted.source, wanted.kind, good.pulled_at, good.finished_at, bad.pulled_at, bad.failure, tries, since,
    CASE WHEN run.finished_at IS NULL AND run.failure IS NULL THEN run.pulled_at END, last.ended
FROM unnest(%(sources)s::text[], %(kinds)s::text[]) AS wanted (source, kind)
LEFT JOIN last ON (last.source_name, last.kind) = (wanted.source, wanted.kind)
LEFT JOIN pulls AS good ON good.pull_id = last.good
LEFT JOIN pulls AS bad ON bad.pull_id = last.bad
LEFT JOIN pulls AS run ON run.pull_id = last.latest
-- the failures since the last success; manual runs are left out, because nothing retries them
LEFT JOIN LATERAL (
    SELECT count(*) AS tries, min(pulled_at) AS since FROM pulls
    WHERE pull_id > coalesce(last.good, 0) AND (source_name, kind) = (wanted.source, wanted.kind)
        AND status = 'error' AND finished_at IS NOT NULL AND slot IS NOT NULL
        AND coalesce(failure, '') NOT LIKE %(stopped)s
) AS failing ON true

-- name: calls_of_last_day
SELECT coalesce(sum(calls), 0)::int, coalesce(sum(failed_calls), 0)::int FROM pulls
WHERE source_name = %(source)s AND pulled_at > clock_timestamp() AT TIME ZONE 'UTC' - interval '1 day'

-- name: newest_runs
SELECT * FROM pulls WHERE (%(source)s::text IS NULL OR source_name = %(source)s)
    AND (%(kind)s::text IS NULL OR kind = %(kind)s) AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY pull_id DESC LIMIT %(last)s

-- name: under_way
-- The last run of each of these sources and kinds, if it has no end.
SELECT pull_id FROM (
    SELECT DISTINCT ON (source_name, kind) pull_id, finished_at
    FROM unnest(%(sources)s::text[], %(kinds)s::text[]) AS held (source_name, kind)
    JOIN pulls USING (source_name, kind) ORDER BY source_name, kind, pull_id DESC
) AS latest WHERE finished_at IS NULL

-- name: recent
-- The runs since a time. A run that was stopped has not failed.
SELECT *, status = 'error' AND coalesce(failure, '') NOT LIKE %(stopped)s AS failed FROM pulls
WHERE source_name = ANY(%(sources)s) AND pulled_at >= %(since)s::timestamp AND pull_id <> ALL(%(under_way)s)

-- name: recent_numbers
WITH runs AS ({recent}) SELECT count(*), count(*) FILTER (WHERE failed) FROM runs

-- name: recent_failures
-- Failed runs of one kind are one row, with the last failure: a failing run is retried again and again. The reason is
-- mostly the same, but the texts differ, because calls fail in any order.
WITH runs AS ({recent})
SELECT source_name, kind, finished_at IS NULL, (array_agg(failure ORDER BY pull_id DESC))[1],
    count(*), min(pulled_at), max(pulled_at), max(pull_id)
FROM runs WHERE failed GROUP BY source_name, kind, finished_at IS NULL ORDER BY max(pull_id) DESC
