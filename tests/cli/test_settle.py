"""Settle and backfill as processes: what is asked for again, what is adopted, and what is not asked for."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.commands import (
    ARTEMIS,
    DAY,
    POOL,
    Rows,
    Table,
    artemis_backfill,
    defillama_backfill,
    differences,
    environment,
    for_points,
    midnight,
    run,
    series,
    stored,
    today,
    write,
)
from tests.fake_api import FakeApi, truth

pytestmark = pytest.mark.cluster

KEY = {"DEFILLAMA_API_KEY": "a/pro+key"}
DAILY = """asset,metrics,id
sol,PRICE FEES DAU TVL STABLECOIN_SUPPLY
ETH,PRICE FEES TXNS 24H_VOLUME
bitcoin,PRICE MC,btc
"""
SAMPLED = f"""asset,kind,metrics,id
weth,coin,PRICE,coingecko:weth
aave-weth,pool,APY POOL_TVL,{POOL}
"""
HISTORIES = """asset,kind,metrics,id
aave-v3,protocol,TVL FEES
Ethereum,chain,CHAIN_TVL CHAIN_DEX_VOLUME
dead-pool,protocol,TVL FEES
tether,stablecoin,STABLECOIN_SUPPLY,1
weth,coin,PRICE,coingecko:weth
"""
IDS = {("weth", "PRICE"): "coingecko:weth", ("aave-weth", "APY"): POOL, ("aave-weth", "POOL_TVL"): POOL}


class Runs:
    """Commands on one config and one database, each on a fresh fake API."""

    def __init__(self, folder: Path, url: str, config: str) -> None:
        self.file, self.url = write(folder, config), url
        self.source = self.file.stem
        self.requests: list[tuple[str, dict[str, str]]] = []  # of the last command, for points: path and query

    def __call__(self, verb: str, words: str = "", restated: int = 0, code: int = 0) -> str:
        """Run a command; what it prints."""
        with FakeApi(universe=[self.file], shipped=False, restated=restated) as api:
            env = environment(self.url, api, **KEY)
            done = run(f"main.py {verb} {self.source} {words} --config", self.file, env=env)
            queries = [(request.path, parse_qs(request.query)) for request in for_points(api.requests)]
            self.requests = [(path, {name: texts[0] for name, texts in query.items()}) for path, query in queries]
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr if code else done.stdout

    def windows(self) -> set[tuple[str, str]]:
        """First and last day of the requests to Artemis."""
        return {(query["startDate"], query["endDate"]) for _, query in self.requests}


def ago(number: int) -> date:
    """A day so many days before today."""
    return today() - number * DAY


def restated(config: str, start: date, end: date) -> Table:
    """The closed days of [start, end) of a config of Artemis as the restated API has them."""
    return {
        (one.asset, one.metric, midnight(day)): value
        for one in series(config)
        for day, value in truth.history("artemis", one.id, one.metric, start, end, restated=1)
    }


def test_a_settle_adopts_what_was_restated_in_its_days_and_nothing_else(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    runs = Runs(tmp_path, database_url, DAILY)
    runs("backfill", f"--start {ago(500)}")
    before = stored(rows, "artemis")
    assert differences(before, artemis_backfill(DAILY, today(), ago(500))) == []
    out = runs("settle", "--days 200", restated=1)
    adopted = restated(DAILY, ago(200), today())
    changed = {key for key, value in adopted.items() if before[key] != value}
    assert differences(stored(rows, "artemis"), before | adopted) == []
    assert f" 0 new, {len(changed)} restated, {len(adopted) - len(changed):,} unchanged;" in out
    assert runs.windows() == {(str(ago(200)), str(ago(1)))}
    assert any(at < midnight(ago(3)) for _, _, at in changed)
    assert any(before[key] != value for key, value in restated(DAILY, ago(500), ago(200)).items())
    assert rows("SELECT kind, status, points_differing FROM pulls WHERE kind = 'settle'") == [
        ("settle", "success", len(changed))
    ]
    replaced = rows("SELECT asset, metric_name, pulled_at, value FROM revisions")
    assert sorted(replaced) == sorted((*key, before[key]) for key in changed)


def test_a_settle_asks_for_ten_days_unless_told(tmp_path: Path, database_url: str) -> None:
    runs = Runs(tmp_path, database_url, DAILY)
    runs("settle")
    assert runs.windows() == {(str(ago(10)), str(ago(1)))}


@pytest.mark.parametrize("days", ["0", "-1", "99999999", "x"])
def test_an_impossible_number_of_days_is_one_line_and_no_request(
    days: str, tmp_path: Path, database_url: str, rows: Rows
) -> None:
    runs = Runs(tmp_path, database_url, DAILY)
    out = runs("settle", f"--days {days}", code=2)
    if days == "x":  # as argparse has it, below the usage
        assert out.splitlines()[-1] == "main.py settle: error: argument --days: invalid int value: 'x'"
    else:
        assert re.fullmatch(rf"error: --days {days}: write a number of closed days, from 1 to [\d,]+\n", out)
    assert runs.requests == rows("SELECT FROM pulls") == []


def _sampled_day() -> date:
    """The last day but today on which each series of SAMPLED has a value."""
    had = [{day for day, _ in truth.history("defillama", one.id, one.metric, ago(30), today())}
           for one in series(SAMPLED)]  # fmt: skip
    return max(set.intersection(*had))


def _final_values(day: date) -> dict[tuple[str, str], float]:
    found = {}
    for (asset, metric), identifier in IDS.items():
        value = truth.value("defillama", identifier, metric, day, restated=1)
        assert value is not None
        found[asset, metric] = value
    return found


def _rows_of(day: date, rows: Rows) -> Iterator[tuple[tuple[str, str], bool, float]]:
    """The rows of the samples' series that tell of a day: whether at its midnight, and the value."""
    for (asset, metric, at), value in stored(rows, "defillama").items():
        if (at + DAY / 2 if metric == "PRICE" else at).date() == day:
            yield (asset, metric), at == midnight(day), value


