"""The systemd unit: systemd accepts it and calls it safe enough, and what it says fits what the code does."""

import re
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from cli.arguments import scheduler_parser
from cli.process import SHUTDOWN_SECONDS
from cli.setup_fresh_restore import SAVED
from model.errors import ConfigurationError, PipelineError, SchedulerRefused
from model.settings import EMBEDDED_DIRECTORY, PACE_DIRECTORY, ROOT
from pipeline.scheduler import CHECK_SECONDS
from tests.commands import copy_tree, environment, run_process
from tests.fake_api import FakeApi

UNIT = ROOT / "deploy" / "crypto-metrics.service"
ANALYZE = shutil.which("systemd-analyze")
UNITS = {"s": 1, "sec": 1, "min": 60, "h": 3600}
CRASHED = 60  # seconds until the database server has buried the session of a host that has crashed
OK = 5.0  # the exposure below which systemd says OK

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def settings() -> dict[str, list[str]]:
    """All values of each setting of the unit, in their order."""
    found = defaultdict(list)
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found[name].append(value)
    return found


def one(name: str) -> str:
    """The value of a setting that is written once."""
    (value,) = settings()[name]
    return value


def seconds(name: str) -> float:
    """A span of time, such as 1min 30s."""
    parts = re.findall(r"(\d+)\s*([a-z]*)", one(name))
    return sum(float(number) * UNITS[unit or "s"] for number, unit in parts)


def place(path: Path) -> str:
    """Where a path of this repository is once it is installed."""
    return f"{one('WorkingDirectory')}/{path.relative_to(ROOT)}"


def analyzed(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says of the unit, its program replaced by one that is there."""
    assert ANALYZE is not None
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text(encoding="utf-8")))
    return subprocess.run([ANALYZE, *words, copy], capture_output=True, text=True, timeout=60)  # noqa: S603


@needs_systemd
def test_systemd_accepts_the_unit_without_a_word(tmp_path: Path) -> None:
    done = analyzed(tmp_path, "verify")
    said = [line for line in done.stderr.splitlines() if UNIT.name in line]  # it may speak of the host's own units
    assert (done.returncode, said) == (0, [])


@needs_systemd
def test_systemd_rates_the_exposure_ok_or_better(tmp_path: Path) -> None:
    done = analyzed(tmp_path, "security", "--offline=true", "--no-pager", f"--threshold={OK * 10:.0f}")
    (exposure,) = re.findall(r"Overall exposure level for crypto-metrics\.service: ([\d.]+)", done.stdout)
    assert float(exposure) < OK
    assert done.returncode == 0, done.stderr


def test_no_restart_follows_a_wrong_configuration_and_one_follows_every_other_failure() -> None:
    assert one("Restart") == "on-failure"
    assert int(one("RestartPreventExitStatus")) == ConfigurationError.exit_code
    assert ConfigurationError.exit_code not in {PipelineError.exit_code, SchedulerRefused.exit_code}


def test_restarts_are_limited_and_outlast_the_session_of_a_host_that_has_crashed() -> None:
    tries = int(one("StartLimitBurst")) * seconds("RestartSec")
    assert CRASHED < tries < seconds("StartLimitIntervalSec")


def test_the_watchdog_waits_for_more_than_two_looks() -> None:
    assert seconds("WatchdogSec") > 2 * CHECK_SECONDS


def test_a_stop_is_heard_by_the_scheduler_alone_which_has_the_time_for_it() -> None:
    assert one("KillMode") == "mixed"
    assert seconds("TimeoutStopSec") > 2 * SHUTDOWN_SECONDS
    assert not settings()["KillSignal"]  # SIGTERM, which the scheduler hears


def test_the_service_speaks_for_itself_as_a_user_of_its_own() -> None:
    assert (one("Type"), one("NotifyAccess")) == ("notify", "main")
    assert one("User") == one("Group") == "crypto-metrics"
    assert not settings()["DynamicUser"]  # whose number changes, while the files of the database keep theirs


def test_it_starts_the_scheduler_of_the_directory_it_works_in_with_options_that_exist() -> None:
    program, script, *words = shlex.split(one("ExecStart"))
    directory = one("WorkingDirectory")
    assert (program, script) == (f"{directory}/.venv/bin/python", f"{directory}/scheduler.py")
    assert (ROOT / "scheduler.py").is_file()
    assert not scheduler_parser().parse_args(words).fresh  # which must not come back with each restart
    assert one("EnvironmentFile").removeprefix("-") == f"{directory}/.env"


def test_only_the_places_that_the_code_names_may_be_written() -> None:
    assert one("ProtectSystem") == "strict"
    assert sorted(one("ReadWritePaths").split()) == [place(EMBEDDED_DIRECTORY.parent), place(SAVED)]


def entries(root: Path) -> set[str]:
    """What stands in a directory, compiled modules aside, which the service may not write and need not."""
    return {str(found.relative_to(root)) for found in root.rglob("*") if "__pycache__" not in found.parts}


def test_commands_write_to_no_other_place(tmp_path: Path) -> None:
    root = tmp_path / "copy"
    copy_tree(root)
    (root / "defillama_config.csv").write_text("asset,kind,metrics,id\naave,protocol,TVL,parent#aave\n")
    before = entries(root)
    with FakeApi() as api:
        env = environment("", api)
        del env[PACE_DIRECTORY]
        for line in ("main.py pull defillama", "main.py fresh defillama --yes"):
            done = run_process(line, env=env, root=root, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
    written = {found.split("/")[0] for found in entries(root) - before}
    assert {f"{one('WorkingDirectory')}/{name}" for name in written} == set(one("ReadWritePaths").split())
    assert {found.name for found in tmp_path.iterdir()} == {"copy"}
