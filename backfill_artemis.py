"""Backfill Artemis: the same as `python main.py backfill artemis`."""

import sys

from cli.arguments import backfill_parser
from cli.run_command import main

if __name__ == "__main__":
    sys.exit(main(parser=backfill_parser("artemis")))
