"""The SQL files: every statement is used, and none reaches the server with a comment or an unknown shorthand."""

from pathlib import Path

import pytest

from db.statements import filled_in, read_statements
from tests.commands import ROOT

FILES = sorted(file for file in (ROOT / "db").glob("*.sql") if file.name != "schema.sql")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_statement_is_used_by_the_module_of_the_same_name(file: Path) -> None:
    module = file.with_suffix(".py").read_text(encoding="utf-8").replace("'", '"')
    names = read_statements(file.name)
    assert [name for name in names if f'"{name}"' not in module] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_statements_have_neither_comments_nor_shorthands(file: Path) -> None:
    text = "\n".join(read_statements(file.name).values())
    assert not [word for word in ("--", "day_of", "days_in", "-- name") if word in text]


def test_named_parts_are_filled_in_and_braces_of_sql_stay() -> None:
    assert (
        filled_in("SELECT {what} FROM {where} WHERE x <> '{}'", what="1", where="y")
        == "SELECT 1 FROM y WHERE x <> '{}'"
    )
