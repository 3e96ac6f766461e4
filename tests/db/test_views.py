"""The views and the function for other tools, asked with plain psql: they say what query_data says."""
# ruff: noqa: S608 - the statements are our own

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from random import Random

import pandas as pd
import pytest

import query_data as q
from db.coverage import series_maps
from db.database import Database
from db.points import ages
from db.pulls import STOPPED
from db.reader import Reader
from db.setup import SCHEMA, ensure_schema
from db.views import NAMES, READABLE
from model.settings import ROOT
from model.values import DAY, ENOUGH_DATES, Target, Verb, Window, number_of_days
from pipeline.freshness import freshness
from pipeline.tables import ensure_tables
from sources import metric_facts
from sources.defillama import DefiLlama
from tests.psql import psql
from tests.tables import OWN_TIMES, START, Opener, Rows, as_role, ask, asked, point, points, refusal, this_midnight

pytestmark = pytest.mark.every_postgres

HOUR = timedelta(hours=1)
BY_HAND = "INSERT INTO metrics (source, asset, metric_name, pulled_at, value) VALUES ('defillama', %s, %s, %s, %s)"
COVERED = (
    "INSERT INTO coverage (source, asset, metric_name, row_count) "
    "SELECT source, asset, metric_name, count(*) FROM metrics GROUP BY 1, 2, 3"
)
SOLANA = "source = 'defillama' AND asset = 'solana' AND metric_name = 'TVL'"


def points_of(url: str, question: str) -> list[tuple[datetime, float | None]]:
    """The times and values that a view gives, in aware UTC."""
    rows = psql(url, f"SELECT time, value FROM {question} ORDER BY time")
    return [(datetime.fromisoformat(at).astimezone(UTC), float(value) if value else None) for at, value in rows]


def frame_of(frame: pd.DataFrame) -> list[tuple[datetime, float | None]]:
    """The times and values of a frame."""
    times = [at.to_pydatetime() for at in pd.DatetimeIndex(frame.index)]
    return [(at, None if pd.isna(value) else value) for at, value in zip(times, frame["value"], strict=True)]


@pytest.fixture
def url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test's database, which query_data asks, too."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    return database_url


def test_daily_is_what_query_data_says_with_daily_whatever_the_times_of_the_points(url: str, rows: Rows) -> None:
    random = Random(1)  # noqa: S311 - test data
    minutes = (0, 0, 1, 11 * 60 + 59, 12 * 60, 12 * 60 + 1, 23 * 60 + 59)
    for metric in ("PRICE", "APY", "TVL", "GONE"):  # with a shift, with times of their own, at midnight, of no source
        for day in random.sample(range(60), 40):
            for minute in set(random.choices(minutes, k=3)):
                value = random.choice((None, 0.0, random.random()))
                rows(BY_HAND, "solana", metric, START + day * DAY + minute * HOUR / 60, value)
    rows(COVERED)
    for metric in ("PRICE", "APY", "TVL", "GONE"):
        of_metric = f"daily WHERE source = 'defillama' AND asset = 'solana' AND metric_name = '{metric}'"
        whole = frame_of(q.series("solana", metric, daily=True))
        assert len(whole) >= 40
        assert points_of(url, of_metric) == whole
        for start, end in ((START, START + 9 * DAY), (START + 3 * DAY + HOUR, START + 5 * DAY)):
            part = f"{of_metric} AND time >= '{start}' AND time < '{end}'"
            inside = frame_of(q.series("solana", metric, start=start, end=end, daily=True))
            assert points_of(url, part) == inside
        for day in (0, 7, 8, 30, 59):
            at = START + day * DAY
            section = q.cross_section(metric, at)["value"]
            found = [value for _, value in points_of(url, f"daily WHERE metric_name = '{metric}' AND time = '{at}'")]
            assert found == [None if pd.isna(value) else value for value in section]


