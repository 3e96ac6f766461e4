-- Statements of db/quarantine.py.

-- name: series
SELECT DISTINCT asset, metric_name FROM quarantine
WHERE source = %(source)s AND state = ANY(%(states)s) ORDER BY asset, metric_name

-- name: compared_as_a_whole
-- The series of which something waits, or of which a new value is older than a settle compares by itself.
SELECT DISTINCT asset, metric_name FROM quarantine
WHERE source = %(source)s AND (state = 'waiting' OR state = 'new' AND pulled_at < %(start)s::timestamp)

-- name: rejected
SELECT asset, metric_name, count(*)::int FROM quarantine
WHERE source = %(source)s AND state = 'rejected' GROUP BY asset, metric_name ORDER BY asset, metric_name

-- name: waiting
-- The series with values that wait for a person. The stored value of each is looked up as in `latest` of db/points.sql,
-- so that only idx_metrics_unique can serve it. The factor is the median of new to stored values; it leaves out zeros,
-- and values of which the quotient does not fit a double.
SELECT each.asset, each.metric_name, count(*), count(*) FILTER (WHERE value = 0), count(*) FILTER (WHERE value IS NULL),
    (
        SELECT count(*) FROM metrics m WHERE m.source = %(source)s AND m.asset = each.asset
            AND m.metric_name = each.metric_name AND m.pulled_at < (clock_timestamp() AT TIME ZONE 'UTC')::date
    ), min(each.pulled_at), max(each.pulled_at), percentile_cont(0.5) WITHIN GROUP (ORDER BY CASE
        WHEN abs(stored) BETWEEN 1e-100 AND 1e100 AND abs(value) BETWEEN 1e-100 AND 1e100 THEN value / stored
    END),
    (array_agg(stored ORDER BY each.pulled_at DESC))[1], (array_agg(value ORDER BY each.pulled_at DESC))[1],
    min(seen_at)
FROM quarantine each LEFT JOIN LATERAL (
    SELECT m.asset, m.value AS stored FROM metrics m WHERE m.source = %(source)s
        AND (m.asset, m.metric_name, m.pulled_at) >= (each.asset, each.metric_name, each.pulled_at)
        AND (m.asset, m.metric_name, m.pulled_at) <= (each.asset, each.metric_name, each.pulled_at)
    ORDER BY m.asset, m.metric_name, m.pulled_at LIMIT 1
) AS found ON found.asset = each.asset
WHERE each.source = %(source)s AND state = 'waiting'
GROUP BY each.asset, each.metric_name ORDER BY each.asset, each.metric_name

-- name: compared
-- The stored points of a series, and what the API says now of some of them. There is no join: its plan would depend on
-- statistics, and Citus could not make it. The points are one span of keys, as in db/points.sql.
SELECT m.pulled_at, m.value, NULL AS state FROM metrics m
WHERE m.source = %(source)s
    AND (m.asset, m.metric_name, m.pulled_at) >= (%(asset)s, %(metric)s, '-infinity'::timestamp)
    AND (m.asset, m.metric_name, m.pulled_at) <= (%(asset)s, %(metric)s, 'infinity'::timestamp)
UNION ALL SELECT pulled_at, value, state FROM quarantine
WHERE (source, asset, metric_name) = (%(source)s, %(asset)s, %(metric)s) AND state <> 'rejected'

-- name: hold
UPDATE quarantine SET state = 'waiting'
WHERE (source, asset, metric_name) = (%(source)s, %(asset)s, %(metric)s) AND state = 'new'
    AND pulled_at = ANY(%(times)s::timestamp[])

-- name: reject
-- An answer that leaves out the rejected days is no failure any more: see pipeline/acceptance.py.
WITH known AS (
    UPDATE refused SET dates = greatest(dates, %(enough)s)
    WHERE (source, asset, metric_name) = (%(source)s, %(asset)s, %(metric)s) AND reason = %(missing)s
)
UPDATE quarantine SET state = 'rejected'
WHERE (source, asset, metric_name) = (%(source)s, %(asset)s, %(metric)s) AND state = 'waiting'

-- name: reconsider
UPDATE quarantine SET state = 'waiting'
WHERE (source, asset, metric_name) = (%(source)s, %(asset)s, %(metric)s) AND state = 'rejected'

