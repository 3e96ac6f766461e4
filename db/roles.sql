-- Statements of db/roles.py, which replaces {reader}, {database} and {schema} by quoted names. No statement has a
-- password: the server gets a SCRAM verifier, so that none of its logs can show more.

-- name: known
-- Whether the role exists, and whether this program has created it.
SELECT shobj_description(oid, 'pg_authid') IS NOT DISTINCT FROM 'crypto-metrics reader' FROM pg_roles
WHERE rolname = %(reader)s

-- name: readers
-- The roles that this program has created, and the verifiers of their passwords.
SELECT rolname, coalesce(rolpassword, '') FROM pg_authid
WHERE shobj_description(oid, 'pg_authid') = 'crypto-metrics reader' ORDER BY 1

-- name: place
SELECT current_database(), current_schema()

-- name: create
CREATE ROLE {reader} LOGIN;
COMMENT ON ROLE {reader} IS 'crypto-metrics reader'

-- name: set_password
ALTER ROLE {reader} PASSWORD %(verifier)s

-- name: grant
-- The default privileges are for tables and views of later versions. It finds the tables wherever they are.
ALTER ROLE {reader} SET default_transaction_read_only = on;
ALTER ROLE {reader} IN DATABASE {database} SET search_path = {schema};
GRANT CONNECT ON DATABASE {database} TO {reader};
GRANT USAGE ON SCHEMA {schema} TO {reader};
GRANT SELECT ON {tables} TO {reader};
GRANT EXECUTE ON FUNCTION metrics_as_of TO {reader};
ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader}

-- name: lacking
-- The rights that the role still lacks: GRANT only warns if our own role can't give a right away.
SELECT 'SELECT on ' || name FROM unnest(%(tables)s::text[]) AS name
WHERE NOT has_table_privilege(%(reader)s, name, 'SELECT')
UNION ALL
SELECT 'USAGE on schema ' || current_schema() WHERE NOT has_schema_privilege(%(reader)s, current_schema(), 'USAGE')
UNION ALL
SELECT 'CONNECT' WHERE NOT has_database_privilege(%(reader)s, current_database(), 'CONNECT')

-- name: may_write
-- The rights to write that the role has, because everybody has them, or because others have granted them.
SELECT 'CREATE on schema ' || current_schema() WHERE has_schema_privilege(%(reader)s, current_schema(), 'CREATE')
UNION ALL
SELECT privilege || ' on ' || name
FROM unnest(%(tables)s::text[]) AS name, unnest('{INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) AS privilege
WHERE has_table_privilege(%(reader)s, name, privilege)
