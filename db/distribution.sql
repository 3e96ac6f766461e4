-- Statements of db/distribution.py.

-- name: workers
SELECT count(*) FROM pg_dist_node WHERE shouldhaveshards AND isactive

-- name: distribute
-- All tables with the points and what belongs to them have the rows of an asset on the same server. A unique constraint
-- without the asset is impossible there; the sequence keeps the ids unique.
SET LOCAL citus.multi_shard_modify_mode = 'sequential';
ALTER TABLE metrics DROP CONSTRAINT IF EXISTS metrics_pkey;
SELECT create_distributed_table('metrics', 'asset', colocate_with => 'none');
SELECT create_distributed_table(name, 'asset', colocate_with => 'metrics')
FROM unnest('{coverage,refused,revisions,quarantine}'::text[]) AS name;
-- each server has a copy of these
SELECT create_reference_table(name) FROM unnest('{loads,metric_facts}'::text[]) AS name

-- name: truncate_local
-- The coordinator still has the rows as they were before, and reads them no more.
SELECT truncate_local_data_after_distributing_table(name::regclass)
FROM unnest('{metrics,coverage,refused,revisions,quarantine,loads,metric_facts}'::text[]) AS name

-- name: spread
SELECT count(DISTINCT nodename || ':' || nodeport) FROM citus_shards WHERE table_name = 'metrics'::regclass
