"""README and docs are true: their commands run, what they show is what a reader sees, and the names exist."""

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
DOCS = {file.stem: file.read_text(encoding="utf-8") for file in sorted((ROOT / "docs").glob("*.md"))}
TEXTS = "".join(file.read_text(encoding="utf-8") for file in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
MOST_WORDS = 1200
BLOCK = re.compile(r"```(sh|python)\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)
INSTALLING = re.compile(r".*pip install.*|source .*")


def run(line: str, directory: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line], cwd=directory, env=environment, capture_output=True, text=True)  # noqa: S603, S607 (README's own line)


def outputs(text: str, directory: Path, environment: dict[str, str]) -> list[tuple[str, str]]:
    """Run every block of a text as a reader does; what the last command of each printed, and what the text shows."""
    found = []
    for language, block, shown in BLOCK.findall(text):
        lines = [line for line in block.splitlines() if not INSTALLING.fullmatch(line)]
        commands = lines if language == "sh" else [f"python - <<'END'\n{block}END"]
        for command in commands:
            done = run(command, directory, environment)
            assert done.returncode == 0, f"{command}\n{done.stderr}"
            assert done.stdout or language == "python", f"{command}\n{done.stderr}"
        if commands:
            found.append((done.stderr + done.stdout, shown))
    return found


def test_every_command_of_readme_and_docs_runs_as_a_reader_runs_it(database_url: str, tmp_path: Path) -> None:
    """README without any key; then docs, one after another, on the same database."""
    copy_tree(clone := tmp_path / "clone")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with FakeApi() as api:
        keyless = os.environ | api.environment() | {"DATABASE_URL": database_url, "MPLBACKEND": "Agg", "PATH": path}
        keyless |= dict.fromkeys(("ARTEMIS_API_KEY", "DEFILLAMA_API_KEY"), "")
        (pull, shown), _, (series, frame), *_ = outputs(README, clone, keyless)
        assert shape(pull) == shape(shown)
        assert shape(series) == shape(frame)
        for name in ("commands", "tables", "notebooks", "sources", "operating", "tools"):
            assert outputs(DOCS[name], clone, keyless | {"ARTEMIS_API_KEY": "key"})


def shape(text: str) -> list[str]:
    """The lines of an output, without what differs from run to run: times, numbers, names of a database or series."""
    lines = [re.sub(r"(INFO (?:database|series without data):).*", r"\1", line) for line in text.splitlines()]
    return [re.sub(r"[\d,.:-]+", "N", line).rstrip() for line in lines]


def test_readme_is_short_and_its_two_lines_install() -> None:
    assert len(README.split()) <= MOST_WORDS
    first, second = re.findall(r"^python3 -m venv .*", README, re.MULTILINE)
    assert first.endswith("-r requirements.txt")
    assert second.endswith("-m pytest")


@pytest.mark.long
def test_the_first_lines_do_everything_in_a_fresh_clone(tmp_path: Path, database_url: str) -> None:
    run(f"git clone -q {ROOT} clone", tmp_path, dict(os.environ))
    lines = "; ".join(README.split("```sh\n")[1].splitlines()[:2])
    with FakeApi() as api:
        environment = os.environ | api.environment() | {"DATABASE_URL": database_url}
        done = run(f"set -e; {lines}; python main.py pull defillama", tmp_path / "clone", environment)
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
    installing = re.findall(r"```text\n(sudo git .*?)```", DOCS["operating"], re.DOTALL)[0]
    unit = (ROOT / "deploy" / "crypto-metrics.service").read_text(encoding="utf-8")
    named = set(re.findall(r"/opt/[\w./-]+", unit))
    made = {"/opt/crypto-metrics/.venv/bin/python", *(f"/opt/crypto-metrics/{file.name}" for file in ROOT.iterdir())}
    assert {path for path in named if path not in made and path not in installing} == set()
    assert len(installing.splitlines()) == 5
