"""The short form of the fault table: a few trials of each family."""

import pytest

from tests.faults.__main__ import FAMILIES, results
from tests.faults.machine_faults import impossible

SHORT = {
    "http": ["every third value NaN", "no value yet"],
    "process": ["KILL", "two at once"],
    "database": ["sessions terminated"],
    "mixed": ["crash and recovery"],
    "disk": ["full under the database"],
}
IMPOSSIBLE = impossible()


@pytest.mark.parametrize("family", SHORT)
def test_no_fault_loses_doubles_or_invents_a_row(family: str) -> None:
    if family in IMPOSSIBLE:
        pytest.skip(IMPOSSIBLE[family])
    found = list(results([family], [1], SHORT[family]))
    assert len(found) == len(SHORT[family])
    assert [str(each) for each in found if each.faults] == []


@pytest.mark.long
def test_no_fault_of_the_whole_table_loses_doubles_or_invents_a_row() -> None:
    assert [str(each) for each in results(FAMILIES - IMPOSSIBLE.keys(), [1, 2, 3]) if each.faults] == []
