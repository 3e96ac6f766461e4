-- Statements of db/lock.py.

-- name: try_lock
SELECT pg_try_advisory_lock(%s, %s)

-- name: unlock
SELECT pg_advisory_unlock(%s, %s)

-- name: holder
SELECT pid, application_name, coalesce(
    to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS UTC'), 'an unknown time'
)
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND objsubid = 2 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())

-- name: sessions
SELECT application_name, pg_postmaster_start_time() AT TIME ZONE 'UTC'
FROM (VALUES (1)) AS always LEFT JOIN pg_stat_activity ON datname = current_database() AND application_name LIKE %s
