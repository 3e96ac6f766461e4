"""The layers: every import in the tree points to its own layer or to one below, and modules import in no circle.

docs/architecture.md shows the layers; a new folder or top-level module gets its place in LAYERS.
"""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (  # from the bottom; layers of one line do not know each other
    {"model"},
    {"sources", "db"},
    {"pipeline"},
    {"query"},
    {"cli", "query_data"},
    {"main", "scheduler", "backfill_artemis", "backfill_defillama"},
    {"installed"},
    {"tests"},
    {"benchmarks", "notebooks"},  # some benchmarks use the fake APIs of the tests
)
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}


def modules(root: Path) -> dict[str, Path]:
    """Every module of the tree by its dotted name."""
    files = [file for file in root.rglob("*.py") if not any(part.startswith(".") for part in file.parts)]
    return {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports(root: Path) -> Iterator[tuple[str, int, str]]:
    """Each import of a module of the tree, wherever it stands: who imports, in which line, and what."""
    known = modules(root)
    for name, file in known.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}:{node.lineno}: write the whole name of what is imported"
                inside = [f"{node.module}.{alias.name}" for alias in node.names]
                found = [each if each in known else str(node.module) for each in inside]
            else:
                continue
            yield from ((name, node.lineno, each) for each in dict.fromkeys(found) if each in known)


def wrong_imports(root: Path) -> list[str]:
    """The imports that point up, or to the other module of the same line."""
    wrong = []
    for importer, line, imported in imports(root):
        ours, theirs = importer.split(".")[0], imported.split(".")[0]
        if ours != theirs and LEVELS[theirs] >= LEVELS[ours]:
            wrong.append(f"{importer}:{line} imports {imported}")
    return wrong


def circle(root: Path) -> list[str]:
    """Modules of a circle of imports; empty where there is none."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for importer, _, imported in imports(root):
        if importer != imported:
            sorter.add(importer, imported)
    try:
        sorter.prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_import_points_to_a_layer_below() -> None:
    assert wrong_imports(ROOT) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle(ROOT) == []


def test_every_folder_and_module_has_its_layer() -> None:
    assert {name.split(".")[0] for name in modules(ROOT)} <= LEVELS.keys()


def write(root: Path, **sources: str) -> None:
    """A tree of these modules, whose names have two underscores where a path has a slash."""
    for name, text in sources.items():
        file = root / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)


@pytest.mark.parametrize("planted", [
    "import db.store",
    "from db import store",
    "from db.store import Store",
    "def work():\n    from db.store import Store",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from db.store import Store",
])  # fmt: skip
@pytest.mark.parametrize("importer", ["model__values", "sources__base"])
def test_an_import_that_points_up_or_aside_is_found_wherever_it_stands(
    importer: str, planted: str, tmp_path: Path
) -> None:
    write(tmp_path, db__store="class Store: ...", **{importer: planted})
    (found,) = wrong_imports(tmp_path)
    assert found.startswith(importer.replace("__", "."))
    assert found.endswith("imports db.store")


def test_a_circle_is_found(tmp_path: Path) -> None:
    write(tmp_path, db__one="import db.two", db__two="def work():\n    import db.three", db__three="import db.one")
    assert set(circle(tmp_path)) == {"db.one", "db.two", "db.three"}
