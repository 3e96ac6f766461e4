"""How long large answers take to read, and how much memory, beside json.loads alone; each in a process of its own."""

import json
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import requests

from benchmarks.commands import METRICS, write_config
from benchmarks.rows import Row, Setting, seconds
from model.values import DAY, Target, Verb, Window, midnight
from sources import SOURCES
from sources.base import Call
from sources.json_body import PIECE, JsonBody
from tests.fake_api import FakeApi

LISTED = 5_000  # protocols
LARGE, SMALL = 70, 7  # MB of two answers with the same TVL
ROUNDS = 3
TVL = Target("protocol-0", "TVL", "protocol-0", "protocol")


class Body(NamedTuple):
    """An answer, and the run that asks for it; picklable, unlike a call."""

    what: str
    source: str
    verb: Verb
    targets: tuple[Target, ...]
    window: Window
    file: Path

    def call(self) -> Call:
        """The first call of the run."""
        return next(iter(SOURCES[self.source]().calls(self.verb, self.targets, self.window)))


def measure(setting: Setting) -> Iterator[Row]:
    """Answers of each shape."""
    rounds = setting.rounds if setting.long else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        memory: dict[int, float] = {}
        for size in (LARGE, SMALL):
            body = _protocol(Path(folder, f"protocol-{size}"), size)
            ours, memory[size] = _alone(_ours, body, rounds)
            theirs, needed = _alone(_theirs, body, rounds)
            yield Row(f"{body.what}: read its TVL", ours * 1000, "ms", "json.loads", theirs * 1000)
            yield Row(f"{body.what}: memory", memory[size], "MB", "json.loads", needed)
        what = f"memory of a TVL inside {LARGE} MB"
        yield Row(what, memory[LARGE], "MB", f"inside {SMALL} MB", memory[SMALL], at_most=1.1)
        for body in _of_the_fake(Path(folder)):
            (ours, held), (theirs, needed) = _alone(_ours, body, rounds), _alone(_theirs, body, rounds)
            yield Row(f"{body.what}: read and check", ours * 1000, "ms", "json.loads", theirs * 1000)
            yield Row(f"{body.what}: memory", held, "MB", "json.loads", needed)


def _of_the_fake(folder: Path) -> Iterator[Body]:
    """Answers of the fake APIs, saved to files."""
    slugs = [f"protocol-{place}" for place in range(LISTED)]
    config = write_config(folder, "defillama", [(slug, "protocol", "TVL FEES_24H") for slug in slugs])
    listed = tuple(Target(slug, "TVL", slug, "protocol") for slug in slugs)
    flows = tuple(Target(slug, "FEES_24H", slug, "protocol") for slug in slugs)
    chart = (Target("ethereum", "CHAIN_FEES", "Ethereum", "chain"),)
    symbols = tuple(
        Target(f"a{place}", metric, f"a{place}", "") for place in range(4) for metric in METRICS["artemis"].split()
    )
    today = midnight(datetime.now(UTC))
    past = Window(today - 1000 * DAY, today)
    with FakeApi(universe=(config,)) as api:
        for what, name, verb, targets in (
            (f"/protocols, {LISTED:,} of them", "defillama", Verb.PULL, listed),
            (f"an overview of {LISTED:,} protocols", "defillama", Verb.PULL, flows),
            ("an overview with its chart", "defillama", Verb.BACKFILL, chart),
            ("Artemis, 100 series of 1,000 days", "artemis", Verb.BACKFILL, symbols),
        ):
            body = Body(what, name, verb, targets, past, folder / f"{name}-{what[:12]}".replace("/", ""))
            request = SOURCES[name]("", api.environment()[SOURCES[name].BASE_URL_VARIABLE]).request(body.call())
            answer = requests.get(request.url, request.params, headers=dict(request.headers), timeout=60)
            answer.raise_for_status()
            body.file.write_bytes(answer.content)
            yield body._replace(what=f"{what}, {len(answer.content) / 1e6:.1f} MB")


def _protocol(file: Path, size: int) -> Body:
    """An answer for a protocol: 2,000 days of TVL behind so many MB of what nobody asked for."""
    days = [86400 * (18_000 + day) for day in range(2_000)]
    tokens = {f"TOKEN{number}": 1234.5678 * number for number in range(60)}
    one = json.dumps([{"date": at, "tokens": tokens} for at in days[:500]])
    parts = ",".join(f'"chain-{place}":{{"tvl":[],"tokensInUsd":{one}}}' for place in range(size * 10**6 // len(one)))
    tvl = json.dumps([{"date": at, "totalLiquidityUSD": at * 1.5} for at in days])
    file.write_text(f'{{"id":"1","chainTvls":{{{parts}}},"tvl":{tvl}}}', encoding="utf-8")
    past = Window(datetime(2013, 1, 1, tzinfo=UTC), midnight(datetime.now(UTC)))
    return Body(f"/protocol of {size} MB", "defillama", Verb.BACKFILL, (TVL,), past, file)


def _alone(read: Callable[[Body], object], body: Body, rounds: int) -> tuple[float, float]:
    """Median seconds, and MB of memory that a fresh process needs beside its imports."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_measured, read, body, rounds).result()


def _measured(read: Callable[[Body], object], body: Body, rounds: int) -> tuple[float, float]:
    before = _peak()
    taken = median(seconds(partial(read, body)) for _ in range(rounds))
    return taken, _peak() - before


def _peak() -> float:
    """The most memory of this process so far, in MB; unlike getrusage without that of the process that started it."""
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _ours(body: Body) -> object:
    call = body.call()
    with JsonBody() as held, body.file.open("rb") as file:
        for piece in iter(lambda: file.read(PIECE), b""):
            held.write(piece)
        return SOURCES[body.source]().answer(call, held.read(call.extract), datetime.now(UTC))


def _theirs(body: Body) -> object:
    return json.loads(body.file.read_bytes())
