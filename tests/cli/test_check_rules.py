"""The rules of `check`: from what was found to findings, without processes and without a network."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from cli import check as screen
from cli.checks import configs_and_identifiers as configs
from cli.checks import environment_and_keys as environment
from cli.checks.area import Area, Finding, Severity, SourceRecords, need_attention
from cli.checks.database_and_series import Tables, series_findings, table_findings
from cli.listed_assets import compare
from db.coverage import Name
from db.points import Age
from db.rights import Rights
from model.settings import HOME, ROOT, Settings
from model.values import Target
from sources.artemis import Artemis
from sources.base import ListedAsset
from sources.config import Asset
from sources.defillama import DefiLlama
from sources.listing import Listing

KEY = "ARTEMIS_API_KEY"
COMMANDS = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
ROWS = re.findall(r"(?m)^\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) \|", COMMANDS)
KNOWN = set(re.findall(r"[A-Z_]+", " ".join(ROWS))) - {HOME}  # HOME only counts in the environment
WRITER = Rights("18.6", "writer", read_only=False, may_create=True, may_stage=True, denied=[])


def texts(findings: Iterable[Finding]) -> list[str]:
    """Each finding as one text."""
    return [f"{each.severity} {each.where}: {each.what} -> {each.remedy}" for each in findings]


def row(asset: str, metrics: str = "TVL", api_id: str = "", kind: str = "protocol", name: str = "") -> Asset:
    """A row of a config."""
    return Asset(asset, tuple(metrics.split()), api_id or asset, kind, name, "")


def offer(
    api_id: str, metrics: str | None = "TVL", kind: str = "protocol", name: str = "", dead: str = ""
) -> ListedAsset:
    """An asset that an API lists."""
    listed = None if metrics is None else frozenset(metrics.split())
    return ListedAsset(api_id, api_id, kind, name, "", listed, dead)


def test_a_needed_key_that_is_not_set_and_values_that_are_none_are_errors_and_another_server_is_a_note() -> None:
    settings = Settings({"DEFILLAMA_API_KEY": "a b", "DEFILLAMA_BASE_URL": "https://me:word@host:1/x"})
    found = texts(environment.setting_findings(settings, Artemis, []))
    found += texts(environment.setting_findings(settings, DefiLlama, []))
    assert [line.split(":")[0] for line in found] == [
        f"error {KEY}",
        "error DEFILLAMA_API_KEY",
        "note DEFILLAMA_BASE_URL",
    ]
    assert "sends its requests to host:1 instead" in found[2]
    assert "a b" not in "".join(found)


def test_a_server_that_no_parser_takes_is_a_finding_and_no_exception() -> None:
    settings = Settings({"ARTEMIS_API_KEY": "a-key", "ARTEMIS_BASE_URL": "http://[nonsense"})
    wrong, note = texts(environment.setting_findings(settings, Artemis, []))
    assert wrong.startswith("error ARTEMIS_BASE_URL: ARTEMIS_BASE_URL is not the URL of a server: write http")
    assert note.startswith("note ARTEMIS_BASE_URL: artemis sends its requests to [nonsense instead of its API")


def env_of(folder: Path, text: str) -> Path:
    """A file .env with this text, which only its owner can read."""
    file = folder / ".env"
    file.write_text(text)
    file.chmod(0o600)
    return file


MISSPELT = ["DEFILAMA_API_KEY", "artemis_api_key", "DATABASE_URI", "ARTEMIS_KEY"]


@pytest.mark.parametrize("name", [*MISSPELT, *sorted(f"{name}S" for name in KNOWN)])
def test_a_misspelt_variable_is_shown_with_the_one_that_was_meant(tmp_path: Path, name: str) -> None:
    (found,) = environment.env_findings(env_of(tmp_path, f"{name}=x"), {})
    assert found.severity is Severity.WARNING
    assert name in found.what
    assert found.remedy.removeprefix("did you mean ").removesuffix("?") in KNOWN


@pytest.mark.parametrize("text", ["HOME_PAGE=x", "GITHUB_API_KEY=x", f"ARTEMIS_KEY=x\n{KEY}=x", ""])
def test_variables_of_others_are_left_alone(tmp_path: Path, text: str) -> None:
    assert not list(environment.env_findings(env_of(tmp_path, text), {}))


def test_a_misspelt_variable_that_the_environment_sets_rightly_is_left_alone(tmp_path: Path) -> None:
    assert not list(environment.env_findings(env_of(tmp_path, "ARTEMIS_KEY=x"), {KEY: "x"}))


@pytest.mark.parametrize(("mode", "number"), [(0o600, 0), (0o640, 0), (0o604, 1), (0o644, 1)])
def test_an_env_that_every_user_can_read_is_shown(tmp_path: Path, mode: int, number: int) -> None:
    file = env_of(tmp_path, "A=a")
    file.chmod(mode)
    assert len(list(environment.env_findings(file, {}))) == number


def test_a_place_of_the_pace_that_is_no_directory_is_shown_and_one_that_can_be_made_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not list(environment.pace_findings(tmp_path / "new" / "pace"))
    (found,) = environment.pace_findings(tmp_path / "file")
    assert f"{tmp_path / 'file'} is not a folder" in found.what


def test_without_an_optional_key_the_series_that_are_skipped_are_shown() -> None:
    settings = Settings({})
    rows = [row("gmx", "TVL PERPS_VOLUME"), row("x", "PERPS_VOLUME")]
    (found,) = environment.setting_findings(settings, DefiLlama, rows)
    assert found.severity is Severity.NOTE
    assert "is not set, so defillama leaves out 2 series: PERPS_VOLUME" in found.what
    assert not list(environment.setting_findings(settings, DefiLlama, [row("gmx")]))
    assert not list(environment.setting_findings(Settings({"DEFILLAMA_API_KEY": "a-key"}), DefiLlama, rows))


def test_a_deprecated_metric_is_shown_with_its_assets_and_its_replacement() -> None:
    rows = [row("eth", "PRICE DEX_VOLUMES", kind=""), row("sol", "DEX_VOLUMES P2P_STABLECOIN_DAU", kind="")]
    assert texts(configs.deprecated_findings(Artemis, rows)) == [
        "warning artemis_config.csv: DEX_VOLUMES of eth, sol is deprecated since August 2025 "
        "-> use CHAIN_SPOT_VOLUME in its place; the stored values stay",
        "warning artemis_config.csv: P2P_STABLECOIN_DAU of sol is deprecated since July 2026 "
        "-> nothing replaces it, so remove it; the stored values stay",
    ]


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


def test_a_series_that_is_requested_under_two_names_is_shown_once_with_all_its_metrics() -> None:
    rows = [row("one", "TVL FEES", "x"), row("two", "FEES TVL MCAP", "X"), row("three", "PRICE", "x", "coin")]
    (found,) = configs.twice_findings("file", [*rows, row("four", "REVENUE", "x")])
    assert "x is requested under 2 names, one, two: TVL, FEES" in found.what


def test_an_unknown_identifier_is_shown_with_what_has_its_name_or_an_identifier_like_it() -> None:
    assets = [offer("pol", None, "", "Polygon"), offer("sky", None, "", "Sky")]
    rows = [row("matic", kind="", name="Polygon"), row("skyy", kind=""), row("other", kind="")]
    found = texts(configs.unknown_findings(Artemis, [*rows, row("skyy", "FEES", kind="")], assets))
    assert len(found) == 3
    assert "error artemis matic: the API knows no matic -> did you mean pol (Polygon)? " in found[0]
    assert "did you mean sky?" in found[1]
    assert "did you mean" not in found[2]


def test_no_number_is_taken_for_another_one() -> None:
    assets = [offer("120", kind="stablecoin", name="PayPal USD")]
    assert configs.nearest_asset(row("x", api_id="121", kind="stablecoin"), assets) is None
    assert configs.nearest_asset(row("x", api_id="121", kind="stablecoin", name="paypal usd"), assets) is not None


def test_nothing_is_missing_of_a_kind_of_which_not_all_is_listed() -> None:
    listing = Listing((offer("aave"),))
    assert configs.unlisted_rows([row("x"), row("y", kind="pool")], [], listing) == [row("x")]
    assert configs.unlisted_rows([row("x")], [], replace(listing, unsure=frozenset({"protocol"}))) == []


def findings_of(known: ListedAsset, wanted: Asset, *others: ListedAsset, unsure: str = "", seen: str = "") -> list[str]:
    """What is found of a row that is listed beside others."""
    once = [(wanted.asset, metric) for metric in seen.split()]
    return compared_with([known, *others], [wanted], unsure.split(), once)


def compared_with(
    assets: Sequence[ListedAsset], rows: Sequence[Asset], unsure: Sequence[str] = (), once: Sequence[Name] = ()
) -> list[str]:
    """What is found of the rows of the first asset."""
    compared, *_ = compare(assets, rows, DefiLlama, unsure)
    listable = configs.listable_metrics(DefiLlama, assets)
    unlisted = [metric for metric in compared.unlisted if (compared.listed.kind, metric) in listable]
    return texts(configs.listed_findings(DefiLlama, compared, unlisted, once))


def test_an_asset_that_has_ended_is_shown_with_what_the_api_says() -> None:
    (found,) = findings_of(offer("old", dead="dead from 2023-01-01"), row("old"))
    assert "warning defillama old: the API says of old: dead from 2023-01-01" in found


def test_metrics_that_are_not_listed_are_shown_where_lists_have_them() -> None:
    other = offer("other", "TVL MCAP FEES")
    (found,) = findings_of(offer("one"), row("one", "TVL MCAP HOLDERS_REVENUE"), other)
    assert "warning defillama one: the API does not list MCAP for it" in found
    assert findings_of(offer("one"), row("one", "MCAP"), other, unsure="protocol") == []
    assert findings_of(offer("one", None), row("one", "MCAP"), other) == []
    (once,) = findings_of(offer("one"), row("one", "MCAP"), other, seen="MCAP")
    assert once.startswith("note ")


def test_rows_of_one_identifier_are_compared_together() -> None:
    rows = [row("one", "TVL MCAP"), row("one", "FEES"), row("two", "FEES", "one")]
    (found,) = compared_with([offer("one"), offer("other", "TVL FEES MCAP")], rows)
    assert "warning defillama one: the API does not list MCAP, FEES for it" in found


def stored(*ages: Age, source: str = "artemis", asked: Iterable[tuple[str, str]] = ()) -> SourceRecords:
    """What the tables say of these series, which the config has."""
    kind = "" if source == "artemis" else "protocol"
    return SourceRecords([Target(age.asset, age.metric, age.asset, kind) for age in ages], ages, set(asked))


ANSWERED, LONG_AGO, RECENT = date(2026, 6, 30), datetime(2026, 5, 30, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)


def test_series_that_were_never_asked_for_are_one_note_with_the_runs_that_ask() -> None:
    ages = [Age("aave", "MCAP", None, None), Age("aave", "FEES", None, None), Age("aave", "TVL", RECENT, ANSWERED)]
    (found,) = texts(series_findings(DefiLlama, stored(*ages, source="defillama")))
    assert found.startswith("note defillama: 2 of 3 series were never requested: aave MCAP, aave FEES")
    assert found.endswith("python main.py backfill defillama and python main.py pull defillama")


def test_series_that_never_had_a_value_are_one_warning_an_asset_unless_it_is_known_why() -> None:
    ages = [Age("sol", metric, None, ANSWERED) for metric in ("PRICE", "FEES", "MC")] + [Age("btc", "TVL", None, None)]
    asked = [(age.asset, age.metric) for age in ages]
    found = texts(series_findings(Artemis, stored(*ages, asked=asked), {("sol", "MC")}))
    assert [line.partition(" ->")[0] for line in found] == [
        "warning artemis sol: the API has never had a value of PRICE, FEES",
        "warning artemis btc: the API has never had a value of TVL",
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


def test_the_table_is_aligned_wrapped_and_says_last_how_much_needs_attention() -> None:
    long = Finding(Severity.ERROR, "a place", "word " * 40, "do " * 40)
    note = Finding(Severity.NOTE, "a very long name of a place indeed\x1b[2J", "short")
    areas = {
        "one": Area("what there is " * 9, []),
        "two": Area("this", [note, long]),
        "three": Area("no key", None),
    }
    lines = list(screen.lines(areas))
    assert max(map(len, lines)) <= screen.CHECK_WIDTH
    assert lines[0].startswith("one: ok: what there is")
    assert lines[-2:] == ["three: not checked: no key", "1 needs attention, 1 note"]
    assert [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "] == ["there", "error", "note"]
    assert "\x1b" not in "".join(lines)
    assert need_attention([long, note]) == 1


def test_a_remedy_of_several_findings_in_a_row_stands_once() -> None:
    found = [Finding(Severity.NOTE, place, "this", "do it") for place in ("one", "two")]
    other = Finding(Severity.NOTE, "three", "this", "do that")
    shown = [" ".join(line.split()) for line in screen.lines({"a": Area("b", [*found, other])})]
    assert shown[1:-1] == ["note one this", "note two this", "-> do it", "note three this", "-> do that"]


def test_the_json_has_all_of_it() -> None:
    found = Finding(Severity.WARNING, "where", "what", "remedy")
    assert screen.as_json({"one": Area("this", [found])}) == {
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
