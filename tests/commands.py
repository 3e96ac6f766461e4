"""Whole commands as processes, and the table that they should leave: computed from tests.fake_api.truth alone."""

import csv
import logging
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, chdir
from datetime import UTC, date, datetime, timedelta
from io import BytesIO, TextIOWrapper
from pathlib import Path
from runpy import run_path
from typing import NamedTuple
from unittest.mock import patch

from tests.fake_api import FakeApi, truth
from tests.fake_api.llama_families import observed, recorded
from tests.fake_api.server import ARTEMIS_KEY, Request
from tests.fake_api.world import EPOCH

ROOT = Path(__file__).parent.parent
SECONDS = 120  # no command of a test may take longer
DAY = timedelta(days=1)
FLOWS = {
    "FEES",
    "REVENUE",
    "HOLDERS_REVENUE",
    "PROTOCOL_REVENUE",
    "SUPPLY_SIDE_REVENUE",
    "USER_FEES",
    "DEX_VOLUME",
    "AGGREGATOR_VOLUME",
    "OPTIONS_PREMIUM_VOLUME",
    "OPTIONS_NOTIONAL_VOLUME",
    "PERPS_VOLUME",
}
TOTALS = {"FEES", "REVENUE", "DEX_VOLUME"}
DATED = {  # whose live values are rows with dates
    "TOTAL_TVL", "TOTAL_STABLECOIN_SUPPLY", "TREASURY", "TREASURY_OWN_TOKENS", "ETF_FLOW",
}  # fmt: skip
POOL = "747c1d2a-c668-4682-b9f9-296708a3dd90"
DEFILLAMA = f"""asset,kind,metrics,id
# every kind and every metric; a parent, a dead protocol, a dead chain, a coin of the euro, two pools
aave-v3,protocol,{" ".join(f"{name} {name}_24H" for name in sorted(FLOWS))}
aave-v3,protocol,TVL MCAP OPEN_INTEREST BORROWED STAKING TREASURY TREASURY_OWN_TOKENS
uniswap,protocol,TVL FEES FEES_24H OPEN_INTEREST,parent#uniswap
dead-pool,protocol,TVL MCAP FEES FEES_24H
Ethereum,chain,CHAIN_TVL CHAIN_STABLECOIN_SUPPLY CHAIN_FEES CHAIN_FEES_24H CHAIN_REVENUE CHAIN_REVENUE_24H
Ethereum,chain,CHAIN_DEX_VOLUME CHAIN_DEX_VOLUME_24H CHAIN_PERPS_VOLUME CHAIN_PERPS_VOLUME_24H
Ethereum,chain,CHAIN_OPTIONS_PREMIUM_VOLUME CHAIN_OPTIONS_PREMIUM_VOLUME_24H
Ethereum,chain,CHAIN_APP_FEES CHAIN_APP_FEES_24H CHAIN_APP_REVENUE CHAIN_APP_REVENUE_24H
DeadChain,chain,CHAIN_TVL CHAIN_STABLECOIN_SUPPLY
tether,stablecoin,STABLECOIN_SUPPLY STABLECOIN_PRICE,1
euro-coin,stablecoin,STABLECOIN_SUPPLY STABLECOIN_PRICE,100
weth,coin,PRICE ETF_FLOW,coingecko:weth
wrapped-steth,coin,PRICE,Ethereum:0x7f39C581F595B53c5cb19bD0b3f8dA6c935E2Ca0
aave-weth,pool,APY APY_BASE APY_REWARD POOL_TVL,{POOL}
lido-eth,pool,POOL_TVL APY,11111111-c668-4682-b9f9-296708a3dd90
defi,total,TOTAL_TVL TOTAL_STABLECOIN_SUPPLY {" ".join(f"TOTAL_{name} TOTAL_{name}_24H" for name in sorted(TOTALS))}
"""
ARTEMIS = """asset,metrics,id
sol,PRICE FEES DAU TVL STABLECOIN_SUPPLY
ETH,PRICE FEES TXNS 24H_VOLUME
bitcoin,PRICE MC,btc
unknown-coin,PRICE FEES
eq-nvda,PRICE TVL TOTAL_REVENUE NET_INCOME EBITDA EARNINGS_YIELD
eq-aapl,PRICE FREE_CASH_FLOW BASIC_EPS ENTERPRISE_VALUE_DIVIDE_EBITDA
"""

Rows = Callable[..., list[tuple[object, ...]]]
Table = dict[tuple[str, str, datetime], float]


