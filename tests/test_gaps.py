"""Gaps: what is there of each series, whose the holes are, and which of them a backfill asks for."""

import json
import random
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import parse_qs

import pytest

from db.coverage import SeriesMap
from db.setup import Database
from db.store import Store
from pipeline.gaps import own_times, without_pauses
from pipeline.values import DAY, Answered, DataPoint, Rhythm, Window
from sources.defillama import DefiLlama
from tests.commands import SECONDS, environment, run, start, today
from tests.fake_api import FakeApi, truth
from tests.tables import BACKFILL, PULL, START, Opener, Rows, as_role, grid, point, until

TODAY = START + 10 * DAY
OWN_TIMES = own_times(DefiLlama)
BTC = "--asset btc --metric PRICE"
RECENT, LONG_AGO = date(2024, 1, 1), date(2019, 6, 1)  # the second is before what is asked for by default
LOSE_A_ROW = "DELETE FROM metrics WHERE pulled_at = '{had}'"
CLAIM_A_DAY = "UPDATE coverage SET found = found + '{{[{had_not},{had_not}]}}'"


def days(first: float, end: float) -> Window:
    """The days from `first` up to and without `end`, counted from START."""
    return Window(START + first * DAY, START + end * DAY)


def asked(first: float, end: float, asset: str = "solana", metric: str = "TVL") -> Answered:
    """An answer for a series, for these days."""
    return Answered(asset, metric, days(first, end), OWN_TIMES.get(metric) or timedelta())


def points(*numbers: float, metric: str = "TVL", asset: str = "solana") -> list[DataPoint]:
    """A point of one series on each of these days."""
    return [point(asset, number, metric=metric) for number in numbers]


def the_map(store: Store) -> SeriesMap:
    """The map of the only series."""
    (series,) = store.maps(TODAY, OWN_TIMES)
    return series


def holes(series: SeriesMap) -> tuple[list[Window], list[Window], list[Window]]:
    """The days that were never asked for, that are empty, that were lost."""
    return series.never, series.empty, series.lost


def test_holes_are_told_apart(open_store: Opener, rows: Rows) -> None:
    store = open_store(BACKFILL)
    store.load(points(0, 1, 4, 8), [asked(0, 6), asked(7, 9)])
    rows("DELETE FROM metrics WHERE pulled_at = '2024-01-05'")
    never, empty = [days(6, 7), days(9, 10)], [days(2, 4), days(5, 6), days(7, 8)]
    wanted = SeriesMap("solana", "TVL", [days(0, 6), days(7, 9)], 3, never, empty, lost=[days(4, 5)])
    assert store.maps(TODAY, OWN_TIMES) == [wanted]


def test_a_live_value_of_another_day_hides_no_lost_day(open_store: Opener, rows: Rows) -> None:
    open_store(BACKFILL).load(points(*range(6)), [asked(0, 6)])
    open_store(PULL).load(points(8))
    rows("DELETE FROM metrics WHERE pulled_at = '2024-01-03'")
    series = the_map(open_store(BACKFILL))
    assert (series.days, *holes(series)) == (6, [days(6, 8), days(9, 10)], [], [days(2, 3)])


def test_a_live_value_of_another_day_hides_no_false_claim(open_store: Opener, rows: Rows) -> None:
    open_store(BACKFILL).load(points(0, 1), [asked(0, 6)])
    open_store(PULL).load(points(8))
    rows("UPDATE coverage SET found = found + '{[2024-01-03,2024-01-04)}'")
    series = the_map(open_store(BACKFILL))
    assert (series.days, *holes(series)) == (3, [days(6, 8), days(9, 10)], [days(3, 6)], [days(2, 3)])


def test_empty_days_before_the_first_point_are_no_hole(open_store: Opener) -> None:
    store = open_store(BACKFILL)
    store.load(points(4, 6), [asked(-100, 10)])
    assert holes(the_map(store)) == ([], [days(5, 6), days(7, 10)], [])


def test_empty_days_after_a_first_point_that_was_lost_are_a_hole(open_store: Opener, rows: Rows) -> None:
    store = open_store(BACKFILL)
    store.load(points(4, 6), [asked(0, 10)])
    rows("DELETE FROM metrics WHERE pulled_at = '2024-01-05'")
    assert holes(the_map(store)) == ([], [days(5, 6), days(7, 10)], [days(4, 5)])


