"""The command: see the package."""

import argparse
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from db.embedded import EmbeddedServer
from tests.commands import defillama_backfill, today
from tests.fake_api import FakeApi, Options
from tests.faults.database_faults import database_faults
from tests.faults.http_faults import Server, faulty_server, http_faults, network_faults, truth
from tests.faults.machine_faults import clock_faults, disk_faults, full_database, impossible, moved_clock, small_disk
from tests.faults.process_faults import process_faults
from tests.faults.trial import HEADER, KEY, Fault, Result, Trial, judge, trial_on

FAMILIES = {"http", "network", "process", "database", "mixed", "disk", "clock"}
CHAIN = "asset,kind,metrics\nEthereum,chain,CHAIN_TVL\n"
MANY = "asset,kind,metrics\n" + "".join(f"p{number},protocol,TVL FEES\n" for number in range(12))
LINE = "main.py backfill defillama --start {start} --config {config}"
DISK = 300  # MB
FAILING = 0.3  # of the answers of the API, mixed with other faults
Backfill = AbstractContextManager[Trial]


def results(families: Collection[str], seeds: Sequence[int], only: Collection[str] = ()) -> Iterator[Result]:
    """The trials of these families; only those with these names, if any are given."""
    with ExitStack() as stack:
        for fault, backfill, seed in _trials(stack, families, seeds):
            if fault.family in families and (not only or fault.name in only):
                with backfill as trial:
                    yield judge(fault, trial, seed)


def _trials(stack: ExitStack, families: Collection[str], seeds: Sequence[int]) -> Iterator[tuple[Fault, Backfill, int]]:
    """Each fault, with the backfill that it happens to, and its seed."""

    def started(directory: Path) -> EmbeddedServer:
        server = EmbeddedServer(directory)
        stack.callback(server.release)
        return server

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    broken = stack.enter_context(faulty_server())
    small, large = partial(_small_backfill, broken, folder), partial(_large_backfill, folder)
    server = started(folder / "postgres")
    yield from ((fault, small(server), 0) for fault in [*http_faults(broken), *network_faults(broken)])
    for seed in seeds:
        for fault in [*process_faults(seed), *database_faults(seed)]:
            yield fault, large(server, seed), seed
            yield fault.mixed(), large(server, seed, FAILING), seed
    if "disk" in families:
        yield from ((fault, small(server), 0) for fault in disk_faults(broken))
        disk = stack.enter_context(small_disk(DISK))
        yield full_database(disk), large(started(disk / "postgres"), 0), 0
    if "clock" in families:
        clock = stack.enter_context(moved_clock())
        moved = started(folder / "moved")
        for seed in seeds:
            yield from ((fault, large(moved, seed), seed) for fault in clock_faults(clock, seed))


@contextmanager
def _small_backfill(broken: Server, folder: Path, server: EmbeddedServer) -> Iterator[Trial]:
    """A backfill of one series, from a server that gives one answer."""
    config = folder / "chain.csv"
    config.write_text(CHAIN)
    environment = {"DEFILLAMA_BASE_URL": f"http://127.0.0.1:{broken.port}", "DEFILLAMA_API_KEY": KEY}
    first = min(at for _, _, at in truth()).date()
    with trial_on(server, truth(), environment, LINE.format(start=first, config=config)) as trial:
        yield trial


@contextmanager
def _large_backfill(folder: Path, server: EmbeddedServer, seed: int, failing: float = 0.0) -> Iterator[Trial]:
    """A backfill of many series that takes some seconds, from an API that fails now and then."""
    config = folder / "many.csv"
    config.write_text(MANY)
    options = Options(latency=0.3, faults=failing, most_faults=2, seed=seed, shipped=False)
    with FakeApi(options, universe=[config]) as api:
        environment = {"DEFILLAMA_BASE_URL": f"{api.url}/llama", "DEFILLAMA_API_KEY": KEY}
        line = LINE.format(start="2013-04-28", config=config)
        with trial_on(server, defillama_backfill(MANY, today()), environment, line) as trial:
            yield trial


def main() -> int:
    """Print the table; returns 1 where anything was not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("families", nargs="*", default=FAMILIES, metavar="FAMILY", help=", ".join(sorted(FAMILIES)))
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only the faults of this name")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of moments and failing answers")
    arguments = parser.parse_args()
    left_out = impossible()
    for what, why in left_out.items():
        print(f"left out: {what}: {why}")
    print(HEADER)
    failed = 0
    for result in results(set(arguments.families) - left_out.keys(), arguments.seeds, arguments.only):
        print(result, flush=True)
        failed += bool(result.faults)
    print(f"{failed} trials failed" if failed else "all is well")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
