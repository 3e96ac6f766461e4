"""Rows that are added to a config file: what is written, what stays as it was, and what is refused."""

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from model.errors import ConfigurationError
from sources import SOURCES
from sources.artemis import Artemis
from sources.base import BaseSource
from sources.config import Asset, append_rows, read_config
from sources.defillama import DefiLlama

ROOT = Path(__file__).parents[2]
HEADER = "asset,kind,metrics,id,name,entity\n"
LIDO = "lido,protocol,TVL,,Lido,lido\n"
PENDLE = Asset("pendle", ("FEES", "FEES_24H"), "pendle", "protocol", "Pendle", "")
ROW = "pendle,protocol,FEES FEES_24H,,Pendle,"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some_config.csv"


def appended(file: Path, content: str | bytes, *rows: Asset, source: type[BaseSource] = DefiLlama) -> bytes:
    """The bytes of a file with this content after the rows were added."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    append_rows(file, source, rows or (PENDLE,))
    return file.read_bytes()


def refusal(file: Path, content: str | bytes, *rows: Asset, source: type[BaseSource] = DefiLlama) -> str:
    """The message with which rows are refused; the file stays as it was, and nothing else is in its folder."""
    before = content.encode() if isinstance(content, str) else content
    with pytest.raises(ConfigurationError) as raised:
        appended(file, before, *rows, source=source)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]
    assert str(raised.value).startswith(str(file))
    return str(raised.value).removeprefix(str(file))


@pytest.mark.parametrize(
    ("before", "added"),
    [
        (HEADER + LIDO, f"{ROW}\n"),
        (HEADER + LIDO.rstrip(), f"\n{ROW}"),
        ((HEADER + LIDO).replace("\n", "\r\n"), f"{ROW}\r\n"),
        ((HEADER + LIDO).replace("\n", "\r\n").rstrip(), f"\r\n{ROW}"),
        ((HEADER + LIDO).replace("\n", "\r"), f"{ROW}\r"),
        ("\ufeff" + HEADER + LIDO, f"{ROW}\n"),
        (f"# first\n\n{HEADER}\t\n{LIDO}#last,comment\n\n", f"{ROW}\n"),
        (HEADER, f"{ROW}\n"),
        (HEADER.rstrip(), f"\n{ROW}"),
        (HEADER.replace("\n", "\r\n") + LIDO, f"{ROW}\n"),
        (HEADER.replace("\n", ",,\n") + LIDO, f"{ROW}\n"),
        ("metrics,entity,asset,kind\nTVL,lido,lido,protocol\n", "FEES FEES_24H,,pendle,protocol\n"),
    ],
    ids=[
        "LF", "no last newline", "CRLF", "CRLF, no last newline", "CR", "BOM", "comments", "header alone",
        "header without newline", "mixed", "trailing commas", "other columns",
    ],
)  # fmt: skip
def test_a_row_follows_at_the_end_and_every_other_byte_stays(file: Path, before: str, added: str) -> None:
    assert appended(file, before) == (before + added).encode()
    assert read_config(file, DefiLlama)[-1].targets() == PENDLE.targets()


def test_several_rows_come_in_their_order_and_are_told(file: Path) -> None:
    file.write_text(HEADER)
    coin = Asset("pendle", ("PRICE",), "coingecko:pendle", "coin", "", "pendle")
    assert append_rows(file, DefiLlama, [PENDLE, coin]) == [ROW, "pendle,coin,PRICE,coingecko:pendle,,pendle"]
    assert read_config(file, DefiLlama) == [PENDLE, coin]


def test_a_source_without_kinds_has_rows_without_one(file: Path) -> None:
    row = Asset("sol", ("PRICE", "DAU"), "sol", "", "Solana", "solana")
    assert appended(file, "asset,metrics,id,name,entity\nbtc,PRICE\n", row, source=Artemis).endswith(
        b"\nsol,PRICE DAU,,Solana,solana\n"
    )


@pytest.mark.parametrize("name", ["A, B", 'Say "hi"', "Ünï ⓒ", "#1 Coin", "'quoted'", "a;b"])
def test_a_name_of_odd_characters_is_read_as_it_was_written(file: Path, name: str) -> None:
    row = replace(PENDLE, name=name)
    appended(file, HEADER, row)
    assert read_config(file, DefiLlama) == [row]


def test_a_second_row_of_an_asset_may_bring_further_metrics(file: Path) -> None:
    appended(file, f"{HEADER}pendle,protocol,TVL,,,\n")
    assert [asset.metrics for asset in read_config(file, DefiLlama)] == [("TVL",), ("FEES", "FEES_24H")]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (replace(PENDLE, asset="Lido", metrics=("TVL",)), ":3: Lido TVL is in line 2 already: keep one of them"),
        (replace(PENDLE, metrics=("TVLL",)), ":3: unknown metric 'TVLL': did you mean TVL?"),
        (replace(PENDLE, id="a,b"), ":3: id 'a,b' can't be requested: use no comma, and more than dots"),
        (replace(PENDLE, name="a\nb"), ":3: not valid CSV: unexpected end of data"),
        (replace(PENDLE, name="a\x1bb"), r":3: there is a '\x1b' in this line: remove it"),
        (replace(PENDLE, asset="#x"), ": not written, since it would be read as other values: #x,protocol,"),
        (replace(PENDLE, id=" pendle"), ": not written, since it would be read as other values: pendle,protocol,"),
    ],
)
def test_a_row_that_would_not_be_read_as_it_is_meant_is_not_written(file: Path, row: Asset, words: str) -> None:
    assert refusal(file, HEADER + LIDO, row).startswith(words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEADER + "lido,protocol,TVLL\n", ":2: unknown metric 'TVLL': did you mean TVL?"),
        ("asset,kind,metric\n", ":1: unknown column 'metric': did you mean metrics?"),
        ("# a comment\n", ": the header is missing: write asset,kind,metrics,id,name,entity"),
        ("", ": the header is missing"),
        (b"caf\xe9\n", ": can't be read as UTF-8 text: "),
    ],
)
def test_to_a_file_that_is_wrong_nothing_is_added(file: Path, content: str | bytes, words: str) -> None:
    assert refusal(file, content).startswith(words)


def test_a_header_without_the_column_id_takes_no_row_that_needs_one(file: Path) -> None:
    row = replace(PENDLE, id="parent#pendle")
    assert refusal(file, "asset,kind,metrics\n", row) == (
        ": pendle needs a column id, since the API calls it parent#pendle: add one"
    )


def test_a_read_only_file_is_refused_in_one_line(file: Path) -> None:
    file.write_text(HEADER + LIDO)
    file.chmod(0o444)
    with pytest.raises(ConfigurationError, match=r"some_config\.csv: can't be written: it is read-only$"):
        append_rows(file, DefiLlama, [PENDLE])
    assert file.read_text() == HEADER + LIDO


def test_a_missing_file_is_not_made(file: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such config file"):
        append_rows(file, DefiLlama, [PENDLE])
    assert not file.exists()


def test_the_new_file_has_the_mode_of_the_old_one_and_leaves_nothing_else(file: Path) -> None:
    file.write_text(HEADER)
    file.chmod(0o640)
    append_rows(file, DefiLlama, [PENDLE])
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert list(file.parent.iterdir()) == [file]


def test_the_file_is_replaced_and_not_written_over(file: Path) -> None:
    """A reader sees the complete old text or the complete new one."""
    file.write_text(HEADER)
    with file.open() as reader:
        append_rows(file, DefiLlama, [PENDLE])
        assert reader.read() == HEADER
        assert os.fstat(reader.fileno()).st_ino != file.stat().st_ino


def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    file.write_text(HEADER)
    link = tmp_path / "link.csv"
    link.symlink_to(file)
    append_rows(link, DefiLlama, [PENDLE])
    assert link.is_symlink()
    assert file.read_text() == f"{HEADER}{ROW}\n"


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_to_a_shipped_config_a_row_is_added_that_changes_nothing_else(source: type[BaseSource], file: Path) -> None:
    shipped = (ROOT / source.CONFIG).read_bytes()
    metric, known = next(iter(source.METRICS.items()))
    row = Asset("new-asset", (metric,), "new-asset", known.kind, "New", "")
    assert appended(file, shipped, row, source=source).startswith(shipped)
    assert read_config(file, source) == [*read_config(ROOT / source.CONFIG, source), row]


def test_two_who_add_at_once_both_have_their_row(file: Path) -> None:
    file.write_text(HEADER)
    rows = [replace(PENDLE, asset=f"pendle-{number}", id=f"pendle-{number}") for number in range(20)]
    code = (
        "import sys; from tests.sources.test_config_writer import PENDLE, append_rows, replace, DefiLlama, Path\n"
        "for n in sys.argv[2:]: append_rows(Path(sys.argv[1]), DefiLlama, [replace(PENDLE, asset=n, id=n)])"
    )
    halves = ([row.asset for row in rows[:10]], [row.asset for row in rows[10:]])
    started = [subprocess.Popen([sys.executable, "-c", code, file, *half], cwd=ROOT) for half in halves]  # noqa: S603
    assert [process.wait(60) for process in started] == [0, 0]
    assert {row.asset for row in read_config(file, DefiLlama)} == {row.asset for row in rows}


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-x", "@SUM(A1)"])
@pytest.mark.parametrize("column", ["asset", "id", "name"])
def test_a_text_of_an_api_that_a_spreadsheet_would_run_is_not_written(text: str, column: str, file: Path) -> None:
    cells = {"asset": PENDLE.asset, "id": PENDLE.id, "name": PENDLE.name, column: text}
    row = Asset(cells["asset"], PENDLE.metrics, cells["id"], PENDLE.kind, cells["name"], "")
    assert f"a spreadsheet would run {text!r} as a formula" in refusal(file, HEADER + LIDO, row)