-- name: adopt
-- Writes the values of series that are in one state into metrics: of a run, those that it or an earlier run has
-- received. Days that the API no longer has keep their values. Each row is found by the index of the key, whatever the
-- planner's statistics say: see `load` in load.sql.
SET LOCAL enable_sort = off;
WITH instant AS MATERIALIZED (
    SELECT clock_timestamp() AT TIME ZONE 'UTC' AS at
),
-- the stored value of each point, and what the API says now
proposal AS MATERIALIZED (
    SELECT q.asset, q.metric_name, q.pulled_at, q.value, shift, m.id, m.value AS old_value
    FROM unnest(%(assets)s::text[], %(metrics)s::text[], %(shifts)s::interval[]) AS name (asset, metric, shift)
    JOIN quarantine q ON (q.source, q.asset, q.metric_name) = (%(source)s, name.asset, metric)
    JOIN LATERAL (
        SELECT m.id, m.asset, m.metric_name, m.pulled_at, m.value FROM metrics m WHERE m.source = %(source)s
            AND (m.asset, m.metric_name, m.pulled_at) >= (q.asset, q.metric_name, q.pulled_at)
        ORDER BY m.asset, m.metric_name, m.pulled_at LIMIT 1
    ) AS m ON (m.asset, m.metric_name, m.pulled_at) = (q.asset, q.metric_name, q.pulled_at)
    WHERE state = %(state)s AND (%(pull_id)s::int IS NULL OR coalesce(q.pull_id, 0) <= %(pull_id)s)
),
written AS (
    UPDATE metrics m SET value = proposal.value FROM proposal WHERE m.id = proposal.id AND proposal.value IS NOT NULL
),
revised AS (
    INSERT INTO revisions (source, asset, metric_name, pulled_at, value, replaced_at, pull_id, reason)
    SELECT %(source)s, asset, metric_name, pulled_at, old_value, instant.at, %(pull_id)s, %(reason)s
    FROM proposal, instant WHERE value IS NOT NULL AND value IS DISTINCT FROM old_value
    ORDER BY asset, metric_name, pulled_at
),
uncovered AS (
    UPDATE coverage c SET found = found - days, withdrawn = withdrawn + days, found_count = days_in(found - days),
        withdrawn_at = instant.at
    FROM instant, (
        SELECT asset, metric_name, range_agg(daterange(day_of(pulled_at, shift), day_of(pulled_at, shift) + 1)) AS days
        FROM proposal WHERE value IS NULL GROUP BY asset, metric_name
    ) AS gone
    WHERE (c.source, c.asset, c.metric_name) = (%(source)s, gone.asset, gone.metric_name)
),
decided AS (
    DELETE FROM quarantine q USING proposal
    WHERE (q.source, q.asset, q.metric_name, q.pulled_at)
        = (%(source)s, proposal.asset, proposal.metric_name, proposal.pulled_at)
)
SELECT count(value), count(*) - count(value) FROM proposal

-- name: verify
-- Notes that all answered days of series were compared with the API, where nothing is undecided. Days for which the API
-- keeps giving points that can't be true can't be compared.
UPDATE coverage c SET verified_at = pulls.pulled_at
FROM pulls, (
    SELECT asset, metric, range_agg(daterange(first, last)) AS days
    FROM unnest(%(assets)s::text[], %(metrics)s::text[], %(firsts)s::date[], %(lasts)s::date[])
        AS part (asset, metric, first, last) GROUP BY asset, metric
) AS compared
WHERE pull_id = %(pull_id)s AND (c.source, c.asset, c.metric_name) = (%(source)s, compared.asset, metric)
    AND answered * datemultirange(daterange(NULL, pulls.pulled_at::date)) - coalesce((
        SELECT range_agg(part) FROM refused r, unnest(r.days) AS part
        WHERE (r.source, r.asset, r.metric_name) = (c.source, c.asset, c.metric_name)
            AND reason = ANY(%(flaws)s) AND dates >= %(enough)s
    ), '{}') <@ days AND NOT EXISTS (
        SELECT FROM quarantine q WHERE (q.source, q.asset, q.metric_name) = (c.source, c.asset, c.metric_name)
            AND state <> 'rejected'
    )
