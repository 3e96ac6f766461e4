"""The rights on the tables that runs need, and those that the role of a session lacks."""

from typing import Any, NamedTuple

RIGHTS = """
SELECT current_setting('server_version'), current_user, current_setting('transaction_read_only') = 'on',
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
    has_database_privilege(current_database(), 'TEMPORARY')
"""
# A fresh start deletes rows, but never from pulls and scheduler.
DENIED = """
WITH wanted AS (
    SELECT name, privilege FROM unnest('{pulls,metrics,coverage,loads,revisions,scheduler}'::text[]) AS name,
        unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS privilege
    WHERE privilege <> 'DELETE' OR name NOT IN ('pulls', 'scheduler')
), serial AS (
    SELECT pg_get_serial_sequence(name, number) AS name
    FROM (VALUES ('pulls', 'pull_id'), ('metrics', 'id')) AS numbered (name, number)
    WHERE to_regclass(name) IS NOT NULL
)
SELECT privilege || ' on ' || name FROM wanted
WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(to_regclass(name), privilege)
UNION ALL
SELECT 'USAGE on ' || name FROM serial WHERE name IS NOT NULL AND NOT has_sequence_privilege(name, 'USAGE')
ORDER BY 1
"""


class Rights(NamedTuple):
    """The role of a session, and what it may do."""

    server: str  # its version
    role: str
    read_only: bool  # no writes at all are allowed, by the server, the database or the role
    may_create: bool  # tables, which `setup` does
    may_stage: bool  # temporary tables, which each load does
    denied: list[str]  # such as "INSERT on metrics"


def rights(cursor: Any) -> Rights:
    """What the role may do."""
    cursor.execute(RIGHTS)
    known = cursor.fetchone()
    cursor.execute(DENIED)
    return Rights._make([*known, [privilege for (privilege,) in cursor]])
