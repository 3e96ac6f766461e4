"""SQL files: each statement of a file stands below a line `-- name: its_name`.

Two shorthands of these files are written out here: day_of(time, shift) is the day that a point belongs to, as in
model.values.day_of, and days_in(multirange) is the number of days in a DATEMULTIRANGE.
"""

import re
from pathlib import Path

SHORTHANDS = {
    r"day_of\(([^(),]+), ([^(),]+)\)": r"(\1 + \2)::date",
    r"days_in\(([^()]+)\)": r"(SELECT coalesce(sum(upper(part) - lower(part)), 0) FROM unnest(\1) AS part)",
}


def read_statements(file: str) -> dict[str, str]:
    """The statements of an SQL file of this folder by name, without comments."""
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    for shorthand, written_out in SHORTHANDS.items():
        text = re.sub(shorthand, written_out, text)
    _, *parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    statements = (re.sub(r"\s*--.*", "", part).strip() for part in parts[1::2])
    return dict(zip(parts[::2], statements, strict=True))


def filled_in(statement: str, **parts: str) -> str:
    """A statement in which each {name} is replaced by the SQL text of that name."""
    for name, part in parts.items():
        statement = statement.replace(f"{{{name}}}", part)
    return statement
