-- Statements of db/points.py, which replaces {wanted}, {known}, {since}, {value} and {then}: with `as_of` or `lag` by the
-- statements whose names begin with "then_" or "lag_", otherwise so that they select what is stored now. {extras} are
-- the further columns that are asked for, and {names} their names.

-- name: wanted
-- Each series ever requested has a row in coverage. On a cluster, that row is on the server that has the points, and so
-- each server answers for its own series. DISTINCT keeps the list, which no server has, out of the look-ups of points.
(
    SELECT DISTINCT ON (coverage.asset, number) number, coverage.source, coverage.asset, metric{columns} FROM coverage
    JOIN unnest(%(sources)s::text[], %(assets)s::text[], %(metrics)s::text[])
        WITH ORDINALITY AS asked (source, asset, metric, number)
        ON (coverage.source, coverage.asset, metric_name) = (asked.source, asked.asset, metric) {known}
) AS wanted

-- name: wanted_with_shifts
(
    SELECT DISTINCT ON (coverage.asset, number) number, coverage.source, coverage.asset, metric, shift{columns}
    FROM coverage JOIN unnest(%(sources)s::text[], %(assets)s::text[], %(metrics)s::text[], %(shifts)s::interval[])
        WITH ORDINALITY AS asked (source, asset, metric, shift, number)
        ON (coverage.source, coverage.asset, metric_name) = (asked.source, asked.asset, metric) {known}
) AS wanted

-- name: of_series
-- The points of each series are a span of keys in the order of idx_metrics_unique. Only that index can serve it,
-- whatever the planner's statistics say: see db/load.sql. A value that somebody has set to NULL is returned as NaN, so
-- that all rows of a binary COPY have the same length.
SELECT number::int - 1, point.pulled_at, coalesce(point.value, 'NaN'){names} FROM {wanted} {covered}, LATERAL (
    SELECT m.asset, m.pulled_at, {value} AS value{extras} FROM metrics m {since}
    WHERE m.source = wanted.source
        AND (m.asset, m.metric_name, m.pulled_at) >= (wanted.asset, wanted.metric, %(start)s::timestamp)
        AND (m.asset, m.metric_name, m.pulled_at) < (wanted.asset, wanted.metric, %(end)s::timestamp) AND {then}
    ORDER BY m.asset, m.metric_name, m.pulled_at LIMIT %(most)s
) AS point WHERE point.asset = wanted.asset

-- name: latest
-- The last row of the same span.
SELECT number::int - 1, point.pulled_at, coalesce(point.value, 'NaN'){names} FROM {wanted} {covered}, LATERAL (
    SELECT m.asset, m.pulled_at, {value} AS value{extras} FROM metrics m {since}
    WHERE m.source = wanted.source
        AND (m.asset, m.metric_name, m.pulled_at) >= (wanted.asset, wanted.metric, '-infinity'::timestamp)
        AND (m.asset, m.metric_name, m.pulled_at) <= (wanted.asset, wanted.metric, 'infinity'::timestamp) AND {then}
    ORDER BY m.asset DESC, m.metric_name DESC, m.pulled_at DESC LIMIT 1
) AS point WHERE point.asset = wanted.asset ORDER BY number

-- name: on_day
SELECT m.asset, m.pulled_at, {value}{extras} FROM metrics m {since} {known} {covered}
WHERE m.source = %(source)s AND m.metric_name = %(metric)s
    AND m.pulled_at >= %(start)s::timestamp AND m.pulled_at < %(end)s::timestamp AND {then}
ORDER BY m.pulled_at, m.asset

-- name: then_known
-- The ids of the rows that were stored at an instant: each load has written one range of ids.
WITH known AS MATERIALIZED (
    SELECT source, range_agg(int8range(first_id, last_id, '[]')) AS ids FROM loads
    WHERE loaded_at <= {instant} GROUP BY source
)

