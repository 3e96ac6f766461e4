"""The files of fresh starts keep why each value was replaced."""

import gzip
from pathlib import Path

import pytest

from db.archive import clear, restore, save
from db.database import Database
from model.values import Window
from tests.tables import START, Rows, refusal

pytestmark = pytest.mark.cluster

REVISIONS = (
    "SELECT source, asset, metric_name, pulled_at, value, replaced_at, pull_id, reason FROM revisions ORDER BY id"
)
REASONS = ["sample", "restated", "accepted", None]
REVISE = """
INSERT INTO revisions (source, asset, metric_name, pulled_at, value, replaced_at, pull_id, reason)
SELECT 'artemis', 'sol', 'FEES', '2026-01-01', place, timestamp '2026-01-02' + place * interval '1 hour', 7, reason
FROM unnest(%s) WITH ORDINALITY AS each (reason, place)
"""


@pytest.fixture
def file(database: Database, rows: Rows, tmp_path: Path) -> Path:
    """The file of a fresh start that had revisions of each reason."""
    rows(REVISE, REASONS)
    path = tmp_path / "saved.csv.gz"
    save(database, "artemis", (), Window(START, START), path)
    return path


def test_a_restored_revision_has_its_reason(file: Path, database: Database, rows: Rows) -> None:
    before = rows(REVISIONS)
    clear(database, "artemis")
    restore(database, file, {"artemis": []})
    assert rows(REVISIONS) == before
    assert [reason for *_, reason in before] == REASONS


def test_the_reasons_in_a_file_of_an_earlier_version_are_unknown(file: Path, database: Database, rows: Rows) -> None:
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    file.write_bytes(gzip.compress("\n".join(line.rpartition(",")[0] for line in lines).encode()))
    clear(database, "artemis")
    restore(database, file, {"artemis": []})
    assert [row[-1] for row in rows(REVISIONS)] == [None] * 4


def test_a_reason_that_no_revision_has_restores_nothing(file: Path, database: Database, rows: Rows) -> None:
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(b"accepted", b"guessed")))
    clear(database, "artemis")
    assert "saved.csv.gz:4: reason is not sample, restated or accepted" in refusal(
        lambda: restore(database, file, {"artemis": []})
    )
    assert rows(REVISIONS) == []
