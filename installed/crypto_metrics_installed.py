"""The installed commands. Importing this module makes the folder of the code the first place for imports.

In site-packages, the code is in one folder, `crypto_metrics`, since its packages have short names such as db and model.
"""

import sys
from pathlib import Path

_here = Path(__file__).resolve().parent
_code = _here / "crypto_metrics"
sys.path.insert(0, str(_code if _code.is_dir() else _here.parent))  # the second one is a clone: pip install -e


def main() -> int:
    """The command `crypto-metrics`: the same as `python main.py`."""
    from cli.run_command import main as run

    return run()


def scheduler() -> int:
    """The command `crypto-metrics-scheduler`: the same as `python scheduler.py`."""
    from cli.arguments import scheduler_parser
    from cli.run_command import main as run
    from model.memory import use_plain_malloc

    use_plain_malloc()
    return run(parser=scheduler_parser())
