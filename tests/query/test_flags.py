"""q.flags and what it reads, on a real database."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

import query_data as q
from db.database import Database
from db.reader import Reader
from db.store import Store
from model.errors import BadQuestion
from model.values import DAY, Answered, DataPoint, Verb, Window
from query import flags, query_session
from tests.tables import Rows, this_midnight

pytestmark = pytest.mark.cluster

STEADY = [100.0, 101.0, 99.0, 100.0, 102.0, 98.0, 100.0]
FLAT = [*STEADY, *[5.5] * 9, 5.6]
HEADERS = {
    "artemis": "asset,metrics,id,name,entity,flags_off\n",
    "defillama": "asset,kind,metrics,id,name,entity,flags_off\n",
}
Load = Callable[..., None]


@pytest.fixture
def load(database: Database) -> Load:
    """A function that stores values on the last days, the last one yesterday."""

    def stored(source: str, asset: str, metric: str, values: Sequence[float | None], hours: int = 0) -> None:
        first = this_midnight() - len(values) * DAY
        points = [
            DataPoint(asset, metric, first + number * DAY + hours * DAY / 24, value)
            for number, value in enumerate(values)
            if value is not None
        ]
        with closing(Store(database, source, Verb.BACKFILL)) as store:
            store.load(points, [Answered(asset, metric, Window(first, this_midnight()))])

    return stored


@pytest.fixture(autouse=True)
def configure(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """A function that writes the rows of the configs; there are none at first."""
    monkeypatch.setattr(query_session, "ROOT", tmp_path)
    monkeypatch.setenv("DATABASE_URL", database_url)

    def written(**rows: str) -> None:
        for source, header in HEADERS.items():
            example = "x,PRICE" if source == "artemis" else "x,protocol,TVL"
            (tmp_path / f"{source}_config.csv").write_text(f"{header}{rows.get(source, example)}\n")

    written()
    return written


def shown(frame: pd.DataFrame) -> list[str]:
    """Each flag in one line; days are counted back from today, which is 0."""
    found = frame.copy()
    for name in ("start", "end"):
        found[name] = (found[name] - pd.Timestamp(this_midnight())).dt.days
    return [" ".join(map(str, row)) for row in found.drop(columns="value").itertuples(index=False, name=None)]


def test_each_rule_is_applied_to_the_stored_series_and_nothing_is_changed(load: Load, rows: Rows) -> None:
    load("artemis", "sol", "FEES", FLAT)
    load("artemis", "sol", "DAU", [*STEADY, 0.0])
    load("defillama", "lido", "TVL", [*STEADY, 1000.0, 100.0])
    before = rows("SELECT * FROM metrics ORDER BY id")
    assert shown(q.flags()) == [
        "artemis sol DAU zero -1 -1 zero after 100",
        "artemis sol FEES flat -10 -2 5.5 on 9 days in a row",
        "defillama lido TVL jump -2 -2 1K between 100 and 100",
    ]
    assert rows("SELECT * FROM metrics ORDER BY id") == before


def test_the_columns_have_their_types_even_without_a_flag(load: Load) -> None:
    load("artemis", "sol", "FEES", STEADY)
    empty = q.flags()
    load("artemis", "sol", "DAU", [*STEADY, 0.0])
    full = q.flags()
    assert (len(empty), len(full)) == (0, 1)
    assert list(full) == ["source", "asset", "metric", "rule", "start", "end", "value", "text"]
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert str(full["start"].dtype) == "datetime64[us, UTC]"


def test_names_choose_the_series_and_unknown_ones_are_refused(load: Load) -> None:
    for asset in ("sol", "eth"):
        load("artemis", asset, "FEES", FLAT)
    load("defillama", "eth", "TVL", FLAT)
    assert q.flags("artemis")["asset"].tolist() == ["eth", "sol"]
    assert q.flags(asset="SOL")["asset"].tolist() == ["sol"]
    assert q.flags(metric="tvl")["source"].tolist() == ["defillama"]
    with pytest.raises(BadQuestion, match="there is no asset 'soll': did you mean sol"):
        q.flags(asset="soll")
    with pytest.raises(BadQuestion, match="'soon' is not a time"):
        q.flags(start="soon")


def test_a_flag_counts_if_its_last_day_is_not_before_the_start(load: Load) -> None:
    load("artemis", "sol", "FEES", FLAT)
    assert shown(q.flags(start="2d")) == ["artemis sol FEES flat -10 -2 5.5 on 9 days in a row"]
    assert shown(q.flags(start="1d")) == []
    assert shown(q.flags(start=this_midnight() + 900 * DAY)) == []
    assert len(q.flags(start=None)) == 1


def test_the_days_before_the_start_that_a_rule_needs_are_read(load: Load) -> None:
    load("artemis", "sol", "DAU", [*STEADY, 0.0])
    assert shown(q.flags(start="1d")) == ["artemis sol DAU zero -1 -1 zero after 100"]


def test_of_an_equity_the_eleven_days_before_hold_seven_weekdays(load: Load, configure: Callable[..., None]) -> None:
    configure(artemis="nvidia,PRICE,eq-nvda")
    last = max(day for day in range(1, 8) if (this_midnight() - day * DAY).weekday() == 0)  # a Monday
    weekday = [(this_midnight() - day * DAY).weekday() < 5 for day in range(30, last, -1)]
    load("artemis", "nvidia", "PRICE", [100.0 if open_ else 7.0 for open_ in weekday] + [0.0] + [None] * (last - 1))
    assert shown(q.flags(start=f"{last}d")) == [f"artemis nvidia PRICE zero {-last} {-last} zero after 100"]


def test_a_metric_that_is_flat_by_nature_and_an_open_day_have_no_flag(load: Load, rows: Rows) -> None:
    load("defillama", "usdt", "STABLECOIN_PRICE", [1.0] * 20)
    load("artemis", "sol", "DAU", STEADY)
    rows(
        "INSERT INTO metrics (source, asset, metric_name, pulled_at, value) VALUES ('artemis', 'sol', 'DAU', %s, 0)",
        this_midnight().replace(tzinfo=None),
    )
    assert q.flags().empty


def test_values_that_somebody_has_set_to_null_are_left_out(load: Load, rows: Rows) -> None:
    load("artemis", "sol", "FEES", FLAT)
    rows("UPDATE metrics SET value = NULL WHERE pulled_at = %s", (this_midnight() - 6 * DAY).replace(tzinfo=None))
    assert q.flags().empty


def test_a_config_row_switches_a_rule_off_for_its_series_only(load: Load, configure: Callable[..., None]) -> None:
    for metric in ("FEES", "DAU"):
        load("artemis", "sol", metric, [*FLAT[:-1]])
    configure(artemis="sol,FEES,,,,flat zero\nsol,DAU,,,,jump")
    assert q.flags()["metric"].tolist() == ["DAU"]


PAIR = {"artemis": "sol,PRICE,,,Solana", "defillama": "solana,coin,PRICE,coingecko:solana,,solana"}


def test_two_sources_of_an_entity_that_drift_apart_are_flagged_once(load: Load, configure: Callable[..., None]) -> None:
    configure(**PAIR)
    load("artemis", "sol", "PRICE", [*STEADY, 80.0, 79.0, 78.0, 77.0])
    load("defillama", "solana", "PRICE", [*STEADY, 80.0, 99.0, 98.0, 97.0], hours=-1)
    expected = "drift -3 -1 from defillama solana PRICE: 77 against 97 on the last day"
    assert shown(q.flags()) == [f"artemis sol PRICE {expected}"]
    assert shown(q.flags("artemis")) == [f"artemis sol PRICE {expected}"]
    other = "drift -3 -1 from artemis sol PRICE: 97 against 77 on the last day"
    assert shown(q.flags("defillama")) == [f"defillama solana PRICE {other}"]
    assert q.flags(start="90d", asset="solana")["rule"].tolist() == ["drift"]


@pytest.mark.parametrize(
    "changed",
    [
        {"artemis": "sol,PRICE,,,Solana,drift"},
        {"defillama": "solana,coin,PRICE,coingecko:solana,,solana,drift"},
        {"defillama": "solana,coin,PRICE,coingecko:solana,,another"},
        {"artemis": "sol,PRICE,,,", "defillama": "solana,coin,PRICE,coingecko:solana,,"},
    ],
)
def test_series_that_are_switched_off_or_share_no_entity_do_not_drift(
    load: Load, configure: Callable[..., None], changed: dict[str, str]
) -> None:
    load("artemis", "sol", "PRICE", STEADY)
    load("defillama", "solana", "PRICE", [2 * value for value in STEADY])
    configure(**PAIR)
    assert q.flags()["rule"].tolist() == ["drift"]
    configure(**PAIR | changed)
    assert q.flags().empty


def test_metrics_of_one_name_but_of_another_quantity_are_not_compared(
    load: Load, configure: Callable[..., None]
) -> None:
    configure(artemis="sol,FEES,,,solana", defillama="solana,protocol,FEES,,,solana")
    load("artemis", "sol", "FEES", STEADY)
    load("defillama", "solana", "FEES", [9 * value for value in STEADY])
    assert q.flags().empty


def test_many_points_are_read_in_parts_with_the_same_result(
    load: Load, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(**PAIR)
    load("artemis", "sol", "PRICE", FLAT)
    load("artemis", "eth", "PRICE", FLAT)
    load("defillama", "solana", "PRICE", [2 * value for value in FLAT])
    whole = shown(q.flags())
    monkeypatch.setattr(flags, "POINTS_AT_ONCE", 1)
    assert len(whole) == 4
    assert shown(q.flags()) == whole


def test_a_source_costs_one_statement(load: Load, configure: Callable[..., None], database: Database) -> None:
    configure(**PAIR)
    for number in range(20):
        load("artemis", f"asset-{number}", "FEES", FLAT)
    load("defillama", "solana", "PRICE", FLAT)
    names = [each.series for each in query_session.QuerySession().names().every()]
    statements = list[str]()

    class Counting:
        """A cursor that notes what it is asked."""

        def __init__(self, cursor: object) -> None:
            self._cursor = cursor

        def copy_expert(self, statement: str, *words: object) -> None:
            statements.append(statement)
            self._cursor.copy_expert(statement, *words)  # type: ignore[attr-defined]

        def __getattr__(self, name: str) -> object:
            return getattr(self._cursor, name)

    with closing(Reader(database)) as reader:
        found = reader.do(
            lambda cursor: flags.stored_flags(
                Counting(cursor), names, query_session.configs(), this_midnight() - 30 * DAY, this_midnight()
            )
        )
    assert len(statements) == 2
    assert len(found) == 21


def test_a_series_whose_source_has_no_module_is_flagged_too(load: Load, rows: Rows) -> None:
    load("artemis", "sol", "FEES", FLAT)
    for table in ("metrics", "coverage"):
        rows(f"UPDATE {table} SET source = 'gone'")  # noqa: S608 - our own tables
    assert q.flags()["source"].tolist() == ["gone"]
