"""README is true: its commands run, its second line is what CI runs, its names exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from model.settings import ROOT
from tests.commands import copy_tree
from tests.fake_api import FakeApi

README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = "".join(file.read_text(encoding="utf-8") for file in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
INSTALLING = [line for line in COMMANDS if "pip install" in line]
RUNNING = [line for line in COMMANDS if "pip install" not in line]


def run(line: str, directory: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line], cwd=directory, env=environment, capture_output=True, text=True)  # noqa: S603, S607 (README's own line)


def test_the_commands_and_cells_of_readme_succeed_as_a_reader_runs_them(database_url: str, tmp_path: Path) -> None:
    """One after another, on one database, since some ask for what others have stored."""
    copy_tree(clone := tmp_path / "clone")
    environment = os.environ | {"DATABASE_URL": database_url, "ARTEMIS_API_KEY": "key", "MPLBACKEND": "Agg"}
    for line in RUNNING:
        done = run(line.replace(".venv/bin/python", sys.executable), clone, environment)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout, f"{line}\n{done.stderr}"
    (cells,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", cells], cwd=clone, env=environment, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr


def test_the_first_line_runs_after_its_installation(database_url: str) -> None:
    command = INSTALLING[0].rpartition("&& ")[2].replace(".venv/bin/python", sys.executable)
    with FakeApi() as api:
        done = run(command, ROOT, os.environ | api.environment() | {"DATABASE_URL": database_url})
    assert done.returncode == 0, done.stderr
    assert "0 failed" in done.stdout


def test_what_readme_shows_on_the_screen_is_what_the_first_line_prints(database_url: str) -> None:
    shown = re.findall(r"## What you see\n\n```text\n(.*?)```", README, re.DOTALL)[0]
    with FakeApi() as api:
        environment = os.environ | api.environment() | {"DATABASE_URL": database_url}
        environment.pop("DEFILLAMA_API_KEY", None)
        done = run(f"{sys.executable} main.py pull defillama", ROOT, environment)
    assert shape(done.stderr + done.stdout) == shape(shown)


def shape(text: str) -> list[str]:
    """The lines of an output, without what differs from run to run: times, numbers, names of a database or series."""
    lines = [re.sub(r"(INFO (?:database|series without data):).*", r"\1", line) for line in text.splitlines()]
    return [re.sub(r"[\d,.:-]+", "N", line) for line in lines]


def test_two_lines_install() -> None:
    assert len(INSTALLING) == 2
    assert INSTALLING[0].endswith("main.py pull defillama")
    assert INSTALLING[1].endswith("-m pytest")


@pytest.mark.long
@pytest.mark.parametrize("line", INSTALLING[:1])
def test_the_first_line_does_everything_in_a_fresh_clone(line: str, tmp_path: Path, database_url: str) -> None:
    run(f"git clone -q {ROOT} clone", tmp_path, dict(os.environ))
    with FakeApi() as api:
        done = run(line, tmp_path / "clone", os.environ | api.environment() | {"DATABASE_URL": database_url})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("word", sorted(set(re.findall(r"`((?:[\w.]+/)*[\w.]+\.(?:py|csv|txt|sql))`", TEXTS))))
def test_a_file_that_readme_or_a_document_names_exists(word: str) -> None:
    assert (ROOT / word.replace("NAME", "artemis")).is_file()  # NAME stands for that of a source


def test_every_test_that_a_document_names_exists() -> None:
    code = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", TEXTS))
    assert named
    assert [name for name in named if f"def {name}(" not in code] == []


def test_the_lines_that_install_the_service_make_all_that_its_unit_names() -> None:
    installing = re.findall(r"```text\n(sudo .*?)```", README, re.DOTALL)[0]
    unit = (ROOT / "deploy" / "crypto-metrics.service").read_text(encoding="utf-8")
    named = set(re.findall(r"/opt/[\w./-]+", unit))
    made = {"/opt/crypto-metrics/.venv/bin/python", *(f"/opt/crypto-metrics/{file.name}" for file in ROOT.iterdir())}
    assert {path for path in named if path not in made and path not in installing} == set()
    assert len(installing.splitlines()) == 5
