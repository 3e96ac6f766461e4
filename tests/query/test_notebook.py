"""The notebook runs from top to bottom in a fresh copy of the repository, and makes the pictures of the texts."""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import pytest
from PIL import Image

import query_data
from tests.commands import ROOT, copy_tree

NOTEBOOK = Path("notebooks") / "tour.ipynb"
SECONDS = 120  # for all cells
EXECUTE = "from nbclient.cli import main; main()"  # what `jupyter execute` does, by this Python
LARGEST = 60_000  # bytes of a picture
TEXTS = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/notebooks.md"))
SHOWN = re.findall(r"!\[[^]]*\]\((?:\.\./)?([^)]+\.png)\)", TEXTS)
QUESTIONS = [name for name in query_data.__all__ if name != "BadQuestion"]


class Ran(NamedTuple):
    """A copy of the repository in which the notebook has run."""

    root: Path
    cells: list[Any]  # those with code, and what they put out
    made: set[str]  # new files


def read(notebook: Path) -> Any:
    return nbformat.reads(notebook.read_text(encoding="utf-8"), as_version=4)  # type: ignore[no-untyped-call]


def execute(notebook: Path) -> list[Any]:
    """Run a notebook in its folder, keeping what it puts out; its code cells, of which none has failed."""
    line = [sys.executable, "-c", EXECUTE, "--inplace", notebook.name]
    done = subprocess.run(line, cwd=notebook.parent, capture_output=True, encoding="utf-8", timeout=SECONDS)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return [cell for cell in read(notebook).cells if cell.cell_type == "code"]


def files(root: Path) -> set[str]:
    return {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file() and file.suffix != ".pyc"}


def pictures(outputs: Sequence[Any]) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The repository without the pictures, for a user whose own database must be left alone."""
    folder = tmp_path_factory.mktemp("notebook")
    copy_tree(folder / "copy")
    for picture in (folder / "copy" / "notebooks").glob("*.png"):
        picture.unlink()
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
            (folder / variable).mkdir()
            patch.setenv(variable, str(folder / variable))
        patch.setenv("JUPYTER_PREFER_ENV_PATH", "1")  # the kernel of this Python, whatever else is installed
        patch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nothing")
        patch.delenv("MPLBACKEND", raising=False)
        yield folder / "copy"


@pytest.fixture(scope="module")
def ran(copy: Path) -> Ran:
    """The whole notebook, run in its folder."""
    before = files(copy)
    cells = execute(copy / NOTEBOOK)
    return Ran(copy, cells, files(copy) - before)


def test_every_cell_runs_and_nothing_is_said_on_standard_error(ran: Ran) -> None:
    assert all(cell.execution_count for cell in ran.cells)
    assert [output.text for cell in ran.cells for output in cell.outputs if output.get("name") == "stderr"] == []


def test_a_plot_is_shown_once(ran: Ran) -> None:
    shown = {cell.source: pictures(cell.outputs) for cell in ran.cells if "q.plot(" in cell.source}
    assert len(shown) >= 4
    assert set(shown.values()) == {1}


def test_it_makes_the_pictures_that_readme_shows_and_leaves_nothing_else(ran: Ran) -> None:
    assert len(SHOWN) == 2
    assert ran.made == set(SHOWN)


def test_its_pictures_are_wide_and_small(ran: Ran) -> None:
    for file in ran.root.glob("notebooks/*.png"):
        with Image.open(file) as picture:
            assert picture.width == 1000
        assert file.stat().st_size < LARGEST


def test_it_finds_the_repository_from_the_root_too(copy: Path) -> None:
    notebook = read(ROOT / NOTEBOOK)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    first.source += "\nimport query_data; query_data.__file__"
    notebook.cells = [first]
    (copy / "first.ipynb").write_text(nbformat.writes(notebook), encoding="utf-8")  # type: ignore[no-untyped-call]
    (cell,) = execute(copy / "first.ipynb")
    assert cell.outputs[0].data["text/plain"] == repr(str(copy / "query_data.py"))


@pytest.mark.parametrize("name", SHOWN)
def test_a_picture_that_readme_shows_is_there_and_small(name: str) -> None:
    assert (ROOT / name).stat().st_size < LARGEST


def test_it_is_kept_without_outputs() -> None:
    assert [cell.id for cell in read(ROOT / NOTEBOOK).cells if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.parametrize("name", QUESTIONS)
def test_it_shows_each_function_of_query_data(name: str) -> None:
    assert f"q.{name}(" in "\n".join(cell.source for cell in read(ROOT / NOTEBOOK).cells)