-- name: then_since
-- The first revision of a point after {instant}: the value that it replaced was the value at that instant. Revisions
-- count in the order of their ids, because their times are not in order if a clock was ahead and was corrected.
LEFT JOIN LATERAL (
    SELECT r.id, r.value FROM revisions r
    WHERE (r.source, r.asset, r.metric_name, r.pulled_at) = (m.source, m.asset, m.metric_name, m.pulled_at)
        AND r.id > coalesce((
            SELECT max(u.id) FROM revisions u
            WHERE (u.source, u.asset, u.metric_name, u.pulled_at) = (m.source, m.asset, m.metric_name, m.pulled_at)
                AND u.replaced_at <= {instant}
        ), 0)
    ORDER BY r.id LIMIT 1
) AS since ON true

-- name: then_value
CASE WHEN since.id IS NULL THEN m.value ELSE since.value END

-- name: then_stored
-- Values of a day that was open at that instant are left out: a pull overwrites them and keeps no revision.
{ids} @> m.id::bigint AND m.pulled_at < ({instant})::date

-- name: lag_instant
-- With a lag, the instant depends on the point: so long after the end of its day.
(day_of(m.pulled_at, {shift}) + interval '1 day' + %(lag)s::interval)

-- name: lag_stored
-- As `then_stored` for that instant, which must not be later than `as_of`, or than now.
load.loaded_at <= {instant} AND m.pulled_at < {instant}::date
    AND {instant} <= coalesce(%(as_of)s::timestamp, statement_timestamp() AT TIME ZONE 'UTC')

-- name: load
-- The load that has stored a row; rows that were written by other hands have none.
LEFT JOIN LATERAL (
    SELECT loaded_at, last_id FROM loads WHERE loads.source = m.source AND first_id <= m.id
    ORDER BY first_id DESC LIMIT 1
) AS load ON load.last_id >= m.id

-- name: known_at
-- The first instant whose `as_of` answer has the value that is shown: a row is known from its load on, and once its day
-- is closed; a later value from the last revision before {instant} on. Without a load, a row is never known.
CASE WHEN load.loaded_at IS NOT NULL THEN greatest(load.loaded_at, m.pulled_at::date + interval '1 day', (
    SELECT u.replaced_at FROM revisions u
    WHERE (u.source, u.asset, u.metric_name, u.pulled_at) = (m.source, m.asset, m.metric_name, m.pulled_at)
        AND u.replaced_at <= {instant}
    ORDER BY u.id DESC LIMIT 1
)) END

-- name: withdrawn
-- Whether the provider has withdrawn the day of a point.
coalesce(covered.withdrawn @> day_of(m.pulled_at, {shift}), false)

-- name: covered
LEFT JOIN coverage AS covered ON (covered.source, covered.asset, covered.metric_name) = ({series})

-- name: withdrawn_days
SELECT source, asset, metric_name, lower(days), upper(days) - 1 FROM coverage, unnest(withdrawn) AS days
WHERE withdrawn <> '{}' AND source = ANY(%(sources)s) AND metric_name = ANY(%(metrics)s)
    AND (%(assets)s::text[] IS NULL OR asset = ANY(%(assets)s))
ORDER BY source, asset, metric_name, 4

-- name: ages
-- The time of the newest point (as in `latest`); the last day for which the API has answered, or has given points that
-- can't be true on enough UTC days; since when the history is confirmed; how many days were withdrawn, and when last.
SELECT c.asset, c.metric_name, point.pulled_at, greatest(upper(answered), (
    SELECT max(upper(days)) FROM refused r WHERE dates >= %(enough)s
        AND (r.source, r.asset, r.metric_name) = (c.source, c.asset, c.metric_name)
)) - 1, verified_at, days_in(withdrawn), withdrawn_at
FROM coverage c JOIN unnest(%(assets)s::text[], %(metrics)s::text[]) AS wanted (asset, metric)
    ON (c.source, c.asset, c.metric_name) = (%(source)s, wanted.asset, wanted.metric)
LEFT JOIN LATERAL (
    SELECT m.asset, m.pulled_at FROM metrics m WHERE m.source = c.source
        AND (m.asset, m.metric_name, m.pulled_at) >= (c.asset, c.metric_name, '-infinity'::timestamp)
        AND (m.asset, m.metric_name, m.pulled_at) <= (c.asset, c.metric_name, 'infinity'::timestamp)
    ORDER BY m.asset DESC, m.metric_name DESC, m.pulled_at DESC LIMIT 1
) AS point ON point.asset = c.asset
