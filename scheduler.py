"""Keeps every source up to date, for as long as it runs: `python scheduler.py --help`."""

import sys

from pipeline.commands import main
from pipeline.commands.scheduler import parser

if __name__ == "__main__":
    sys.exit(main(parser=parser()))
