"""An error of one line for a file that no fresh start has written, and for a database that can't be written."""

import csv
import gzip
import io
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from db.archive import COLUMNS, clear, restore, save
from db.database import Database
from model.errors import DatabaseLost
from model.values import Window
from tests.tables import BACKFILL, START, Opener, Rows, point, refusal

LIVE_ONLY = {"defillama": ["FEES_24H"], "artemis": []}
TABLES = ("metrics", "loads", "coverage", "revisions")
NOTHING = Window(START, START)
GOOD = "metrics,defillama,solana,TVL,2024-01-01 00:00:00,1.5,2026-01-01 00:00:00.5,7,"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the rows are kept, in a folder that is still to be made."""
    return tmp_path / "saved" / "defillama.csv.gz"


def packed(*rows: str, header: str = ",".join(COLUMNS)) -> bytes:
    """A file of these lines after the header and a good one."""
    return gzip.compress("\n".join([header, GOOD, *rows, ""]).encode(errors="surrogateescape"), mtime=0)


def changed(column: int, text: str) -> bytes:
    """A file whose third line has another text in one column."""
    cells, line = GOOD.split(","), io.StringIO()
    csv.writer(line, lineterminator="").writerow([*cells[:column], text, *cells[column + 1 :]])
    return packed(line.getvalue())


WHOLE = gzip.compress("\n".join([",".join(COLUMNS), *[GOOD] * 3]).encode(), mtime=0)
NOISE = packed(*(GOOD.replace("solana", str(random.Random(number).random())) for number in range(500)))  # noqa: S311


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ":1: the header is '' instead of table,source,asset,"),
        (b"no gzip at all", ": not a complete file written by a fresh start: Not a gzipped file"),
        (WHOLE[:-12], ": not a complete file written by a fresh start: Compressed file ended before"),
        (WHOLE[:-8] + bytes(8), ": not a complete file written by a fresh start: CRC check failed"),
        (NOISE[:900] + bytes(200) + NOISE[1100:], ": not a complete file written by a fresh start: "),
        (packed(header="asset,value"), ":1: the header is 'asset,value' instead of table,source,asset,"),
        (packed(GOOD + ",more"), ":3: extra data after last expected column in"),
        (packed("metrics,defillama"), ':3: missing data for column "asset" in "metrics,defillama"'),
        (packed("\\.", GOOD), ":3: remove this line: a fresh start does not write it"),
        (packed('"'), ":4: unterminated CSV quoted field"),
        (packed("\udcff"), ':3: invalid byte sequence for encoding "UTF8": 0xff'),
        (changed(0, "pulls"), ':3: table is neither metrics nor revisions in "pulls,defillama'),
        (changed(1, "defilama"), ':3: unknown source (python main.py sources lists the known ones) in "metrics,def'),
        (changed(2, ""), ':3: asset or metric is empty or too long in "metrics,defillama,,TVL'),
        (changed(2, "a\0b"), ':3: invalid byte sequence for encoding "UTF8": 0x00'),
        (changed(3, "M" * 201), ':3: asset or metric is empty or too long in "metrics,defillama,solana,MMMM'),
        (changed(4, ""), ":3: pulled_at is not a time such as 2026-01-31 00:00:00 in "),
        (changed(4, "2024-02-30 00:00:00"), ':3: date/time field value out of range: "2024-02-30 00:00:00" in '),
        (changed(4, "2024-01-01 00:00:00+02"), ":3: pulled_at is not a time"),
        (changed(4, "2024-W01-1"), ":3: pulled_at is not a time"),
        (changed(8, "sample"), ":3: reason is not sample, restated or accepted in"),
        (changed(6, "yesterday"), ":3: at is not a time"),
        (changed(5, "NaN"), ":3: value is not a finite number in"),
        (changed(5, "-Infinity"), ":3: value is not a finite number in"),
        (changed(5, "1,5"), ':3: invalid input syntax for type double precision: "1,5" in column value'),
        (changed(5, "1_000"), ':3: invalid input syntax for type double precision: "1_000"'),
        (changed(5, "1e-999"), ':3: "1e-999" is out of range for type double precision'),
        (changed(7, "-1"), ":3: pull_id is negative in"),
        (changed(7, "9999999999"), ':3: value "9999999999" is out of range for type integer in column pull_id'),
        (changed(7, "\u0667"), ':3: invalid input syntax for type integer: "\u0667"'),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_its_line_and_nothing_is_written(
    content: bytes, said: str, tmp_path: Path, database: Database, rows: Rows
) -> None:
    file = tmp_path / "bad.csv.gz"
    file.write_bytes(content)
    assert refusal(lambda: restore(database, file, LIVE_ONLY)).startswith(f"{file}{said}")
    assert [rows(f"TABLE {name}") for name in TABLES] == [[]] * 4


def test_a_database_that_is_read_only_or_goes_away_gives_an_error_of_one_line(
    file: Path, database: Database, open_store: Opener, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(BACKFILL).load([point()])
    save(database, "defillama", (), NOTHING, file)
    writing: list[Callable[[], object]] = [
        lambda: clear(database, "defillama"),
        lambda: restore(database, file, LIVE_ONLY),
    ]
    with monkeypatch.context() as patch:
        patch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
        for work in writing:
            message = refusal(work)
            assert re.fullmatch(rf"{database} can't be written: cannot execute .* in a read-only transaction", message)
    rows("CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
         "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;"
         "CREATE TRIGGER die BEFORE INSERT OR DELETE ON metrics EXECUTE FUNCTION die()")  # fmt: skip
    for work in writing:
        with pytest.raises(DatabaseLost, match=rf"^{database} went away: server closed the connection unexpectedly$"):
            work()


def test_a_missing_file_is_refused(tmp_path: Path, database: Database) -> None:
    message = refusal(lambda: restore(database, tmp_path / "x.csv.gz", LIVE_ONLY))
    assert message == f"{tmp_path / 'x.csv.gz'}: there is no such file"
