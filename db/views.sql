-- Statements of db/views.py. The views and the function are for other tools; they are in the schema of the tables.
-- {known}, {since}, {value} and {stored} are statements of points.sql, so that an instant means the same in both. What
-- else stands in braces is a fact of the code.
--
-- Other people's views may use ours. So a new version adds columns only, and only at the end: CREATE OR REPLACE allows
-- nothing else. A function that gets another column is dropped first, so nothing of others may depend on it then.

-- name: found
-- What exists under the names below, and whether it is ours. A view of ours has an option that is the default anyway, so
-- nobody else sets it; the first ones had only their comment, which others replace, as dbt does. Our function reads the
-- table loads; that in a cluster is a text, and depends on nothing.
SELECT relname, relkind = 'v' AND (
    coalesce('security_barrier=false' = ANY(reloptions), false)
    OR coalesce(starts_with(obj_description(oid, 'pg_class'), 'crypto-metrics: '), false)
) FROM pg_class WHERE relname = ANY(%(names)s) AND relnamespace = quote_ident(current_schema())::regnamespace
UNION ALL
SELECT proname, EXISTS (
    SELECT FROM pg_depend
    WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND refobjid = to_regclass('loads')
) OR prosrc LIKE '%% loads%%'
FROM pg_proc WHERE proname = ANY(%(names)s) AND pronamespace = quote_ident(current_schema())::regnamespace

-- name: replace_facts
LOCK TABLE metric_facts IN SHARE ROW EXCLUSIVE MODE; -- processes of two versions take turns
WITH gone AS (
    DELETE FROM metric_facts WHERE (source, metric_name) NOT IN (
        SELECT * FROM unnest(%(sources)s::text[], %(metrics)s::text[])
    )
)
INSERT INTO metric_facts (source, metric_name, unit, shift, live_only) SELECT * FROM unnest(
    %(sources)s::text[], %(metrics)s::text[], %(units)s::text[], %(shifts)s::interval[], %(live_only)s::boolean[]
) ON CONFLICT (source, metric_name)
DO UPDATE SET (unit, shift, live_only) = (EXCLUDED.unit, EXCLUDED.shift, EXCLUDED.live_only)

-- name: daily
CREATE OR REPLACE VIEW daily WITH (security_barrier = false) AS
{daily_rows};
COMMENT ON VIEW daily IS 'crypto-metrics: one row for each series and UTC day that has a point, as daily=True of query_data';
COMMENT ON COLUMN daily.source IS 'the API: artemis or defillama';
COMMENT ON COLUMN daily.asset IS 'the asset, as the config names it';
COMMENT ON COLUMN daily.metric_name IS 'the metric';
COMMENT ON COLUMN daily.time IS 'midnight UTC of the day';
COMMENT ON COLUMN daily.value IS 'of the last point of the day';

-- name: latest
CREATE OR REPLACE VIEW latest WITH (security_barrier = false) AS
SELECT series.source, series.asset, series.metric_name, point.pulled_at AT TIME ZONE 'UTC' AS time, point.value,
    coalesce(facts.unit, '') AS unit
FROM coverage AS series LEFT JOIN metric_facts AS facts USING (source, metric_name), LATERAL (
    SELECT m.asset, m.pulled_at, m.value FROM metrics m WHERE m.source = series.source
        AND (m.asset, m.metric_name, m.pulled_at) >= (series.asset, series.metric_name, '-infinity'::timestamp)
        AND (m.asset, m.metric_name, m.pulled_at) <= (series.asset, series.metric_name, 'infinity'::timestamp)
    ORDER BY m.asset DESC, m.metric_name DESC, m.pulled_at DESC LIMIT 1
) AS point WHERE point.asset = series.asset;
COMMENT ON VIEW latest IS 'crypto-metrics: the newest point of each series';
COMMENT ON COLUMN latest.source IS 'the API: artemis or defillama';
COMMENT ON COLUMN latest.asset IS 'the asset, as the config names it';
COMMENT ON COLUMN latest.metric_name IS 'the metric';
COMMENT ON COLUMN latest.time IS 'to which the value belongs';
COMMENT ON COLUMN latest.value IS 'of the newest point';
COMMENT ON COLUMN latest.unit IS 'of the value; empty for a plain number, or where the API does not say';