def test_latest_has_the_newest_point_of_each_series_in_utc_with_its_unit(url: str, open_store: Opener) -> None:
    open_store(Verb.BACKFILL).load([*points(0, 2), *points(1, asset="avax")], [asked(0, 3)])
    found = psql(url, "SELECT asset, time = '2024-01-03Z', time = '2024-01-02Z', value, unit FROM latest ORDER BY 1")
    assert found == [("avax", "f", "t", "1", "USD"), ("solana", "t", "f", "1", "USD")]
    assert {row[0] for row in found} == set(q.latest("TVL").index)


def test_metrics_as_of_is_what_query_data_says_of_each_instant(url: str, open_store: Opener, rows: Rows) -> None:
    open_store(Verb.BACKFILL).load([*points(0, 1, 2), *points(0, asset="avax")], [asked(0, 3)])
    settle = open_store(Verb.SETTLE)
    for value in (2.0, 3.0):
        settle.load([point(value=value)])
    rows("UPDATE loads SET loaded_at = %s", START + 1.5 * DAY)
    for value, at in ((1.0, START + 2 * DAY), (2.0, START + 6 * DAY)):
        rows("UPDATE revisions SET replaced_at = %s WHERE value = %s", at, value)
    seen = set()
    for hours in range(0, 24 * 8, 6):
        at = START + hours * HOUR
        found = points_of(url, f"metrics_as_of('{at}') WHERE {SOLANA}")
        assert found == frame_of(q.series("solana", "TVL", as_of=at))
        seen.add(tuple(found))
    assert len(seen) == 5  # nothing, one day, two and three days, and the two restatements
    window = f"pulled_at >= '2024-01-02' AND pulled_at < '2024-01-03' AND {SOLANA}"
    assert psql(url, f"SELECT pulled_at, value FROM metrics_as_of(now()) WHERE {window}") == [
        ("2024-01-02 00:00:00", "1")
    ]


@pytest.mark.one_server
def test_filters_reach_the_indexes_of_metrics(url: str, rows: Rows) -> None:
    rows("INSERT INTO metrics (source, asset, metric_name, pulled_at, value) SELECT 'defillama', 'a' || asset, metric, "
         "timestamp '2024-01-01' + day * interval '1 day', 1 FROM generate_series(0, 99) asset, "
         "generate_series(0, 99) day, unnest('{TVL,FEES,REVENUE}'::text[]) metric")  # fmt: skip
    rows(COVERED)
    rows("INSERT INTO loads SELECT 'defillama', min(id), max(id), '2024-06-01' FROM metrics")
    rows("ANALYZE")
    unique, metric = "idx_metrics_unique", "idx_metrics_cross_section"
    one = "source = 'defillama' AND asset = 'a7' AND metric_name = 'TVL'"
    month = "time >= '2024-02-01Z' AND time < '2024-03-01Z'"
    for question, index in (
        (f"daily WHERE {one} AND {month}", unique),
        (f"daily WHERE source = 'defillama' AND metric_name = 'TVL' AND {month}", metric),
        ("daily WHERE metric_name = 'TVL' AND time = '2024-02-01Z'", metric),
        (f"latest WHERE {one}", unique),
        ("latest WHERE metric_name = 'TVL'", unique),
        (f"metrics_as_of('2024-07-01Z') WHERE {one} AND pulled_at >= '2024-02-01'", unique),
    ):
        plan = "\n".join(line for (line,) in psql(url, f"EXPLAIN SELECT * FROM {question}"))
        assert f"{index} on metrics m" in plan, plan
        assert "Seq Scan on metrics m" not in plan
        assert "Function Scan on metrics_as_of" not in plan


def cover(rows: Rows, asset: str, metric: str, spans: Iterable[Window]) -> None:
    """A row of coverage with these answered days."""
    answered = ",".join(f"[{span.start:%Y-%m-%d},{span.end:%Y-%m-%d})" for span in spans)
    rows(
        "INSERT INTO coverage (source, asset, metric_name, answered) VALUES ('defillama', %s, %s, %s)",
        asset, metric, f"{{{answered}}}",
    )  # fmt: skip


