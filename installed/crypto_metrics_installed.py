"""The installed commands. Importing this module makes the folder of the code the first place for imports.

In site-packages, the code is in one folder, `crypto_metrics`, since its packages have short names such as db and model.
Raises ImportError if the process has already imported a module of another program with one of these names.
"""

import sys
from pathlib import Path

IMPORTED = ("db", "model", "pipeline", "query", "sources")  # by query_data

_here = Path(__file__).resolve().parent
_code = _here / "crypto_metrics"
if not _code.is_dir():
    _code = _here.parent  # a clone: pip install -e
for _name in sorted(sys.modules.keys() & IMPORTED):
    _file = getattr(sys.modules[_name], "__file__", None) or "a folder of this name"
    if not Path(_file).is_relative_to(_code):
        raise ImportError(
            f"query_data has a module {_name} of its own, and {_file} is imported already: "
            "rename that one, or use query_data in another process"
        )
sys.path.insert(0, str(_code))


def main() -> int:
    """The command `crypto-metrics`: the same as `python main.py`."""
    from cli.run_command import main as run

    return run()


def scheduler() -> int:
    """The command `crypto-metrics-scheduler`: the same as `python scheduler.py`."""
    from scheduler import main as run

    return run()
