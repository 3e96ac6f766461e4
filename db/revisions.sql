-- Statements of db/revisions.py.

-- name: revisions
-- Each revision with its new value: the old value of the point's next revision, else the value that is stored now.
SELECT r.asset, r.metric_name, r.pulled_at, r.value AS old,
    CASE WHEN lead(r.id) OVER later IS NULL THEN m.value ELSE lead(r.value) OVER later END AS new,
    r.replaced_at, r.pull_id, coalesce(r.reason, 'unknown') AS reason
FROM revisions r LEFT JOIN metrics m ON (m.source, m.asset, m.metric_name, m.pulled_at)
    = (r.source, r.asset, r.metric_name, r.pulled_at)
WHERE r.source = %(source)s AND (%(assets)s::text[] IS NULL OR r.asset = ANY(%(assets)s))
    AND (%(metrics)s::text[] IS NULL OR r.metric_name = ANY(%(metrics)s))
WINDOW later AS (PARTITION BY r.asset, r.metric_name, r.pulled_at ORDER BY r.id)

-- name: by_series
-- A sample gave way to the first value of its closed day: it was not restated.
SELECT asset, metric_name, count(*), count(DISTINCT pulled_at), (
    SELECT count(*) FROM metrics m WHERE m.source = %(source)s AND m.asset = each.asset
        AND m.metric_name = each.metric_name
), percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(new - old) / nullif(abs(old), 0)),
    max(abs(new - old) / nullif(abs(old), 0)), max(replaced_at)
FROM ({revisions}) AS each WHERE reason <> 'sample' GROUP BY asset, metric_name ORDER BY count(*) DESC, asset, metric_name

-- name: largest
-- The largest changes first, in relation to the old value. A change from zero, or one too large for a double, has no
-- such size and comes last. Samples, rows that were deleted, and values that are NULL or not finite, are left out.
SELECT asset, metric_name, each.pulled_at, old, new, replaced_at, each.pull_id, reason, kind,
    count(*) OVER ()
FROM ({revisions}) AS each LEFT JOIN pulls ON pulls.pull_id = each.pull_id
WHERE reason <> 'sample' AND new <> old AND abs(old) < 'Infinity' AND abs(new) < 'Infinity'
ORDER BY CASE WHEN abs(old) > 1e-100 AND abs(new) < 1e100 THEN abs(new - old) / abs(old) END DESC NULLS LAST,
    replaced_at DESC, asset, metric_name, each.pulled_at
LIMIT %(most)s
