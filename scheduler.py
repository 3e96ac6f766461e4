"""Keeps every source up to date, for as long as it runs: `python scheduler.py --help`."""

import sys

from cli.arguments import scheduler_parser
from cli.run_command import main
from model.memory import use_plain_malloc

if __name__ == "__main__":
    use_plain_malloc()
    sys.exit(main(parser=scheduler_parser()))
