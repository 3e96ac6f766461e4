"""Backfill DefiLlama: the same as `python main.py backfill defillama`."""

import sys

from pipeline.commands import backfill_parser, main

if __name__ == "__main__":
    sys.exit(main(parser=backfill_parser("defillama")))
