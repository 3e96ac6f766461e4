"""The command: see the package."""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from db.embedded import EmbeddedServer
from tests.commands import defillama_backfill, today
from tests.fake_api import FakeApi, Options
from tests.faults.http_faults import faulty_server, http_faults, network_faults, truth
from tests.faults.process_faults import database_faults, mixed_faults, process_faults
from tests.faults.trial import HEADER, KEY, Result, judge, trial_on

FAMILIES = ("http", "network", "process", "database", "mixed")
CHAIN = "asset,kind,metrics\nEthereum,chain,CHAIN_TVL\n"
MANY = "asset,kind,metrics\n" + "".join(f"p{number},protocol,TVL FEES\n" for number in range(12))
LINE = "main.py backfill defillama --start {start} --config {config}"


def results(families: Sequence[str], seeds: Sequence[int], only: Sequence[str] = ()) -> Iterator[Result]:
    """The trials of these families; only those with these names, if any are given."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = EmbeddedServer(folder / "postgres")
        stack.callback(server.release)
        (folder / "chain.csv").write_text(CHAIN)
        (folder / "many.csv").write_text(MANY)
        broken = stack.enter_context(faulty_server())
        one = {"DEFILLAMA_BASE_URL": f"http://127.0.0.1:{broken.port}", "DEFILLAMA_API_KEY": KEY}
        line = LINE.format(start=min(at for _, _, at in truth()).date(), config=folder / "chain.csv")
        for family, faults in (("http", http_faults), ("network", network_faults)):
            for fault in faults(broken) if family in families else ():
                if not only or fault.name in only:
                    with trial_on(server, truth(), one, line) as trial:
                        yield judge(fault, trial, 0)
        history = defillama_backfill(MANY, today())
        line = LINE.format(start="2013-04-28", config=folder / "many.csv")
        kinds = (("process", process_faults, 0.0), ("database", database_faults, 0.0), ("mixed", mixed_faults, 0.3))
        for family, seeded, share in kinds:
            for seed in seeds if family in families else ():
                for fault in (each for each in seeded(seed) if not only or each.name in only):
                    options = Options(latency=0.3, faults=share, most_faults=2, seed=seed, shipped=False)
                    with FakeApi(options, universe=[folder / "many.csv"]) as api:
                        many = {"DEFILLAMA_BASE_URL": f"{api.url}/llama", "DEFILLAMA_API_KEY": KEY}
                        with trial_on(server, history, many, line) as trial:
                            yield judge(fault, trial, seed)


def main() -> int:
    """Print the table; returns 1 where anything was not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("families", nargs="*", default=FAMILIES, metavar="FAMILY", help=", ".join(FAMILIES))
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only the faults of this name")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[1, 2, 3],
        help="of moments and failing answers",
    )
    arguments = parser.parse_args()
    print(HEADER)
    failed = 0
    for result in results(arguments.families, arguments.seeds, arguments.only):
        print(result, flush=True)
        failed += bool(result.faults)
    print(f"{failed} trials failed" if failed else "all is well")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