def test_the_state_of_a_series_never_contradicts_status(url: str, rows: Rows, reader: Reader) -> None:
    today, long_ago = this_midnight(), this_midnight() - 20 * DAY
    for newest, answered, metric in product((0, 1, 2, 9, None), (1, 2, 9, None), ("TVL", "MCAP", "PRICE")):
        asset = f"{newest} {answered}"
        if newest is not None:
            rows(BY_HAND, asset, metric, today - newest * DAY, 1)
        cover(rows, asset, metric, [] if answered is None else [Window(long_ago, today - (answered - 1) * DAY)])
    rows("INSERT INTO refused VALUES ('defillama', '9 9', 'TVL', 'not a number', %s, %s, %s)",
         f"{{[2024-01-01,{today:%Y-%m-%d})}}", ENOUGH_DATES, today)  # fmt: skip
    names = rows("SELECT asset, metric_name FROM coverage")
    known = reader.do(lambda cursor: ages(cursor, "defillama", names))
    targets = [Target(asset, metric, asset) for asset, metric in names]
    states = freshness(DefiLlama, targets, known, datetime.now(UTC), [], START).states
    shown = psql(url, "SELECT asset, metric_name, state, days_behind FROM series_health")
    found = {(asset, metric): (state, days) for asset, metric, state, days in shown}
    allowed = {"fresh": ["fresh"], "quiet": ["quiet", "fresh"], "never seen": ["never seen"], "": ["fresh", "stale"]}
    assert found.keys() == states.keys()
    assert {name: found[name] for name in states if states[name] not in allowed[found[name][0]]} == {}
    assert {state for state, _ in found.values()} == allowed.keys()
    assert found["1 9", "TVL"] == found["0 9", "MCAP"] == ("fresh", "0")
    assert found["9 9", "MCAP"] == ("", "9")  # live-only: the value of today is missing
    assert found["9 9", "PRICE"] == ("", "8")
    assert found["9 9", "TVL"] == ("quiet", "0")  # refused often enough, so that this counts as an answer
    assert found["None None", "TVL"] == ("never seen", "")


def test_unanswered_days_are_those_that_gaps_calls_never_answered(url: str, rows: Rows, reader: Reader) -> None:
    random, today = Random(2), this_midnight()  # noqa: S311 - test data
    for number in range(30):
        asset, metric = f"a{number}", random.choice(("TVL", "PRICE"))
        for day in random.sample(range(1, 40), random.randrange(4)):
            rows(BY_HAND, asset, metric, today - day * DAY + random.choice((0, 11, 13)) * HOUR, 1)
        ends = [today - day * DAY for day in random.sample(range(36), random.randrange(4))]
        cover(rows, asset, metric, [Window(end - 4 * DAY, end) for end in ends])
    maps = reader.do(lambda cursor: series_maps(cursor, "defillama", today, OWN_TIMES))
    wanted = {(each.asset, each.metric): number_of_days(each.never) for each in maps}
    found = psql(url, "SELECT asset, metric_name, unanswered_days FROM series_health")
    assert {(asset, metric): int(days) for asset, metric, days in found} == wanted
    assert len(set(wanted.values())) > 5


def test_the_health_of_a_series_counts_what_is_withdrawn_and_what_waits(url: str, rows: Rows) -> None:
    cover(rows, "a1", "TVL", [])
    rows("UPDATE coverage SET withdrawn = '{[2024-01-01,2024-01-03)}', verified_at = '2024-02-01'")
    rows("INSERT INTO quarantine SELECT source, asset, metric_name, at, 1, state, now() FROM coverage, (VALUES "
         "(timestamp '2024-01-01', 'new'), ('2024-01-02', 'rejected'), ('2024-01-03', 'waiting'), "
         "('2024-01-04', 'waiting')) AS value (at, state)")  # fmt: skip
    counted = "withdrawn_days, waiting_days, verified = '2024-02-01Z'"
    assert psql(url, f"SELECT {counted} FROM series_health") == [("2", "2", "t")]


