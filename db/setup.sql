-- Statements of db/setup.py.

-- name: holders
-- The other sessions whose transactions hold locks on our tables, as those that read our views do.
SELECT DISTINCT pid, usename || ' ' || coalesce(application_name, '') FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE granted AND pid <> pg_backend_pid() AND datname = current_database() AND relation IN (
    SELECT to_regclass(name) FROM unnest(%(tables)s::text[]) AS name
) ORDER BY pid
