-- Statements of db/load.py.

-- name: stage
-- The points of the load, before they are compared with what is stored. `place` is their order in the load.
-- `stored` is for the rows of metrics on the same days. For the planner, sorts and nested loops are very expensive in this
-- transaction; so it joins by hash, whatever it believes about the size of the tables.
SET LOCAL enable_sort = off; SET LOCAL enable_nestloop = off; SET LOCAL work_mem = '32MB';
CREATE TEMPORARY TABLE IF NOT EXISTS stage (
    series INTEGER, place INTEGER, at TIMESTAMP, value DOUBLE PRECISION, over_live BOOLEAN NOT NULL DEFAULT false
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS stored (
    series INTEGER, at TIMESTAMP, id BIGINT, value DOUBLE PRECISION
) ON COMMIT DELETE ROWS

-- name: fill_stage
COPY stage (series, place, at, value) FROM STDIN (FORMAT binary)

-- name: take_turn
-- Waits until no other transaction writes data of the source. The statements after this one see everything that earlier
-- writers have committed. So a load replaces exactly the values that it has compared with, and its rows get one unbroken
-- range of ids.
SELECT pg_advisory_xact_lock(%(first)s, %(second)s)

-- name: take_turn_soon
-- The same for some seconds; then it fails, and the transaction can go on from the savepoint.
SAVEPOINT turn; SET LOCAL lock_timeout = %(patience)s; {take_turn}; SET LOCAL lock_timeout = 0; RELEASE SAVEPOINT turn

-- name: names
-- The series of the load, with their numbers in the stage.
SELECT * FROM unnest(%(assets)s::text[], %(metrics)s::text[], %(shifts)s::interval[], %(api_ids)s::text[])
    WITH ORDINALITY AS name (asset, metric, shift, api_id, series)

-- name: look_up
-- Copies the stored rows of all days that have points in the stage.
-- The plan must not depend on statistics, which are missing or wrong for a table that is being filled. So the rows are read
-- in the order of idx_metrics_unique: no other index has this order, and for the planner a sort is very expensive in this
-- transaction. A LIMIT ends the reading. An upper bound of the key would not: before version 18, PostgreSQL reads on to
-- the end of the asset.
INSERT INTO stored
WITH RECURSIVE
-- The spans of time to read, of at most 90 days, so that few other rows are read if the points are far apart.
span AS (
    SELECT series, asset, metric, day_of(first, shift)::timestamp - shift AS since,
        day_of(last, shift)::timestamp - shift + interval '1 day' AS until
    FROM (
        SELECT series, asset, metric, shift, min(at) AS first, max(at) AS last
        FROM stage JOIN ({names}) AS name USING (series)
        GROUP BY series, asset, metric, shift, date_bin('90 days', at + shift, '0001-01-01')
    ) AS part
),
-- The rows of a span: one at first, since most spans of a new series have none; then as many as there are days left, and
-- one more, until a row is beyond the span.
chunk AS (
    SELECT *, 1 AS most, true AS unfinished, '{}'::timestamp[] AS times, '{}'::int8[] AS ids, '{}'::float8[] AS values
    FROM span
    UNION ALL
    SELECT series, asset, metric, next, until, until::date - next::date + 1, unfinished_now, read.*
    FROM chunk, LATERAL (
        SELECT array_agg(at) FILTER (WHERE wanted) AS times, array_agg(id) FILTER (WHERE wanted),
            array_agg(value) FILTER (WHERE wanted)
        FROM (
            SELECT m.pulled_at AS at, m.id, m.value,
                (m.asset, m.metric_name) = (chunk.asset, chunk.metric) AND m.pulled_at < until AS wanted
            FROM metrics m
            WHERE m.source = %(source)s AND (m.asset, m.metric_name, m.pulled_at) >= (chunk.asset, chunk.metric, since)
            ORDER BY m.asset, m.metric_name, m.pulled_at LIMIT most
        ) AS found
    ) AS read, LATERAL (
        SELECT cardinality(read.times) = most AS unfinished_now, read.times[most] + interval '1 microsecond' AS next
    ) AS following
    WHERE unfinished
)
SELECT series, row.* FROM chunk, unnest(times, ids, values) AS row

-- name: final_values
-- Gives each closed day its final value, for series whose points have times of their own.
-- metrics may hold a row of the day at a time that is not, or no longer, in the API's history: the midnight of a live
-- pull, or the last record that the day had when a backfill ran. The final value is written into that row instead of a
-- second row beside it. This statement changes only the stage; `load` then writes.
-- MATERIALIZED computes the day of each point first, so that a hash join can compare the days.
WITH name AS ({names}),
given AS MATERIALIZED (SELECT series, at, day_of(at, shift)::timestamp AS day FROM stage JOIN name USING (series)),
kept AS MATERIALIZED (SELECT series, at, value, day_of(at, shift)::timestamp AS day FROM stored JOIN name USING (series)),
-- the days for which metrics holds a row at a time that the API does not give
odd AS (
    SELECT DISTINCT series, day FROM kept
    WHERE NOT EXISTS (SELECT FROM stage WHERE (stage.series, stage.at) = (kept.series, kept.at))
),
-- Of these days, those for which the API gives points; with the times of these points.
day AS (
    SELECT series, day, max(at) AS last, array_agg(at) AS times FROM given JOIN odd USING (series, day)
    GROUP BY series, day
),
-- The same days, also with the rows that metrics holds.
held AS (
    SELECT day.*, array_agg(at ORDER BY at) AS stored, array_agg(value ORDER BY at) AS stored_values
    FROM day JOIN kept USING (series, day) GROUP BY series, day, last, times
),
-- the rows that get the final value: the row at midnight; and the last row, if the API gives none of the day's rows now.
-- `over_live`: the row at midnight has the live value of a pull, since the last other row has another value.
target AS (
    SELECT series, last, times, stored, day AS at,
        cardinality(stored) > 1 AND stored_values[array_position(stored, day)] IS DISTINCT FROM
            stored_values[cardinality(stored) - (stored[cardinality(stored)] = day)::int] AS over_live
    FROM held WHERE day = ANY(stored) AND day <> ALL(times)
    UNION SELECT series, last, times, stored, stored[cardinality(stored)], false FROM held
    WHERE NOT stored && times AND stored[cardinality(stored)] <> day
),
-- the day's last point, staged once more at the time of that row
copied AS (
    INSERT INTO stage SELECT series, place, target.at, value, target.over_live FROM stage JOIN target USING (series)
    WHERE stage.at = last
),
-- the points of such a day that would become second rows are removed from the stage
surplus AS MATERIALIZED (
    SELECT DISTINCT series, time AS at FROM target, unnest(times) AS time WHERE time <> ALL(stored)
)
DELETE FROM stage USING surplus WHERE (stage.series, stage.at) = (surplus.series, surplus.at)

-- name: scope
-- The series of the load, and the time around its points: see db/cluster.py.
SELECT %(source)s, asset, metric, min(at) - interval '2 days', max(at) + interval '2 days'
FROM ({names}) AS name LEFT JOIN stage USING (series) GROUP BY asset, metric
UNION ALL SELECT %(source)s, *, NULL, NULL
FROM unnest(%(refused_assets)s::text[], %(refused_metrics)s::text[]) AS part
UNION ALL SELECT %(source)s, asset, metric, first - interval '2 days', last + interval '2 days'
FROM unnest(
    %(withdrawn_assets)s::text[], %(withdrawn_metrics)s::text[],
    %(withdrawn_firsts)s::date[], %(withdrawn_lasts)s::date[]
) AS part (asset, metric, first, last)

-- name: load
-- Writes the stage into metrics, and what follows from it into loads, revisions and coverage.
WITH
-- the time of the load; a value is revised only if its day was closed before
instant AS MATERIALIZED (
    SELECT at, greatest(at::date, %(latest_day)s::date) AS open_day
    FROM (SELECT clock_timestamp() AT TIME ZONE 'UTC' AS at) AS clock
),
series AS MATERIALIZED ({names}),
-- one point for each key: the last one in the load
point AS (
    SELECT DISTINCT ON (series, at) series, at, value, over_live FROM stage ORDER BY series, at, place DESC
),
-- each point beside the value that is stored at its key
judged AS (
    SELECT series, at, point.value, over_live, stored.id AS old_id, stored.value AS old_value,
        stored.id IS NOT NULL AND stored.value IS DISTINCT FROM point.value AS differs
    FROM point LEFT JOIN stored USING (series, at)
),
-- what coverage says of each series so far; and whether the series is now requested by another identifier than before.
-- LIMIT forces one look-up for each series; a join would read the coverage of all series.
before AS MATERIALIZED (
    SELECT series, known.*, coalesce(known.api_id <> series.api_id, false) AS another FROM series, LATERAL (
        SELECT api_id, answered, found, withdrawn, withdrawn_at, row_count FROM coverage
        WHERE (source, coverage.asset, metric_name) = (%(source)s, series.asset, series.metric) LIMIT 1
    ) AS known
),
-- the stored values of closed days for which the API gives others, and why they differ: see revisions.reason in
-- schema.sql. A sample was stored before the day was over, or by a pull that was under way then, and never replaced.
-- The days of live-only metrics are found while they are open.
replaced AS MATERIALIZED (
    SELECT series, judged.at, judged.value, old_value, CASE
        WHEN (
            over_live OR metric = ANY(%(live_only)s::text[])
            OR NOT coalesce(found + withdrawn, '{}') @> day_of(judged.at, shift)
        ) AND (
            SELECT CASE WHEN last_id >= old_id THEN loaded_at END FROM loads
            WHERE loads.source = %(source)s AND first_id <= old_id ORDER BY first_id DESC LIMIT 1
        ) < judged.at::date + interval '25 hours' AND NOT EXISTS (
            SELECT FROM revisions r WHERE (r.source, r.asset, r.metric_name, r.pulled_at)
                = (%(source)s, series.asset, series.metric, judged.at)
        ) THEN 'sample'
        ELSE 'restated'
    END AS reason
    FROM judged JOIN series USING (series) LEFT JOIN before USING (series), instant
    WHERE differs AND judged.at < open_day
),
-- Only points to be written reach the INSERT: ON CONFLICT would use up a serial value for each row that it skips.
-- All loads write in the order of the key, so concurrent loads do not deadlock.
written AS (
    INSERT INTO metrics (source, asset, metric_name, pulled_at, value)
    SELECT %(source)s, asset, metric, at, judged.value
    FROM judged JOIN series USING (series) LEFT JOIN replaced USING (series, at) WHERE {wanted}
    ORDER BY series, at
    {conflict}
    RETURNING id, xmax = 0 AS inserted
),
-- the ids of the new rows, for `as_of` questions
loaded AS (
    INSERT INTO loads (source, first_id, last_id, loaded_at, pull_id)
    SELECT %(source)s, min(id), max(id), (SELECT at FROM instant), %(pull_id)s FROM written WHERE inserted
    HAVING count(*) > 0
),
-- the old values of closed days
revised AS (
    INSERT INTO revisions (source, asset, metric_name, pulled_at, value, replaced_at, pull_id, reason)
    SELECT %(source)s, asset, metric, replaced.at, old_value, instant.at, %(pull_id)s, reason
    FROM replaced JOIN series USING (series), instant WHERE {revises} AND reason <> 'restated'
),
-- Restated values wait for the end of a settle: see db/quarantine.py. A value that was rejected stays rejected.
quarantined AS (
    INSERT INTO quarantine (source, asset, metric_name, pulled_at, value, state, seen_at, pull_id)
    SELECT %(source)s, asset, metric, replaced.at, value, 'new', instant.at, %(pull_id)s
    FROM replaced JOIN series USING (series), instant WHERE {revises} AND reason = 'restated'
    ON CONFLICT (source, asset, metric_name, pulled_at) DO UPDATE
    SET value = excluded.value, state = excluded.state, seen_at = excluded.seen_at, pull_id = excluded.pull_id
    WHERE quarantine.value IS DISTINCT FROM excluded.value
),
-- what is in quarantine of these series; OFFSET forces a look-up for each, where a join would read all that is there
aside AS MATERIALIZED (
    SELECT series, waiting.* FROM series, LATERAL (
        SELECT ctid AS place, pulled_at AS at FROM quarantine
        WHERE (source, quarantine.asset, metric_name) = (%(source)s, series.asset, series.metric) OFFSET 0
    ) AS waiting
),
-- the API gives the stored value again, or this load stores what it gives
agreed AS (
    DELETE FROM quarantine WHERE ctid = ANY(ARRAY(
        SELECT place FROM aside JOIN judged USING (series, at) LEFT JOIN replaced USING (series, at)
        WHERE differs IS NOT TRUE OR {revises} AND reason IS DISTINCT FROM 'restated'
    ))
),
-- the days that were requested, and for which the API has answered
requested AS (
    SELECT series, range_agg(daterange(first, last)) AS days
    FROM unnest(%(requested)s::int[], %(firsts)s::date[], %(lasts)s::date[]) AS days (series, first, last)
    GROUP BY series
),
-- the days for which the API gave points, without those whose samples a backfill keeps: a later run replaces these
given AS (
    SELECT series, range_agg(daterange(day_of(at, shift), day_of(at, shift) + 1))
            FILTER (WHERE {revises} OR reason IS DISTINCT FROM 'sample') AS days,
        count(*) FILTER (WHERE old_id IS NULL) AS new
    FROM judged JOIN series USING (series) LEFT JOIN replaced USING (series, at) GROUP BY series
),
-- the coverage so far; it is empty if the series is now requested by another identifier than before
old AS (
    SELECT series, api_id, row_count, withdrawn_at, CASE WHEN another THEN '{}' ELSE answered END AS answered,
        CASE WHEN another THEN '{}' ELSE found END AS found, CASE WHEN another THEN '{}' ELSE withdrawn END AS withdrawn
    FROM before
),
-- `gone` are days for which the API once had data and now has none: their rows stay, but they count as not found
answer AS (
    SELECT series.asset, series.metric, coalesce(series.api_id, old.api_id) AS api_id,
        coalesce(requested.days, '{}') AS requested, coalesce(requested.days * given.days, '{}') AS found,
        coalesce(given.new, 0) AS new, coalesce(old.answered, '{}') AS old_answered,
        coalesce(old.found, '{}') AS old_found, coalesce(old.row_count, 0) AS old_row_count,
        coalesce(old.found * requested.days - coalesce(given.days, '{}'), '{}') AS gone,
        coalesce(old.withdrawn, '{}') AS old_withdrawn, withdrawn_at AS old_withdrawn_at
    FROM series LEFT JOIN requested USING (series) LEFT JOIN given USING (series) LEFT JOIN old USING (series)
),
-- what the API gave for days that it no longer has
outdated AS (
    DELETE FROM quarantine WHERE ctid = ANY(ARRAY(
        SELECT place FROM aside JOIN series USING (series) JOIN answer USING (asset, metric)
        WHERE gone @> day_of(at, shift)
    ))
),
-- the coverage from now on
covered AS (
    INSERT INTO coverage (
        source, asset, metric_name, answered, found, row_count, found_count, api_id, withdrawn, withdrawn_at
    )
    SELECT %(source)s, asset, metric, old_answered + requested, now_found, old_row_count + new, days_in(now_found),
        api_id, old_withdrawn + gone - found, CASE WHEN isempty(gone) THEN old_withdrawn_at ELSE instant.at END
    FROM answer, instant, LATERAL (SELECT old_found - gone + found AS now_found) AS held ORDER BY asset, metric
    ON CONFLICT (source, asset, metric_name) DO UPDATE
    SET answered = excluded.answered, found = excluded.found, row_count = excluded.row_count,
        found_count = excluded.found_count, api_id = excluded.api_id, withdrawn = excluded.withdrawn,
        withdrawn_at = excluded.withdrawn_at,
        verified_at = CASE WHEN coverage.api_id <> excluded.api_id THEN NULL ELSE coverage.verified_at END
    WHERE (coverage.answered, coverage.found, coverage.row_count, coverage.found_count, coverage.api_id,
        coverage.withdrawn, coverage.withdrawn_at)
        IS DISTINCT FROM
        (excluded.answered, excluded.found, excluded.row_count, excluded.found_count, excluded.api_id,
        excluded.withdrawn, excluded.withdrawn_at)
)
SELECT (SELECT count(*) FROM point), count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted),
    CASE WHEN {revises} THEN (SELECT count(*) FROM replaced WHERE reason = 'restated')
        ELSE (SELECT count(*) FROM judged WHERE differs) END,
    (SELECT coalesce(sum(upper(days) - lower(days)), 0)::int FROM answer, unnest(gone) AS days)
