-- Statements of db/cluster.py, which replaces {schema}, {table}, {rows}, {key} and {scope}.

-- name: has_citus
SELECT to_regclass('pg_dist_partition') IS NOT NULL

-- name: is_distributed
SELECT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = to_regclass('metrics') AND partmethod = 'h')

-- name: schema
SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'metrics'::regclass

-- name: scope
-- The series of a working copy, and the time of the points that belong to it: none if they are NULL.
CREATE TEMPORARY TABLE scope ON COMMIT DROP AS
SELECT source, asset, metric, min(first) AS first, max(last) AS last
FROM ({scope}) AS part (source, asset, metric, first, last) GROUP BY source, asset, metric

-- name: copy
-- Also copies the rows as they are now, to find out later what has changed.
-- A temporary table hides the one that has the same name. It is there until the transaction ends.
CREATE TEMPORARY TABLE {table} (LIKE {schema}.{table} INCLUDING DEFAULTS INCLUDING INDEXES) ON COMMIT DROP;
INSERT INTO pg_temp.{table} SELECT here.* FROM {schema}.{table} AS here {rows};
CREATE TEMPORARY TABLE {table}_before ON COMMIT DROP AS TABLE pg_temp.{table}

-- name: of_series
JOIN scope ON (here.source, here.asset, here.metric_name) = (scope.source, scope.asset, scope.metric)

-- name: of_points
JOIN scope ON (here.source, here.asset, here.metric_name) = (scope.source, scope.asset, scope.metric)
    AND here.pulled_at BETWEEN first AND last

-- name: of_ids
-- The loads of the copied rows, and those in between.
JOIN (SELECT source, min(id) AS first, max(id) AS last FROM pg_temp.metrics GROUP BY source) AS stored
    ON here.source = stored.source AND here.last_id >= stored.first AND here.first_id <= stored.last

-- name: next_revision
-- LIKE has left out how ids are drawn here.
ALTER TABLE pg_temp.revisions ALTER id SET DEFAULT nextval(pg_get_serial_sequence('{schema}.revisions', 'id'))

-- name: remove
-- Deletes the rows that have changed or are gone.
DELETE FROM {schema}.{table} AS there
USING (TABLE {table}_before EXCEPT TABLE pg_temp.{table}) AS old WHERE {key}

-- name: add
-- Writes the rows that have changed or are new.
INSERT INTO {schema}.{table} OVERRIDING SYSTEM VALUE (TABLE pg_temp.{table} EXCEPT TABLE {table}_before)
