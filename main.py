"""Every command of the pipeline: `python main.py --help`."""

import sys

from cli.run_command import main

if __name__ == "__main__":
    sys.exit(main())
