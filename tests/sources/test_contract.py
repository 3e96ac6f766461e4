"""The contract of a source, for each in SOURCES: a failure says what a new source lacks."""

import ast
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import requests

from model.values import DAY, MAX_METRIC, Metric, Target, Verb, Window
from sources import SOURCES
from sources.base import MOST_TEXT, BaseSource, Call, ListedAsset
from sources.config import read_config

ROOT = Path(__file__).parents[2]
KEY = "s3cret-k3y"
TODAY = datetime(2026, 8, 17, tzinfo=UTC)
WINDOWS = (Window(TODAY - DAY, TODAY), Window(TODAY - 7 * DAY, TODAY), Window(TODAY - 2500 * DAY, TODAY))
HOSTS = {  # of each API, by its documentation, with a key
    "artemis": "https://data-svc.artemisxyz.com/",
    "defillama": "https://pro-api.llama.fi/",
}
FACTS = {  # attribute: its type
    "name": str,
    "REQUEST_DELAY": float,
    "MAX_IN_FLIGHT": int,
    "KEY_VARIABLE": str,
    "KEY_REQUIRED": bool,
    "BASE_URL_VARIABLE": str,
    "CONFIG": str,
    "KINDS": tuple,
    "METRICS": dict,
    "PULL_DAYS": int,
}

every_source = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)


def targets_of(source: type[BaseSource], verb: Verb, metrics: Sequence[str] = ()) -> list[Target]:
    """Three assets for each metric that this kind of run can ask for."""
    return [
        Target(f"asset-{number}", metric, f"id-{number}", known.kind)
        for metric, known in source.METRICS.items()
        if verb in known.verbs and (not metrics or metric in metrics)
        for number in range(3)
    ]


def all_calls(source: type[BaseSource], **kwargs: str) -> list[Call]:
    made = source(**kwargs)
    return [call for verb in Verb for window in WINDOWS for call in made.calls(verb, targets_of(source, verb), window)]


@every_source
def test_the_facts_of_a_source_are_class_attributes_of_the_right_type(source: type[BaseSource]) -> None:
    for fact, kind in FACTS.items():
        assert isinstance(getattr(source, fact, None), kind), f"{source.__name__}.{fact} is missing or no {kind}"
    assert source.delay(with_key=True) == source.REQUEST_DELAY
    assert 0 < source.REQUEST_DELAY <= source.delay(with_key=False), "the time between two starts in seconds"
    assert source.MAX_IN_FLIGHT >= 1
    assert source.PULL_DAYS >= 1
    for variable in (source.KEY_VARIABLE, source.BASE_URL_VARIABLE):
        assert variable.isidentifier(), f"{variable!r} is no name of an environment variable"
        assert variable.isupper(), f"{variable!r} is no name of an environment variable"
    assert source.__doc__, "a docstring says in one line what the source has"


@every_source
def test_a_source_stands_in_the_registry_under_its_own_name(source: type[BaseSource]) -> None:
    assert SOURCES.get(source.name) is source
    assert source.name == source.name.lower(), "metrics.source holds the name in small letters"


@every_source
def test_a_source_has_a_module_a_config_a_saved_answer_and_a_test_of_its_name(source: type[BaseSource]) -> None:
    assert source.__module__ == f"sources.{source.name}"
    assert f"{source.name}_config.csv" == source.CONFIG
    for path in (source.CONFIG, f"tests/sources/test_{source.name}.py", f"tests/fixtures/{source.name}"):
        assert (ROOT / path).exists(), f"{path} is missing"
    assert list((ROOT / "tests/fixtures" / source.name).glob("*.json")), "save an answer of the API there"


