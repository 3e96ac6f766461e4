"""The command of the benchmarks, as a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from model.settings import ROOT


def run(*words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "benchmarks", *words]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own words


def test_a_part_that_does_not_exist_is_refused_with_the_names_of_all(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("lod", "--out", str(out))
    assert done.returncode == 2
    assert "no part 'lod': name calls, load, read, parse, first, costs, answers, cluster" in done.stderr
    assert not out.exists()


@pytest.mark.long
def test_a_part_writes_its_figures_and_a_picture_and_keeps_those_of_other_parts(tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_text(json.dumps({"load": {"machine": {}, "rows": []}}))
    done = run("parse", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert list(figures) == ["load", "parse"]
    (flat,) = (row for row in figures["parse"]["rows"] if row["what"] == "memory of a TVL inside 70 MB")
    assert flat["verdict"] == "met"
    assert (tmp_path / "ratios.png").stat().st_size > 1000
