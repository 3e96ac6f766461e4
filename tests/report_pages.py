"""Databases for the report with something of everything in them, and the page as a reader has it."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from html.parser import HTMLParser
from itertools import count
from math import sin
from pathlib import Path
from subprocess import CompletedProcess

import psycopg2

from db.database import Database
from db.embedded import EmbeddedServer
from db.pulls import RunEnd
from db.store import Store
from model.values import DAY, DataPoint, Verb
from tests.commands import environment, run
from tests.tables import START, AdoptingStore, asked, point, points, this_midnight

SECRET = environment("")["ARTEMIS_API_KEY"]
EVIL = '"><script>alert(1)</script>'
FAILED = f"/data/api?key={SECRET}: 503 {EVIL}"
LONG = "x" * 100
NUMBERS = count(1)
HARD = {
    "one-point": [5e10],
    "two-points": [1.5, -2.5],
    "of-a-month": [97_234.56 + day for day in range(30)],
    "of-a-year": [1e9 + day * 1e7 for day in range(366)],
    "of-years": [1.93e12 + day * 1e9 for day in range(2_500)],
    "steep": [1e-9 * 10 ** (day / 100) for day in range(1_500)],
    "negative": [-1e9 * sin(day / 50) for day in range(700)],
    "hardly-moving": [1e10 + day / 1000 for day in range(300)],
    "constant": [183_254_123_456.0] * 100,
    "zero": [0.0] * 100,
    "largest": [1.7e308, -1.7e308, 5e-324],
    "smallest": [5e-324, 1e-323],
    "farthest": [1e-300, 1e300],
}
WAITING = """
INSERT INTO quarantine (source, asset, metric_name, pulled_at, value, state, seen_at)
SELECT source, asset, metric_name, pulled_at, value * 1000, 'waiting', '2026-11-20 04:36' FROM metrics
WHERE (metric_name = 'FEES' OR asset = 'sol') AND pulled_at < '2024-01-21'
"""
CONFIRMED = """
UPDATE coverage SET verified_at = clock_timestamp() AT TIME ZONE 'UTC' - interval '9 hours 5 minutes',
    withdrawn = '{[2024-02-01,2024-02-04)}', withdrawn_at = '2026-11-19 04:36' WHERE asset = 'sol'
"""
VOID = {"meta", "link", "wbr"}
PULLS = """
INSERT INTO pulls (source_name, kind, status, pulled_at, finished_at, failure)
SELECT 'artemis', 'pull', 'error', now() AT TIME ZONE 'UTC' - hours * interval '1 hour', now() AT TIME ZONE 'UTC',
    %s || repeat('; another order', hours)
FROM generate_series(1, 5) AS hours
"""


class Page(HTMLParser):
    """A page as its elements and its text; loud where an element is not ended."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._open = "", list[str]()
        self.feed(text)
        self.close()
        assert not self._open
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        self.text += "" if tag == "wbr" else " "

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data

    def part(self, start: str, end: str) -> str:
        """The text between two titles."""
        return self.text.partition(start)[2].partition(end)[0]


@contextmanager
def fresh_url(server: EmbeddedServer) -> Iterator[str]:
    """A DATABASE_URL of a fresh database with the schema, for tests that share it."""
    name = f"report_{next(NUMBERS)}"
    with closing(psycopg2.connect(server.dsn.replace("dbname=metrics", "dbname=postgres"))) as session:
        session.autocommit = True
        session.cursor().execute(f"CREATE DATABASE {name} TEMPLATE metrics")
        yield server.dsn.replace("dbname=metrics", f"dbname={name}")
        session.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")


def fill(url: str, directory: Path) -> None:
    """Series with days lost, never asked for, empty and withdrawn; revisions, and some that wait for a person; runs
    that failed; names that do harm.
    """
    database = Database(url, directory)
    with closing(Store(database, "artemis", Verb.BACKFILL)) as store:
        there = [day for day in range(60) if day not in (10, 11) and not 40 <= day < 45]
        answered = [asked(first, end, "sol", "PRICE") for first, end in ((0, 40), (45, 60))]
        store.load([DataPoint("sol", "PRICE", START + day * DAY, 1e9 + day) for day in there], answered)
        for name in (EVIL, SECRET, LONG):
            store.load(points(*range(200), asset=name, metric="FEES"), [asked(0, 200, name, "FEES")])
    with closing(AdoptingStore(database, "artemis", Verb.SETTLE)) as store:
        number = store.begin_run()
        store.load([point("sol", 5, 3e9, "PRICE"), point(LONG, 6, 1.5, "FEES")])
        store.end_run(number, RunEnd("success", records=2, calls=1, failed=0, received=2, failure=None))
    with closing(Store(database, "defillama", Verb.BACKFILL)) as store:
        store.load(points(*range(100), asset="aave", metric="TVL"), [asked(0, 100, "aave", "TVL")])
    with closing(psycopg2.connect(url)) as session, session, session.cursor() as cursor:
        cursor.execute("DELETE FROM metrics WHERE asset = 'sol' AND pulled_at = '2024-01-31'")
        cursor.execute(PULLS, (FAILED,))
        cursor.execute(WAITING)
        cursor.execute(CONFIRMED)


def fill_charts(url: str, directory: Path) -> None:
    """Series that are hard to draw: one of each of HARD, dated back from yesterday."""
    store = Store(Database(url, directory), "artemis", Verb.BACKFILL)
    for name, values in HARD.items():
        store.load(days_back(name, "TXNS", values), [])
    store.close()
    store = Store(Database(url, directory), "defillama", Verb.BACKFILL)
    store.load(days_back("some-pool-of-a-rather-long-name", "APY", [3 + sin(day / 30) for day in range(900)]), [])
    store.close()


def days_back(asset: str, metric: str, values: Iterable[float], newest: int = 1) -> list[DataPoint]:
    """Points of consecutive days with these values, the first one of them `newest` days ago, and each other before."""
    return [
        DataPoint(asset, metric, this_midnight() - (newest + place) * DAY, each) for place, each in enumerate(values)
    ]


def report(url: str, *words: str | Path) -> CompletedProcess[str]:
    """The command, whose end must be no traceback."""
    done = run("main.py report", *words, env=environment(url))
    assert "Traceback" not in done.stderr
    return done


def written(url: str, file: Path, *words: str) -> str:
    """The page that the command writes into a file."""
    done = report(url, *words, "--out", file)
    assert done.returncode == 0, done.stderr
    return file.read_text(encoding="ascii")
