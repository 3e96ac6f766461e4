"""Backfill DefiLlama: the same as `python main.py backfill defillama`."""

import sys

from pipeline.commands import main
from pipeline.values import Verb

if __name__ == "__main__":
    sys.exit(main(verb=Verb.BACKFILL, source="defillama"))