class Series(NamedTuple):
    """One series of a config."""

    asset: str
    metric: str
    id: str


def environment(database_url: str, api: FakeApi | None = None, **more: str) -> dict[str, str]:
    """The environment of a command: the fake's, with no key for DefiLlama; nothing of the developer's own."""
    ours = {"DATABASE_URL": database_url, "ARTEMIS_API_KEY": ARTEMIS_KEY, "DEFILLAMA_API_KEY": ""}
    nowhere = {"ARTEMIS_BASE_URL": "http://127.0.0.1:9", "DEFILLAMA_BASE_URL": "http://127.0.0.1:9"}
    sent = {f"{name}_BASE_URL": f"{api.url}/{path}" for name, path in (("ARTEMIS", "artemis"), ("DEFILLAMA", "llama"))
            } if api else nowhere  # fmt: skip
    return {**os.environ, **ours, **sent, **more}


def run(line: str, *words: str | Path, env: Mapping[str, str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a script of the repository to its end within this process, which spares a second of imports.

    The line is split at its spaces, further words are not. What outlasts SECONDS is killed with its test process.
    """
    words = (*line.split(), *map(str, words))
    out, err = (TextIOWrapper(BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    logger, handler = logging.getLogger(), signal.getsignal(signal.SIGTERM)
    code = 0
    signal.alarm(SECONDS)
    try:
        with ExitStack() as changed, Path(os.devnull).open() as nothing:
            changed.enter_context(chdir(cwd))
            changed.enter_context(patch.dict(os.environ, env, clear=True))
            for owner, name, value in (
                (sys, "argv", list(words)), (sys, "stdin", nothing), (sys, "stdout", out), (sys, "stderr", err),
                (logger, "handlers", []), (logger, "level", logger.level),
            ):  # fmt: skip
                changed.enter_context(patch.object(owner, name, value))
            try:
                run_path(str(ROOT / words[0]), run_name="__main__")
            except SystemExit as error:
                code = int(error.code or 0)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGTERM, handler)
    return subprocess.CompletedProcess(line, code, *(each.buffer.getvalue().decode() for each in (out, err)))


def run_process(
    line: str, *words: str | Path, env: Mapping[str, str], cwd: Path = ROOT, root: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run a script of the repository to its end, in a process of its own."""
    with start(line, *words, env=env, cwd=cwd, root=root) as process:
        out, err = process.communicate(timeout=SECONDS)
    return subprocess.CompletedProcess(line, process.returncode, out, err)


def on_terminal(
    url: str, line: str, columns: int = 80, lines: int = 24, more: dict[str, str] | None = None
) -> list[str]:
    """The lines that a terminal of this size gets."""
    ours, theirs = pty.openpty()
    size = {"TERM": "xterm", "COLUMNS": str(columns), "LINES": str(lines)}
    words = [sys.executable, str(ROOT / "main.py"), *line.split()]
    env = environment(url) | size | (more or {})
    with subprocess.Popen(words, env=env, stdin=theirs, stdout=theirs, stderr=theirs):  # noqa: S603 - ours
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    return shown.decode().replace("\r\n", "\n").splitlines()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the last process has closed it
        return b""


def start(
    line: str, *words: str | Path, env: Mapping[str, str], cwd: Path = ROOT, root: Path = ROOT
) -> subprocess.Popen[str]:
    """Start a script of the repository."""
    script, *rest = line.split()
    return subprocess.Popen(  # noqa: S603 - our own scripts
        [sys.executable, root / script, *rest, *words],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def copy_tree(to: Path) -> None:
    """The repository as it is, without what stands in .gitignore or belongs to git."""
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(".*"))


def for_points(requests: Iterable[Request]) -> list[Request]:
    """The requests for points, without those that show what identifiers mean, or how many calls are left."""
    return [each for each in requests if not each.path.endswith(("/asset/symbols", "/api/protocols", "/usage"))]


def write(folder: Path, config: str) -> Path:
    """Write a config into a file; the fake takes one for Artemis by its name."""
    file = folder / ("defillama.csv" if "kind" in config.splitlines()[0] else "artemis.csv")
    file.write_text(config)
    return file


def answered(api: FakeApi) -> set[str]:
    """The paths that have got a good answer."""
    return {request.path for request in list(api.requests) if request.status == 200 and not request.fault}


def today() -> date:
    """The UTC day."""
    return datetime.now(UTC).date()


def stored(rows: Rows, source: str) -> Table:
    """The whole table of a source."""
    found = rows("SELECT asset, metric_name, pulled_at, value FROM metrics WHERE source = %s", source)
    return {(str(asset), str(metric), at): value for asset, metric, at, value in found}  # type: ignore[misc]


def differences(found: Table, wanted: Table) -> list[str]:
    """The first few rows that are missing, too many or of another value; a whole table is too long for a diff."""
    keys = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    return [f"{key}: {found.get(key)} in place of {wanted.get(key)}" for key in keys[:10]]


def series(config: str) -> list[Series]:
    """All series of a config."""
    lines = [line for line in config.splitlines() if not line.startswith("#")]
    return [
        Series(row["asset"], metric, row.get("id") or row["asset"])
        for row in csv.DictReader(lines)
        for metric in row["metrics"].split()
    ]


def defillama_pull(config: str, day: date, restated: int = 0) -> Table:
    """What a pull of DefiLlama with a key leaves of an empty table."""
    return _table(config, lambda one: _live(one, day, restated))


def defillama_backfill(config: str, end: date, start: date = date.min) -> Table:
    """What a backfill of DefiLlama with a key leaves: [start, end), end being no later than today."""
    return _table(config, lambda one: _history(one, start, end))


def artemis_pull(config: str, day: date, restated: int = 0) -> Table:
    """What a pull of Artemis leaves: seven days, today's included; five quarters of fundamentals."""

    def points(one: Series) -> Iterator[tuple[datetime, float]]:
        first = day - (449 * DAY if one.metric in truth.FUNDAMENTALS else 6 * DAY)
        if _artemis_has(one):
            yield from _trailing("artemis", one, first, day, restated)

    return _table(config, points)


def artemis_backfill(config: str, end: date, start: date | None = None) -> Table:
    """What a backfill of Artemis leaves: [start, end), by default five years."""

    def points(one: Series) -> Iterator[tuple[datetime, float]]:
        if _artemis_has(one):
            for day, value in truth.history("artemis", one.id, one.metric, start or end - 5 * 365 * DAY, end):
                yield midnight(day), value

    return _table(config, points)


def midnight(day: date) -> datetime:
    """As the table has it, naive."""
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 - the table's times are naive UTC


def _table(config: str, points: Callable[[Series], Iterable[tuple[datetime, float]]]) -> Table:
    return {(one.asset, one.metric, at): value for one in series(config) for at, value in points(one)}


def _artemis_has(one: Series) -> bool:
    return not one.id.startswith("unknown") and truth.artemis_has(one.id, one.metric)


def _trailing(source: str, one: Series, first: date, day: date, restated: int) -> Iterator[tuple[datetime, float]]:
    """The closed days from `first` on, then what is said of the open one, if the list has it."""
    for closed, value in truth.history(source, one.id, one.metric, first, day, restated=restated):
        yield midnight(closed), value
    live = truth.live(source, one.id, one.metric, day, restated=restated)
    if live is not None and truth.listed(truth.series(source, one.id, one.metric), day.toordinal()):
        yield midnight(day), live


def _live(one: Series, day: date, restated: int) -> Iterator[tuple[datetime, float]]:
    plain = one.metric.removeprefix("CHAIN_").removeprefix("TOTAL_")
    if plain.removeprefix("APP_") in FLOWS:
        return
    if one.metric in DATED:
        yield from _trailing("defillama", one, day - 6 * DAY, day, restated)
        return
    in_bulk = plain == one.metric and not one.id.startswith("parent#")
    if (plain.endswith("_24H") or plain == "OPEN_INTEREST") and in_bulk and truth.lacks_total24h(one.id, plain):
        return
    live = truth.live("defillama", one.id, one.metric, day, restated=restated)
    if live is not None:
        yield midnight(day), live


def _history(one: Series, start: date, end: date) -> Iterator[tuple[datetime, float]]:
    if one.metric in truth.LIVE_ONLY or one.metric.endswith("_24H"):
        return
    for day, value in truth.history("defillama", one.id, one.metric, start, end):
        at = (day.toordinal() - EPOCH) * 86400
        if one.metric == "PRICE":
            yield midnight(day) + timedelta(seconds=observed(one.id, at) - at), value
        elif one.metric in {*truth.APYS, "POOL_TVL"}:
            seconds, milliseconds = recorded(one.id, at)
            yield midnight(day) + timedelta(seconds=seconds - at, milliseconds=milliseconds), value
        else:
            yield midnight(day), value