FROM written

-- name: forget_refused
-- The days that are answered now are no longer refused.
WITH answer AS (
    SELECT name.asset, metric, range_agg(daterange(first, last)) AS days
    FROM unnest(%(requested)s::int[], %(firsts)s::date[], %(lasts)s::date[]) AS part (series, first, last)
    JOIN ({names}) AS name USING (series) GROUP BY name.asset, metric
),
gone AS (
    DELETE FROM refused USING answer WHERE refused.source = %(source)s AND refused.asset = answer.asset
        AND metric_name = metric AND refused.days <@ answer.days
)
UPDATE refused SET days = refused.days - answer.days FROM answer WHERE refused.source = %(source)s
    AND refused.asset = answer.asset AND metric_name = metric
    AND refused.days && answer.days AND NOT refused.days <@ answer.days

-- name: quarantine_withdrawn
-- Enters the stored points of days that the API no longer has.
INSERT INTO quarantine (source, asset, metric_name, pulled_at, value, state, seen_at, pull_id)
SELECT m.source, m.asset, m.metric_name, m.pulled_at, NULL, 'new', clock_timestamp() AT TIME ZONE 'UTC', %(pull_id)s
FROM unnest(%(assets)s::text[], %(metrics)s::text[], %(shifts)s::interval[], %(firsts)s::date[], %(lasts)s::date[])
    AS part (asset, metric, shift, first, last), LATERAL (
    SELECT * FROM metrics m WHERE m.source = %(source)s
        AND (m.asset, m.metric_name, m.pulled_at) >= (part.asset, part.metric, first - shift)
        AND (m.asset, m.metric_name, m.pulled_at) < (part.asset, part.metric, last - shift)
    ORDER BY m.asset, m.metric_name, m.pulled_at
) AS m
ON CONFLICT (source, asset, metric_name, pulled_at) DO UPDATE
SET value = NULL, state = excluded.state, seen_at = excluded.seen_at, pull_id = excluded.pull_id
WHERE quarantine.value IS NOT NULL

-- name: refuse
-- Enters refused days; an answer of another UTC day than the last one counts as one more.
INSERT INTO refused (source, asset, metric_name, reason, days, last_on)
SELECT %(source)s, asset, metric, reason, range_agg(daterange(first, last)), max(answered_on)
FROM unnest(
    %(assets)s::text[], %(metrics)s::text[], %(reasons)s::text[], %(firsts)s::date[], %(lasts)s::date[], %(on)s::date[]
) AS part (asset, metric, reason, first, last, answered_on)
GROUP BY asset, metric, reason ORDER BY asset, metric, reason
ON CONFLICT (source, asset, metric_name, reason) DO UPDATE SET days = refused.days + excluded.days,
    dates = refused.dates + (refused.last_on < excluded.last_on)::int,
    last_on = greatest(refused.last_on, excluded.last_on)

-- name: do_update
ON CONFLICT (source, asset, metric_name, pulled_at)
    DO UPDATE SET value = excluded.value WHERE metrics.value IS DISTINCT FROM excluded.value

-- name: do_nothing
ON CONFLICT (source, asset, metric_name, pulled_at) DO NOTHING
