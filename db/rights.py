"""What the role of a session may do with the tables, as far as runs need it."""

from typing import Any, NamedTuple

RIGHTS = """
SELECT current_setting('server_version'), current_user, current_setting('transaction_read_only') = 'on',
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
    has_database_privilege(current_database(), 'TEMPORARY')
"""
# A fresh start deletes; of a run and of the scheduler nothing ever is.
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
    """Who a session is, and what it may not do."""

    server: str  # its version
    role: str
    read_only: bool  # the server, the database or the role takes no writes at all
    may_create: bool  # tables, which `setup` does
    may_stage: bool  # temporary tables, which each load does
    denied: list[str]  # such as "INSERT on metrics"


def rights(cursor: Any) -> Rights:
    """What the role may do."""
    cursor.execute(RIGHTS)
    known = cursor.fetchone()
    cursor.execute(DENIED)
    return Rights._make([*known, [privilege for (privilege,) in cursor]])