-- name: assets
CREATE OR REPLACE VIEW assets WITH (security_barrier = false) AS
SELECT source, asset, array_agg(metric_name::text ORDER BY metric_name) AS metric_names, sum(row_count)::bigint AS points
FROM coverage WHERE row_count > 0 GROUP BY source, asset;
COMMENT ON VIEW assets IS 'crypto-metrics: each asset of a source that has points';
COMMENT ON COLUMN assets.source IS 'the API: artemis or defillama';
COMMENT ON COLUMN assets.asset IS 'the asset, as the config names it';
COMMENT ON COLUMN assets.metric_names IS 'the metrics of which it has points';
COMMENT ON COLUMN assets.points IS 'how many points these have together';

-- name: series_health
-- The configs are files, and the schedule is in the code: SQL can't know whether a series is stale, or no longer wanted.
CREATE OR REPLACE VIEW series_health WITH (security_barrier = false) AS
WITH refused_often AS ( -- days that count as answered, as for `ages` of points.sql
    SELECT source, asset, metric_name, max(upper(part)) AS until, range_agg(part) FILTER (
        WHERE reason IN ({flaws})
    ) AS flawed
    FROM refused, unnest(days) AS part WHERE dates >= {enough} GROUP BY source, asset, metric_name
), known AS ( -- DISTINCT: for Citus, what is looked up here must not be part of the query around it
    SELECT DISTINCT ON (c.source, c.asset, c.metric_name) c.source, c.asset, c.metric_name, oldest, newest,
        verified_at, withdrawn, kind.shift, kind.due, kind.today,
        answered, greatest(upper(answered), until) - 1 AS answered_day, coalesce(flawed, '{}') AS flawed
    FROM coverage c
    LEFT JOIN refused_often USING (source, asset, metric_name)
    LEFT JOIN metric_facts AS facts USING (source, metric_name) CROSS JOIN LATERAL (
        SELECT coalesce(facts.shift, '0') AS shift, today, today - CASE WHEN facts.live_only THEN 0 ELSE 1 END AS due
        FROM (SELECT (statement_timestamp() AT TIME ZONE 'UTC')::date AS today) AS clock
    ) AS kind LEFT JOIN LATERAL (
        SELECT m.asset, m.pulled_at AS oldest FROM metrics m WHERE m.source = c.source
            AND (m.asset, m.metric_name, m.pulled_at) >= (c.asset, c.metric_name, '-infinity'::timestamp)
            AND (m.asset, m.metric_name, m.pulled_at) <= (c.asset, c.metric_name, 'infinity'::timestamp)
        ORDER BY m.asset, m.metric_name, m.pulled_at LIMIT 1
    ) AS first ON first.asset = c.asset LEFT JOIN LATERAL (
        SELECT m.asset, m.pulled_at AS newest FROM metrics m WHERE m.source = c.source
            AND (m.asset, m.metric_name, m.pulled_at) >= (c.asset, c.metric_name, '-infinity'::timestamp)
            AND (m.asset, m.metric_name, m.pulled_at) <= (c.asset, c.metric_name, 'infinity'::timestamp)
        ORDER BY m.asset DESC, m.metric_name DESC, m.pulled_at DESC LIMIT 1
    ) AS last ON last.asset = c.asset
)
SELECT source, asset, metric_name, newest AT TIME ZONE 'UTC' AS newest, verified_at AT TIME ZONE 'UTC' AS verified,
    CASE
        WHEN newest IS NULL THEN 'never seen'
        WHEN day_of(newest, shift) >= due THEN 'fresh'
        WHEN answered_day >= due THEN 'quiet'
    END AS state,
    CASE WHEN last_day IS NOT NULL THEN greatest(due - last_day, 0) END AS days_behind,
    days_in(without)::int - held.days AS unanswered_days,
    days_in(withdrawn)::int AS withdrawn_days,
    (
        SELECT count(*)::int FROM quarantine q WHERE q.state = 'waiting'
            AND (q.source, q.asset, q.metric_name) = (known.source, known.asset, known.metric_name)
    ) AS waiting_days
