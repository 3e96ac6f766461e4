"""JSON is read within a bound of memory, whatever a body holds."""

import json
import math
import subprocess
import sys
from typing import Any

import pytest

from model.errors import TryFailed
from sources import json_body
from sources.json_body import DEEPEST, LARGEST, PIECE, SMALL, JsonBody, TooLarge
from tests.commands import ROOT

MEASURED = """
import resource, sys
from sources.json_body import PIECE, JsonBody, TooLarge
from model.errors import TryFailed
begin, middle, end, paths, size = (eval(text) for text in sys.argv[1:])
with JsonBody() as body:
    try:
        for text in (begin, *[middle * (PIECE // len(middle))] * (size // PIECE), end):
            body.write(text)
        body.read(paths)
        print("read")
    except (TooLarge, TryFailed) as error:
        print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
HOSTILE = {
    "lists": (b"[0", b",[]"),
    "objects": (b"[0", b",{}"),
    "objects with a key": (b"[0", b',{"a":0}'),
    "keys": (b'[{"":0', b',"a":0'),
    "numbers": (b"[0", b",1.5"),
    "texts": (b"[0", b',"ab"'),
    "one text": (b'["', b"a"),
    "one text with a wide character": ('["\N{ROCKET}'.encode(), b"a"),
    "depth": (b"", b"["),
    "depth with values": (b"", b"[0,"),
    "escapes": (b'["', b'\\\\\\"['),
    "spaces": (b"[", b" "),
}


def read(body: bytes, *paths: str, piece: int = 7) -> Any:
    with JsonBody() as made:
        for first in range(0, len(body), piece):
            made.write(body[first : first + piece])
        return made.read(paths)


@pytest.fixture
def nothing_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every body counts as one that must not be read whole."""
    monkeypatch.setattr(json_body, "SMALL", 0)
    monkeypatch.setattr(json_body, "COST_OF_A_BYTE", json_body.MOST_MEMORY)


VALUES = [[], {}, [1, 2.5, "x", None, True, {"a": [1]}], {"b": {"c": []}}, "text", 7, None, False]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("fits", [True, False])
def test_the_value_of_a_key_is_the_same_however_it_is_read(
    value: object, fits: bool, request: pytest.FixtureRequest
) -> None:
    if not fits:
        request.getfixturevalue("nothing_fits")
    whole = {"a": {"tvl": 0}, "tvl": value, "z": [[]]}
    assert read(json.dumps(whole).encode(), "tvl") == {"tvl": value}
    assert read(json.dumps({"a": value}).encode(), "tvl") == {}
    assert read(json.dumps([value]).encode(), "tvl") == {}


PATHS = ("tvl", "raw.tvl", "raw.deep.tvl")


def test_values_at_several_paths_are_read_at_once_each_in_its_place() -> None:
    raw = {"x": [{"tvl": 9}], "tvl": [1, {"tvl": 8}], "deep": {"tvl": 2, "z": 9}, "z": {"tvl": 9}}
    body = json.dumps({"a": {"tvl": 9}, "raw": raw, "tvl": [3]}).encode()
    assert read(body, *PATHS) == {"raw": {"tvl": [1, {"tvl": 8}], "deep": {"tvl": 2}}, "tvl": [3]}
    assert read(b'{"raw": [{"tvl": 9, "deep": {"tvl": 9}}, {"tvl": 9}], "tvl": 3}', *PATHS) == {"tvl": 3}
    assert read(b'{"tvl": 1, "raw": 2, "tvl": 3}', *PATHS) == {"tvl": 1}


def test_nothing_is_read_after_the_last_path() -> None:
    body = b'{"raw": {"deep": {}}, "tvl": [1], "z": ' + b" " * PIECE + b"nonsense"
    assert read(body, *PATHS, piece=PIECE) == {"tvl": [1]}


