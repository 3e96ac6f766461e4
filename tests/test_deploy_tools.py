"""The files of deploy/ for Grafana and dbt: their queries run on PostgreSQL, and dbt itself reads the sources."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from db.database import Database
from db.listening import password_of
from db.roles import TABLES_AND_VIEWS, ensure_reader
from model.settings import ROOT
from model.values import DAY, Verb
from pipeline.tables import ensure_tables
from tests.db.test_embedded import home
from tests.db.test_listening import port
from tests.psql import psql
from tests.tables import Opener, Rows, ask, asked, points

__all__ = ["home", "port"]  # fixtures
SOURCES = ROOT / "deploy" / "dbt" / "sources.yml"
GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboard.json").read_text(encoding="utf-8"))
VARIABLES = DASHBOARD["templating"]["list"]
TARGETS = {panel["title"]: (panel, *panel["targets"]) for panel in DASHBOARD["panels"]}
QUERIES = {title: target["rawSql"] for title, (_, target) in TARGETS.items()}
QUERIES |= {variable["label"]: variable["query"] for variable in VARIABLES}
CHOSEN = {"source": ["defillama"], "metric": ["TVL"], "asset": ["solana", "o'brien"]}
PULLED = """
DELETE FROM pulls;
INSERT INTO pulls (source_name, kind, status, finished_at)
VALUES ('defillama', 'pull', 'success', now() AT TIME ZONE 'UTC' - interval '{}')
"""
PROJECT = "name: test\nversion: '1.0'\nprofile: test\nmodel-paths: [models]\n"
TIMESTAMPTZ = 1184  # PostgreSQL's oid of the type
DBT = shutil.which("dbt")
DBT_OPTIONS = ["--no-send-anonymous-usage-stats", "--no-version-check", "--no-use-colors"]


def expanded(query: str) -> str:
    """A query as Grafana sends it, by the documents of its PostgreSQL data source and of the format `sqlstring`."""
    now = datetime.now(UTC)
    start, end = (f"'{at:%Y-%m-%dT%H:%M:%SZ}'" for at in (now - 3650 * DAY, now + DAY))
    for name, values in CHOSEN.items():
        listed = ",".join("'{}'".format(value.replace("'", "''")) for value in values)
        query = query.replace(f"${{{name}:sqlstring}}", listed)
    query = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {start} AND {end}", query)
    assert "$" not in query
    return query


@pytest.fixture
def url(database_url: str, open_store: Opener, rows: Rows) -> Iterator[str]:
    """A database with points, a run that failed and a value that waits, as a reader sees it."""
    store = open_store(Verb.BACKFILL)
    store.begin_run()
    store.load([*points(0, 1, 2), *points(0, asset="o'brien")], [asked(0, 3)])
    rows("UPDATE pulls SET failed_calls = 1, finished_at = pulled_at")
    rows("INSERT INTO quarantine VALUES ('defillama', 'solana', 'TVL', '2024-01-01', 9, 'waiting', now())")
    [(name,)] = rows("SELECT 'reader_of_' || current_database()")
    ensure_reader(Database(database_url, Path()), name)
    yield database_url.replace("user=metrics", f"user={name}")
    rows(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.mark.every_postgres
def test_each_query_of_the_dashboard_has_rows_for_a_reader(url: str) -> None:
    assert {title for title, query in QUERIES.items() if not psql(url, expanded(query))} == set()
    assert psql(url, expanded(QUERIES["Asset"])) == [("o'brien",), ("solana",)]
    assert len(psql(url, expanded(QUERIES["${metric} by day"]))) == 4


def test_a_run_that_has_not_ended_is_not_among_those_that_failed(url: str, rows: Rows) -> None:
    failed = QUERIES["Runs that failed"]
    assert len(psql(url, expanded(failed))) == 1
    rows("UPDATE pulls SET finished_at = NULL")
    assert psql(url, expanded(failed)) == []


def test_panels_over_time_have_the_columns_that_grafana_needs(url: str) -> None:
    over_time = {title: target for title, (panel, target) in TARGETS.items() if panel["type"] == "timeseries"}
    assert {title for title, (_, target) in TARGETS.items() if target["format"] == "time_series"} == over_time.keys()
    with closing(psycopg2.connect(url)) as session, session.cursor() as cursor:
        for target in over_time.values():
            cursor.execute(expanded(target["rawSql"]))
            columns = cursor.description or ()
            assert [column.name for column in columns] == ["time", "metric", "value"]
            assert columns[0].type_code == TIMESTAMPTZ


def test_the_dashboard_uses_the_data_source_of_the_other_file() -> None:
    yaml: Any = pytest.importorskip("yaml")
    (source,) = yaml.safe_load((GRAFANA / "datasource.yaml").read_text(encoding="utf-8"))["datasources"]
    wanted = {"type": source["type"], "uid": source["uid"]}
    used = [*VARIABLES, *(panel for panel, _ in TARGETS.values()), *(target for _, target in TARGETS.values())]
    assert [each for each in used if each["datasource"] != wanted] == []
    assert source["secureJsonData"] == {"password": "$CRYPTO_METRICS_PASSWORD"}
    ids = [panel["id"] for panel, _ in TARGETS.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.every_postgres
def test_the_sources_of_dbt_are_our_views_and_their_freshness_can_be_asked(url: str) -> None:
    yaml: Any = pytest.importorskip("yaml")
    (source,) = yaml.safe_load(SOURCES.read_text(encoding="utf-8"))["sources"]
    for table in source["tables"]:
        name = table.get("identifier", table["name"])
        assert name in TABLES_AND_VIEWS
        columns = ", ".join(column["name"] for column in table.get("columns", [])) or "*"
        psql(url, f"SELECT {columns} FROM {name}")  # noqa: S608 - of our own file
        if config := table.get("config"):
            field, rows = config["loaded_at_field"], config["freshness"]["filter"]
            assert psql(url, f"SELECT pg_typeof({field}) FROM {name} WHERE NOT ({rows})") == [  # noqa: S608
                ("timestamp with time zone",)
            ]


@pytest.mark.skipif(DBT is None, reason="dbt is not installed")
def test_dbt_reads_the_sources_and_says_when_pulls_have_stopped(home: Path, port: int, tmp_path: Path) -> None:
    with closing(Database("", home, port)) as database:
        ensure_tables(database)
        reader = ensure_reader(database, "reader", "s3cr3t").password or "s3cr3t"
        project = tmp_path / "project"
        (project / "models").mkdir(parents=True)
        shutil.copy(SOURCES, project / "models")
        (project / "models" / "newest.sql").write_text("SELECT * FROM {{ source('crypto_metrics', 'latest') }}")
        (project / "dbt_project.yml").write_text(PROJECT)
        login = {"type": "postgres", "host": "127.0.0.1", "port": port, "user": "reader", "password": reader,
                 "dbname": "metrics", "schema": "public", "threads": 1}  # fmt: skip
        profile = {"test": {"target": "test", "outputs": {"test": login}}}
        (project / "profiles.yml").write_text(json.dumps(profile))

        def dbt(*words: str) -> tuple[int, str]:
            done = subprocess.run(  # noqa: S603 - dbt
                [str(DBT), *DBT_OPTIONS, *words, "--project-dir", str(project), "--profiles-dir", str(project)],
                env=os.environ | {"PGPASSFILE": os.devnull}, capture_output=True, text=True, check=False,
            )  # fmt: skip
            return done.returncode, done.stdout + done.stderr

        code, said = dbt("parse", "--warn-error")
        assert code == 0, said
        owner = f"host=127.0.0.1 port={port} user=metrics dbname=metrics password={password_of(home)}"
        for age, expected in (("1 hour", {"pass"}), ("5 hours", {"warn"}), ("60 hours", {"error"})):
            ask(owner, PULLED.format(age))
            code, said = dbt("source", "freshness", "--select", "source:crypto_metrics.pulls_of_defillama")
            results = json.loads((project / "target" / "sources.json").read_text())["results"]
            assert ({result["status"] for result in results}, code == 0) == (expected, expected != {"error"}), said
