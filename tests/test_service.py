"""The systemd units: systemd accepts them and calls them safe enough, and what they say fits what the code does."""

import re
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from cli.arguments import parser, scheduler_parser
from cli.fresh_restore import SAVED
from cli.process import SHUTDOWN_SECONDS
from model.errors import ConfigurationError, DatabaseAway, PipelineError, SchedulerRefused
from model.settings import EMBEDDED_DIRECTORY, PACE_DIRECTORY, ROOT
from pipeline.scheduler import CHECK_SECONDS
from tests.commands import copy_tree, environment, run_process
from tests.fake_api import FakeApi

UNIT = ROOT / "deploy" / "crypto-metrics.service"
STATUS, TIMER = (UNIT.with_name(f"crypto-metrics-status.{kind}") for kind in ("service", "timer"))
ANALYZE = shutil.which("systemd-analyze")
UNITS = {"s": 1, "sec": 1, "min": 60, "h": 3600}
CRASHED = 60  # seconds until the database server has buried the session of a host that has crashed
OK = 5.0  # the exposure below which systemd says OK

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def settings(unit: Path = UNIT) -> dict[str, list[str]]:
    """All values of each setting of a unit, in their order."""
    found = defaultdict(list)
    for line in unit.read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found[name].append(value)
    return found


def one(name: str, unit: Path = UNIT) -> str:
    """The value of a setting that is written once."""
    (value,) = settings(unit)[name]
    return value


def seconds(name: str, unit: Path = UNIT) -> float:
    """A span of time, such as 1min 30s."""
    parts = re.findall(r"(\d+)\s*([a-z]*)", one(name, unit))
    return sum(float(number) * UNITS[of or "s"] for number, of in parts)


def place(path: Path) -> str:
    """Where a path of this repository is once it is installed."""
    return f"{one('WorkingDirectory')}/{path.relative_to(ROOT)}"


def analyzed(tmp_path: Path, *words: str, unit: Path = UNIT) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says of a unit, the programs of all units replaced by one that is there."""
    assert ANALYZE is not None
    for each in UNIT.parent.glob(f"{unit.stem}.*"):  # a timer is analyzed with its service
        text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", each.read_text(encoding="utf-8"))
        (tmp_path / each.name).write_text(text)
    line = [ANALYZE, *words, str(tmp_path / unit.name)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60)  # noqa: S603


@needs_systemd
@pytest.mark.parametrize("unit", [UNIT, STATUS, TIMER], ids=lambda unit: unit.name)
def test_systemd_accepts_each_unit_without_a_word(unit: Path, tmp_path: Path) -> None:
    done = analyzed(tmp_path, "verify", unit=unit)
    said = [line for line in done.stderr.splitlines() if unit.stem in line]  # it may speak of the host's own units
    assert (done.returncode, said) == (0, [])


@needs_systemd
@pytest.mark.parametrize("unit", [UNIT, STATUS], ids=lambda unit: unit.name)
def test_systemd_rates_the_exposure_ok_or_better(unit: Path, tmp_path: Path) -> None:
    done = analyzed(tmp_path, "security", "--offline=true", "--no-pager", f"--threshold={OK * 10:.0f}", unit=unit)
    (exposure,) = re.findall(rf"Overall exposure level for {unit.name}: ([\d.]+)", done.stdout)
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


def test_the_unit_of_the_health_runs_as_the_same_user_with_the_same_bars() -> None:
    ours, theirs = settings(STATUS), settings()
    barred = [
        name for name in theirs if re.match("Protect|Private|Restrict|System|Capab|Amb|NoNew|Lock|Memory|UM", name)
    ]
    assert len(barred) > 15
    assert {name: ours[name] for name in barred} == {name: theirs[name] for name in barred}
    for name in ("User", "Group", "WorkingDirectory", "EnvironmentFile"):
        assert ours[name] == theirs[name]
    assert one("ReadWritePaths", STATUS) == place(EMBEDDED_DIRECTORY.parent)


def test_the_unit_of_the_health_writes_to_its_own_folder_which_others_may_read_and_fails_for_no_state() -> None:
    program, script, *words = shlex.split(one("ExecStart", STATUS))
    assert (program, script) == (shlex.split(one("ExecStart"))[0], f"{one('WorkingDirectory')}/main.py")
    arguments = parser().parse_args(words)
    assert (arguments.command, arguments.format) == ("cli.status:show_status", "prometheus")
    assert arguments.out == Path("/var/lib", one("StateDirectory", STATUS), "status.prom")
    assert one("StateDirectoryMode", STATUS) == "0755"
    states = {PipelineError.exit_code, SchedulerRefused.exit_code, DatabaseAway.exit_code}
    assert {int(code) for code in one("SuccessExitStatus", STATUS).split()} == states
    assert one("KillMode", STATUS) == "process"
    assert seconds("TimeoutStartSec", STATUS) < 60
    assert one("OnCalendar", TIMER) == "minutely"


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
