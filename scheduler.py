"""Keeps every source up to date, for as long as it runs: `python scheduler.py --help`."""

import sys

from pipeline.commands import main
from pipeline.commands.scheduler import parser
from pipeline.process import use_plain_malloc

if __name__ == "__main__":
    use_plain_malloc()
    sys.exit(main(parser=parser()))
