"""What the peers do: each function takes its arguments as JSON and returns the seconds of its rounds.

A script of its own, since it runs in the environment of the peers, which has none of our modules.
"""

import csv
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

COLUMNS = ("source", "asset", "metric_name", "pulled_at", "value")
KEY = COLUMNS[:4]
INSERT = f"INSERT INTO metrics ({', '.join(COLUMNS)}) VALUES %s ON CONFLICT DO NOTHING"  # noqa: S608 - our names
ONE_ROW = "(%s, %s, %s, %s, %s)"
PAGE = 10_000


def requests_loop(url: str, api: str, slugs: Sequence[str], delay: float) -> list[float]:
    """One request after another at the same pace, the points of each stored with execute_values."""
    import psycopg2
    import requests
    from psycopg2.extras import execute_values

    began = time.perf_counter()
    with closing(psycopg2.connect(url)) as session, session.cursor() as cursor, requests.Session() as http:
        for slug in slugs:
            started = time.perf_counter()
            body = http.get(f"{api}/api/protocol/{slug}", timeout=60).json()
            days = {point["date"] // 86400 * 86400: point["totalLiquidityUSD"] for point in body["tvl"]}
            rows = [("peer", slug, "TVL", time.strftime("%F", time.gmtime(at)), value) for at, value in days.items()]
            execute_values(cursor, INSERT, rows, page_size=PAGE)
            session.commit()
            time.sleep(max(0.0, delay - (time.perf_counter() - started)))
    return [time.perf_counter() - began]


def dlt_rest_api(url: str, api: str, slugs: Sequence[str]) -> list[float]:
    """The source rest_api: a list of slugs, and for each its history, merged into a table of its own."""
    import dlt
    from dlt.sources.rest_api import rest_api_source

    listed = dlt.resource([[{"slug": slug} for slug in slugs]], name="slugs")  # one page
    history = {
        "name": "tvl",
        "parallelized": True,
        "write_disposition": "merge",
        "primary_key": ["_slugs_slug", "date"],
        "include_from_parent": ["slug"],
        "endpoint": {"path": "api/protocol/{resources.slugs.slug}", "data_selector": "tvl", "paginator": "single_page"},
    }
    source = rest_api_source({"client": {"base_url": f"{api}/"}, "resources": [listed, history]})
    return [_dlt_run(url, source.with_resources("slugs", "tvl"))]


def dlt_merge(url: str, file: str) -> list[float]:
    """Points merged into a table of dlt's own."""
    import dlt

    rows = [dict(zip(COLUMNS, row, strict=True)) for row in _points(file)]
    merged = dlt.resource(rows, name="points", write_disposition="merge", primary_key=list(KEY))
    return [_dlt_run(url, merged)]


def executemany(url: str, file: str) -> list[float]:
    """An INSERT for each point, in one transaction."""
    return _loaded(url, file, lambda cursor, rows: cursor.executemany(INSERT.replace("%s", ONE_ROW), rows))


def execute_values(url: str, file: str) -> list[float]:
    """An INSERT for each page of points, in one transaction."""
    from psycopg2.extras import execute_values as run

    return _loaded(url, file, lambda cursor, rows: run(cursor, INSERT, rows, page_size=PAGE))


def to_sql(url: str, file: str) -> list[float]:
    """A frame appended to the table."""
    import pandas as pd
    import psycopg2
    import sqlalchemy

    frame = pd.DataFrame(_points(file), columns=list(COLUMNS)).astype({"pulled_at": "datetime64[us]"})
    engine = sqlalchemy.create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(url))
    began = time.perf_counter()
    frame.to_sql("metrics", engine, if_exists="append", index=False, chunksize=PAGE)
    return [time.perf_counter() - began]


def read_sql(url: str, sql: str, rounds: int) -> list[float]:
    """A panel by pandas.read_sql and pivot."""
    import warnings

    import pandas as pd
    import psycopg2

    warnings.filterwarnings("ignore", "pandas only supports SQLAlchemy", UserWarning)  # it works nevertheless
    with closing(psycopg2.connect(url)) as session:
        return _panels(rounds, lambda: pd.read_sql(sql, session))


def adbc(url: str, sql: str, rounds: int) -> list[float]:
    """The same through Arrow."""
    from adbc_driver_postgresql import dbapi

    def read() -> Any:
        cursor.execute(sql)
        return cursor.fetch_arrow_table().to_pandas()

    with dbapi.connect(url) as session, session.cursor() as cursor:
        return _panels(rounds, read)


def connectorx(url: str, sql: str, rounds: int) -> list[float]:
    """The same by ConnectorX."""
    import connectorx as cx

    return _panels(rounds, lambda: cx.read_sql(url, sql))


def _panels(rounds: int, read: Callable[[], Any]) -> list[float]:
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        read().pivot(index="pulled_at", columns="asset", values="value").tz_localize("UTC")
        found.append(time.perf_counter() - began)
    return found


def _loaded(url: str, file: str, load: Callable[[Any, list[list[Any]]], object]) -> list[float]:
    import psycopg2

    rows = _points(file)
    with closing(psycopg2.connect(url)) as session, session, session.cursor() as cursor:
        began = time.perf_counter()
        load(cursor, rows)
        session.commit()
        return [time.perf_counter() - began]


def _dlt_run(url: str, data: Any) -> float:
    import dlt

    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline("peer", pipelines_dir=folder, destination=dlt.destinations.postgres(url))
        began = time.perf_counter()
        pipeline.run(data).raise_on_failed_jobs()
        return time.perf_counter() - began


def _points(file: str) -> list[list[Any]]:
    with open(file, encoding="utf-8", newline="") as text:  # noqa: PTH123 - one name for a path in JSON
        return [[*names, float(value)] for *names, value in csv.reader(text)]


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps(globals()[asked.pop("way")](**asked)))