def test_a_series_of_which_the_api_has_nothing_is_one_hole(open_store: Opener) -> None:
    store = open_store(BACKFILL)
    store.load([], [asked(0, 8)])
    assert (the_map(store).days, *holes(the_map(store))) == (0, [days(8, 10)], [days(0, 8)], [])


def test_the_open_day_is_no_day_of_the_map(open_store: Opener) -> None:
    open_store(BACKFILL).load(points(0), [asked(0, 10)])
    open_store(PULL).load(points(10))
    open_store(PULL).load(points(10, metric="FEES"))
    fees, tvl = open_store(PULL).maps(TODAY, OWN_TIMES)
    assert (tvl.days, *holes(tvl)) == (1, [], [days(1, 10)], [])
    assert (fees.days, *holes(fees)) == (0, [], [], [])


def test_points_with_times_of_their_own_belong_to_the_day_that_they_tell_of(open_store: Opener, rows: Rows) -> None:
    store = open_store(BACKFILL)
    store.load(points(-0.001, 0.999, 3.001, metric="PRICE"), [asked(0, 5, metric="PRICE")])
    store.load(points(0.999, 1.93, 3.92, metric="APY"), [asked(0, 5, metric="APY")])
    apy, price = store.maps(TODAY, OWN_TIMES)
    assert (price.days, *holes(price)) == (3, [days(5, 10)], [days(2, 3), days(4, 5)], [])
    assert (apy.days, *holes(apy)) == (3, [days(5, 10)], [days(2, 3), days(4, 5)], [])
    rows("DELETE FROM metrics WHERE pulled_at::date = '2024-01-01'")  # a price of the second day, an APY of the first
    apy, price = store.maps(TODAY, OWN_TIMES)
    assert (price.lost, apy.lost) == ([days(1, 2)], [days(0, 1)])


def test_weekends_are_no_holes_of_what_has_points_on_weekdays_and_the_days_between_quarters_none() -> None:
    monday = SeriesMap("eq-coin", "PRICE", [], 1, [days(0, 14)], [days(17, 20), days(26, 28)], [days(33, 35)])
    weekdays = without_pauses(monday, Rhythm.WEEKDAYS)
    assert holes(weekdays) == ([days(0, 5), days(7, 12)], [days(17, 19)], [days(33, 35)])  # START is a Monday
    assert holes(without_pauses(monday, Rhythm.QUARTERLY)) == ([days(0, 14)], [], [days(33, 35)])
    assert without_pauses(monday, Rhythm.DAILY) == monday


@pytest.mark.parametrize("seed", range(4))
def test_maps_are_those_of_a_naive_model(seed: int, open_store: Opener, rows: Rows) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable numbers
    stores = [open_store(BACKFILL), open_store(PULL)]
    names = [(f"asset-{number}", metric) for number in range(6) for metric in ("TVL", "PRICE", "APY")]
    for asset, metric in names * 3:
        first, times = chance.randrange(8), {"PRICE": (-0.001, 0, 0.001), "APY": (0, 0.93)}.get(metric, (0,))
        there = [day + chance.choice(times) for day in range(first, 12) if chance.random() < 0.6]
        spans = [(day, day + chance.randrange(1, 4)) for day in range(10) if chance.random() < 0.2]
        answered = [asked(*span, asset, metric) for span in spans]
        chance.choice(stores).load(points(*there, metric=metric, asset=asset), answered)
    for (number,) in rows("SELECT id FROM metrics ORDER BY id"):
        if chance.random() < 0.1:
            rows("DELETE FROM metrics WHERE id = %s", number)
    maps = stores[0].maps(TODAY, OWN_TIMES)
    assert {(series.asset, series.metric) for series in maps} == set(names)
    assert all(any(kinds) for kinds in zip(*map(holes, maps), strict=True))
    for series in maps:
        assert series == _model(rows, series.asset, series.metric)