@every_source
def test_a_source_has_a_backfill_script_of_under_ten_lines(source: type[BaseSource]) -> None:
    script = ROOT / f"backfill_{source.name}.py"
    assert script.exists(), f"{script.name} is missing: copy one of its sisters and change the name in it"
    body = ast.parse(script.read_text(encoding="utf-8")).body
    assert isinstance(body[0], ast.Expr), f"{script.name} wants a docstring"
    code = {line for node in body[1:] for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    assert len(code) < 10, f"{script.name} has {len(code)} lines: it only calls main()"
    assert f'backfill_parser("{source.name}")' in script.read_text(encoding="utf-8")


@every_source
def test_a_source_is_scheduled_for_each_kind_of_run_and_settles_before_it_backfills(source: type[BaseSource]) -> None:
    assert set(source.SCHEDULES) == set(Verb), "SCHEDULES says when the scheduler makes which run"
    for schedule in source.SCHEDULES.values():
        assert DAY % schedule.every == timedelta(), "a period is a part of the day"
        assert timedelta() <= schedule.at < schedule.every
    assert list(source.SCHEDULES).index(Verb.SETTLE) < list(source.SCHEDULES).index(Verb.BACKFILL)


def test_pulls_are_scheduled_as_specified() -> None:
    pulls = {name: str(source.SCHEDULES[Verb.PULL]) for name, source in SOURCES.items()}
    assert pulls == {"artemis": "daily at 00:05 UTC", "defillama": "hourly at XX:05 UTC"}


@every_source
def test_every_metric_has_a_fitting_name_a_kind_and_a_verb(source: type[BaseSource]) -> None:
    assert source.METRICS, "METRICS is empty"
    for name, metric in source.METRICS.items():
        assert isinstance(metric, Metric), name
        assert name == name.upper(), f"{name}: standard names are upper-case"
        assert name.replace("_", "").isalnum(), f"{name}: letters, digits and underscores"
        assert len(name) <= MAX_METRIC, f"{name} does not fit metrics.metric_name"
        assert metric.verbs, f"{name} can neither be pulled nor backfilled"
        assert metric.verbs <= set(Verb), name
        assert metric.kind in (source.KINDS or ("",)), f"{name} is of a kind that KINDS lacks"
    for kind in source.KINDS:
        assert any(kind == metric.kind for metric in source.METRICS.values()), f"no metric is of kind {kind}"


@every_source
def test_the_shipped_config_is_valid_and_has_each_kind(source: type[BaseSource]) -> None:
    assets = read_config(ROOT / source.CONFIG, source)
    assert {asset.kind for asset in assets} == set(source.KINDS or ("",))
    assert all(metric in source.METRICS for asset in assets for metric in asset.metrics)


@every_source
@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: f"{(window.end - window.start).days} days")
def test_the_calls_for_a_metric_cover_exactly_the_targets_given(
    source: type[BaseSource], verb: Verb, window: Window
) -> None:
    for metric in source.METRICS:
        targets = targets_of(source, verb, [metric])
        calls = list(source(key=KEY).calls(verb, targets, window))
        assert {target for call in calls for target in call.targets} == set(targets), metric
        assert all(len(call.targets) == len(set(call.targets)) for call in calls), f"{metric}: twice in one call"


@every_source
@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: f"{(window.end - window.start).days} days")
def test_the_calls_for_all_metrics_ask_for_each_day_of_a_series_once(
    source: type[BaseSource], verb: Verb, window: Window
) -> None:
    targets = targets_of(source, verb)
    windows: dict[Target, list[Window]] = {target: [] for target in targets}
    for call in source(key=KEY).calls(verb, targets, window):
        for target in call.targets:
            windows[target].append(call.window)
    for target, asked in windows.items():
        asked.sort()
        assert asked, f"no call for {target}"
        assert all(one.end == next_one.start for one, next_one in pairwise(asked)), target
        assert asked[-1].end - asked[0].start >= window.end - window.start, target
        assert all(one.start < one.end for one in asked), target


@every_source
def test_two_assets_that_are_one_thing_to_the_api_both_get_their_series(source: type[BaseSource]) -> None:
    for verb in Verb:
        targets = [
            Target(name, metric, "one-id", known.kind)
            for metric, known in source.METRICS.items()
            if verb in known.verbs
            for name in ("one", "other")
        ]
        asked = Counter(t for call in source(key=KEY).calls(verb, targets, WINDOWS[1]) for t in call.targets)
        assert asked == Counter(targets)


