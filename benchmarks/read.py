"""How long query_data takes, warm and cold, beside a bare binary COPY of the same points and other ways to a frame."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from statistics import median
from typing import Any
from unittest.mock import patch

import psycopg2

import query_data as q
from benchmarks.rows import Row, Setting, in_turn, seconds
from benchmarks.servers import SOURCE, Server, filled
from db.points import of_series
from db.reader import copied
from model.settings import DATABASE_URL
from model.values import Series
from query.csv_and_json import newest_of_each
from query.query_session import QuerySession
from query.question import Question
from query.time_arguments import ALWAYS

METRIC = "METRIC_0"
PANEL = 2_000_000  # points, at most
SHORT = ((2_000, 2_000, 2),)  # series, days and metrics of an asset: one table has two panels of the largest size
LONG = ((500, 2_000, 1), (10_000, 2_000, 5), (50_000, 2_000, 5))
SQL = f"""
SELECT asset, pulled_at, value FROM metrics WHERE source = '{SOURCE}' AND metric_name = '{METRIC}'
    AND asset <= '%s' AND pulled_at >= '2000-01-01' AND pulled_at < '2100-01-01' ORDER BY asset, pulled_at
"""  # noqa: S608 - our own names
PEERS = {"pandas read_sql": "read_sql", "ADBC": "adbc", "ConnectorX": "connectorx"}
COLD_ROUNDS = 3


def measure(setting: Setting) -> Iterator[Row]:
    """Tables of several sizes."""
    for series, days, metrics in LONG if setting.long else SHORT:
        with filled(series, days, metrics) as made, patch.dict(os.environ, {DATABASE_URL: made.dsn}):
            assets = [f"asset-{number:06d}" for number in range(min(PANEL // days, series // metrics))]
            yield from _of_table(setting, made, f"{series * days / 1e6:g} million rows", assets)


def _of_table(setting: Setting, made: Server, table: str, assets: list[str]) -> Iterator[Row]:
    one = q.series(assets[0], METRIC)
    middle, asking = one.index[len(one) // 2], QuerySession()
    every = [each.series for each in asking.stored()]
    questions: dict[str, tuple[Callable[[], Any], list[Series]]] = {
        "a series": (lambda: q.series(assets[0], METRIC), [Series(SOURCE, assets[0], METRIC)]),
        "a day of a metric": (lambda: q.cross_section(METRIC, middle), []),
        "the latest of a metric": (lambda: q.latest(METRIC), []),
        "the latest of all": (lambda: newest_of_each(asking.reader(), Question(every)), []),
        "a panel": (lambda: q.panel(METRIC, assets), [Series(SOURCE, asset, METRIC) for asset in assets]),
    }
    for name, (work, series) in questions.items():
        values = _values(work())
        with closing(psycopg2.connect(made.dsn)) as session, session.cursor() as cursor:
            bare = [partial(copied, cursor, *of_series(series, ALWAYS))] if series else []
            ours, *copy = in_turn(setting.rounds, [work, *bare])
        goal = 1.15 if values >= 0.9 * PANEL else None
        peer = "binary COPY" if series else ""
        theirs = copy[0] * 1000 if copy else None
        what = f"{table}: {name}, {values:,} values"
        yield Row(what, ours * 1000, "ms", peer, theirs, at_most=goal)
        if name == "a panel":
            for title, way in PEERS.items():
                found = setting.peers.seconds(way, url=made.url, sql=SQL % assets[-1], rounds=setting.rounds)
                yield Row(what, ours * 1000, "ms", title, found and found * 1000)
        cold = median(seconds(made.cold(work)) for _ in range(COLD_ROUNDS))
        yield Row(f"{what}, cold", cold * 1000, "ms", "warm", ours * 1000)
    asking.reader().close()


def _values(frame: Any) -> int:
    """How many values an answer has."""
    return len(frame) if isinstance(frame, list) or "value" in frame else int(frame.count().sum())
