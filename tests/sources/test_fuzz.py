"""Random input for all that reads what others send or write: each ends in points, or in an error of our own.

The suite tries a few thousand inputs, always the same. `-m long` tries a million of each kind, other ones in each run,
which takes an hour; FUZZED=20000 makes it so many. Drawing an input takes far longer than reading it, so a plain random
generator makes more of each that is drawn.
"""

import json
import math
import os
import random
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.errors import BadPoint, CallFailed, TryFailed
from model.values import DAY, EARLIEST, Target, Verb, Window, midnight
from sources import SOURCES
from sources.base import BaseSource, Call, _number, _time, wrong_shape_fails
from sources.config import read_config, valid_rows
from sources.json_body import JsonBody, TooLarge
from sources.retry import retry_after
from tests.fake_api import FakeApi

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 8, 17, 10, tzinfo=UTC)
LATEST = midnight(NOW) + 2 * DAY
KEPT = 3  # items of each list of an answer, so that a change often hits what is read

VARIANTS = 20  # inputs of each that is drawn
few = settings(max_examples=100, derandomize=True, database=None, deadline=None)
many = settings(
    max_examples=int(os.environ.get("FUZZED", 1_000_000)) // VARIANTS,
    database=None,
    deadline=VARIANTS * timedelta(seconds=1),
    suppress_health_check=list(HealthCheck),
)


