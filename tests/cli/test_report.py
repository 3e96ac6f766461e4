"""The report as a command: what its page says, and that it can do no harm."""

import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from db.database import Database
from db.embedded import EmbeddedServer
from db.lock import SessionLock
from tests.commands import ROOT, environment
from tests.report_pages import EVIL, LONG, SECRET, Page, fill, fresh_url, report, written
from tests.tables import BACKFILL, PULL, START, Opener, Rows, asked, points, this_midnight

RUN = "INSERT INTO pulls (source_name, kind, status, finished_at, failure) VALUES"
EVERY_OTHER_DAY = """
INSERT INTO coverage (source, asset, metric_name, answered, found)
SELECT 'artemis', 'asset-' || number, 'FEES', datemultirange(daterange('2016-01-01', '2026-01-01')), days
FROM generate_series(1, %s) AS number, LATERAL (
    SELECT range_agg(daterange(day, day + 1)) AS days
    FROM (SELECT '2016-01-01'::date + each AS day FROM generate_series(number, 3600, 11) AS each) AS days
) AS found
"""


@pytest.fixture(scope="module")
def full_url(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with something of everything, which the tests only read."""
    with fresh_url(server) as url:
        fill(url, tmp_path_factory.mktemp("none"))
        yield url


@pytest.fixture(scope="module")
def html(full_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page about it."""
    return written(full_url, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    """The same, parsed."""
    return Page(html)


def test_the_page_says_when_it_was_made_and_of_which_database(page: Page, full_url: str) -> None:
    name = re.findall(r"dbname=(\w+)", full_url)[0]
    assert re.search(rf"Stored metrics \d{{4}}-\d\d-\d\d \d\d:\d\d UTC: artemis, defillama {name} on ", page.text)


def test_stale_series_are_named_with_their_newest_point(page: Page) -> None:
    assert "! Stale, the oldest first: sol PRICE (2024-02-29, " in page.text


def test_freshness_is_counted_by_metric_and_says_what_no_config_asks_for(page: Page) -> None:
    rows = page.part("Series of artemis by metric", "defillama")
    assert re.search("metric, newest point stale never seen not asked for", rows)
    assert re.search(r"PRICE 2024-02-29 confirmed 9 h ago 1 \d+ \u2013", rows)
    assert re.search(r"FEES 2024-07-18 \u2013 \d+ 3", rows)


def test_what_needs_attention_stands_after_the_values_and_leads_to_its_parts(page: Page) -> None:
    told = page.part("What needs attention Freshness", "Restatements that wait")
    assert told.index("Latest values") < told.index("sol PRICE $1bn") < told.index("What needs attention")
    assert told.endswith(
        "What needs attention ! 4restatements wait for a person ! 5of 6 runs failed lately ! 2series stale ! 1day lost "
    )
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert links[-4:] == ["#waiting", "#failures", "#freshness", "#coverage"]


def test_where_nothing_needs_attention_one_line_says_so(open_store: Opener, database_url: str, tmp_path: Path) -> None:
    open_store(BACKFILL).load(points(0), [asked(0, 1)])
    told = Page(written(database_url, tmp_path / "x.html")).text
    assert "Nothing needs attention Freshness" in told
    assert "What needs attention Nothing: no restatement waits, no run failed lately, no series is stale" in told


def test_restatements_that_wait_for_a_person_have_the_commands_that_decide(page: Page) -> None:
    told = page.part("Restatements that wait for a person", "What failed lately")
    assert re.search(
        r"artemis sol PRICE: the API now gives other values for 18 of 52 stored days, 2024-01-01 to 2024-01-20, "
        r"typically new = 1,000 × old; 2024-01-20 would be 1T in place of 1bn; first seen 2026-11-20 04:36Z "
        r"to take the new values: ?python main.py settle artemis --accept sol PRICE "
        r"to keep the stored ones: ?python main.py settle artemis --reject sol PRICE",
        told.replace("$", ""),
    )


def test_where_nothing_waits_the_page_says_so(open_store: Opener, database_url: str, tmp_path: Path) -> None:
    open_store(BACKFILL).load(points(0), [asked(0, 1)])
    told = Page(written(database_url, tmp_path / "x.html"))
    assert "None." in told.part("Restatements that wait for a person", "What failed lately")
    assert "withdrawn" not in told.text
    assert "confirmed" not in told.text  # the config has no series with a point


def test_confirmed_series_and_withdrawn_days_are_told(page: Page) -> None:
    assert "Compared with the whole history at the API: confirmed 9 h ago." in page.part(
        "What failed lately", "Coverage by month"
    )
    told = page.part("Coverage by month", "Largest revisions")
    assert "1 series with days that the provider has withdrawn; their values stay stored: " in told
    assert "sol PRICE (3 days withdrawn by the provider, last on 2026-11-19)." in told


def test_coverage_tells_lost_never_asked_and_empty_days_apart_by_month(page: Page) -> None:
    months = page.part("PRICE: days stored by month", "of 1 series without a gap")
    assert re.search(r"year 1 2 3 4 5 6 7 8 9 10 11 12 2024 90! 82\? 0\? 2025 0\? 2026 0\?", months)
    assert "PRICE 1 series, 4% of " in page.text
    assert "! 1 lost; 1,0" in page.text
    assert "python main.py gaps artemis says how to repair this" in page.text


def test_revisions_stand_by_their_relative_change_with_the_run(page: Page) -> None:
    told = page.part("Largest revisions", "never")
    assert "The 2 largest of 2 restatements of artemis" in told
    first, second = told.index("sol PRICE 2024-01-06"), told.index(f"{LONG} FEES 2024-01-07")
    assert first < second
    assert re.search(r"by settle run 1 \+200% \$1bn \$3bn", told)


def test_failures_of_one_kind_of_run_stand_together_whatever_their_words(page: Page) -> None:
    told = page.part("What failed lately", "Freshness")
    assert "5 of 6 runs of the last 7 days failed" in told
    assert len(re.findall("503", told)) == 1
    assert re.search(r"5 runs since \d{4}-\d\d-\d\d \d\d:\d\d, the last is", told)


def test_a_run_under_way_and_one_that_was_stopped_have_not_failed(
    database: Database, database_url: str, rows: Rows, open_store: Opener, tmp_path: Path
) -> None:
    open_store(PULL).load(points(0), [asked(0, 1)])
    rows(f"{RUN} ('defillama', 'pull', 'error', NULL, NULL), ('defillama', 'pull', 'error', NULL, NULL)")
    rows(f"{RUN} ('defillama', 'settle', 'error', now(), 'stopped before the last 3 calls')")
    with closing(SessionLock(database, "pull defillama")) as lock:
        lock.take()
        told = Page(written(database_url, tmp_path / "x.html")).text
    assert "1 of 2 runs of the last 7 days failed; 1 more under way." in told
    assert "no end recorded: the run was killed, or its host crashed run 1" in told


def test_series_that_never_had_a_point_are_named_and_count_in_no_share(
    open_store: Opener, database_url: str, tmp_path: Path
) -> None:
    until = (this_midnight() - START).days
    had = points(*range(until), asset="a")
    open_store(BACKFILL).load(had, [asked(0, until, "a"), asked(0, until, "b"), asked(0, until, "c")])
    told = Page(written(database_url, tmp_path / "x.html")).part("Coverage by month", "Largest revisions")
    assert f"TVL 1 series and 2 without a point, 100% of {until:,} days" in told
    assert "Without a point: b, c." in told


def test_names_and_failures_stand_as_text_whatever_they_hold(html: str, page: Page) -> None:
    assert not [tag for tag, _ in page.elements if tag in {"script", "img", "iframe", "object", "base", "form"}]
    assert page.text.count(EVIL) == 5
    assert "<script" not in html


def test_no_secret_stands_in_the_page_though_a_name_and_a_failure_hold_one(html: str) -> None:
    assert SECRET not in html
    assert "/data/api?key=***: 503" in html


def test_the_page_refers_to_nothing_but_itself(html: str, page: Page) -> None:
    references = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "data", "action", "style"} or name.startswith("on")
    ]
    assert {value for value in references if value and not value.startswith("#")} == {"data:,"}
    assert not re.findall(r"https?:|//\w|@import|url\((?!#)", html.partition("<body>")[0])