@pytest.mark.usefixtures("nothing_fits")
def test_a_large_body_is_read_only_for_a_key() -> None:
    assert read(b'{"tvl": [1]}', "tvl") == {"tvl": [1]}
    with pytest.raises(TooLarge, match="the values of the body may take more than 450 MB of memory"):
        read(b'{"tvl": [1]}')
    for text in (b'{"tvl": [1, 2', b'{"tvl": [NaN]}', b'{"other": [1'):
        with pytest.raises(TryFailed):
            read(text, "tvl")


@pytest.mark.usefixtures("nothing_fits")
def test_integers_past_64_bits_in_a_large_body_cost_nothing() -> None:
    number = 10**30
    found = read(f'{{"raw": [{number}], "tvl": [{{"a": 1.5}}, {number}, 2]}}'.encode(), "tvl")["tvl"]
    assert found == [{"a": 1.5}, number, 2]
    assert [type(each) for each in (found[0]["a"], *found[1:])] == [float, int, int]


@pytest.mark.usefixtures("nothing_fits")
def test_a_large_value_of_the_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_body, "COST_OF_AN_EVENT", json_body.MOST_MEMORY // 10)
    assert read(b'{"a": [1,2,3,4,5,6,7,8,9,10,11,12], "tvl": [1,2,3,4,5,6,7,8]}', "tvl") == {"tvl": [*range(1, 9)]}
    with pytest.raises(TooLarge, match="the values of tvl may take more"):
        read(b'{"tvl": [1,2,3,4,5,6,7,8,9]}', "tvl")


@pytest.mark.parametrize("piece", [1, 2, 3, 10, 1000])
def test_depth_is_that_of_lists_and_objects_and_not_of_texts(piece: int) -> None:
    deep, too_deep = (b"[" * depth + b"]" * depth for depth in (DEEPEST - 2, 5 * DEEPEST))
    text = json.dumps("[{" * 200 + '"' + "\\" + "[" * 200).encode()
    body = b'{"a": %s, "b": [%s, {"c": %s}], "tvl": [%s, 1]}' % (text, text, text, deep)
    assert read(body, "tvl", piece=piece)["tvl"][1] == 1
    with pytest.raises(TooLarge, match="too deep"):
        read(b'{"a": %s, "b": [%s], "tvl": 1}' % (text, too_deep), "tvl", piece=piece)


def test_what_only_python_reads_is_read_where_the_body_is_small() -> None:
    assert math.isnan(read(b'{"tvl": [NaN]}', "tvl")["tvl"][0])
    assert read(b'{"tvl": [100000000000000000000]}', "tvl") == {"tvl": [10**20]}


def test_all_bodies_together_have_a_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_body, "LARGEST_TOGETHER", 10)
    for _ in range(3):
        with JsonBody() as first, JsonBody() as second:
            first.write(b"x" * 8)
            second.write(b"[]")
            assert second.read() == []
            with pytest.raises(TooLarge, match="the bodies that arrive at once"):
                second.write(b" ")


@pytest.mark.parametrize("key", ["", "tvl"])
@pytest.mark.parametrize("body", [b"", b"[1, 2", b'{"a": "x', b"<html>", b"[" * 90_000])
def test_what_is_no_json_is_refused(body: bytes, key: str) -> None:
    with pytest.raises((TryFailed, TooLarge)):
        read(body, *([key] if key else []), piece=2**16)


SHORT = ("objects with a key", "depth")
LONG = [each for each in HOSTILE if each not in SHORT]


@pytest.mark.parametrize("key", ["", "tvl"])
@pytest.mark.parametrize("size", [SMALL, pytest.param(LARGEST, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "shape", [pytest.param(each, marks=() if each in SHORT else pytest.mark.long) for each in HOSTILE]
)
def test_no_body_takes_more_than_500_mb(shape: str, size: int, key: str) -> None:
    begin, middle = HOSTILE[shape]
    if key:
        begin = b'{"tvl": ' + begin
    line = [
        sys.executable,
        "-c",
        MEASURED,
        *(repr(each) for each in (begin, middle, b"]", [key] if key else [], size - 2**17)),
    ]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - our own words
    *said, megabytes = done.stdout.splitlines()
    assert int(megabytes) < 500, said  # a process with all its modules takes less than 100 more
