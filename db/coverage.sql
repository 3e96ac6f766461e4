-- Statements of db/coverage.py.

-- name: missing
-- The days of a window without an answer, except those set aside. Answers for another identifier do not count; old rows
-- without one do.
WITH aside AS ({set_aside})
SELECT name.asset, name.metric, lower(part), upper(part)
FROM unnest(%(assets)s::text[], %(metrics)s::text[], %(api_ids)s::text[]) AS name (asset, metric, api_id)
LEFT JOIN coverage ON (coverage.source, coverage.asset, metric_name) = (%(source)s, name.asset, name.metric)
        AND coalesce(coverage.api_id = name.api_id, true)
LEFT JOIN aside ON (aside.asset, aside.metric_name) = (name.asset, name.metric),
    unnest(
        datemultirange(daterange(%(start)s::date, %(end)s::date)) - coalesce(answered, '{}') - coalesce(aside.days, '{}')
    ) AS part
ORDER BY 1, 2, 3

-- name: set_aside
-- Refused days that a backfill does not request now: those for which answers on enough UTC days had points that can't be
-- true, and those for which an answer of today had no value yet, since only an answer of another day can confirm that.
SELECT asset, metric_name, range_agg(part) AS days, string_agg(DISTINCT reason, ', ') AS reason
FROM refused, unnest(days) AS part
WHERE source = %(source)s AND (
    dates >= %(enough)s AND reason = ANY(%(flaws)s)
    OR reason = %(not_begun)s AND last_on = (clock_timestamp() AT TIME ZONE 'UTC')::date
)
GROUP BY asset, metric_name

-- name: known_series
-- What the tables know of the series of a run. Answers for another identifier do not count.
SELECT name.asset, name.metric, row_count, verified_at,
    CASE WHEN another THEN '{}' ELSE answered END, CASE WHEN another THEN '{}' ELSE found END
FROM unnest(%(assets)s::text[], %(metrics)s::text[], %(api_ids)s::text[]) AS name (asset, metric, api_id)
JOIN coverage ON (coverage.source, coverage.asset, metric_name) = (%(source)s, name.asset, name.metric),
    LATERAL (SELECT coalesce(coverage.api_id <> name.api_id, false) AS another) AS changed

-- name: refusals
SELECT asset, metric_name, reason, dates, last_on FROM refused WHERE source = %(source)s

-- name: forget_future
-- Drops coverage of days after yesterday, for live-only metrics of days after today: no answer covers them. They were
-- recorded while a clock was ahead.
WITH beyond AS (
    SELECT asset, metric_name, datemultirange(daterange(
        (clock_timestamp() AT TIME ZONE 'UTC')::date + CASE WHEN metric_name = ANY(%(live_only)s) THEN 1 ELSE 0 END,
        NULL
    )) AS days FROM coverage WHERE source = %(source)s
)
UPDATE coverage c SET answered = answered - beyond.days, found = found - beyond.days,
    found_count = days_in(found - beyond.days)
FROM beyond
WHERE source = %(source)s AND c.asset = beyond.asset AND c.metric_name = beyond.metric_name AND answered && beyond.days

-- name: forget_lost
-- Takes the lost days out of `found`, so that they no longer count as lost.
UPDATE coverage SET found = kept.days, found_count = days_in(kept.days)
FROM (
    SELECT lost.asset, metric, found - range_agg(daterange(first, last)) AS days
    FROM unnest(%(assets)s::text[], %(metrics)s::text[], %(firsts)s::date[], %(lasts)s::date[])
        AS lost (asset, metric, first, last)
    JOIN coverage ON (coverage.source, coverage.asset, metric_name) = (%(source)s, lost.asset, lost.metric)
    GROUP BY lost.asset, metric, found
) AS kept
WHERE coverage.source = %(source)s AND coverage.asset = kept.asset AND metric_name = kept.metric

-- name: stored_series
SELECT source, asset, metric_name, row_count, NOT isempty(answered) FROM coverage
WHERE (%(sources)s::text[] IS NULL OR source = ANY(%(sources)s))
    AND (%(metrics)s::text[] IS NULL OR metric_name = ANY(%(metrics)s))
    AND (%(assets)s::text[] IS NULL OR lower(asset) = ANY(%(assets)s))
ORDER BY source, asset, metric_name

