"""The rules of `check`: from what was found to findings, without processes and without a network."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from cli.checks import configs, environment
from cli.checks import output as screen
from cli.checks.database import LITTLE_SPACE, Tables, space_findings, table_findings
from cli.checks.finding import Area, Finding, Severity, need_a_hand
from cli.checks.identifiers import Catalogue, Match, listed_findings, merged, missing_findings
from cli.checks.series import Stored, left_findings, run_findings, series_findings
from db.points import Age
from db.pulls import LastRuns
from db.rights import Rights
from model.settings import Settings
from model.values import Target, Verb
from sources import SOURCES
from sources.artemis import Artemis
from sources.base import ListedAsset
from sources.config import Asset
from sources.defillama import DefiLlama
from tests.commands import ROOT

KEY = "ARTEMIS_API_KEY"
KNOWN = ["DATABASE_URL", "PACE_DIRECTORY", KEY, "DEFILLAMA_API_KEY", "ARTEMIS_BASE_URL", "DEFILLAMA_BASE_URL"]
WRITER = Rights("18.6", "writer", read_only=False, may_create=True, may_stage=True, denied=[])


def told(findings: Iterable[Finding]) -> list[str]:
    """Each finding as one text."""
    return [f"{each.severity} {each.where}: {each.what} -> {each.remedy}" for each in findings]


def row(
    asset: str, metrics: str = "TVL", api_id: str = "", kind: str = "protocol", name: str = "", entity: str = ""
) -> Asset:
    """A row of a config."""
    return Asset(asset, tuple(metrics.split()), api_id or asset, kind, name, entity)


def offer(
    api_id: str, metrics: str | None = "TVL", kind: str = "protocol", name: str = "", dead: str = ""
) -> ListedAsset:
    """An asset that an API lists."""
    told = None if metrics is None else frozenset(metrics.split())
    return ListedAsset(api_id, api_id, kind, name, "", told, dead)


def test_every_package_of_the_requirements_file_is_read_with_its_range() -> None:
    text = "# first\n-r other.txt\npsycopg2-binary>=2.9.9,<3   # driver; <1 no more\nrequests [socks] >= 2.32\nrich\n\n"
    assert list(map(str, environment.requirements(text))) == ["psycopg2-binary>=2.9.9,<3", "requests>=2.32", "rich"]
    shipped = environment.requirements((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    assert all(package.clauses for package in shipped)


@pytest.mark.parametrize(
    ("version", "allowed"),
    [
        *(("2.9", False), ("2.10", True), ("2.10.0", True), ("2.10rc1", True), ("2.99.1.post1", True)),
        *(("2.11", False), ("3", False), ("3.0.0", False)),
    ],
)
def test_versions_are_compared_number_by_number(version: str, allowed: bool) -> None:
    (package,) = environment.requirements("one>=2.10,<3,!=2.11")
    assert package.allows(version) is allowed


def test_a_missing_package_and_one_out_of_its_range_are_told_apart() -> None:
    wanted = environment.requirements("there>=1\nold>=2,<3\ngone>=1")
    there = {"there": "1.0", "old": "1.9"}
    assert [(each.severity, each.where) for each in environment.package_findings(wanted, there.get)] == [
        (Severity.WARNING, "old"),
        (Severity.ERROR, "gone"),
    ]


def test_a_needed_key_that_is_not_set_and_values_that_are_none_are_errors_and_another_server_is_a_note() -> None:
    settings = Settings({"DEFILLAMA_API_KEY": "a b", "DEFILLAMA_BASE_URL": "https://me:word@host:1/x"})
    found = told(environment.key_findings(settings, SOURCES.values()))
    assert [line.split(":")[0] for line in found] == [
        f"error {KEY}",
        "error DEFILLAMA_API_KEY",
        "note DEFILLAMA_BASE_URL",
    ]
    assert "asked at host:1 in" in found[2]
    assert "a b" not in "".join(found)


@pytest.mark.parametrize("name", ["DEFILAMA_API_KEY", "artemis_api_key", "DATABASE_URI", "ARTEMIS_KEY"])
def test_a_misspelt_variable_is_told_with_the_one_that_was_meant(name: str) -> None:
    (found,) = environment.variable_findings({name: "x"}, {}, KNOWN)
    assert found.severity is Severity.WARNING
    assert name in found.what
    assert found.remedy.removeprefix("did you mean ").removesuffix("?") in KNOWN


@pytest.mark.parametrize("written", [{"HOME_PAGE": "x"}, {"GITHUB_API_KEY": "x"}, {"ARTEMIS_KEY": "x", KEY: "x"}, {}])
def test_variables_of_others_are_left_alone(written: dict[str, str]) -> None:
    assert not list(environment.variable_findings(written, {}, KNOWN))


def test_a_line_of_env_that_says_nothing_or_is_outdone_is_told() -> None:
    written = {KEY: None, "DATABASE_URL": "a", "PACE_DIRECTORY": "same "}
    found = environment.variable_findings(written, {"DATABASE_URL": "b", "PACE_DIRECTORY": "same"}, KNOWN)
    assert [(each.severity, each.what.split()[0]) for each in found] == [
        (Severity.WARNING, KEY),
        (Severity.NOTE, "DATABASE_URL"),
    ]


@pytest.mark.parametrize(("mode", "number"), [(0o600, 0), (0o640, 0), (0o604, 1), (0o644, 1)])
def test_an_env_that_every_user_can_read_is_told(tmp_path: Path, mode: int, number: int) -> None:
    file = tmp_path / ".env"
    file.write_text("A=a")
    file.chmod(mode)
    assert len(list(environment.mode_findings(file))) == number


def test_a_place_of_the_pace_that_is_no_directory_is_told_and_one_that_can_be_made_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not list(environment.pace_findings(tmp_path / "new" / "pace", "PACE_DIRECTORY"))
    (found,) = environment.pace_findings(tmp_path / "file", "PACE_DIRECTORY")
    assert f"{tmp_path / 'file'} can't be written as a directory" in found.what


def test_without_an_optional_key_the_series_that_are_skipped_are_told() -> None:
    (found,) = environment.without_key(DefiLlama, [row("gmx", "TVL PERPS_VOLUME"), row("x", "PERPS_VOLUME")])
    assert found.severity is Severity.NOTE
    assert "is not set, so defillama leaves out 2 series: PERPS_VOLUME" in found.what
    assert not list(environment.without_key(DefiLlama, [row("gmx")]))


@pytest.mark.parametrize(
    ("tables", "rights", "severities"),
    [
        (Tables.OURS, WRITER, ""),
        (Tables.NONE, WRITER, "note"),
        (Tables.OTHER, WRITER, "warning"),
        (Tables.NONE, WRITER._replace(may_create=False), "error"),
        (Tables.OTHER, WRITER._replace(may_create=False), "warning error"),
        (Tables.OURS, WRITER._replace(may_create=False), ""),
        (Tables.OURS, WRITER._replace(read_only=True), "error"),
        (Tables.OURS, WRITER._replace(may_stage=False, denied=["INSERT on metrics"]), "error error"),
    ],
)
def test_tables_are_judged_by_their_version_and_by_what_the_role_may_do(
    tables: Tables, rights: Rights, severities: str
) -> None:
    assert [each.severity for each in table_findings(tables, rights)] == severities.split()


def test_little_room_for_the_embedded_database_is_told() -> None:
    assert not list(space_findings("here", LITTLE_SPACE))
    assert [each.severity for each in space_findings("here", LITTLE_SPACE - 1)] == [Severity.WARNING]


def test_a_series_that_is_asked_for_under_two_names_is_told_once_with_all_its_metrics() -> None:
    rows = [row("one", "TVL FEES", "x"), row("two", "FEES TVL MCAP", "X"), row("three", "PRICE", "x", "coin")]
    (found,) = configs.twice_findings("file", [*rows, row("four", "REVENUE", "x")])
    assert "x is asked for under 2 names, one, two: TVL, FEES" in found.what


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("hyper-liquid", "hyperliquid", True),
        ("etherium", "ethereum", True),
        ("solana", "solanna", True),
        ("uniswap-v2", "uniswap-v3", False),
        ("sui", "sei", False),
        ("base", "case", False),
        ("bitcoin", "litecoin", False),
    ],
)
def test_entities_that_differ_by_a_slip_are_a_hint(one: str, other: str, alike: bool) -> None:
    found = list(configs.entity_findings({"a": [row("x", entity=one)], "b": [row("y", entity=other)]}))
    assert [each.severity for each in found] == ([Severity.NOTE] if alike else [])


def test_an_entity_that_both_configs_have_is_no_slip_of_another_one() -> None:
    rows = [row("x", entity="ethereum"), row("y", entity="etherium")]
    assert not list(configs.entity_findings({"a": rows, "b": rows}))


def test_ten_thousand_entities_are_compared_at_once() -> None:
    many = [[row(f"{file}-{number}", entity=f"entity-{number:x}-{file}") for number in range(10_000)] for file in "ab"]
    began = datetime.now(UTC)
    list(configs.entity_findings({"a": many[0], "b": many[1]}))
    assert (datetime.now(UTC) - began).total_seconds() < 5


def test_rows_without_an_entity_are_told_in_one_line() -> None:
    (found,) = configs.entity_findings({"a": [row(f"asset-{number}") for number in range(9)]})
    assert found.what.endswith("asset-0, asset-1, asset-2, asset-3, asset-4 and 4 more")


def test_an_unknown_identifier_is_told_with_what_has_its_name_or_an_identifier_like_it() -> None:
    catalogue = Catalogue(Artemis, [offer("pol", None, "", "Polygon"), offer("sky", None, "", "Sky")])
    rows = [row("matic", kind="", name="Polygon"), row("skyy", kind=""), row("other", kind="")]
    found = told(missing_findings(Artemis, [row for row, known in catalogue.match(rows) if not known], catalogue))
    assert len(found) == 3
    assert "error artemis matic: the API knows no matic -> did you mean pol (Polygon)? " in found[0]
    assert "did you mean sky?" in found[1]
    assert "did you mean" not in found[2]


def test_no_number_is_taken_for_another_one() -> None:
    catalogue = Catalogue(DefiLlama, [offer("120", kind="stablecoin", name="PayPal USD")])
    assert catalogue.nearest(row("x", api_id="121", kind="stablecoin")) is None
    assert catalogue.nearest(row("x", api_id="121", kind="stablecoin", name="paypal usd")) is not None


@pytest.mark.parametrize("identifier", ["BSC", "bsc", "Binance"])
def test_a_chain_is_known_in_each_spelling_that_the_api_takes(identifier: str) -> None:
    ((_, known),) = Catalogue(DefiLlama, [offer("BSC", kind="chain")]).match(
        [row("bnb", api_id=identifier, kind="chain")]
    )
    assert known


def test_nothing_is_missed_of_a_kind_of_which_nothing_is_listed() -> None:
    assert Catalogue(DefiLlama, [offer("aave")]).match([row("x", kind="pool")]) == []


def findings_of(known: ListedAsset, wanted: Asset, *others: ListedAsset, unsure: str = "", seen: str = "") -> list[str]:
    """What is found of a row that is listed beside others."""
    catalogue = Catalogue(DefiLlama, [known, *others])
    once = [(wanted.asset, metric) for metric in seen.split()]
    return told(listed_findings(DefiLlama, [Match(wanted, known)], catalogue, unsure.split(), once))


def test_an_asset_that_has_ended_is_told_with_what_the_api_says() -> None:
    (found,) = findings_of(offer("old", dead="dead from 2023-01-01"), row("old"))
    assert "warning defillama old: the API says of old: dead from 2023-01-01" in found


def test_metrics_that_are_not_listed_are_told_where_the_lists_speak_of_them() -> None:
    other = offer("other", "TVL MCAP FEES")
    (found,) = findings_of(offer("one"), row("one", "TVL MCAP INFLOW"), other)
    assert "warning defillama one: the API does not list MCAP for it" in found
    assert findings_of(offer("one"), row("one", "MCAP"), other, unsure="protocol") == []
    assert findings_of(offer("one", None), row("one", "MCAP"), other) == []
    (once,) = findings_of(offer("one"), row("one", "MCAP"), other, seen="MCAP")
    assert once.startswith("note ")


def test_an_identifier_that_now_means_something_else_is_a_note() -> None:
    luna, lunc = offer("luna", name="Terra 2.0"), offer("lunc", name="Terra Classic")
    (found,) = findings_of(luna, row("luna", name="Terra Classic"), lunc)
    assert "luna is Terra 2.0 at the API, and Terra Classic is lunc (Terra Classic)" in found
    assert findings_of(luna, row("luna", name="Terra"), lunc) == []
    assert findings_of(luna, row("luna", name="Terra 2.0"), offer("other", name="Terra 2.0")) == []


def test_rows_of_one_identifier_are_looked_at_together() -> None:
    (found,) = merged([row("one", "TVL"), row("one", "FEES TVL")])
    assert found.metrics == ("TVL", "FEES")


def stored(*ages: Age, source: str = "artemis", asked: Iterable[tuple[str, str]] = ()) -> Stored:
    """What the tables say of these series, which the config has."""
    kind = "" if source == "artemis" else "protocol"
    return Stored([Target(age.asset, age.metric, age.asset, kind) for age in ages], ages, set(asked), [], {})


ANSWERED, LONG_AGO, RECENT = date(2026, 6, 30), datetime(2026, 5, 30, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)


def test_series_that_were_never_asked_for_are_one_note_with_the_runs_that_ask() -> None:
    ages = [Age("aave", "MCAP", None, None), Age("aave", "FEES", None, None), Age("aave", "TVL", RECENT, ANSWERED)]
    (found,) = told(series_findings(DefiLlama, stored(*ages, source="defillama")))
    assert found.startswith("note defillama: never asked for, 2 of 3 series: aave MCAP, aave FEES")
    assert found.endswith("python main.py backfill defillama and python main.py pull defillama")


def test_series_that_never_had_a_value_are_one_warning_an_asset_unless_it_is_known_why() -> None:
    ages = [Age("sol", metric, None, ANSWERED) for metric in ("PRICE", "FEES", "MC")] + [Age("btc", "TVL", None, None)]
    asked = [(age.asset, age.metric) for age in ages]
    found = told(series_findings(Artemis, stored(*ages, asked=asked), {("sol", "MC")}))
    assert [line.partition(" ->")[0] for line in found] == [
        "warning artemis sol: the API has been asked, and never had a value of PRICE, FEES",
        "warning artemis btc: the API has been asked, and never had a value of TVL",
    ]


@pytest.mark.parametrize(
    ("asset", "metric", "newest", "ended"),
    [
        ("sol", "PRICE", LONG_AGO, True),
        ("sol", "PRICE", RECENT, False),
        ("eq-coin", "EBITDA", LONG_AGO, False),
        ("eq-coin", "EBITDA", datetime(2025, 9, 30, tzinfo=UTC), True),
    ],
)
def test_a_series_has_ended_once_the_api_has_long_had_nothing_newer(
    asset: str, metric: str, newest: datetime, ended: bool
) -> None:
    found = list(series_findings(Artemis, stored(Age(asset, metric, newest, ANSWERED))))
    assert [each.severity for each in found] == ([Severity.WARNING] if ended else [])


def test_an_old_series_for_which_the_api_was_not_asked_has_not_ended() -> None:
    assert not list(series_findings(Artemis, stored(Age("sol", "PRICE", LONG_AGO, None))))


def test_what_is_stored_and_no_longer_configured_is_a_note() -> None:
    (found,) = left_findings(Artemis, [Age("ftm", "PRICE", RECENT, None), Age("ftm", "FEES", None, None)])
    assert (found.severity, found.what.partition(": ")[2]) == (Severity.NOTE, "ftm PRICE")


def test_a_run_that_failed_last_is_told_with_why_and_one_that_has_succeeded_since_is_not() -> None:
    failing = LastRuns(LONG_AGO, LONG_AGO, RECENT, failure="data/api/X/:\nHTTP 500 " + "x" * 1000)
    (found,) = run_findings(Artemis, {Verb.PULL: failing, Verb.SETTLE: failing._replace(began_well=RECENT)})
    assert "the last pull failed, at 2026-06-01 00:00Z: data/api/X/: HTTP 500 xxx" in found.what
    assert len(found.what) < 400
    assert found.remedy == "python main.py pull artemis"


def test_the_table_is_aligned_wrapped_and_says_last_how_much_needs_a_hand() -> None:
    long = Finding(Severity.ERROR, "a place", "word " * 40, "do " * 40)
    note = Finding(Severity.NOTE, "a very long name of a place indeed\x1b[2J", "short")
    areas = [
        Area("one", "what there is " * 9),
        Area("two", "this", [note, long]),
        Area("three", "no key", looked=False),
    ]
    lines = list(screen.lines(areas))
    assert max(map(len, lines)) <= screen.WIDTH
    assert lines[0].startswith("one: ok: what there is")
    assert lines[-2:] == ["three: not looked at: no key", "1 needs a hand, 1 note"]
    assert [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "] == ["there", "error", "note"]
    assert "\x1b" not in "".join(lines)
    assert need_a_hand([long, note]) == 1


def test_a_remedy_of_several_findings_in_a_row_stands_once() -> None:
    found = [Finding(Severity.NOTE, place, "this", "do it") for place in ("one", "two")]
    other = Finding(Severity.NOTE, "three", "this", "do that")
    shown = [" ".join(line.split()) for line in screen.lines([Area("a", "b", [*found, other])])]
    assert shown[1:-1] == ["note one this", "note two this", "-> do it", "note three this", "-> do that"]


def test_the_json_has_all_of_it() -> None:
    found = Finding(Severity.WARNING, "where", "what", "remedy")
    assert screen.as_json([Area("one", "this", [found])]) == {
        "need_a_hand": 1,
        "notes": 0,
        "areas": [
            {
                "area": "one",
                "looked": True,
                "looked_at": "this",
                "findings": [{"severity": "warning", "where": "where", "what": "what", "remedy": "remedy"}],
            }
        ],
    }