@every_source
def test_no_targets_make_no_calls(source: type[BaseSource]) -> None:
    assert [list(source().calls(verb, [], WINDOWS[1])) for verb in Verb] == [[]] * len(Verb)


@every_source
def test_every_call_goes_to_the_documented_host(source: type[BaseSource]) -> None:
    assert source.name in HOSTS, f"write the documented host of {source.name} into HOSTS"
    made = source(key=KEY)
    for call in all_calls(source, key=KEY):
        request = made.request(call)
        url = requests.Request("GET", request.url, headers=request.headers, params=request.params).prepare().url
        assert url is not None
        assert url.startswith(HOSTS[source.name]), f"{call} goes elsewhere"
        assert len(url) < 8_000, f"{call} has a URL that servers refuse: {len(url)} characters"


@every_source
def test_a_base_url_replaces_every_host(source: type[BaseSource]) -> None:
    for key in ("", KEY):
        made = source(key=key, base_url="http://127.0.0.1:8080/fake/")
        for call in all_calls(source, key=key):
            assert made.request(call).url.startswith("http://127.0.0.1:8080/fake/"), call
            assert "//" not in made.request(call).url.removeprefix("http://"), call


@every_source
def test_the_key_is_sent_but_no_call_shows_it(source: type[BaseSource]) -> None:
    made = source(key=KEY)
    for call in all_calls(source, key=KEY):
        assert KEY in repr(made.request(call)), f"{call} goes without the key"
        assert KEY not in f"{call} {call!r}", "a call is printed and logged: the key belongs into request()"
        assert len(str(call)) <= MOST_TEXT


@every_source
def test_a_history_starts_at_a_midnight_of_the_past_whatever_the_hour(source: type[BaseSource]) -> None:
    start = source.history_start(datetime(2026, 8, 17, 13, 45, 7, 9, tzinfo=UTC))
    assert start.tzinfo is UTC
    assert (start.hour, start.minute, start.second, start.microsecond) == (0, 0, 0, 0), "the first day would be lost"
    assert start < TODAY - 365 * DAY


@every_source
def test_splitting_a_call_keeps_its_targets_and_window_and_ends(source: type[BaseSource]) -> None:
    made = source(key=KEY)
    for verb in Verb:
        todo = list(made.calls(verb, targets_of(source, verb), WINDOWS[1]))
        while todo:
            call = todo.pop()
            pieces = made.split(call)
            todo += pieces
            if pieces:
                assert Counter(t for piece in pieces for t in piece.targets) == Counter(call.targets)
                assert all(len(piece.targets) < len(call.targets) for piece in pieces)
                assert all(piece.window == call.window for piece in pieces)


@every_source
def test_a_source_lists_what_its_api_offers(source: type[BaseSource]) -> None:
    calls = list(source(key=KEY).listing_calls())
    assert calls, "listings() makes the calls that list the API's assets, for discover and check"
    assert len({str(call) for call in calls}) == len(calls), "a list is asked for once"
    assert {kind for call in calls for kind in call.listed_kinds} == set(source.KINDS or ("",))
    assert all(not call.targets for call in calls)
    assert all(source().split(call) == [] for call in calls)


@every_source
def test_a_list_goes_to_the_documented_host_or_the_base_url_with_the_key_that_no_call_shows(
    source: type[BaseSource],
) -> None:
    for base_url, host in (("", HOSTS[source.name]), ("http://127.0.0.1:8080/fake", "http://127.0.0.1:8080/fake/")):
        made = source(key=KEY, base_url=base_url)
        asked = made.metrics_call(ListedAsset("some-id", "some-asset", "", "", "", None))
        for call in [*made.listing_calls(), *([asked] if asked else [])]:
            assert made.request(call).url.startswith(host), f"{call} goes elsewhere"
            assert KEY in repr(made.request(call)), f"{call} goes without the key"
            assert KEY not in f"{call} {call!r}"


@every_source
def test_without_a_key_fewer_lists_are_asked_for(source: type[BaseSource]) -> None:
    assert set(map(str, source().listing_calls())) < set(map(str, source(key=KEY).listing_calls()))