def test_runs_and_assets_are_those_of_the_tables(url: str, rows: Rows, open_store: Opener) -> None:
    store = open_store(Verb.BACKFILL)
    pull_id = store.begin_run()
    store.load([*points(0, 1), *points(0, metric="FEES")], [asked(0, 2), asked(0, 2, metric="FEES")])
    assert psql(url, "SELECT source, asset, metric_names, points FROM assets") == [
        ("defillama", "solana", "{FEES,TVL}", "3")
    ]
    rows("UPDATE pulls SET pulled_at = '2024-01-01 10:00', finished_at = '2024-01-01 10:05'")
    found = "pull_id, source, kind, status, started = '2024-01-01 10:00Z', finished - started"
    assert psql(url, f"SELECT {found} FROM runs") == [(str(pull_id), "defillama", "backfill", "error", "t", "00:05:00")]


def test_the_state_of_a_run_says_what_became_of_it(url: str, rows: Rows) -> None:
    ended = datetime.now(UTC)
    runs = {
        "done": ("success", ended, "rows were left out"),
        "failed": ("error", ended, "2 of 9 calls failed; stopped before the last 3 calls"),
        "stopped": ("error", ended, f"{STOPPED} the last 3 calls"),
        "killed": ("error", None, "the process ended before the run did"),
        "unfinished": ("error", None, None),
    }
    for state, run in runs.items():
        rows("INSERT INTO pulls (source_name, kind, status, finished_at, failure) VALUES (%s, 'pull', %s, %s, %s)",
             state, *run)  # fmt: skip
    assert psql(url, "SELECT source, state FROM runs ORDER BY pull_id") == [(state, state) for state in runs]


def test_every_time_has_a_zone_and_every_column_is_described_in_the_database_and_the_docs(rows: Rows) -> None:
    columns = rows(
        "SELECT relname, attname, atttypid::regtype::text, col_description(attrelid, attnum), "
        "obj_description(pg_class.oid, 'pg_class') FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid "
        "WHERE relname = ANY(%s) AND attnum > 0",
        list(NAMES),
    )
    assert {name for name, *_ in columns} | {"metrics_as_of"} == set(NAMES)
    assert [column for column in columns if column[2] == "timestamp without time zone"] == []
    assert [column for column in columns if not all(column[3:])] == []
    lines = [line.strip("| ") for line in (ROOT / "docs" / "tables.md").read_text(encoding="utf-8").splitlines()]
    docs = dict(line.split(" | ", 1) for line in lines if line.startswith("`") and " | " in line)
    assert [(name, column) for name, column, *_ in columns if f"`{column}`" not in docs[f"`{name}`"]] == []


TAKEN = "exists already, made by others, and is not replaced (rename it)"


