"""The health as `status --format prometheus` prints it: the text format 0.0.4 of Prometheus.

The figures are those of `status --json`. Every metric is a gauge, since none of them only grows.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from model.settings import MAIN
from pipeline.freshness import SeriesState
from pipeline.health import SchedulerState
from pipeline.run_health import RunState

PREFIX = "crypto_metrics"


class Sample(NamedTuple):
    """One value of a gauge; without a value it is left out."""

    value: float | datetime | None
    labels: Mapping[str, str] = {}


class Gauge(NamedTuple):
    """A gauge: its name without the prefix, what it means, and its samples."""

    name: str
    text: str
    samples: Iterable[Sample]


def as_prometheus(found: Mapping[str, Any] | None, exit_code: int) -> str:
    """What `as_json` found, as a text for a scrape; None if no database could be read."""
    gauges = [
        Gauge("database_up", "Whether the database answers and can be read.", [Sample(found is not None)]),
        Gauge("status_exit_code", f"The exit code of {MAIN} status.", [Sample(exit_code)]),
    ]
    if found is not None:
        gauges += [*_of_scheduler(found["scheduler"]), *_of_sources(found["sources"])]
        gauges += [*_of_runs(found["sources"]), *_of_series(found["sources"])]
    return "".join(f"{line}\n" for gauge in gauges for line in _lines(gauge))


def _of_scheduler(found: Mapping[str, Any]) -> Iterator[Gauge]:
    yield Gauge("scheduler_alive", "Whether a scheduler is alive.", [Sample(found["alive"])])
    states = [Sample(found["state"] == state, {"state": state.value}) for state in SchedulerState]
    yield Gauge("scheduler_state", "1 for the state of the scheduler, 0 for each other one.", states)
    yield Gauge("scheduler_started_timestamp_seconds", "When the scheduler started.", [Sample(found["started_at"])])
    beaten = "When the scheduler last wrote that it is alive."
    yield Gauge("scheduler_heartbeat_timestamp_seconds", beaten, [Sample(found["beaten_at"])])


def _of_sources(found: Iterable[Mapping[str, Any]]) -> Iterator[Gauge]:
    def gauge(name: str, text: str, key: str) -> Gauge:
        values = ((each["source"], each[key]) for each in found)
        counted = [(source, len(value) if isinstance(value, list) else value) for source, value in values]
        return Gauge(name, text, [Sample(value, {"source": source}) for source, value in counted])

    yield gauge("problems", "Problems that need attention, as status shows them.", "problems")
    yield gauge("waiting_series", "Series with restatements that wait for a person.", "waiting")
    yield gauge("rejected_series", "Series of which a person has rejected values of the API.", "rejected")
    yield gauge("recent_requests", "Requests of the last 24 hours.", "requests")
    yield gauge("recent_failed_requests", "Failed requests of the last 24 hours.", "failed_requests")
    yield gauge("calls_left", "Calls that the key has left this month.", "calls_left")
    yield gauge("calls_needed", "Calls that the config needs in a month.", "calls_needed_a_month")


def _of_runs(found: Iterable[Mapping[str, Any]]) -> Iterator[Gauge]:
    runs = [({"source": each["source"], "kind": run["verb"].value}, run) for each in found for run in each["runs"]]
    yield Gauge(
        "run_state",
        "1 for the state of a scheduled run, 0 for each other one.",
        [Sample(run["state"] == state, labels | {"state": state.value}) for labels, run in runs for state in RunState],
    )
    for name, text, key in (
        ("run_failures", "Failures of a scheduled run in a row, since its last success.", "failures_in_a_row"),
        ("run_success_timestamp_seconds", "When the last successful run ended.", "last_success"),
        ("run_failure_timestamp_seconds", "When the last failed run began.", "last_failure"),
        ("run_next_timestamp_seconds", "When the next run or retry begins.", "next"),
    ):
        yield Gauge(name, text, [Sample(run[key], labels) for labels, run in runs])


def _of_series(found: Iterable[Mapping[str, Any]]) -> Iterator[Gauge]:
    sources = [({"source": each["source"]}, each["series"], each["confirmation"]) for each in found]
    states = [state.replace(" ", "_") for state in SeriesState]
    ages = [Sample(series[state], labels | {"state": state}) for labels, series, _ in sources for state in states]
    yield Gauge("series", "Configured series, by how old their newest point is.", ages)
    newest = [Sample(series["newest"], labels) for labels, series, _ in sources]
    yield Gauge("newest_point_timestamp_seconds", "The time of the newest point of a source.", newest)
    for name, text, key in (
        ("history_series", "Configured series that can be confirmed: they have a history and a point.", "series"),
        ("confirmed_series", "Of these, those that were confirmed in time.", "in_time"),
        ("oldest_confirmation_timestamp_seconds", "The oldest confirmation of a series.", "oldest"),
    ):
        yield Gauge(name, text, [Sample(confirmed[key], labels) for labels, _, confirmed in sources])


def _lines(gauge: Gauge) -> Iterator[str]:
    """The lines of a gauge; none without a sample. No label value and no text needs an escape."""
    samples = [each for each in gauge.samples if each.value is not None]
    name = f"{PREFIX}_{gauge.name}"
    if samples:
        yield f"# HELP {name} {gauge.text}"
        yield f"# TYPE {name} gauge"
    for sample in samples:
        labels = ",".join(f'{label}="{value}"' for label, value in sample.labels.items())
        value = sample.value.timestamp() if isinstance(sample.value, datetime) else float(sample.value or 0)
        yield f"{name}{f'{{{labels}}}' if labels else ''} {value!r}"
