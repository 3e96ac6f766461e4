"""The timer and the service of the nightly backup: systemd accepts them, and their lines do what they say."""

import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db.backup import check_backup
from model.settings import ROOT
from tests.commands import copy_tree, environment
from tests.test_service import ANALYZE, OK, needs_systemd

DEPLOY = ROOT / "deploy"
SERVICE, TIMER = (DEPLOY / f"crypto-metrics-backup.{kind}" for kind in ("service", "timer"))
SCHEDULER = DEPLOY / "crypto-metrics.service"
HARDENING = "# The only folders"  # the comment above the settings that confine a service


def shell(name: str) -> str:
    """The shell command in a line of the service, which may begin with #, as systemd hands it over."""
    (line,) = re.findall(rf"(?m)^#?{name}=(.*)$", SERVICE.read_text(encoding="utf-8"))
    program, option, command = shlex.split(line)
    assert (program, option) == ("/bin/sh", "-c")
    return command.replace("%%", "%").replace("$$", "$")


def run(command: str, folder: Path, url: str = "") -> None:
    subprocess.run(["/bin/sh", "-c", command], cwd=folder, env=environment(url), check=True)  # noqa: S603 - the unit's


@needs_systemd
def test_systemd_accepts_both_units_without_a_word(tmp_path: Path) -> None:
    assert ANALYZE is not None
    copies = [shutil.copy(unit, tmp_path) for unit in (SERVICE, TIMER)]
    done = subprocess.run([ANALYZE, "verify", *copies], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert [line for line in done.stderr.splitlines() if "crypto-metrics" in line] == []
    assert done.returncode == 0


@needs_systemd
def test_systemd_rates_the_exposure_ok_or_better(tmp_path: Path) -> None:
    assert ANALYZE is not None
    words = (ANALYZE, "security", "--offline=true", "--no-pager", shutil.copy(SERVICE, tmp_path))
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    (exposure,) = re.findall(r"Overall exposure level for crypto-metrics-backup\.service: ([\d.]+)", done.stdout)
    assert float(exposure) < OK


def test_the_backup_is_confined_as_the_scheduler_is() -> None:
    own, scheduler = (unit.read_text(encoding="utf-8").partition(HARDENING)[2] for unit in (SERVICE, SCHEDULER))
    assert own.splitlines()[1:3] == [
        "ProtectSystem=strict", "ReadWritePaths=/opt/crypto-metrics/.data /opt/crypto-metrics/backups",
    ]  # fmt: skip
    assert own.splitlines()[3:] == scheduler.partition("\n\n[Install]")[0].splitlines()[3:]


def test_the_lines_of_the_document_install_all_that_the_units_need() -> None:
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```text\n(sudo install -d .*?/backups\n.*?)```", text, re.DOTALL)
    assert [path.name for path in (SERVICE, TIMER) if f"/opt/crypto-metrics/deploy/{path.name}\n" not in lines] == []


def test_the_service_leaves_an_embedded_server_to_its_users() -> None:
    text = SERVICE.read_text(encoding="utf-8")
    assert "\nKillMode=process\n" in text
    assert "\nType=oneshot\n" in text
    assert "[Install]" not in text  # the timer starts it


def test_the_line_of_the_service_writes_the_backup_of_today_and_nothing_else(tmp_path: Path, database_url: str) -> None:
    copy_tree(root := tmp_path / "copy")
    (root / ".venv" / "bin").mkdir(parents=True)
    (python := root / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (root / "backups").mkdir()
    days = {f"{datetime.now(UTC):%Y-%m-%d}.dump"}
    for _ in range(2):
        run(shell("ExecStart"), root, database_url)
    days.add(f"{datetime.now(UTC):%Y-%m-%d}.dump")  # of a test that runs at midnight
    made = list((root / "backups").iterdir())
    assert made
    assert {file.name for file in made} <= days
    check_backup(made[0])


def test_old_backups_stay_unless_the_user_removes_a_number_sign(tmp_path: Path) -> None:
    assert re.findall("(?m)^#?ExecStartPost", SERVICE.read_text(encoding="utf-8")) == ["#ExecStartPost"]
    (folder := tmp_path / "backups").mkdir()
    first = datetime(2026, 1, 20, tzinfo=UTC)
    days = [f"{first + timedelta(days=number):%Y-%m-%d}.dump" for number in range(20)]
    others = ["before-upgrade.dump", "2020-01-01.dump.gz", "notes.txt"]
    for name in [*days, *others]:
        (folder / name).touch()
    run(shell("ExecStartPost"), tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*days[-14:], *others])
    run(shell("ExecStartPost"), tmp_path)
    assert len(list(folder.glob("????-??-??.dump"))) == 14


@pytest.mark.parametrize("setting", ["User=crypto-metrics", "EnvironmentFile=-/opt/crypto-metrics/.env"])
def test_it_runs_as_the_user_of_the_scheduler_with_its_settings(setting: str) -> None:
    assert all(f"\n{setting}\n" in unit.read_text(encoding="utf-8") for unit in (SERVICE, SCHEDULER))
