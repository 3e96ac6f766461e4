"""Two recorded days of the real APIs, one loaded after the other, then settled: what was new, restated and kept."""

import re
from pathlib import Path

import pytest

from tests.commands import Rows, environment, run
from tests.recorded import ANSWERS, NEXT_DAY, RECORDED, serve

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded answers are not beside this checkout")

SERIES = {
    "drift-trade,protocol,TVL,": (1474, 1, 0),  # points of the first day; new on the second, restated on the second
    "all-stablecoins,chain,CHAIN_STABLECOIN_SUPPLY,all": (3184, 1, 1),  # the newest day, which was not over
}


@pytest.mark.parametrize("row", SERIES)
def test_a_backfill_keeps_what_the_second_day_restates_and_a_settle_adopts_it(
    row: str, tmp_path: Path, database_url: str, rows: Rows
) -> None:
    first, new, restated = SERIES[row]
    config = tmp_path / "config.csv"
    config.write_text(f"asset,kind,metrics,id\n{row}\n")
    with serve() as one, serve(ANSWERS | NEXT_DAY) as other:
        env = environment(database_url)
        loaded = run("main.py backfill defillama --config", config, env=env | one)
        values = table(rows, "metrics")
        again = run("main.py backfill defillama --full --config", config, env=env | other)
        kept = table(rows, "metrics")
        settled = run("main.py settle defillama --days 5000 --config", config, env=env | other)
    stored = table(rows, "metrics")
    assert counts(loaded.stdout) == (first, 0, 0, 0)
    assert counts(again.stdout) == (new, 0, first - restated, restated)
    assert counts(settled.stdout) == (0, restated, first + new - restated, 0)
    assert kept.items() >= values.items()
    changed = {at: value for at, value in kept.items() if stored[at] != value}
    assert len(changed) == restated
    assert table(rows, "revisions") == changed


def counts(said: str) -> tuple[int, ...]:
    """New, changed or restated, unchanged, stored with another value."""
    found = re.search(r"([\d,]+) new, ([\d,]+) (?:changed|restated), ([\d,]+) unchanged(?:, ([\d,]+) stored)?", said)
    assert found, said
    return tuple(int((number or "0").replace(",", "")) for number in found.groups())


def table(rows: Rows, name: str) -> dict[object, object]:
    """Time to value of a table."""
    return {at: value for at, value in rows(f"SELECT pulled_at, value FROM {name}")}  # noqa: S608, C416 - our own names