def _model(rows: Rows, asset: str, metric: str) -> SeriesMap:
    """The map of a series, reckoned day by day."""
    of_series = "WHERE asset = %s AND metric_name = %s"
    spread = "SELECT d::date FROM coverage, unnest({}) AS r, generate_series(lower(r), upper(r) - 1, '1 day') AS d {}"
    every = [{day for (day,) in rows(spread.format(name, of_series), asset, metric)} for name in ("answered", "found")]
    answered, found = ({day for day in each if day < TODAY.date()} for each in every)
    shift = OWN_TIMES.get(metric) or timedelta()
    times = rows(f"SELECT pulled_at FROM metrics {of_series}", asset, metric)  # noqa: S608 - our own words
    held = {day for (at,) in times if (day := (at + shift).date()) < TODAY.date()}
    closed = {TODAY.date() - number * DAY for number in range(1, 30)}
    first, first_point = min(answered | held, default=TODAY.date()), min(held | found, default=date.min)
    never = _spans(day for day in closed - answered - held if day > first)
    empty = _spans(day for day in answered - held - found if day > first_point)
    return SeriesMap(asset, metric, [*_spans(answered)], len(held), [*never], [*empty], [*_spans(found - held)])


def _spans(numbers: Iterable[date]) -> Iterator[Window]:
    """The days as spans without a hole."""
    span: Window | None = None
    for day in sorted(numbers):
        at = START + (day - START.date())
        if span and span.end < at:
            yield span
            span = None
        span = Window(span.start if span else at, at + DAY)
    if span:
        yield span


def backfill(api: FakeApi, url: str, words: str) -> CompletedProcess[str]:
    """A backfill of Artemis' price of Bitcoin, which must succeed."""
    done = run(f"main.py backfill artemis {BTC} {words}", env=environment(url, api))
    assert done.returncode == 0, done.stderr
    return done


def gaps(url: str, words: str = "artemis --json") -> tuple[int, str]:
    """Exit code and output of the command."""
    done = run(f"main.py gaps {words}", env=environment(url))
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def asked_for(api: FakeApi, since: int = 0) -> list[tuple[str, str]]:
    """First and last day of each request, sorted, from one of them on."""
    queries = [parse_qs(request.query) for request in api.requests[since:]]
    return sorted((query["startDate"][0], query["endDate"][0]) for query in queries)


def empty_days(start: date, end: date) -> list[str]:
    """Days on which Artemis has no price of Bitcoin."""
    had = {day for day, _ in truth.history("artemis", "btc", "PRICE", start, end)}
    return [str(start + number * DAY) for number in range((end - start).days) if start + number * DAY not in had]


def test_the_report_has_every_hole_and_says_how_to_fill_it(database: Database, database_url: str, rows: Rows) -> None:
    with closing(Store(database, "artemis", BACKFILL, hold=lambda: None)) as store:
        store.load(points(*range(2, 20), asset="btc", metric="PRICE"), [asked(0, 30, "btc", "PRICE")])
        store.load(points(*range(4), asset="eq-coin", metric="PRICE"), [asked(0, 14, "eq-coin", "PRICE")])
        store.load(points(89, asset="eq-coin", metric="EBITDA"), [asked(0, 300, "eq-coin", "EBITDA")])
    rows("DELETE FROM metrics WHERE asset = 'btc' AND pulled_at = '2024-01-08'")
    code, out = gaps(database_url)
    found, yesterday = {(each["asset"], each["metric"]): each for each in json.loads(out)}, str(today() - DAY)
    assert code == 1
    assert found["btc", "PRICE"] == {
        "source": "artemis", "asset": "btc", "metric": "PRICE", "live_only": False, "days": 17,
        "answered": [["2024-01-01", "2024-01-30"]], "never_asked": [["2024-01-31", yesterday]],
        "empty": [["2024-01-21", "2024-01-30"]], "lost": [["2024-01-08", "2024-01-08"]],
    }  # fmt: skip
    assert found["eq-coin", "PRICE"]["empty"] == [["2024-01-05", "2024-01-05"], ["2024-01-08", "2024-01-12"]]
    assert found["eq-coin", "EBITDA"]["empty"] == []
    out = gaps(database_url, f"artemis {BTC}")[1]
    assert "  btc PRICE: 17 days; asked for 2024-01-01 to 2024-01-30\n" in out
    assert f"never asked for, {(today() - date(2024, 1, 31)).days:,} days: 2024-01-31 to {yesterday}\n" in out
    assert "the API had nothing, 10 days: 2024-01-21 to 2024-01-30\n" in out
    assert "LOST, though the API had them, 1 days: 2024-01-08\n" in out
    assert "eq-coin" not in out


