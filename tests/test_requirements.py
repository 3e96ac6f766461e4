"""The lock file has every requirement, each in a version that the requirement takes, with the hashes of its files."""

import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent


def test_the_lock_file_locks_every_requirement_and_each_line_has_hashes() -> None:
    locked: dict[str, set[str]] = {}
    entries = re.split(r"\n(?=[a-z])", (ROOT / "requirements.lock").read_text())[1:]
    for entry in entries:
        name, version = re.match(r"([\w.-]+)==(\S+)", entry).groups()  # type: ignore[union-attr]
        locked.setdefault(name, set()).add(version)
        assert "--hash=sha256:" in entry
    wanted = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert wanted
    for requirement in map(Requirement, filter(None, wanted)):
        assert all(requirement.specifier.contains(version) for version in locked[requirement.name])
