"""Keeps every source up to date, for as long as it runs: `python scheduler.py --help`."""

import sys

from cli import run_command
from cli.arguments import scheduler_parser
from model.memory import use_plain_malloc


def main() -> int:
    """Run until stopped; returns the exit code."""
    use_plain_malloc()
    return run_command.main(parser=scheduler_parser())


if __name__ == "__main__":
    sys.exit(main())
