-- Statements of db/vintages.py. A vintage is a value of a point, with the span of time in which `as_of` shows it.

-- name: of_series
-- The vintages of one series in a window. Its points are one span of keys, as in the statements of db/points.sql.
WITH point AS MATERIALIZED (
    SELECT m.asset, m.pulled_at, m.value, {visible} AS visible FROM metrics m {load}
    WHERE m.source = %(source)s
        AND (m.asset, m.metric_name, m.pulled_at) >= (%(asset)s, %(metric)s, %(start)s::timestamp)
        AND (m.asset, m.metric_name, m.pulled_at) < (%(asset)s, %(metric)s, %(end)s::timestamp)
), {vintages}
SELECT pulled_at, value, known_at, known_until, reason FROM vintage ORDER BY pulled_at, place

-- name: finality
-- For each asset of a metric, and at last for all: the number of points of closed days, the shares that changed after
-- some ages, and of all changes the largest one, and the greatest age at one, in days.
WITH point AS MATERIALIZED (
    SELECT m.asset, m.pulled_at, m.value, {visible} AS visible,
        day_of(m.pulled_at, {shift}) + interval '1 day' AS closed_at
    FROM metrics m {load} WHERE m.source = %(source)s AND m.metric_name = %(metric)s
        AND day_of(m.pulled_at, {shift}) < %(now)s::timestamp::date
), {vintages},
-- each vintage beside the value before it
successive AS (
    SELECT vintage.*, lag(value) OVER (PARTITION BY asset, pulled_at ORDER BY place) AS old FROM vintage
),
-- the last and the largest change of each point; a sample that gave way to the value of its closed day has not changed
changed AS (
    SELECT asset, pulled_at, max(known_at) AS changed_at, max(
        CASE WHEN abs(old) BETWEEN 1e-100 AND 1e100 AND abs(value) < 1e100 THEN abs(value - old) / abs(old) END
    ) AS change
    FROM successive
    WHERE reason NOT IN ('first', 'sample') AND value IS DISTINCT FROM old AND known_at IS NOT NULL
    GROUP BY asset, pulled_at
)
SELECT asset, count(*), {shares}, max(change),
    (extract(epoch FROM max(changed_at - closed_at)) / 86400)::float8
FROM point LEFT JOIN changed USING (asset, pulled_at)
GROUP BY GROUPING SETS ((asset), ()) ORDER BY grouping(asset), asset

-- name: share
-- Only points that were known at that age, and have reached it, can tell whether they changed after it.
avg(coalesce(changed_at > closed_at + interval '{days} days', false)::int) FILTER (
    WHERE visible <= closed_at + interval '{days} days' AND closed_at + interval '{days} days' <= %(now)s::timestamp
)::float8

-- name: visible
-- The first instant at which `as_of` shows a row: when it was loaded, or the end of its UTC day if that is later.
CASE WHEN load.loaded_at IS NOT NULL THEN greatest(load.loaded_at, m.pulled_at::date + interval '1 day') END

-- name: vintages
-- the values of each point, in the order in which they were replaced; the present one is the last
value AS (
    SELECT point.asset, point.pulled_at, visible, r.id, r.value, replaced_at, reason
    FROM point JOIN revisions r ON (r.source, r.asset, r.metric_name, r.pulled_at)
        = (%(source)s, point.asset, %(metric)s, point.pulled_at)
    UNION ALL SELECT asset, pulled_at, visible, NULL, value, NULL, NULL FROM point
),
-- Until when each was known. Times are out of order if a clock was ahead; then a value ends with the earliest time of
-- its own and all later revisions, as it does for `as_of`.
ended AS (
    SELECT value.*, min(replaced_at) OVER (
        PARTITION BY asset, pulled_at ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
    ) AS known_until
    FROM value
),
-- since when each was known, and why it replaced the value before it
begun AS (
    SELECT ended.*, CASE WHEN visible IS NOT NULL THEN greatest(visible, lag(known_until) OVER point) END AS known_at,
        lag(coalesce(reason, 'unknown')) OVER point AS why
    FROM ended WINDOW point AS (PARTITION BY asset, pulled_at ORDER BY id)
),
-- the values that were known at any time; of a row without a load, all
vintage AS (
    SELECT asset, pulled_at, value, known_at, known_until, id AS place,
        CASE WHEN row_number() OVER (PARTITION BY asset, pulled_at ORDER BY id) = 1 THEN 'first' ELSE why END AS reason
    FROM begun WHERE known_until > known_at OR known_until IS NULL OR known_at IS NULL
)
