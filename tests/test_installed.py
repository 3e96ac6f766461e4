"""The installed project: what the wheel has, `import query_data` from any folder, the commands, and the home folder."""

import ast
import os
import subprocess
import sys
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from model.settings import DATABASE_URL, HOME, MAIN, ROOT, VERSION
from sources import SOURCES
from tests.commands import copy_tree, run_process
from tests.test_architecture import LAYERS

FOLDERS = sorted(name for layer in LAYERS[:6] for name in layer if (ROOT / name).is_dir())
SHIPPED = (".py", ".sql", ".html", ".css")
CONFIGS = [source.CONFIG for source in SOURCES.values()]
COMMAND = (
    "import sys, crypto_metrics_installed as it; sys.argv = ['crypto-metrics', *sys.argv[1:]]; sys.exit(it.main())"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    copy_tree(root := tmp_path_factory.mktemp("build") / "copy")
    words = ("-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", "--no-index", "-w", root.parent, root)
    subprocess.run([sys.executable, *words], check=True, capture_output=True)  # noqa: S603 - our own words
    (made,) = root.parent.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what pip puts into site-packages."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


@pytest.fixture
def elsewhere(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder, where Python finds the installed project, with the home folder in it and without a database."""
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (HOME, DATABASE_URL):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)  # noqa: S603


def command(line: str) -> subprocess.CompletedProcess[str]:
    return python("-c", COMMAND, *line.split())


def test_the_wheel_has_every_file_of_the_code_and_nothing_else(wheel: Path) -> None:
    files = [file.relative_to(ROOT) for folder in FOLDERS for file in (ROOT / folder).rglob("*")]
    code = {f"crypto_metrics/{file}" for file in files if file.suffix in SHIPPED}
    code |= {f"crypto_metrics/{file.name}" for file in ROOT.glob("*.py")} | {
        f"crypto_metrics/{name}" for name in CONFIGS
    }
    code |= {file.name for file in (ROOT / "installed").glob("*.py")} - {"__init__.py"}
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert found == code


def test_version_and_requirements_have_one_place(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel)
    (name,) = [name for name in packed.namelist() if name.endswith("/METADATA")]
    said = message_from_bytes(packed.read(name))
    assert (said["Name"], said["Version"]) == ("crypto-metrics", VERSION)
    lines = (line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    wanted = {Requirement(line) for line in lines if line}
    required = {Requirement(line) for line in said.get_all("Requires-Dist", ())}
    assert {each for each in required if each.marker is None} == wanted
    assert {(each.name, str(each.marker)) for each in required if each.marker} == {("pyarrow", 'extra == "parquet"')}


def test_query_data_is_imported_from_any_folder_even_beside_modules_of_the_same_names(elsewhere: Path) -> None:
    for name in ("model", "db", "query"):
        (elsewhere / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    code = "import query_data as q; print(q.__file__); q.assets()"
    done = python("-c", code)
    assert done.stdout == f"{os.environ['PYTHONPATH']}/crypto_metrics/query_data.py\n"
    assert done.stderr.endswith("ConfigurationError: nothing is stored yet: crypto-metrics backfill defillama\n")


@pytest.mark.parametrize("name", ["db", "model", "query"])
def test_beside_a_module_of_the_same_name_that_is_imported_already_it_says_which_one_stands_in_the_way(
    elsewhere: Path, name: str
) -> None:
    (elsewhere / f"{name}.py").touch()
    done = python("-c", f"import {name}, query_data")
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: query_data has a module {name} of its own, and {elsewhere}/{name}.py is imported already: "
        "rename that one, or use query_data in another process"
    )


def test_only_names_that_query_data_imports_stand_in_its_way(elsewhere: Path) -> None:
    code = "import query_data, sys; print([name for name in sys.argv[1:] if name in sys.modules])"
    imported = python("-c", code, *FOLDERS).stdout
    assert imported == python("-c", "import crypto_metrics_installed as it; print(list(it.IMPORTED))").stdout
    (elsewhere / "cli.py").touch()
    assert python("-c", "import cli, query_data").returncode == 0


def test_a_folder_without_a_module_that_is_imported_as_one_stands_in_its_way_too(elsewhere: Path) -> None:
    (elsewhere / "model").mkdir()
    done = python("-c", "import model, query_data")
    assert "ImportError: query_data has a module model of its own, and a folder of this name is imported" in done.stderr


def test_the_command_is_main_py_and_its_advice_can_be_followed(elsewhere: Path) -> None:
    done = command("status")
    assert (done.returncode, done.stderr) == (3, "")
    assert "or crypto-metrics-scheduler\n" in done.stdout
    done = command("pull defillama --dry-run --metric CHAIN_TVL")
    assert (done.returncode, "api/v2/chains" in done.stdout) == (0, True), done.stderr
    done = command("pull artemis")
    home = elsewhere / ".crypto-metrics"
    assert done.returncode == 2
    assert done.stderr == f"error: artemis needs a key: write ARTEMIS_API_KEY=… into {home}/.env or the environment\n"
    assert command("--version").stdout == f"crypto-metrics {VERSION}\n"
    assert command("--help").stdout.startswith("usage: crypto-metrics [-h]")
    assert command("psql").stderr == "error: there is no database yet: crypto-metrics setup creates one\n"


def test_the_home_folder_gets_the_configs_once_and_they_stay_as_their_owner_writes_them(elsewhere: Path) -> None:
    home = elsewhere / ".crypto-metrics"
    assert command("sources").returncode == 0
    assert sorted(path.name for path in home.iterdir()) == sorted(CONFIGS)
    assert home.stat().st_mode & 0o077 == 0
    assert [(home / name).read_bytes() for name in CONFIGS] == [(ROOT / name).read_bytes() for name in CONFIGS]
    (home / "defillama_config.csv").write_text("asset,kind,metrics\nEthereum,chain,CHAIN_TLV\n")
    done = command("pull defillama --dry-run")
    assert done.stderr.startswith(f"error: {home}/defillama_config.csv:2: unknown metric 'CHAIN_TLV'")
    assert "CHAIN_TLV" in (home / "defillama_config.csv").read_text()
    (home / ".env").write_text("ARTEMIS_API_KEY=half of a key\n")
    assert command("pull artemis").stderr.startswith("error: ARTEMIS_API_KEY contains a space")


def test_query_data_makes_the_home_folder_when_it_is_imported_and_a_query_writes_nothing(elsewhere: Path) -> None:
    home = elsewhere / ".crypto-metrics"
    done = python("-c", f"import query_data as q, shutil; shutil.rmtree({str(home)!r}); q.assets()")
    assert done.stderr.endswith("ConfigurationError: nothing is stored yet: crypto-metrics backfill defillama\n")
    assert not home.exists()


def test_a_home_folder_that_cannot_be_made_is_one_line(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "file").touch()
    monkeypatch.setenv(HOME, str(elsewhere / "file" / "home"))
    done = command("sources")
    assert (done.returncode, done.stderr) == (
        2, f"error: {elsewhere}/file/home can't be made: Not a directory: set CRYPTO_METRICS_HOME\n",
    )  # fmt: skip


def test_a_clone_is_its_own_home_unless_the_setting_names_another(tmp_path: Path) -> None:
    assert (Path(__file__).parents[1] / "main.py", "python main.py") == (ROOT / "main.py", MAIN)
    copy_tree(root := tmp_path / "copy")
    env = {name: value for name, value in os.environ.items() if name != DATABASE_URL}
    done = run_process("main.py sources", env=env | {HOME: "home"}, root=root, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == sorted(CONFIGS)


def messages(file: Path) -> list[tuple[int, str]]:
    """The texts in a module that are not documentation, with their lines."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    alone = {node.value for node in nodes if isinstance(node, ast.Expr)}
    texts = [node for node in nodes if isinstance(node, ast.Constant) and node not in alone]
    return [(node.lineno, node.value) for node in texts if isinstance(node.value, str)]


def test_no_message_names_a_command_that_only_a_clone_has() -> None:
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py") if file.name != "settings.py"]
    only_there = ("python main.py", "python scheduler.py")
    wrong = [
        f"{file.relative_to(ROOT)}:{line}: write {{MAIN}} or {{SCHEDULER_COMMAND}}"
        for file in files
        for line, text in messages(file)
        if any(command in text for command in only_there)
    ]
    assert [each for each in wrong if "db/statements.py" not in each] == []  # which replaces it in SQL
    assert "python main.py" not in (ROOT / "query" / "report" / "page.html").read_text(encoding="utf-8")


@pytest.mark.long
def test_pip_installs_it_into_a_fresh_environment(tmp_path: Path) -> None:
    copy_tree(root := tmp_path / "copy")
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    env = {"PATH": f"{programs}{os.pathsep}/usr/bin:/bin", "HOME": str(tmp_path)}
    (away := tmp_path / "away").mkdir()
    for line, code in (
        (f"pip install -q {root}", 0),
        ("python -c 'import query_data; query_data.series'", 0),
        ("crypto-metrics status", 3),
        ("crypto-metrics pull defillama --dry-run", 0),
        ("crypto-metrics-scheduler --help", 0),
        ("pip uninstall -q -y crypto-metrics", 0),
    ):
        done = subprocess.run(["/bin/sh", "-c", line], cwd=away, env=env, capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == code, f"{line}\n{done.stderr}"
    left = [path.name for path in programs.parent.rglob("*") if "crypto" in path.name and "metrics" in path.name]
    assert left == []
