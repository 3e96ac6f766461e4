"""Config files: what is accepted, what is refused with which message, and that the shipped files are right."""

import csv
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import requests

from model.errors import ConfigurationError
from model.values import DAY, Verb, Window
from sources import SOURCES
from sources.artemis import EQUITY_VALUATION, QUARTERLY, Artemis
from sources.artemis import METRICS as ARTEMIS_METRICS
from sources.base import BaseSource
from sources.config import MOST_ERRORS, Asset, read_config
from sources.defillama import DefiLlama
from sources.defillama_metrics import METRICS as DEFILLAMA_METRICS

ROOT = Path(__file__).parents[2]
LISTS = Path(__file__).parents[3] / "shared" / "api" / "lists"
HEADER = "asset,kind,metrics,id,name,entity\n"
ARTEMIS_HEADER = "asset,metrics,id,name,entity\n"
TODAY = datetime(2026, 8, 17, tzinfo=UTC)
OF_EQUITIES = {*EQUITY_VALUATION.split(), *QUARTERLY}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

needs_lists = pytest.mark.skipif(not LISTS.exists(), reason=f"{LISTS} is not on this machine")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some_config.csv"


def read(file: Path, content: str | bytes, source: type[BaseSource] = DefiLlama) -> list[Asset]:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_config(file, source)


def refusal(file: Path, content: str | bytes, source: type[BaseSource] = DefiLlama) -> str:
    """The message with which a file is refused, without its path."""
    with pytest.raises(ConfigurationError) as raised:
        read(file, content, source)
    assert str(raised.value).startswith(str(file))
    assert raised.value.exit_code == 2
    return str(raised.value).removeprefix(str(file))


def test_a_row_names_an_asset_and_the_api_calls_it_by_its_id(file: Path) -> None:
    assets = read(file, HEADER + "solana,chain,CHAIN_TVL CHAIN_FEES,Solana,Solana (L1),solana\nlido,protocol,TVL,,,\n")
    assert assets == [
        Asset("solana", ("CHAIN_TVL", "CHAIN_FEES"), "Solana", "chain", "Solana (L1)", "solana"),
        Asset("lido", ("TVL",), "lido", "protocol", "", ""),
    ]
    assert [tuple(target) for target in assets[0].targets()] == [
        ("solana", "CHAIN_TVL", "Solana", "chain"), ("solana", "CHAIN_FEES", "Solana", "chain"),
    ]  # fmt: skip


def test_columns_may_stand_in_any_order_and_optional_ones_may_be_missing(file: Path) -> None:
    assert read(file, "metrics,asset\nPRICE,btc\n", Artemis) == [Asset("btc", ("PRICE",), "btc", "", "", "")]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + HEADER + "lido,protocol,TVL MCAP,,Lido,lido\n",
        HEADER.replace("\n", "\r\n") + "lido,protocol,TVL MCAP,,Lido,lido\r\n\r\n",
        HEADER.replace("\n", "\r") + "lido,protocol,TVL MCAP,,Lido,lido\r",
        HEADER + "lido,protocol,TVL MCAP,,Lido,lido",
        "\n\n# a comment, with a \"quote\n\t\n" + HEADER + "\n  # another\nlido,protocol,TVL MCAP,,Lido,lido\n\n",
        '"# a comment, in quotes",,,\n' + HEADER + ',,,,,\n"",,"",\nlido,protocol,TVL MCAP,,Lido,lido\n',
        HEADER.replace("\n", ",,\n") + "lido,protocol,TVL MCAP,,Lido,lido,,\n",
        HEADER + ' lido , protocol ,"TVL  MCAP",,"Lido"," lido"\n',
        "asset,kind,metrics,id,name,entity\x20\x20\nlido,protocol, TVL   MCAP ,lido,Lido,lido,\n",
    ],
    ids=["BOM", "CRLF", "CR", "no last newline", "comments", "spreadsheet", "trailing commas", "quotes", "spaces"],
)  # fmt: skip
def test_what_editors_and_spreadsheets_make_of_a_file_reads_the_same(file: Path, content: str) -> None:
    assert read(file, content) == [Asset("lido", ("TVL", "MCAP"), "lido", "protocol", "Lido", "lido")]


