"""Gaps as commands: the report, what it names, and the backfills of gaps."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import parse_qs

import pytest

from db.database import Database
from db.store import Store
from model.values import DAY
from tests.commands import SECONDS, environment, run, start, today
from tests.fake_api import FakeApi, truth
from tests.tables import BACKFILL, PULL, Rows, as_role, asked, grid, points
from tests.waiting import until

pytestmark = pytest.mark.cluster

BTC = "--asset btc --metric PRICE"
RECENT, LONG_AGO = date(2024, 1, 1), date(2019, 6, 1)  # the second is before what is asked for by default
LOSE_A_ROW = "DELETE FROM metrics WHERE pulled_at = '{had}'"
CLAIM_A_DAY = "UPDATE coverage SET found = found + '{{[{had_not},{had_not}]}}'"


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


def configured_targets(api: FakeApi, since: int = 0) -> list[tuple[str, str]]:
    """First and last day of each request for points, sorted, from one of them on."""
    queries = [parse_qs(request.query) for request in api.requests if "startDate" in request.query]
    return sorted((query["startDate"][0], query["endDate"][0]) for query in queries[since:])


def empty_days(start: date, end: date) -> list[str]:
    """Days on which Artemis has no price of Bitcoin."""
    had = {day for day, _ in truth.history("artemis", "btc", "PRICE", start, end)}
    return [str(start + number * DAY) for number in range((end - start).days) if start + number * DAY not in had]


def test_the_report_has_every_gap_and_says_how_to_fill_it(database: Database, database_url: str, rows: Rows) -> None:
    with closing(Store(database, "artemis", BACKFILL)) as store:
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
        "refused": [], "refused_because": "", "withdrawn": [], "withdrawn_at": None, "verified_at": None,
        "waiting": False,
    }  # fmt: skip
    assert found["eq-coin", "PRICE"]["empty"] == [["2024-01-05", "2024-01-05"], ["2024-01-08", "2024-01-12"]]
    assert found["eq-coin", "EBITDA"]["empty"] == []
    out = gaps(database_url, f"artemis {BTC}")[1]
    assert "  btc PRICE: 17 days; requested 2024-01-01 to 2024-01-30, not confirmed yet\n" in out
    assert f"never answered, {(today() - date(2024, 1, 31)).days:,} days: 2024-01-31 to {yesterday}\n" in out
    assert "empty at the API, 10 days: 2024-01-21 to 2024-01-30\n" in out
    assert "LOST here, though the API had them, 1 days: 2024-01-08\n" in out
    assert "eq-coin" not in out


@pytest.mark.one_server
def test_each_series_with_a_history_says_since_when_it_is_confirmed_and_what_was_withdrawn(
    database: Database, database_url: str, rows: Rows
) -> None:
    with closing(Store(database, "defillama", BACKFILL)) as store:
        for metric in ("FEES", "FEES_24H", "TVL"):
            store.load(points(*range(9), asset="aave", metric=metric), [asked(0, 9, "aave", metric)])
    rows("UPDATE coverage SET verified_at = clock_timestamp() AT TIME ZONE 'UTC' - interval '9 hours 1 minute' "
         "WHERE metric_name = 'FEES'")  # fmt: skip
    rows("UPDATE coverage SET verified_at = '2026-01-20 04:35', withdrawn_at = '2026-01-19 04:36', "
         "withdrawn = '{[2024-01-02,2024-01-03),[2024-01-05,2024-01-07)}', "
         "found = found - '{[2024-01-02,2024-01-03),[2024-01-05,2024-01-07)}', found_count = 6 "
         "WHERE metric_name = 'TVL'")  # fmt: skip
    code, out = gaps(database_url, "defillama")
    assert code == 0
    shown = [line for line in out.splitlines() if "never answered" not in line]
    assert shown[:4] == [
        "  aave FEES: 9 days; requested 2024-01-01 to 2024-01-09, confirmed 9 h ago",
        "  aave FEES_24H: 9 days; requested 2024-01-01 to 2024-01-09, has no history at the API",
        "  aave TVL: 9 days; requested 2024-01-01 to 2024-01-09, confirmed on 2026-01-20",
        "      3 days withdrawn by the provider, last on 2026-01-19: 2024-01-02, 2024-01-05 to 2024-01-06",
    ]
    assert "empty at the API" not in out
    tvl = json.loads(gaps(database_url, "defillama --json")[1])[2]
    assert tvl["withdrawn"] == [["2024-01-02", "2024-01-02"], ["2024-01-05", "2024-01-06"]]
    assert tvl["withdrawn_at"] == "2026-01-19T04:36:00+00:00"
    assert tvl["verified_at"] == "2026-01-20T04:35:00+00:00"


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
        assert (code, f"LOST here, though the API had them, 1 days: {lost}\n" in out) == (1, True)
        (remedy,) = re.findall(r"to fetch the lost days again: python (main.py backfill artemis .*--full.*)", out)
        assert run(remedy, env=environment(database_url, api)).returncode == 0
    assert gaps(database_url, "artemis")[0] == 0
    assert rows("SELECT count(*) FROM metrics WHERE pulled_at = %s", lost) == [(int(harm is LOSE_A_ROW),)]


def test_a_backfill_of_gaps_asks_only_for_what_was_never_asked_for(database_url: str) -> None:
    with FakeApi() as api:
        for window in ("--start 2024-01-10 --end 2024-02-01", "--start 2024-03-01 --end 2024-04-01"):
            backfill(api, database_url, window)
        backfill(api, database_url, "--gaps --end 2024-05-01")
        assert configured_targets(api, since=2) == [("2024-02-01", "2024-02-29"), ("2024-04-01", "2024-04-30")]
        done = backfill(api, database_url, "--gaps --end 2024-05-01")
        assert "nothing to request: all 1 series have no such gap" in done.stdout
        assert len(configured_targets(api)) == 4


def test_with_retry_empty_it_asks_again_where_the_api_had_nothing(database_url: str) -> None:
    first, end = date(2022, 1, 1), date(2024, 1, 1)
    empty = empty_days(first, end)
    window = f"--start {empty[0]} --end {end}"
    with FakeApi() as api:
        backfill(api, database_url, f"--start {first} --end {end}")
        backfill(api, database_url, f"--gaps {window}")
        assert len(configured_targets(api)) == 1
        backfill(api, database_url, f"--gaps --retry-empty {window}")
    assert len(empty) > 2
    assert configured_targets(api, since=1) == [(empty[0], empty[-1])]  # one call in place of one for each


def test_the_command_that_the_report_names_asks_for_all_that_never_was(database_url: str, rows: Rows) -> None:
    with FakeApi() as api:
        for window in ("--start 2019-06-01 --end 2019-06-08", "--start 2019-08-01 --end 2019-08-08"):
            backfill(api, database_url, window)
        (remedy,) = re.findall(r"to request the days never answered: python (.*)", gaps(database_url, "artemis")[1])
        for _ in range(2):  # the days have no value: an answer of another day must agree
            assert run(f"{remedy} {BTC}", env=environment(database_url, api)).returncode == 0
            rows("UPDATE refused SET last_on = last_on - 1")
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


@pytest.mark.one_server
def test_a_look_needs_no_right_to_write_and_what_does_is_refused(database: Database, reader: str, rows: Rows) -> None:
    with closing(Store(database, "artemis", BACKFILL)) as store:
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
    with closing(Store(database, "defillama", BACKFILL)) as store:
        store.load(grid(3000, 1), [asked(0, 1, f"asset-{number}") for number in range(3000)])
    rows("DELETE FROM metrics WHERE asset = 'asset-2999'")  # more than a pipe holds is told before it
    line, looks = "main.py gaps defillama", "application_name LIKE '% read %' AND datname = current_database()"
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
    with closing(Store(database, "artemis", BACKFILL)) as store:
        for asset in ("btc", "gone"):
            store.load(points(0, 1, 2, asset=asset, metric="PRICE"), [asked(0, 3, asset, "PRICE")])
    rows("DELETE FROM metrics WHERE pulled_at = '2024-01-02'")
    code, out = gaps(database_url, "artemis")
    assert code == 1
    assert (
        "  gone PRICE: 2 days; requested 2024-01-01 to 2024-01-03, not confirmed yet, not in artemis_config.csv\n"
        in out
    )
    assert re.findall("--full.*", out) == ["--full --asset btc --metric PRICE"]
    assert "no backfill can fetch lost live values, or series that artemis_config.csv does not name: " in out
    out = gaps(database_url, "artemis --asset gone")[1]
    assert "main.py backfill" not in out
    (remedy,) = re.findall("python main.py gaps (.*) stops counting", out)
    assert gaps(database_url, remedy)[0] == 1
    assert [gaps(database_url, f"artemis --asset {asset}")[0] for asset in ("gone", "btc")] == [0, 1]


def test_a_look_by_another_config_goes_by_its_rhythms_its_series_and_its_name(
    database: Database, database_url: str, tmp_path: Path, rows: Rows
) -> None:
    config = tmp_path / "my own.csv"
    config.write_text("asset,metrics,id\nnvidia,PRICE,eq-nvda\nbitcoin,PRICE,btc\n")
    with closing(Store(database, "artemis", BACKFILL)) as store:
        store.load(points(0, asset="nvidia", metric="PRICE"), [asked(0, 9, "nvidia", "PRICE")])
    env = environment(database_url)
    (series,) = json.loads(run("main.py gaps artemis --json --config", config, env=env).stdout)
    assert series["empty"] == [["2024-01-02", "2024-01-05"], ["2024-01-08", "2024-01-09"]]
    rows("DELETE FROM metrics")
    done = run("main.py gaps artemis --config", config, env=env)
    assert (done.returncode, done.stdout.count(f" artemis --config '{config}' --")) == (1, 3)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("gaps artemis --asset slo", "error: artemis has no asset 'slo': did you mean sol?\n"),
        ("gaps artemis --metric PRISE", "error: artemis has no metric 'PRISE': did you mean PRICE?\n"),
        ("gaps --asset slo", "did you mean sol"),
        ("gaps --config x.csv", "error: --config goes with one source: name it in place of 'all'\n"),
        ("gaps artemis --config absent.csv", "error: absent.csv: there is no such config file\n"),
        ("gaps artmis", "unknown source 'artmis': did you mean artemis?"),
        ("backfill artemis --retry-empty", "error: --retry-empty needs --gaps: write --gaps --retry-empty\n"),
        ("backfill artemis --full --retry-empty", "error: --retry-empty needs --gaps: write"),
        ("backfill artemis --full --gaps", "argument --gaps: not allowed with argument --full"),
        ("gaps defillama", "error: nothing is stored yet: python main.py backfill defillama\n"),
    ],
)
def test_what_is_used_wrongly_is_refused(line: str, said: str, database: Database, database_url: str) -> None:
    with closing(Store(database, "artemis", PULL)) as store:
        store.load(points(0, asset="sol", metric="PRICE"))
    done = run(f"main.py {line}", env=environment(database_url))
    assert (done.returncode, done.stdout, said in done.stderr) == (2, "", True), done.stdout + done.stderr
