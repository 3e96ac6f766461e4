"""The fake APIs with a small universe, for all tests of a module."""

from collections.abc import Iterator

import pytest

from tests.fake_api import FakeApi
from tests.fake_api.client import POOL, fake

DEFILLAMA_CONFIG = f"""# what the bulk answers list
asset,metrics,id,name,entity,kind
aave-v3,TVL FEES,,Aave V3,protocol,
uniswap,TVL,parent#uniswap,Uniswap,,
dead-pool,TVL,,,protocol,
Ethereum,CHAIN_TVL CHAIN_FEES,,,,
DeadChain,CHAIN_STABLECOIN_SUPPLY,,,,
1,STABLECOIN_SUPPLY,,,,
100,STABLECOIN_SUPPLY,,,,
weth,PRICE,coingecko:weth,,,
best-pool,APY,{POOL},,,
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeApi]:
    """The fake APIs with these few assets."""
    folder = tmp_path_factory.mktemp("universe")
    (folder / "defillama_config.csv").write_text(DEFILLAMA_CONFIG)
    (folder / "artemis_config.csv").write_text("asset,metrics\nsol,PRICE FEES\neq-nvda,PRICE\n")
    with fake(universe=sorted(folder.iterdir())) as served:
        yield served
