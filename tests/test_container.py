"""Dockerfile, .dockerignore and compose.yaml: linted, and all that they name is there. No image is built here."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.arguments import parser
from db.database import Database
from db.postgres_programs import client_program
from model.settings import HOME, ROOT
from tests.commands import SECONDS, Rows, environment
from tests.fake_api import FakeApi
from tests.waiting import until

HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
LINES = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8")).splitlines()
INSTRUCTIONS = [line.split(maxsplit=1) for line in LINES if line and not line.startswith("#")]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
DATABASE, SCHEDULER = COMPOSE["services"]["database"], COMPOSE["services"]["scheduler"]
PASSWORD = "${POSTGRES_PASSWORD:?write POSTGRES_PASSWORD=… into .env}"  # noqa: S105 - it has none


def all_of(instruction: str) -> list[str]:
    """What follows each instruction of this name in the Dockerfile."""
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def sent(root: Path) -> list[Path]:
    """The files and folders at the top of the tree that .dockerignore lets into the build."""
    lines = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert lines[0] == "*"
    return [path for line in lines if line.startswith("!") for path in root.glob(line[1:])]


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_hadolint_has_nothing_to_say() -> None:
    assert HADOLINT
    done = subprocess.run([HADOLINT, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout) == (0, "")


def test_the_container_runs_as_an_ordinary_user_and_its_images_have_versions() -> None:
    assert all_of("USER") == ["10001:10001"]
    images = [*(line.split()[0] for line in all_of("FROM")), DATABASE["image"]]
    assert all(re.fullmatch(r"\w+:\d[\w.-]*", image) for image in images)


def test_the_scheduler_is_the_process_that_gets_the_signals() -> None:
    assert [json.loads(line) for line in all_of("CMD")] == [["crypto-metrics-scheduler"]]
    assert not all_of("ENTRYPOINT")
    assert "crypto-metrics-scheduler" in SCRIPTS


@pytest.mark.parametrize("status", range(6))
def test_the_container_is_healthy_while_the_scheduler_works_also_if_a_person_is_needed(
    status: int, tmp_path: Path
) -> None:
    (check,) = all_of("HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    program, *words = command[-1].partition(";")[0].split()
    assert program in SCRIPTS
    assert parser().parse_args(words).command == "cli.status:show_status"
    (tmp_path / program).write_text(f"#!/bin/sh\nexit {status}\n")
    (tmp_path / program).chmod(0o755)
    done = subprocess.run(command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False)  # noqa: S603
    assert done.returncode == (0 if status <= 1 else 1)


def test_no_secret_is_in_a_layer() -> None:
    assert [
        rest for name, rest in INSTRUCTIONS if name in ("ENV", "ARG") and re.search("KEY|PASSWORD|TOKEN", rest)
    ] == []
    names = {path.name for path in sent(ROOT)}
    assert names.isdisjoint({".env", ".data", ".git", "saved", "backups", "tests"})
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8").replace(PASSWORD, "")
    assert re.findall(r"(?m)^ *\w*(?:PASSWORD|KEY|TOKEN)\w*: *\S+", text) == []


def test_all_that_is_copied_is_there_and_enough_to_build_the_wheel(tmp_path: Path) -> None:
    for path in sent(ROOT):
        target = tmp_path / "src" / path.name
        if path.is_dir():
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(path, target)
    copied = [line.split()[-2] for line in all_of("COPY") if not line.startswith("--from")]
    assert [word for word in copied if not (tmp_path / "src" / word).exists()] == []
    words = (
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-build-isolation",
        "--no-deps",
        "--no-index",
        "-w",
        tmp_path,
        tmp_path / "src",
    )
    subprocess.run([sys.executable, *words], check=True, capture_output=True)  # noqa: S603 - our own words
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("db/schema.sql", "query/report/page.html", "artemis_config.csv", "scheduler.py"):
        assert f"crypto_metrics/{name}" in names


def test_what_changes_is_in_volumes_and_the_home_folder_is_one_of_them() -> None:
    (home,) = (re.search(rf"{HOME}=(\S+)", line) for line in all_of("ENV"))
    assert home
    mounts = [*SCHEDULER["volumes"], *DATABASE["volumes"]]
    assert SCHEDULER["volumes"] == [f"home:{home[1]}"]
    assert {mount.partition(":")[0] for mount in mounts} == COMPOSE["volumes"].keys()
    assert SCHEDULER["read_only"] is True


def test_the_scheduler_waits_for_a_healthy_database_whose_address_it_has(tmp_path: Path) -> None:
    assert SCHEDULER["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert DATABASE["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]
    assert {service["restart"] for service in COMPOSE["services"].values()} == {"unless-stopped"}
    database = Database(SCHEDULER["environment"]["DATABASE_URL"], tmp_path)
    user, name = (DATABASE["environment"][variable] for variable in ("POSTGRES_USER", "POSTGRES_DB"))
    assert database.conninfo() == (f"user={user} dbname={name} host=database port=5432", "")
    assert SCHEDULER["environment"]["PGPASSWORD"] == DATABASE["environment"]["POSTGRES_PASSWORD"] == PASSWORD


def test_a_backup_of_the_database_of_compose_can_be_made_with_the_programs_that_pip_installs() -> None:
    assert int(DATABASE["image"].partition(":")[2]) <= client_program("pg_dump")[1]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root can be process 1 here")
def test_as_process_1_the_scheduler_ends_on_sigterm(database_url: str, rows: Rows) -> None:
    with FakeApi() as api:
        as_process_1 = ("unshare", "--pid", "--fork", "--kill-child", sys.executable)
        line = (*as_process_1, ROOT / "scheduler.py", "--source=defillama")
        env = environment(database_url, api)
        with subprocess.Popen(line, env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as outside:  # noqa: S603
            until(lambda: rows("SELECT FROM scheduler"))
            assert rows("SELECT pid FROM scheduler") == [(1,)]
            (inside,) = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split()
            os.kill(int(inside), signal.SIGTERM)
            assert outside.wait(SECONDS) == 0