FROM known, LATERAL (
    SELECT greatest(day_of(newest, shift), answered_day) AS last_day,
        datemultirange(daterange(least(lower(answered), day_of(oldest, shift), today), today)) - answered - flawed
        AS without
) AS span, LATERAL ( -- of these days, those that have a point
    SELECT count(DISTINCT day_of(m.pulled_at, shift))::int AS days FROM {unanswered}
) AS held;
COMMENT ON VIEW series_health IS 'crypto-metrics: how old each series is, how far it is confirmed, and what is missing';
COMMENT ON COLUMN series_health.source IS 'the API: artemis or defillama';
COMMENT ON COLUMN series_health.asset IS 'the asset, as the config names it';
COMMENT ON COLUMN series_health.metric_name IS 'the metric';
COMMENT ON COLUMN series_health.newest IS 'the time of the newest point';
COMMENT ON COLUMN series_health.verified IS 'start of the last settle that compared all answered days and left nothing undecided';
COMMENT ON COLUMN series_health.state IS
    'fresh: it has a point of yesterday (live-only: of today); quiet: the API has answered for that day and has nothing '
    'newer; never seen: it has no point; NULL: none of these, and only the command status knows whether it is stale';
COMMENT ON COLUMN series_health.days_behind IS
    'days up to yesterday (live-only: today) since the newest point, and since the last day that the API has answered';
COMMENT ON COLUMN series_health.unanswered_days IS
    'days up to yesterday, since its first, that have no point and no answer; for equities weekends count too';
COMMENT ON COLUMN series_health.withdrawn_days IS 'days that the API had once and no longer has; their values are stored';
COMMENT ON COLUMN series_health.waiting_days IS 'days whose restated values wait for a person';

-- name: runs
CREATE OR REPLACE VIEW runs WITH (security_barrier = false) AS
SELECT pull_id, source_name AS source, kind, status, pulled_at AT TIME ZONE 'UTC' AS started,
    finished_at AT TIME ZONE 'UTC' AS finished, slot AT TIME ZONE 'UTC' AS slot, calls, failed_calls,
    points_received, points_differing, records_count, failure,
    CASE -- as for status, where a run that was stopped has not failed
        WHEN finished_at IS NULL AND failure IS NULL THEN 'unfinished'
        WHEN finished_at IS NULL THEN 'killed'
        WHEN status <> 'error' THEN 'done'
        WHEN starts_with(failure, '{stopped} ') THEN 'stopped'
        ELSE 'failed'
    END AS state
FROM pulls;
COMMENT ON VIEW runs IS 'crypto-metrics: each pull, backfill, settle and fresh start';
COMMENT ON COLUMN runs.pull_id IS 'the number of the run; later runs have greater ones';
COMMENT ON COLUMN runs.source IS 'the API: artemis or defillama';
COMMENT ON COLUMN runs.kind IS 'pull, backfill, settle or fresh';
COMMENT ON COLUMN runs.status IS 'success, no_data, or error: a call for points failed, or the run has not ended';
COMMENT ON COLUMN runs.started IS 'when it began';
COMMENT ON COLUMN runs.finished IS 'when it ended; NULL while it goes on, or if it was killed';
COMMENT ON COLUMN runs.slot IS 'the slot of the schedule; NULL for a manual run';
COMMENT ON COLUMN runs.calls IS 'calls that were answered or failed';
COMMENT ON COLUMN runs.failed_calls IS 'of these, those that failed';
COMMENT ON COLUMN runs.points_received IS 'points in all answers';
COMMENT ON COLUMN runs.points_differing IS 'of these, points that were stored with another value';
COMMENT ON COLUMN runs.records_count IS 'rows that the run has added or changed';
COMMENT ON COLUMN runs.failure IS 'what failed, which rows were left out, and what waits for a person';
COMMENT ON COLUMN runs.state IS
    'done; failed; stopped, and nothing had failed; killed; unfinished: it goes on, or was killed after the last start';

