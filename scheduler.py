"""Keeps every source up to date, for as long as it runs: `python scheduler.py --help`."""

import sys

from cli.arguments import scheduler_parser
from cli.run_command import main as run_command
from model.memory import use_plain_malloc


def main() -> int:
    """Run the scheduler until it is stopped; returns its exit code."""
    use_plain_malloc()
    return run_command(parser=scheduler_parser())


if __name__ == "__main__":
    sys.exit(main())
