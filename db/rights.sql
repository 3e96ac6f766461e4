-- Statements of db/rights.py.

-- name: role
SELECT current_setting('server_version'), current_user,
    current_setting('default_transaction_read_only') = 'on' OR pg_is_in_recovery(),
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
    has_database_privilege(current_database(), 'TEMPORARY')

-- name: denied
WITH
-- the rights that runs need; nothing deletes rows from some tables
wanted AS (
    SELECT name, privilege
    FROM unnest(%(tables)s::text[]) AS name, unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS privilege
    WHERE privilege <> 'DELETE' OR name NOT IN ('pulls', 'scheduler', 'api_limits', 'identities')
),
-- the sequences of their ids
serial AS (
    SELECT pg_get_serial_sequence(name, number) AS name
    FROM (VALUES ('pulls', 'pull_id'), ('metrics', 'id')) AS numbered (name, number)
    WHERE to_regclass(name) IS NOT NULL
)
SELECT privilege || ' on ' || name FROM wanted
WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(to_regclass(name), privilege)
UNION ALL
SELECT 'USAGE on ' || name FROM serial WHERE name IS NOT NULL AND NOT has_sequence_privilege(name, 'USAGE')
ORDER BY 1
