"""The column flags_off of a config, and the facts of metrics that the rules for flags use."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from model.errors import ConfigurationError
from model.flags import FlagRule, Quantity
from sources import SOURCES, metric_of
from sources.artemis import QUARTERLY, Artemis
from sources.base import BaseSource
from sources.config import Asset, append_rows, read_config
from sources.defillama import DefiLlama

HEADER = "asset,kind,metrics,id,flags_off\n"
ROW = Asset("pendle", ("TVL",), "pendle", "protocol", "Pendle", "")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some_config.csv"


def test_rules_are_switched_off_by_their_names(file: Path) -> None:
    file.write_text(f"{HEADER}lido,protocol,TVL,,flat  jump\naave,protocol,TVL\n")
    lido, aave = read_config(file, DefiLlama)
    assert (lido.flags_off, aave.flags_off) == ((FlagRule.FLAT, FlagRule.JUMP), ())


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("flatt", "unknown rule 'flatt' in flags_off: did you mean flat?"),
        ("zero Jump", "unknown rule 'Jump' in flags_off: did you mean jump?"),
        ("all", "unknown rule 'all' in flags_off: known: drift, flat, jump, zero"),
        ("zero flat zero", "flags_off names zero twice"),
    ],
)
def test_an_unknown_rule_is_refused_with_its_line_and_the_nearest_name(file: Path, cell: str, words: str) -> None:
    file.write_text(f"# a comment\n{HEADER}lido,protocol,TVL,,{cell}\n")
    with pytest.raises(ConfigurationError) as raised:
        read_config(file, DefiLlama)
    assert str(raised.value) == f"{file}:3: {words}"


def test_a_row_is_added_below_such_a_column_and_leaves_it_as_it_is(file: Path) -> None:
    before = f"{HEADER}lido,protocol,TVL,,flat\n"
    file.write_text(before)
    assert append_rows(file, DefiLlama, [ROW]) == ["pendle,protocol,TVL,,"]
    assert file.read_text() == f"{before}pendle,protocol,TVL,,\n"
    assert [row.flags_off for row in read_config(file, DefiLlama)] == [(FlagRule.FLAT,), ()]


def test_the_rules_of_an_added_row_are_written(file: Path) -> None:
    file.write_text(HEADER)
    row = replace(ROW, name="", flags_off=(FlagRule.DRIFT, FlagRule.FLAT))
    assert append_rows(file, DefiLlama, [row]) == ["pendle,protocol,TVL,,drift flat"]
    assert read_config(file, DefiLlama) == [row]


def test_fundamentals_supplies_and_prices_of_stablecoins_are_flat_by_nature_and_prices_of_coins_are_not() -> None:
    assert all(Artemis.METRICS[name].flat_by_nature for name in QUARTERLY)
    assert Artemis.METRICS["TOTAL_SUPPLY_NATIVE"].flat_by_nature
    assert DefiLlama.METRICS["STABLECOIN_PRICE"].flat_by_nature
    assert not any(source.METRICS[name].flat_by_nature for source in SOURCES.values() for name in ("PRICE", "TVL"))


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_most_metrics_are_not_flat_by_nature(source: type[BaseSource]) -> None:
    flat = [name for name, metric in source.METRICS.items() if metric.flat_by_nature]
    assert 0 < len(flat) < len(source.METRICS) / 5


def test_every_quantity_is_one_of_several_sources_with_one_metric_each() -> None:
    metrics = defaultdict[Quantity, list[str]](list)
    for name, source in SOURCES.items():
        for metric in source.METRICS:
            known = metric_of(name, metric)
            if known and known.quantity:
                metrics[known.quantity].append(name)
    assert metrics
    assert all(sorted(names) == sorted(SOURCES) for names in metrics.values())
