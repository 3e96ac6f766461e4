"""A pull and a backfill store what the official clients read from the same API, here the fakes.

The clients know nothing of this project: they notice what its fakes and its readers might get wrong together.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import artemis
import defillama_sdk
import pytest
from defillama_sdk.client import BASE_URLS

from tests.commands import DAY, Rows, Table, differences, environment, midnight, run, series, stored, today, write
from tests.fake_api import FakeApi, truth
from tests.fake_api.server import ARTEMIS_KEY
from tests.official_clients import (
    artemis_days,
    artemis_quarters,
    chain_history,
    coin_history,
    live_of_all,
    live_of_chain,
    live_of_parent,
    pool_history,
    protocol_history,
    stablecoin_history,
)

POOLS = ("747c1d2a-c668-4682-b9f9-296708a3dd90", "11111111-c668-4682-b9f9-296708a3dd90")
COINS = ("coingecko:weth", "Ethereum:0x7f39C581F595B53c5cb19bD0b3f8dA6c935E2Ca0")
FLOWS = ["FEES", "REVENUE", "HOLDERS_REVENUE", "DEX_VOLUME", "OPTIONS_NOTIONAL_VOLUME", "PERPS_VOLUME"]
CHAIN_FLOWS = ["CHAIN_FEES", "CHAIN_REVENUE", "CHAIN_DEX_VOLUME"]
LEVELS = ["TVL", "CHAIN_TVL", "CHAIN_STABLECOIN_SUPPLY", "PRICE", "POOL_TVL", "APY"]
HISTORY = {"STABLECOIN_SUPPLY", *LEVELS, *FLOWS, *CHAIN_FLOWS}
LIVE = {"MCAP", "STABLECOIN_PRICE", *LEVELS, *(f"{flow}_24H" for flow in FLOWS + CHAIN_FLOWS)}
DEFILLAMA = f"""asset,kind,metrics,id
aave-v3,protocol,TVL MCAP {" ".join(f"{flow} {flow}_24H" for flow in FLOWS)}
uniswap,protocol,TVL FEES FEES_24H DEX_VOLUME DEX_VOLUME_24H,parent#uniswap
dead-pool,protocol,TVL FEES
Ethereum,chain,CHAIN_TVL CHAIN_STABLECOIN_SUPPLY {" ".join(f"{flow} {flow}_24H" for flow in CHAIN_FLOWS)}
DeadChain,chain,CHAIN_STABLECOIN_SUPPLY
tether,stablecoin,STABLECOIN_SUPPLY STABLECOIN_PRICE,1
euro-coin,stablecoin,STABLECOIN_SUPPLY STABLECOIN_PRICE,100
weth,coin,PRICE,{COINS[0]}
wrapped-steth,coin,PRICE,{COINS[1]}
aave-weth,pool,APY POOL_TVL,{POOLS[0]}
lido-eth,pool,APY POOL_TVL,{POOLS[1]}
"""
ARTEMIS = """asset,metrics,id
sol,PRICE FEES DAU TVL STABLECOIN_SUPPLY
ETH,PRICE FEES TXNS 24H_VOLUME
bitcoin,PRICE MC,btc
eq-nvda,PRICE TVL TOTAL_REVENUE NET_INCOME EBITDA EARNINGS_YIELD
eq-aapl,PRICE FREE_CASH_FLOW BASIC_EPS ENTERPRISE_VALUE_DIVIDE_EBITDA
"""


def test_defillama_sdk_reads_what_a_pull_and_a_backfill_have_stored(
    tmp_path: Path, database_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(tmp_path, DEFILLAMA)
    with FakeApi(universe=[config], shipped=False) as api:
        _pull_and_backfill("defillama", config, environment(database_url, api, DEFILLAMA_API_KEY="pro-key"))
        for name, path in {"main": "/api", "coins": "/coins", "stablecoins": "/stablecoins", "pro": ""}.items():
            monkeypatch.setitem(BASE_URLS, name, f"{api.url}/llama{path}")
        client = defillama_sdk.DefiLlama({"api_key": "pro-key"})
        history, live = _history(client), _live(client)
    found = stored(rows, "defillama")
    closed = {key: value for key, value in found.items() if key[2] < midnight(today())}
    assert _compare(closed, history) >= 40_000
    assert {metric for _, metric, _ in history} == HISTORY
    assert _compare({key: value for key, value in found.items() if key not in closed}, live) >= 20
    assert {metric for _, metric, _ in live} == LIVE


def _history(client: Any) -> Table:
    """The closed days of each series of the config."""
    read = [point for asset in ("aave-v3", "parent#uniswap", "dead-pool") for point in protocol_history(client, asset)]
    read += [point for chain in ("Ethereum", "DeadChain") for point in chain_history(client, chain)]
    read += [point for number in ("1", "100") for point in stablecoin_history(client, number)]
    end = int(midnight(today()).replace(tzinfo=UTC).timestamp())
    read += [point for coin in COINS for point in coin_history(client, coin, end)]
    read += [point for pool in POOLS for point in pool_history(client, pool)]
    return {key: value for key, value in _table(DEFILLAMA, read).items() if key[2] < midnight(today())}


def _live(client: Any) -> Table:
    """What is said of today for each series of the config."""
    read = [*live_of_all(client, COINS), *live_of_parent(client, "parent#uniswap"), *live_of_chain(client, "Ethereum")]
    return _table(DEFILLAMA, [(metric, identifier, today(), value) for metric, identifier, value in read])


def test_the_client_of_artemis_reads_what_a_pull_and_a_backfill_have_stored(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    config = write(tmp_path, ARTEMIS)
    first, last = today() - 5 * 365 * DAY, today()
    metrics = {metric for _, metric, _ in series(ARTEMIS)} - truth.FUNDAMENTALS
    equities = ["eq-nvda", "eq-aapl"]
    with FakeApi(universe=[config], shipped=False) as api:
        _pull_and_backfill("artemis", config, environment(database_url, api))
        with artemis.Artemis(api_key=ARTEMIS_KEY, base_url=f"{api.url}/artemis") as client:
            read = [
                point
                for metric in metrics
                for point in artemis_days(client, ARTEMIS_KEY, metric, ["sol", "eth", "btc", *equities], first, last)
            ]
            read += artemis_quarters(client, ARTEMIS_KEY, equities, first, last)
    wanted = _table(ARTEMIS, read)
    assert _compare(stored(rows, "artemis"), wanted) >= 20_000
    assert {metric for _, metric, _ in wanted} == {metric for _, metric, _ in series(ARTEMIS)}


@pytest.mark.parametrize(("metric", "symbol"), [("FEES", "sol"), ("TVL", "eq-nvda")])
def test_the_client_of_artemis_refuses_a_null_or_a_text_of_the_fake_where_it_validates(
    metric: str, symbol: str
) -> None:
    options: dict[str, Any] = {"api_key": ARTEMIS_KEY, "_strict_response_validation": True}
    with FakeApi(shipped=False) as api, artemis.Artemis(base_url=f"{api.url}/artemis", **options) as client:
        read = artemis_days(client, ARTEMIS_KEY, metric, [symbol], date(2022, 1, 1), date(2024, 9, 1))
        with pytest.raises(artemis.APIResponseValidationError):
            list(read)


def _pull_and_backfill(source: str, config: Path, env: dict[str, str]) -> None:
    for verb in ("pull", "backfill"):
        done = run(f"main.py {verb} {source} --config", config, env=env)
        assert done.returncode == 0, done.stderr


def _table(config: str, read: Iterable[tuple[str, str, Any, Any]]) -> Table:
    """What a client has read of the series of a config, as the table has it."""
    assets = {(one.metric, one.id.lower()): one.asset for one in series(config)}
    found = {}
    for metric, identifier, at, value in read:
        asset = assets.get((metric, identifier.lower()))
        if asset and value is not None:
            found[asset, metric, _moment(at)] = float(value)
    return found


def _moment(at: Any) -> datetime:
    """The naive UTC time of Unix seconds, of ISO 8601 text or of a date."""
    if isinstance(at, date):
        return midnight(at)
    if str(at).isdecimal():
        return datetime.fromtimestamp(int(at), UTC).replace(tzinfo=None)
    return datetime.fromisoformat(at).replace(tzinfo=None)


def _compare(found: Table, wanted: Table) -> int:
    """How many values are equal, in the series that both have; fails if one differs or is missing on one side."""
    both = {key[:2] for key in found} & {key[:2] for key in wanted}
    found, wanted = ({key: value for key, value in each.items() if key[:2] in both} for each in (found, wanted))
    assert differences(found, wanted) == []
    return len(found)