def test_links_lead_to_parts_that_are_there_and_no_id_stands_twice(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    links = {attributes["href"] for tag, attributes in page.elements if tag == "a"}
    assert len(ids) == len(set(ids))
    assert links <= {f"#{each}" for each in ids}


def test_tables_have_captions_and_scopes(page: Page) -> None:
    tags = [tag for tag, _ in page.elements]
    assert tags.count("caption") == tags.count("table") > 3
    assert {attributes.get("scope") for tag, attributes in page.elements if tag == "th"} == {"col", "row"}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--asset", "soll"), "did you mean sol"),
        (("--metric", "PRICEE"), "did you mean PRICE?"),
        (("--asset", "bitcoin"), "nothing is stored yet of "),
        (("--asset", "sol", "--metric", "TVL"), "TVL"),
        (("--asset", "aave", "--asset", "sol", "--metric", "TVL"), "TVL"),
    ],
)
def test_a_chart_of_nothing_is_refused_and_nothing_written(
    words: tuple[str, ...], why: str, full_url: str, tmp_path: Path
) -> None:
    done = report(full_url, *words, "--out", tmp_path / "x.html")
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert why in done.stderr


def test_a_source_alone_is_the_whole_page(full_url: str, tmp_path: Path) -> None:
    told = Page(written(full_url, tmp_path / "x.html", "defillama"))
    assert "aave" in told.text
    assert "artemis" not in told.text