@pytest.mark.parametrize(("first", "harm"), [(RECENT, LOSE_A_ROW), (RECENT, CLAIM_A_DAY), (LONG_AGO, LOSE_A_ROW)])
def test_a_claim_of_more_than_the_table_holds_is_reported_and_repaired_as_the_report_says(
    first: date, harm: str, database_url: str, rows: Rows
) -> None:
    with FakeApi() as api:
        backfill(api, database_url, f"--start {first} --end 2026-01-01")
        [(had,)] = rows("SELECT min(pulled_at)::date FROM metrics")
        had_not = empty_days(had, date(2026, 1, 1))[0]
        rows(harm.format(had=had, had_not=had_not))
        code, out = gaps(database_url, "artemis")
        lost = had if harm is LOSE_A_ROW else had_not
        assert (code, f"LOST, though the API had them, 1 days: {lost}\n" in out) == (1, True)
        (remedy,) = re.findall(r"to repair what was lost: python (main.py backfill artemis .*--full.*)", out)
        assert run(remedy, env=environment(database_url, api)).returncode == 0
    assert gaps(database_url, "artemis")[0] == 0
    assert rows("SELECT count(*) FROM metrics WHERE pulled_at = %s", lost) == [(int(harm is LOSE_A_ROW),)]


def test_a_backfill_of_gaps_asks_only_for_what_was_never_asked_for(database_url: str) -> None:
    with FakeApi() as api:
        for window in ("--start 2024-01-10 --end 2024-02-01", "--start 2024-03-01 --end 2024-04-01"):
            backfill(api, database_url, window)
        backfill(api, database_url, "--gaps --end 2024-05-01")
        assert asked_for(api, since=2) == [("2024-02-01", "2024-02-29"), ("2024-04-01", "2024-04-30")]
        done = backfill(api, database_url, "--gaps --end 2024-05-01")
        assert (len(api.requests), "nothing to ask: all 1 series are without such a gap" in done.stdout) == (4, True)


def test_with_retry_empty_it_asks_again_where_the_api_had_nothing(database_url: str) -> None:
    first, end = date(2022, 1, 1), date(2024, 1, 1)
    empty = empty_days(first, end)
    window = f"--start {empty[0]} --end {end}"
    with FakeApi() as api:
        backfill(api, database_url, f"--start {first} --end {end}")
        backfill(api, database_url, f"--gaps {window}")
        assert len(api.requests) == 1
        backfill(api, database_url, f"--gaps --retry-empty {window}")
    assert len(empty) > 2
    assert asked_for(api, since=1) == [(empty[0], empty[-1])]  # one call in place of one for each


def test_the_command_that_the_report_names_asks_for_all_that_never_was(database_url: str) -> None:
    with FakeApi() as api:
        for window in ("--start 2019-06-01 --end 2019-07-01", "--start 2019-08-01 --end 2019-09-01"):
            backfill(api, database_url, window)
        (remedy,) = re.findall(r"to ask for what never was: python (.*)", gaps(database_url, "artemis")[1])
        assert run(f"{remedy} {BTC}", env=environment(database_url, api)).returncode == 0
    assert [each["never_asked"] for each in json.loads(gaps(database_url)[1])] == [[]]