-- name: series_maps
-- Which days of each series are in metrics, and why other days are not. Reading all rows of a series takes ten times as
-- long as counting them. So rows are only counted, unless a series is in doubt: then its rows are read. A series is in
-- doubt if metrics does not have as many rows as the loads have written, or not one row for each day in `found` (plus
-- rows of live values), or if `found` has changed since the last load, or if its points have times of their own.
WITH
-- the metrics of which no row is missing; a count over a whole metric is quick, since it reads the small index
whole AS MATERIALIZED (
    SELECT metric_name FROM (
        SELECT metric_name, count(*) AS rows FROM metrics
        WHERE source = %(source)s AND %(assets)s::text[] IS NULL
            AND (%(metrics)s::text[] IS NULL OR metric_name = ANY(%(metrics)s))
        GROUP BY metric_name
    ) AS held JOIN (
        SELECT metric_name, sum(row_count) AS rows FROM coverage WHERE source = %(source)s GROUP BY metric_name
    ) AS put USING (metric_name, rows)
),
-- What coverage claims for each series, and the rows in metrics; claimed_open and open_rows are those of the open day.
-- DISTINCT has each expression computed once.
series AS (
    SELECT DISTINCT ON (c.asset, c.metric_name)
        c.source, c.asset, c.metric_name, own.metric IS NOT NULL AS own_times, coalesce(own.shift, '0') AS shift,
        past, c.answered * past AS answered, c.found * past AS found, row_count, found_count,
        withdrawn, withdrawn_at, verified_at,
        days_in(c.found) AS claimed, days_in(c.found - past) AS claimed_open,
        CASE WHEN whole.metric_name IS NOT NULL THEN row_count ELSE (
            SELECT count(*) FROM metrics m
            WHERE m.source = c.source AND m.asset = c.asset AND m.metric_name = c.metric_name
        ) END AS rows, (
            SELECT count(*) FROM metrics m WHERE m.source = c.source AND m.asset = c.asset
                AND m.metric_name = c.metric_name AND m.pulled_at >= %(today)s::date
        ) AS open_rows
    FROM coverage c CROSS JOIN (SELECT datemultirange(daterange(NULL, %(today)s::date)) AS past) AS past
    LEFT JOIN whole USING (metric_name)
    LEFT JOIN unnest(%(own_times)s::text[], %(shifts)s::interval[]) AS own (metric, shift)
        ON own.metric = c.metric_name
    WHERE c.source = %(source)s AND (%(assets)s::text[] IS NULL OR c.asset = ANY(%(assets)s))
        AND (%(metrics)s::text[] IS NULL OR c.metric_name = ANY(%(metrics)s))
),
-- `more`: the rows of closed days, less one for each day found; `sound`: what coverage claims agrees with the counts
judged AS (
    SELECT series.*, rows - open_rows - claimed + claimed_open AS more,
        NOT own_times AND rows = row_count AND claimed = found_count AS sound
    FROM series
),
-- the days that metrics has: of a sound series, those found plus those of live rows (`beside`); else read from the rows
held AS MATERIALIZED (
    SELECT judged.*, coalesce(aside.days, '{}') * past AS flawed, coalesce(aside.reason, '') AS reason,
        CASE WHEN sound AND more = 0 THEN found WHEN sound AND more = beside.rows THEN found + beside.days
    ELSE (
        SELECT coalesce(range_agg(daterange(day, day + 1)), '{}') FROM (
            SELECT DISTINCT day_of(m.pulled_at, shift) AS day FROM metrics m
            WHERE m.source = judged.source AND m.asset = judged.asset AND m.metric_name = judged.metric_name
        ) AS each WHERE day < %(today)s
    ) END AS days
    FROM judged LEFT JOIN ({set_aside}) AS aside USING (asset, metric_name) LEFT JOIN LATERAL (
        SELECT count(*) AS rows, range_agg(daterange(day, day + 1)) AS days FROM ({live_days}) AS live
        WHERE sound AND more > 0
    ) AS beside ON true
)
-- the number of stored days; why points are refused; the answered days; the gaps since the first known day that were
-- never answered; the gaps for which the API had nothing; those for which it had data; those whose points are refused;
-- the stored days that were withdrawn, and when the last of them was; since when the answered days are confirmed
SELECT asset, metric_name, days_in(days)::int, reason, answered,
    CASE WHEN isempty(answered + days) THEN '{}'
    ELSE datemultirange(daterange(lower(answered + days), %(today)s::date)) END - answered - days - flawed,
    answered * datemultirange(daterange(lower(days + found), NULL)) - found - days - flawed,
    found - days - flawed,
    flawed - days,
    withdrawn * days, withdrawn_at, verified_at
FROM held ORDER BY asset, metric_name

-- name: live_days
-- The days of rows on days that are not in `found`.
SELECT m.pulled_at::date AS day
FROM unnest(datemultirange(daterange(NULL, %(today)s::date)) - found) AS part JOIN metrics m
    ON m.source = judged.source AND m.asset = judged.asset AND m.metric_name = judged.metric_name
        AND m.pulled_at >= coalesce(lower(part), '-infinity') AND m.pulled_at < upper(part)

-- name: live_days_distributed
-- The same in a cluster. It reads all rows of the series, since Citus can't look up each span of days.
SELECT m.pulled_at::date AS day FROM metrics m
WHERE m.source = judged.source AND m.asset = judged.asset AND m.metric_name = judged.metric_name
    AND m.pulled_at < %(today)s::date AND NOT found @> m.pulled_at::date