@pytest.mark.parametrize("again", [False, True])
def test_a_live_sample_gets_the_final_value_of_its_day_and_no_second_row(
    again: bool, tmp_path: Path, database_url: str, rows: Rows
) -> None:
    runs, day = Runs(tmp_path, database_url, SAMPLED), _sampled_day()
    runs("pull")
    rows("UPDATE metrics SET pulled_at = %s", midnight(day))  # as if it were of then
    sampled = {name: value for name, _, value in _rows_of(day, rows)}
    for _ in range(1 + again):
        runs("settle", "--days 31", restated=1)
    final = _final_values(day)
    assert sorted(_rows_of(day, rows)) == sorted((name, True, value) for name, value in final.items())
    assert all(sampled[name] != value for name, value in final.items())
    assert sorted(rows("SELECT asset, metric_name, value FROM revisions")) == sorted(
        (*name, value) for name, value in sampled.items()
    )
    there = {name: len([*truth.history("defillama", IDS[name], name[1], ago(31), today())]) for name in IDS}
    assert rows("SELECT count(*) FROM metrics") == [(sum(there.values()),)]


def test_where_a_sample_and_the_row_of_the_history_are_there_both_hold_the_final_value(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    runs, day = Runs(tmp_path, database_url, SAMPLED), _sampled_day()
    runs("backfill", f"--start {ago(31)}")
    rows("DELETE FROM metrics WHERE pulled_at = %s", midnight(day))
    runs("pull")
    rows("UPDATE metrics SET pulled_at = %s WHERE pulled_at = %s", midnight(day), midnight(today()))
    runs("settle", "--days 31", restated=1)
    final = _final_values(day)
    wanted = [(name, at_midnight, value) for name, value in final.items() for at_midnight in (False, True)]
    assert sorted(_rows_of(day, rows)) == sorted(wanted)


def test_a_backfill_keeps_and_counts_what_the_api_has_restated(tmp_path: Path, database_url: str, rows: Rows) -> None:
    runs = Runs(tmp_path, database_url, DAILY)
    runs("backfill", f"--start {ago(300)}")
    before = stored(rows, "artemis")
    differing = sum(before[key] != value for key, value in restated(DAILY, ago(300), today()).items())
    out = runs("backfill", f"--full --start {ago(300)}", restated=1)
    assert f" 0 new, 0 changed, {len(before) - differing:,} unchanged, {differing} stored with another value;" in out
    assert (
        f"kept as stored: {differing} values; to adopt the API's values: python main.py settle artemis --all\n" in out
    )
    assert differences(stored(rows, "artemis"), before) == []
    assert rows("SELECT points_differing, records_count FROM pulls ORDER BY 1") == [(0, len(before)), (differing, 0)]
    assert rows("SELECT FROM revisions") == []


@pytest.mark.parametrize("config", [ARTEMIS, HISTORIES])
def test_a_backfill_right_after_a_complete_one_sends_nothing(
    config: str, tmp_path: Path, database_url: str, rows: Rows
) -> None:
    runs = Runs(tmp_path, database_url, config)
    runs("backfill")
    before = stored(rows, runs.source)
    out = runs("backfill")
    assert (runs.requests, stored(rows, runs.source) == before) == ([], True)
    assert f"nothing to request: all {len(series(config))} series are covered from " in out
    assert rows("SELECT status FROM pulls") == [("success",)] * 2


def _a_day_passes(rows: Rows) -> None:
    """Make of today the day after the last run: what that run knew of yesterday is forgotten."""
    yesterday = ago(1)
    rows("DELETE FROM metrics WHERE pulled_at >= %s", yesterday)
    rows("UPDATE coverage SET answered = answered - t, found = found - t FROM (SELECT"
         " datemultirange(daterange(%s, NULL)) AS t) AS since", yesterday)  # fmt: skip


def test_on_the_next_day_artemis_is_asked_for_the_day_that_has_closed_alone(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    runs = Runs(tmp_path, database_url, ARTEMIS)
    runs("backfill", f"--start {ago(60)}")
    _a_day_passes(rows)
    runs("backfill", f"--start {ago(60)}")
    assert runs.windows() == {(str(ago(1)), str(ago(1)))}
    assert differences(stored(rows, "artemis"), artemis_backfill(ARTEMIS, today(), ago(60))) == []


def test_on_the_next_day_a_history_that_comes_whole_is_asked_for_once_and_prices_for_one_day(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    runs = Runs(tmp_path, database_url, HISTORIES)
    runs("backfill", f"--start {ago(60)}")
    first = sorted(path for path, _ in runs.requests)
    _a_day_passes(rows)
    runs("backfill", f"--start {ago(60)}")
    assert sorted(path for path, _ in runs.requests) == first
    assert [query["span"] for path, query in runs.requests if "/coins/chart/" in path] == ["1"]
    assert differences(stored(rows, "defillama"), defillama_backfill(HISTORIES, today(), ago(60))) == []


@pytest.mark.one_server
def test_an_earlier_start_asks_for_the_days_before_alone_and_a_dry_run_says_so_and_sends_nothing(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    runs = Runs(tmp_path, database_url, DAILY)
    runs("backfill", f"--start {ago(30)}")
    before = rows("SELECT * FROM pulls"), rows("SELECT * FROM coverage")
    out = runs("backfill", f"--start {ago(50)} --dry-run")
    assert (runs.requests, (rows("SELECT * FROM pulls"), rows("SELECT * FROM coverage"))) == ([], before)
    head, window, *calls = out.splitlines()
    assert re.fullmatch(r"artemis backfill: (\d) calls for 11 series, at least 0\.\d s", head)
    assert window == f"  {ago(50)} to {ago(31)}: {len(calls)} calls for 11 series"
    assert all(f"startDate={ago(50)}&endDate={ago(31)}" in call for call in calls)
    assert "nothing to request" in runs("backfill", f"--start {ago(30)}")
    runs("backfill", f"--start {ago(50)}")
    assert (len(runs.requests), runs.windows()) == (len(calls), {(str(ago(50)), str(ago(31)))})
    assert differences(stored(rows, "artemis"), artemis_backfill(DAILY, today(), ago(50))) == []


def test_a_corrected_identifier_is_asked_for_anew_and_its_values_are_adopted_once_they_are_accepted(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    window, wrong, right = f"--start {ago(30)}", DAILY.replace("MC,btc", "MC,ETH"), DAILY
    runs = Runs(tmp_path, database_url, wrong)
    runs("backfill", window)
    before = stored(rows, "artemis")
    write(tmp_path, right)
    out = runs("backfill", window)
    assert [query["symbols"] for _, query in runs.requests] == ["btc"]
    assert re.search(r", [1-9]\d* stored with another value; ", out)
    assert before.items() <= stored(rows, "artemis").items()
    assert "nothing to request" in runs("backfill", window)
    waits = runs("settle", "--days 30", code=1)
    assert "needs attention: artemis bitcoin PRICE: 30 days would be far from the days around, " in waits
    assert before.items() <= stored(rows, "artemis").items()
    accepted = run("main.py settle artemis --accept bitcoin all", env=environment(database_url))
    assert accepted.returncode == 0, accepted.stderr
    assert differences(stored(rows, "artemis"), before | artemis_backfill(right, today(), ago(30))) == []


def test_a_series_without_a_value_is_asked_for_once_more_on_another_day(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    runs = Runs(tmp_path, database_url, "asset,metrics\nunknown-a,PRICE\nsol,PRICE\n")
    out = runs("backfill", f"--start {ago(30)}")
    assert "no value in a long window: 1 series, which may not have begun by then; a run on another day requests" in out
    for symbols in ([], ["unknown-a"], []):
        runs("backfill", f"--start {ago(30)}")
        assert [query["symbols"] for _, query in runs.requests] == symbols
        rows("UPDATE refused SET last_on = last_on - 1")


def test_a_new_asset_is_asked_for_alone_and_full_asks_for_everything_again(tmp_path: Path, database_url: str) -> None:
    runs = Runs(tmp_path, database_url, DAILY)
    runs("backfill", f"--start {ago(30)}")
    write(tmp_path, f"{DAILY}ada,PRICE\n")
    runs("backfill", f"--start {ago(30)}")
    assert [query["symbols"] for _, query in runs.requests] == ["ada"]
    assert runs.windows() == {(str(ago(30)), str(ago(1)))}
    runs("backfill", f"--full --start {ago(30)}")
    asked = {symbol for _, query in runs.requests for symbol in query["symbols"].split(",")}
    assert (asked, runs.windows()) == ({"sol", "ETH", "btc", "ada"}, {(str(ago(30)), str(ago(1)))})