@pytest.fixture
def reader(database_url: str, rows: Rows) -> Iterator[str]:
    """The DATABASE_URL of a role that may only read."""
    rows("DROP ROLE IF EXISTS reader")
    rows("CREATE ROLE reader LOGIN")
    rows("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    yield as_role(database_url, "reader")
    rows("DROP OWNED BY reader")
    rows("DROP ROLE reader")


def test_a_look_needs_no_right_to_write_and_what_does_is_refused(database: Database, reader: str, rows: Rows) -> None:
    with closing(Store(database, "artemis", BACKFILL, hold=lambda: None)) as store:
        store.load(points(0, 1, asset="gone", metric="PRICE"), [asked(0, 2, "gone", "PRICE")])
    for command in ("gaps", "revisions"):
        done = run(f"main.py {command} artemis", env=environment(reader))
        assert done.returncode == 0, done.stderr
    rows("DELETE FROM metrics WHERE pulled_at = '2024-01-02'")
    done = run("main.py gaps artemis --forget-lost", env=environment(reader))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search("^error: .* can't be written: permission denied for table coverage$", done.stderr, re.M)


def test_a_look_that_is_read_slowly_holds_no_writer_up_and_a_broken_off_one_has_forgotten(
    database: Database, database_url: str, rows: Rows
) -> None:
    with closing(Store(database, "defillama", BACKFILL, hold=lambda: None)) as store:
        store.load(grid(3000, 1), [asked(0, 1, f"asset-{number}") for number in range(3000)])
    rows("DELETE FROM metrics WHERE asset = 'asset-2999'")  # more than a pipe holds is told before it
    line, looks = "main.py gaps defillama", "application_name LIKE '% look %' AND datname = current_database()"
    with start(f"{line} --forget-lost", env=environment(database_url)) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("defillama: 3,000 series")
        until(lambda: not rows(f"SELECT FROM pg_stat_activity WHERE {looks}"))
        assert process.poll() is None
        process.stdout.close()
        assert process.wait(SECONDS) == 1
    assert run(line, env=environment(database_url)).returncode == 0


def test_what_was_lost_of_a_series_that_left_the_config_can_be_claimed_no_longer(
    database: Database, database_url: str, rows: Rows
) -> None:
    with closing(Store(database, "artemis", BACKFILL, hold=lambda: None)) as store:
        for asset in ("btc", "gone"):
            store.load(points(0, 1, 2, asset=asset, metric="PRICE"), [asked(0, 3, asset, "PRICE")])
    rows("DELETE FROM metrics WHERE pulled_at = '2024-01-02'")
    code, out = gaps(database_url, "artemis")
    assert code == 1
    assert "  gone PRICE: 2 days; asked for 2024-01-01 to 2024-01-03, not in artemis_config.csv\n" in out
    assert re.findall("--full.*", out) == ["--full --asset btc --metric PRICE"]
    assert "no backfill asks for what was lost of series that artemis_config.csv does not have: " in out
    out = gaps(database_url, "artemis --asset gone")[1]
    assert "main.py backfill" not in out
    (remedy,) = re.findall("python main.py gaps (.*) ends the claim", out)
    assert gaps(database_url, remedy)[0] == 1
    assert [gaps(database_url, f"artemis --asset {asset}")[0] for asset in ("gone", "btc")] == [0, 1]


def test_a_look_by_another_config_goes_by_its_rhythms_its_series_and_its_name(
    database: Database, database_url: str, tmp_path: Path, rows: Rows
) -> None:
    config = tmp_path / "my own.csv"
    config.write_text("asset,metrics,id\nnvidia,PRICE,eq-nvda\nbitcoin,PRICE,btc\n")
    with closing(Store(database, "artemis", BACKFILL, hold=lambda: None)) as store:
        store.load(points(0, asset="nvidia", metric="PRICE"), [asked(0, 9, "nvidia", "PRICE")])
    env = environment(database_url)
    (series,) = json.loads(run("main.py gaps artemis --json --config", config, env=env).stdout)
    assert series["empty"] == [["2024-01-02", "2024-01-05"], ["2024-01-08", "2024-01-09"]]
    rows("DELETE FROM metrics")
    done = run("main.py gaps artemis --config", config, env=env)
    assert (done.returncode, done.stdout.count(f" artemis --config '{config}' --")) == (1, 3)
    assert done.stdout.endswith("\n  1 series of my own.csv were never asked for, by a pull or a backfill\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("gaps artemis --asset slo", "error: artemis has no asset 'slo': did you mean sol?\n"),
        ("gaps artemis --metric PRISE", "error: artemis has no metric 'PRISE': did you mean PRICE?\n"),
        ("gaps --asset slo", "did you mean sol"),
        ("gaps --config x.csv", "error: --config goes with one source: name it in place of 'all'\n"),
        ("gaps artemis --config absent.csv", "error: absent.csv: there is no such config file\n"),
        ("gaps artmis", "unknown source 'artmis': did you mean artemis?"),
        ("backfill artemis --retry-empty", "error: --retry-empty goes with --gaps: write both\n"),
        ("backfill artemis --full --retry-empty", "error: --retry-empty goes with --gaps, not with --full"),
        ("backfill artemis --full --gaps", "argument --gaps: not allowed with argument --full"),
        ("gaps defillama", "error: nothing is stored yet: python main.py backfill defillama\n"),
    ],
)
def test_what_is_used_wrongly_is_refused(line: str, said: str, database: Database, database_url: str) -> None:
    with closing(Store(database, "artemis", PULL, hold=lambda: None)) as store:
        store.load(points(0, asset="sol", metric="PRICE"))
    done = run(f"main.py {line}", env=environment(database_url))
    assert (done.returncode, done.stdout, said in done.stderr) == (2, "", True), done.stdout + done.stderr