def fuzzed(**drawn: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test with a few inputs in the suite and with many in the long form."""

    def decorated(test: Callable[..., None]) -> Callable[..., None]:
        @pytest.mark.parametrize("amount", [few, pytest.param(many, marks=pytest.mark.long)], ids=["few", "many"])
        def run(amount: settings) -> None:
            amount(given(**drawn)(test))()

        return run

    return decorated


class Body(NamedTuple):
    """A right answer to a call of a source, cut down to a few points."""

    source: BaseSource
    call: Call
    json: Any


@cache
def bodies() -> list[Body]:
    """An answer to each kind of call, the lists of assets included."""
    found: list[Body] = []
    with FakeApi(now=lambda: NOW) as api:
        for made in SOURCES.values():
            source = made("key", api.environment()[made.BASE_URL_VARIABLE])
            for call in {(call.endpoint, call.path.split("/")[0]): call for call in _calls(source)}.values():
                url, params, headers = source.request(call)
                answer = requests.get(url, params, headers=headers, timeout=60)
                assert answer.status_code == 200, call
                about = call.targets[0].id if call.targets else ""
                found.append(Body(source, call, cut_down(answer.json(), about)))
    return found


def _calls(source: BaseSource) -> Iterator[Call]:
    assets = read_config(ROOT / source.CONFIG, type(source))
    window = Window(midnight(NOW) - 30 * DAY, midnight(NOW))
    for metric, known in source.METRICS.items():
        asset = next((each for each in assets if metric in each.metrics), None)
        if asset:
            target = Target(asset.asset, metric, asset.id, asset.kind)
            for verb in (each for each in Verb if each in known.verbs):  # in one order, so that inputs repeat
                yield from source.calls(verb, [target], window)
    yield from source.listing_calls()


def cut_down(value: Any, name: str) -> Any:
    """The value with KEPT items of each list, and the first of the rest that is about `name`."""
    if isinstance(value, list):
        about = (each for each in value[KEPT:] if name in json.dumps(each))
        return [cut_down(each, name) for each in value[:KEPT] + list(islice(about, 1))]
    return {key: cut_down(each, name) for key, each in value.items()} if isinstance(value, dict) else value


numbers = st.one_of(st.integers(), st.integers(0, 4 * 10**12), st.floats(), st.sampled_from([10**400, -1, 2**64]))
texts = st.one_of(st.text(max_size=20), st.datetimes().map(str), st.dates().map(str), numbers.map(str))
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
junk = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3))
)


def changed(value: Any, chance: random.Random, replacement: Any) -> Any:
    """The value with the replacement somewhere in it, or with something left out or repeated."""
    if not isinstance(value, (list, dict)) or not value or chance.random() < 0.15:
        return replacement
    keys = list(range(len(value))) if isinstance(value, list) else list(value)
    key, copy = chance.choice(keys), value.copy()
    way = chance.random()
    if way < 0.05:
        del copy[key]
    elif way < 0.1 and isinstance(copy, list):
        copy.append(copy[key])
    else:
        copy[key] = changed(copy[key], chance, replacement)
    return copy


randoms = st.integers(0, 2**64).map(random.Random)


def changed_texts(body: Body, replacements: Sequence[Any], chance: random.Random) -> Iterator[bytes]:
    """The text of a body with up to three values changed and, in one of four, a few bytes as well."""
    for _ in range(VARIANTS):
        value = body.json
        for _ in range(chance.randint(1, 3)):
            value = changed(value, chance, chance.choice(replacements))
        text = json.dumps(value).encode()
        yield spoiled(text, chance) if chance.random() < 0.25 else text


def spoiled(text: bytes, chance: random.Random) -> bytes:
    """The text with a few bytes in place of others."""
    begin = chance.randint(0, len(text))
    piece = chance.choice([chance.randbytes(chance.randint(0, 8)), b",", b'"', b"\n", b"\r", b" ", b"\0", b"=1", b"-"])
    return text[:begin] + piece + text[begin + chance.randint(0, 8) :]


some_body = st.deferred(lambda: st.sampled_from(bodies()))
replacements = st.lists(junk, min_size=1, max_size=3)


@fuzzed(body=some_body, instead=replacements, chance=randoms)
def test_whatever_an_answer_has_it_becomes_possible_points_or_a_failed_call(
    body: Body, instead: list[Any], chance: random.Random
) -> None:
    for text in changed_texts(body, instead, chance):
        _read(body, text)


def _read(drawn: Body, text: bytes) -> None:
    source, call, _ = drawn
    try:
        with JsonBody() as body:
            body.write(text)
            payload = body.read(call.extract)
        if not call.targets:
            with wrong_shape_fails(call):
                list(source.read_listing(call, payload))
            return
        answer = source.answer(call, payload, NOW)
    except (CallFailed, TryFailed, TooLarge):
        return
    names = {(target.asset, target.metric) for target in call.targets}
    for point in answer.points:
        assert (point.asset, point.metric) in names
        assert math.isfinite(point.value)
        assert EARLIEST <= point.at < LATEST
        assert point.at.utcoffset() == timedelta()


@pytest.mark.parametrize("source", SOURCES)
def test_without_a_change_each_answer_has_points_or_assets(source: str) -> None:
    of_source = [body for body in bodies() if body.source.name == source]
    assert of_source
    for made, call, payload in of_source:
        with JsonBody() as body:
            body.write(json.dumps(payload).encode())
            read = body.read(call.extract)
        answer = made.answer(call, read, NOW) if call.targets else None
        assert answer.points if answer else list(made.read_listing(call, read)), call


def with_variants(value: Any, chance: random.Random) -> list[Any]:
    """The value, and as many texts that are like it as make VARIANTS."""
    text = str(value).encode("utf-8", "replace")
    return [value, *(spoiled(text, chance).decode("utf-8", "replace") for _ in range(VARIANTS - 1))]


@fuzzed(value=scalars, other=junk, chance=randoms)
def test_a_time_is_possible_or_refused(value: Any, other: Any, chance: random.Random) -> None:
    for each in (other, *with_variants(value, chance)):
        try:
            at = _time(each, LATEST)
        except BadPoint:
            continue
        assert EARLIEST <= at < LATEST
        assert at.utcoffset() == timedelta()


@fuzzed(value=scalars, other=junk, chance=randoms)
def test_a_number_is_a_number_or_refused(value: Any, other: Any, chance: random.Random) -> None:
    for each in (other, *with_variants(value, chance)):
        try:
            number = _number(each)
        except BadPoint:
            continue
        assert isinstance(number, float)
        assert isinstance(each, int | float | str)
        assert not isinstance(each, bool)


http_dates = st.datetimes().map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT"))


@fuzzed(text=st.one_of(texts, http_dates, st.text()), chance=randoms)
def test_a_retry_after_is_a_time_to_wait_or_nothing(text: str, chance: random.Random) -> None:
    for each in with_variants(text, chance):
        seconds = retry_after({"Retry-After": each}, NOW)
        assert seconds is None or seconds >= 0


@fuzzed(source=st.sampled_from(list(SOURCES.values())), piece=st.binary(max_size=6), chance=randoms)
def test_a_config_becomes_valid_rows_or_is_refused_with_its_place(
    source: type[BaseSource], piece: bytes, chance: random.Random
) -> None:
    start = b"".join((ROOT / source.CONFIG).read_bytes().splitlines(keepends=True)[:12])
    for _ in range(VARIANTS):
        begin = chance.randint(0, len(start))
        text = start[:begin] + piece + start[begin + chance.randint(0, 6) :]
        for _ in range(chance.randint(0, 2)):
            text = spoiled(text, chance)
        _read_config(source, text)


def _read_config(source: type[BaseSource], text: bytes) -> None:
    with NamedTemporaryFile() as file:
        file.write(text)
        file.flush()
        rows, refusals = valid_rows(Path(file.name), source)
    for row in rows:
        assert row.asset.strip() == row.asset != ""
        assert row.metrics
        assert set(row.metrics) <= source.METRICS.keys()
    for refusal in refusals:
        assert re.match(rf"{re.escape(file.name)}(:\d+)?: ", refusal)
        assert "\n" not in refusal
    assert rows or refusals