@pytest.mark.parametrize("metric", DefiLlama.REMOVED)
def test_a_metric_of_an_earlier_version_is_refused_with_the_reason_and_what_to_do(file: Path, metric: str) -> None:
    said = refusal(file, f"{HEADER}lido,protocol,TVL {metric}\n")
    reason = DefiLlama.REMOVED[metric]
    assert said == f":2: metric {metric} was removed, since {reason}: take it out of this line"
    assert metric not in DEFILLAMA_METRICS


def test_a_quoted_field_may_hold_a_comma_and_quotes(file: Path) -> None:
    (asset,) = read(file, HEADER + '"a,b",protocol,TVL,ab,"Say ""hi"", Lido",\n')
    assert (asset.asset, asset.name) == ("a,b", 'Say "hi", Lido')


def test_a_missing_file_and_a_folder_are_refused_by_name(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"some_config\.csv: there is no such config file"):
        read_config(file, DefiLlama)
    with pytest.raises(ConfigurationError, match=r"can't be read as UTF-8 text: .*Is a directory"):
        read_config(file.parent, DefiLlama)


@pytest.mark.parametrize(
    "content", ["", "\n\n", "# only\n# comments\n", HEADER, "# c\n" + HEADER + "#lido,protocol,TVL\n", "\ufeff"]
)
def test_a_file_without_an_asset_is_refused_with_an_example(file: Path, content: str) -> None:
    wrong = "it has no asset" if HEADER in content else "it has no header"
    header = HEADER.strip() if HEADER in content else f"{HEADER.strip()},flags_off"
    right = f"write rows such as NAME,protocol,TVL under the header {header}"
    assert refusal(file, content) == f": {wrong}: {right}"
    right = right.replace("protocol,TVL", "24H_VOLUME").replace("kind,", "")
    assert refusal(file, content.replace("kind,", ""), Artemis) == f": {wrong}: {right}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("asset,kind,metric\n", ":1: unknown column 'metric': did you mean metrics?"),
        (
            "# c\n\nasset,kind,metrics,tags\n",
            ":3: unknown column 'tags': known: asset, entity, flags_off, id, kind, metrics, name",
        ),
        ("lido,protocol,TVL\n", ":1: unknown column 'lido': did you mean"),
        ("asset,metrics\n", ":1: column 'kind' is missing: the header is asset,kind,metrics,id,name,entity"),
        ("kind,metrics\n", ":1: column 'asset' is missing"),
        ("asset,kind\n", ":1: column 'metrics' is missing"),
        ("asset,asset,kind,metrics\n", ":1: column 'asset' appears twice: remove one"),
        ("asset,,kind,metrics\n", ":1: unknown column ''"),
        ("asset\tkind\tmetrics\n", r":1: there is a '\t' in this line: separate the columns by commas"),
        ("asset;kind;metrics\n", ":1: the columns are separated by ';': separate them by commas, in all lines"),
    ],
)
def test_a_wrong_header_is_refused(file: Path, content: str, words: str) -> None:
    assert refusal(file, content + "lido,protocol,TVL\n").startswith(words)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("lido,protocol,TVLL,,,", "unknown metric 'TVLL': did you mean TVL?"),
        ("lido,protocol,tvl,,,", "unknown metric 'tvl': did you mean TVL?"),
        ("lido,protocol,TVL MCAP;FEES,,,", "unknown metric 'MCAP;FEES': separate metrics by spaces, as before FEES"),
        ('lido,protocol,"TVL,MCAP",,,', "unknown metric 'TVL,MCAP': separate metrics by spaces, as before MCAP"),
        ("lido,protocol,XYZZY,,,", "unknown metric 'XYZZY': see python main.py sources"),
        ("usdc,stablecoin,XYZZY,,,", "unknown metric 'XYZZY': known: STABLECOIN_PRICE, STABLECOIN_SUPPLY"),
        ("Sui,chain,FEES,,,", "metric FEES is one of kind protocol, not of chain: did you mean CHAIN_FEES?"),
        ("btc,coin,TVL,,,", "metric TVL is one of kind protocol, not of coin: known: ETF_FLOW, PRICE"),
        ("lido,protocl,TVL,,,", "unknown kind 'protocl': did you mean protocol?"),
        ("lido,,TVL,,,", "unknown kind '': known: chain, coin, pool, protocol, stablecoin"),
        ("lido,Protocol,TVL,,,", "unknown kind 'Protocol': did you mean protocol?"),
        ("lido,protocol,TVL FEES TVL,,,", "lido names TVL twice"),
        ("lido,protocol,,,,", "lido has no metric: name at least one"),
        ("lido;protocol;TVL", "the columns are separated by ';': separate them by commas, in all lines"),
        ("lido,protocol", "lido has no metric: name at least one"),
        (",protocol,TVL,,,", "the asset is empty"),
        ('" ",protocol,TVL,,,', "the asset is empty"),
        (f"{'x' * 101},protocol,TVL,,,", "the asset has 101 characters: write at most 100"),
        ("lido,protocol,TVL,,,,x", "7 fields, but the header has 6 columns"),
        ("li\0do,protocol,TVL,,,", r"there is a '\x00' in this line: remove it"),
        ("lido,protocol,TVL,,Li\0do,", r"there is a '\x00' in this line: remove it"),
        ("lido,protocol,TVL,li\x1b[31mdo,,", r"there is a '\x1b' in this line: remove it"),
        ("li\u2028do,protocol,TVL,,,", r"there is a '\u2028' in this line: remove it"),
        ("lido,protocol,TVL\xa0FEES,,,", r"there is a '\xa0' in this line: remove it"),
        ('"lido,protocol,TVL,,,', "not valid CSV: unexpected end of data"),
        ('"li"do,protocol,TVL,,,', "not valid CSV: ',' expected after '\"'"),
        ("lido,protocol,TVL,\"lido,curve\",,", "id 'lido,curve' can't be requested: use no comma, and more than dots"),
        ('"lido,curve",protocol,TVL,,,', "id 'lido,curve' can't be requested"),
        ("lido,protocol,TVL,..,,", "id '..' can't be requested"),
        (".,protocol,TVL,,,", "id '.' can't be requested"),
        ("lido,pool,APY,x,,", "id 'x' is not that of a pool: write the last part of defillama.com/yields/pool/…"),
        ("lido,pool,APY,,,", "lido needs an id: write the last part of defillama.com/yields/pool/…"),
        ("usdt,stablecoin,STABLECOIN_PRICE,usdt,,", "id 'usdt' is not that of a stablecoin: write its number, such"),
        ("btc,coin,PRICE,,,", "btc needs an id: write coingecko:NAME or CHAIN:ADDRESS, such as coingecko:bitcoin"),
        ("btc,coin,PRICE,coingecko:,,", "id 'coingecko:' is not that of a coin"),
        ("uni,protocol,FEES TVL,,,", "uni TVL is in line 3 already: keep one of them"),
        ("UNI,protocol,TVL,,,", "UNI TVL is in line 3 already: keep one of them"),
        ("uni,chain,TVL,,,", "metric TVL is one of kind protocol, not of chain: did you mean CHAIN_TVL?"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_refused_with_its_line_and_what_would_be_right(file: Path, row: str, words: str) -> None:
    content = f"# a comment\n{HEADER}uni,protocol,TVL,parent#uniswap,,\n\n{row}\nlater,protocol,TVL,,,\n"
    assert refusal(file, content).startswith(f":5: {words}")


def test_all_that_is_wrong_with_a_file_is_said_at_once(file: Path) -> None:
    content = f"{HEADER}a,protocol,TVLL,,,\nb,protocol,TVL,,,\nc,,TVL,,,\n"
    first, second = refusal(file, content).splitlines()
    assert first == ":2: unknown metric 'TVLL': did you mean TVL?"
    assert second.startswith(f"{file}:4: unknown kind ''")
    for more, last in ((0, f"{file}:21: "), (1, "and 1 more error"), (2, "and 2 more errors")):
        lines = refusal(file, HEADER + "a,protocol,TVLL,,,\n" * (MOST_ERRORS + more)).splitlines()
        assert len(lines) == MOST_ERRORS + (more > 0)
        assert lines[-1].startswith(last)


def test_artemis_has_no_kinds_and_says_so(file: Path) -> None:
    assert refusal(file, "asset,kind,metrics\nbtc,coin,PRICE\n", Artemis).startswith(":1: unknown column 'kind': ")
    assert refusal(file, "asset,metrics\nbtc,PRICES\n", Artemis) == ":2: unknown metric 'PRICES': did you mean PRICE?"
    assert refusal(file, "asset,metrics\nbtc,30D_VOLUME\n", Artemis).startswith(":2: unknown metric '30D_VOLUME': ")


@pytest.mark.parametrize("content", [HEADER.encode() + b"caf\xe9,protocol,TVL\n", HEADER.encode("utf-16")])
def test_what_is_not_utf_8_is_refused(file: Path, content: bytes) -> None:
    assert refusal(file, content).startswith(": can't be read as UTF-8 text: ")


def test_one_asset_may_have_a_row_of_each_kind_and_names_may_use_any_letters_to_the_full_width(file: Path) -> None:
    rows = f"{HEADER}sui,chain,CHAIN_TVL,Sui,,\nsui,coin,PRICE,coingecko:sui,,\n{'é' * 99}₿,protocol,TVL,,Ünï ⓒ,\n"
    assert [asset.asset for asset in read(file, rows)] == ["sui", "sui", "é" * 99 + "₿"]


ODD = ("a/b", "a?b=c", "a#b", "a b", "a&b", "a%2Fb", "é", "../x", "{id}", "a;b", "a\\b", "a+b", "x" * 100)


@pytest.mark.parametrize("identifier", ODD)
def test_an_id_of_odd_characters_is_quoted_so_that_the_api_gets_just_that(file: Path, identifier: str) -> None:
    rows = {kind: [m for m, known in DEFILLAMA_METRICS.items() if kind == known.kind] for kind in DefiLlama.KINDS}
    content = "".join(f"{kind},{kind},{' '.join(rows[kind])},{identifier},,\n" for kind in ("protocol", "chain"))
    other = [Asset(kind, tuple(rows[kind]), identifier, kind, "", "") for kind in ("stablecoin", "coin", "pool")]
    artemis = read(file, f"{ARTEMIS_HEADER}x,PRICE,{identifier},,\n", Artemis)
    asked = set[str]()
    for made, assets in ((Artemis("key"), artemis), (DefiLlama("key"), [*read(file, HEADER + content), *other])):
        targets = [target for asset in assets for target in asset.targets()]
        for verb in Verb:
            fitting = [target for target in targets if verb in made.METRICS[target.metric].verbs]
            for call in made.calls(verb, fitting, Window(TODAY - DAY, TODAY)):
                request = made.request(call)
                parts = urlsplit(str(requests.Request("GET", request.url, params=request.params).prepare().url))
                words = [unquote(word) for word in parts.path.split("/")]
                words += [value for values in parse_qs(parts.query).values() for value in values]
                assert not parts.fragment
                assert parts.path.count("/") == call.path.count("/") + (2 if made.name == "defillama" else 1)
                asked.update(target.metric for target in call.targets if identifier in words)
    one_by_one = {"FEES", "TVL", "CHAIN_TVL", "CHAIN_FEES_24H", "STABLECOIN_SUPPLY", "PRICE", "APY"}
    assert one_by_one <= asked


def shipped(source: type[BaseSource], kind: str = "") -> list[Asset]:
    return [asset for asset in read_config(ROOT / source.CONFIG, source) if asset.kind == kind]


def listed(name: str, column: str) -> set[str]:
    with (LISTS / name).open(encoding="utf-8") as lines:
        return {row[column] for row in csv.DictReader(lines)}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_shipped_config_has_about_sixty_things_with_a_name_and_an_entity(source: type[BaseSource]) -> None:
    assets = read_config(ROOT / source.CONFIG, source)
    assert 55 <= len({asset.entity for asset in assets}) <= 100
    assert all(asset.name and asset.entity for asset in assets)
    for verb in Verb:
        assert any(verb in source.METRICS[metric].verbs for asset in assets for metric in asset.metrics)


def test_a_shipped_flow_has_both_its_history_and_its_live_value() -> None:
    for asset in read_config(ROOT / DefiLlama.CONFIG, DefiLlama):
        flows = {metric for metric in asset.metrics if f"{metric.removesuffix('_24H')}_24H" in DEFILLAMA_METRICS}
        histories = {metric for metric in flows if not metric.endswith("_24H")}
        assert flows == histories | {f"{metric}_24H" for metric in histories}, asset.asset


def test_an_entity_has_one_spelling_across_the_shipped_configs() -> None:
    entities = {asset.entity for source in SOURCES.values() for asset in read_config(ROOT / source.CONFIG, source)}
    folded = [re.sub(r"[^a-z0-9]", "", entity.lower()) for entity in entities]
    assert len(set(folded)) == len(folded)


def test_the_shipped_ids_have_the_form_that_the_api_wants() -> None:
    assert all(UUID.fullmatch(asset.id) for asset in shipped(DefiLlama, "pool"))
    assert all(asset.id.isdecimal() for asset in shipped(DefiLlama, "stablecoin"))
    assert all(asset.id.startswith("coingecko:") for asset in shipped(DefiLlama, "coin"))
    assert all(asset.id == asset.id.lower() for asset in shipped(Artemis))
    for asset in shipped(DefiLlama, "protocol"):
        assert re.fullmatch(r"(parent#)?[a-z0-9.+-]+", asset.id)
        assert asset.id in (asset.asset, f"parent#{asset.asset}")
        assert not (asset.id.startswith("parent#") and "MCAP" in asset.metrics), "a parent has no market cap"


def test_shipped_fundamentals_and_valuations_are_those_of_equities() -> None:
    for asset in shipped(Artemis):
        if asset.id.startswith("eq-"):
            assert set(asset.metrics) <= {"PRICE"} | OF_EQUITIES, asset.asset
        else:
            assert not OF_EQUITIES & set(asset.metrics), asset.asset


@needs_lists
def test_the_shipped_symbols_and_all_metrics_of_artemis_are_on_its_lists() -> None:
    documented = {"eq-nvda"}  # the example of the official documentation
    assert {asset.id for asset in shipped(Artemis)} - listed("artemis_assets.csv", "symbol") == documented
    metrics = set((LISTS / "artemis_metrics.txt").read_text(encoding="utf-8").split())
    assert set(ARTEMIS_METRICS) == {name for name in metrics if not name.startswith("LATEST_")} | OF_EQUITIES


@needs_lists
def test_the_shipped_chains_coins_and_parents_are_on_the_lists_of_defillama() -> None:
    lines = (LISTS / "defillama_chains_2025_12.txt").read_text(encoding="utf-8").splitlines()
    assert {asset.id for asset in shipped(DefiLlama, "chain")} <= {line.split("\t")[0] for line in lines}
    coins = listed("crosswalk.csv", "gecko_id") | listed("defillama_entities.csv", "gecko_id")
    assert {asset.id.removeprefix("coingecko:") for asset in shipped(DefiLlama, "coin")} <= coins
    parents = {asset.id for asset in shipped(DefiLlama, "protocol") if asset.id.startswith("parent#")}
    on_list = listed("crosswalk_core.csv", "defillama_parent_slug")
    assert {parent.removeprefix("parent#") for parent in parents} <= on_list


@needs_lists
def test_a_shipped_protocol_that_no_list_has_is_one_of_the_known_versions() -> None:
    on_lists = listed("defillama_entities.csv", "slug") | listed("crosswalk.csv", "defillama_slug")
    alone = {asset.id for asset in shipped(DefiLlama, "protocol") if not asset.id.startswith("parent#")}
    assert alone - on_lists == {  # the lists leave out most versions, of which a parent has several
        "aave-v3", "aerodrome-slipstream", "curve-dex", "derive-v3-options", "ethena-usde", "gmx-v2-perps",
        "hyperliquid-perps", "jupiter-aggregator", "jupiter-perpetual-exchange", "pancakeswap-amm-v3", "pendle-v2",
        "raydium-amm", "sky-lending", "uniswap-v2", "uniswap-v3", "uniswap-v4",
    }  # fmt: skip