def test_it_can_be_printed(full_url: str) -> None:
    done = report(full_url, "--out", "-")
    assert done.returncode == 0
    assert done.stdout.startswith("<!DOCTYPE html>\n<html")
    assert done.stdout.endswith("</html>\n")


def test_the_file_is_replaced_and_keeps_its_mode(full_url: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("old")
    file.chmod(0o640)
    done = report(full_url, "--out", file)
    assert re.search(
        r"report.html: 5 series, 2 stale; 1 day lost; 5 of 6 runs failed; 4 restatements wait for a person; \d+ KB",
        done.stdout,
    )
    assert (file.read_text()[:9], stat.S_IMODE(file.stat().st_mode)) == ("<!DOCTYPE", 0o640)
    assert list(tmp_path.iterdir()) == [file]


def test_without_data_it_names_the_command_that_fills_it_and_leaves_the_file(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("old")
    done = report(database_url, "--out", file)
    assert (done.returncode, done.stdout, file.read_text()) == (2, "", "old")
    assert done.stderr.splitlines()[-1] == "error: nothing is stored yet: python main.py backfill all"


@pytest.mark.parametrize("place", ["missing/report.html", "."])
def test_a_place_where_no_file_can_be_is_one_line(place: str, full_url: str, tmp_path: Path) -> None:
    done = report(full_url, "--out", tmp_path / place)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: .*: can't be written: .*", done.stderr.splitlines()[-1])


def test_a_page_of_ten_times_as_many_series_is_hardly_larger(database_url: str, rows: Rows, tmp_path: Path) -> None:
    rows(EVERY_OTHER_DAY, 30)
    few = len(written(database_url, tmp_path / "few.html", "artemis"))
    rows("TRUNCATE coverage")
    rows(EVERY_OTHER_DAY, 300)
    text = written(database_url, tmp_path / "many.html", "artemis")
    assert len(text) < few + 1000 < 100_000
    assert "0 of 300 series without a gap; the 10 with the most gaps, lost days first:" in text


def test_a_metric_that_exists_only_live_has_its_days(open_store: Opener, database_url: str, tmp_path: Path) -> None:
    store = open_store(PULL)
    store.load(points(0, 1, asset="aave", metric="FEES_24H"), [asked(0, 1, "aave", "FEES_24H")])
    assert "FEES_24H: days stored by month" in Page(written(database_url, tmp_path / "x.html")).text


def test_a_source_without_a_module_is_named(open_store: Opener, rows: Rows, database_url: str, tmp_path: Path) -> None:
    open_store(PULL).load(points(0), [asked(0, 1)])
    rows("INSERT INTO coverage (source, asset, metric_name, row_count) VALUES ('other', 'sol', 'PRICE', 0)")
    assert "also stored: sources without a module: other" in Page(written(database_url, tmp_path / "x.html")).text


def test_it_loads_no_pandas(full_url: str, tmp_path: Path) -> None:
    line = "import sys; from cli.run_command import main; main(sys.argv[1:]); sys.exit('pandas' in sys.modules)"
    words = [sys.executable, "-c", line, "report", "--out", str(tmp_path / "x.html")]
    done = subprocess.run(words, cwd=ROOT, env=environment(full_url), capture_output=True, check=False)  # noqa: S603
    assert (done.returncode, (tmp_path / "x.html").exists()) == (0, True)