-- name: metrics_as_of
CREATE OR REPLACE FUNCTION metrics_as_of(as_of TIMESTAMPTZ) RETURNS TABLE (
    source VARCHAR, asset VARCHAR, metric_name VARCHAR, pulled_at TIMESTAMP, "time" TIMESTAMPTZ, value DOUBLE PRECISION
) {as_of_body};
COMMENT ON FUNCTION metrics_as_of IS
    'crypto-metrics: each point as it was known at that time (as_of of query_data); pulled_at is naive UTC, as in metrics';

-- name: daily_rows
-- Each day of a metric selects its rows. So a filter by time reads only the days that it leaves, though no index has a
-- TIMESTAMPTZ; a filter by asset uses idx_metrics_unique, and without one idx_metrics_cross_section serves.
SELECT metric.source, point.asset, metric.metric_name, day AT TIME ZONE 'UTC' AS time, point.value
FROM (SELECT DISTINCT source, metric_name FROM coverage) AS metric
LEFT JOIN metric_facts AS facts USING (source, metric_name), LATERAL (
    SELECT coalesce(facts.shift, '0') AS shift, min(pulled_at) AS first, max(pulled_at) AS last FROM metrics m
    WHERE m.source = metric.source AND m.metric_name = metric.metric_name
) AS span, LATERAL generate_series( -- the years are those in which query_data looks for points
    greatest(day_of(first, span.shift), '{earliest}')::timestamp,
    least(day_of(last, span.shift), '9999-12-30')::timestamp, interval '1 day'
) AS day, LATERAL (
    -- The last point of the day. If the API gives times of its own, a point at midnight was dated by a pull, and counts
    -- as earlier than these.
    SELECT DISTINCT ON (m.asset) m.asset, m.value FROM metrics m
    WHERE m.source = metric.source AND m.metric_name = metric.metric_name
        AND m.pulled_at >= day - span.shift AND m.pulled_at < day - span.shift + interval '1 day'
    ORDER BY m.asset, m.pulled_at = m.pulled_at::date, m.pulled_at DESC
) AS point

-- name: daily_rows_distributed
-- In a cluster, each server groups the rows of its own series.
SELECT DISTINCT ON (m.source, m.asset, m.metric_name, day)
    m.source, m.asset, m.metric_name, day::timestamp AT TIME ZONE 'UTC' AS time, m.value
FROM metrics m LEFT JOIN metric_facts AS facts USING (source, metric_name),
    LATERAL (SELECT (m.pulled_at + coalesce(facts.shift, '0'))::date AS day) AS own
WHERE day BETWEEN '{earliest}' AND '9999-12-30'
ORDER BY m.source, m.asset, m.metric_name, day, m.pulled_at = m.pulled_at::date, m.pulled_at DESC

-- name: unanswered
-- The rows of a series in the spans of days without an answer: each span is looked up.
unnest(without) AS part, metrics m WHERE m.source = known.source
    AND (m.asset, m.metric_name, m.pulled_at) >= (known.asset, known.metric_name, lower(part) - shift)
    AND (m.asset, m.metric_name, m.pulled_at) < (known.asset, known.metric_name, upper(part) - shift)

-- name: unanswered_distributed
-- In a cluster, all rows of the series are read: Citus can't look up spans that are computed.
metrics m WHERE (m.source, m.asset, m.metric_name) = (known.source, known.asset, known.metric_name)
    AND without @> day_of(m.pulled_at, shift)

-- name: as_of_rows
{known}
SELECT m.source, m.asset, m.metric_name, m.pulled_at, m.pulled_at AT TIME ZONE 'UTC', {value}
FROM metrics m JOIN known USING (source) {since} WHERE {stored}

-- name: as_of_body
-- A function of one SELECT: the planner puts its text into the query that calls it, so that filters reach the indexes.
LANGUAGE sql STABLE BEGIN ATOMIC
    {as_of_rows};
END

-- name: as_of_body_distributed
-- Citus can't plan such a function. So in a cluster, it reads all points, and filters apply to what it returns.
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY {as_of_rows};
END $$