@pytest.mark.parametrize(
    ("theirs", "name", "problem"),
    [
        ("CREATE TABLE daily (mine INTEGER)", "daily", TAKEN),
        ("CREATE VIEW latest AS SELECT 1 AS mine", "latest", TAKEN),
        ("CREATE VIEW assets AS SELECT ''::varchar(100) AS source", "assets", TAKEN),
        ("CREATE SEQUENCE runs", "runs", TAKEN),
        ("CREATE TYPE daily AS ENUM ('mine')", "daily", 'can\'t be created (type "daily" already exists)'),
        ("CREATE FUNCTION metrics_as_of(timestamptz) RETURNS INT LANGUAGE sql AS 'SELECT 1'", "metrics_as_of", TAKEN),
        ("CREATE FUNCTION metrics_as_of(date) RETURNS INT LANGUAGE sql AS 'SELECT 1'", "metrics_as_of", TAKEN),
    ],
)
@pytest.mark.one_server
def test_what_others_have_made_under_these_names_stays_and_stops_setup_but_no_run(
    empty_url: str, theirs: str, name: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = " UNION ALL ".join(
        f"SELECT oid FROM pg_{kind} WHERE {column} = '{name}'"
        for kind, column in (("class", "relname"), ("type", "typname"), ("proc", "proname"))
    )
    ask(empty_url, theirs)
    before = ask(empty_url, made)
    database = Database(empty_url, Path())
    with caplog.at_level(logging.WARNING):
        assert ensure_tables(database)
        assert not ensure_tables(database)
    [said] = caplog.messages
    assert f": {name} {problem}: run python main.py setup as the owner" in said
    assert f"{name} {problem}" in refusal(lambda: ensure_tables(database, always=True))
    assert ask(empty_url, made) == before
    ours = ask(empty_url, "SELECT count(*) FROM pg_class WHERE reloptions = '{security_barrier=false}'")
    assert ours == [(len(READABLE) - (name in READABLE),)]


def test_views_whose_comments_others_have_replaced_are_still_ours(database: Database, rows: Rows) -> None:
    for name in NAMES:
        rows(f"COMMENT ON {'FUNCTION' if name == 'metrics_as_of' else 'VIEW'} {name} IS 'of dbt'")
    assert ensure_tables(database, always=True)
    assert rows("SELECT starts_with(obj_description('daily'::regclass), 'crypto-metrics: ')") == [(True,)]


def test_the_function_may_get_another_column_unless_a_view_of_others_uses_it(database: Database, rows: Rows) -> None:
    older = """
        DROP FUNCTION metrics_as_of;
        CREATE FUNCTION metrics_as_of(as_of timestamptz) RETURNS TABLE (source varchar) LANGUAGE sql
        BEGIN ATOMIC SELECT source FROM loads; END;
    """
    rows(older)
    ensure_tables(database, always=True)
    assert rows("SELECT source, value FROM metrics_as_of(now())") == []
    rows(f"{older} CREATE VIEW theirs AS SELECT * FROM metrics_as_of(now())")
    said = refusal(lambda: ensure_tables(database, always=True))
    assert "(cannot drop function metrics_as_of(timestamp with time zone) because other objects depend on it)" in said


def test_tables_of_the_version_before_get_the_views_and_views_on_them_survive_the_next_setup(empty_url: str) -> None:
    ask(empty_url, f"{SCHEMA}; COMMENT ON TABLE metrics IS 'crypto-metrics schema of the version before';"
        "INSERT INTO metrics (source, asset, metric_name, pulled_at, value) "
        "VALUES ('defillama', 'a', 'PRICE', '2024-01-01 13:00', 1)")  # fmt: skip
    database = Database(empty_url, Path())
    assert ensure_tables(database)
    assert not ensure_tables(database)
    assert psql(empty_url, "SELECT time = '2024-01-02Z' FROM daily") == [("t",)]
    ask(empty_url, "CREATE VIEW mine AS SELECT * FROM daily")
    assert ensure_tables(database, always=True)
    assert psql(empty_url, "SELECT value FROM mine") == [("1",)]


def test_the_facts_about_metrics_are_those_of_the_program(database: Database, rows: Rows) -> None:
    stored = "SELECT * FROM metric_facts ORDER BY 1, 2"
    facts = sorted(metric_facts())
    assert rows(stored) == facts
    for change in ("DELETE FROM metric_facts WHERE unit = ''", "UPDATE metric_facts SET shift = '1 hour'",
                   "INSERT INTO metric_facts VALUES ('defillama', 'GONE', '', '1 hour', false)"):  # fmt: skip
        rows(change)
        ensure_tables(database, always=True)
        assert rows(stored) == facts
    ensure_schema(database, facts[1:])  # of another version of the program
    assert rows(stored) == facts[1:]
    assert not ensure_tables(database)
    assert rows(stored) == facts


@pytest.mark.one_server
def test_a_role_that_may_not_store_new_facts_gets_a_warning_and_makes_its_run(
    database_url: str, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    rows("DELETE FROM metric_facts WHERE metric_name = 'TVL'; CREATE ROLE worker LOGIN")
    worker = Database(as_role(database_url, "worker"), Path())
    try:
        for right in ("TRIGGER", "SELECT"):
            rows(f"GRANT {right} ON metric_facts TO worker")
            with caplog.at_level(logging.WARNING):
                assert not ensure_tables(worker)
        assert len(caplog.messages) == 2
        for said in caplog.messages:
            assert "the facts about metrics can't be stored (permission denied for table metric_facts): run" in said
    finally:
        rows("DROP OWNED BY worker; DROP ROLE worker")
