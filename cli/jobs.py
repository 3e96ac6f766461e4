"""The jobs of a command line or of the schedule: made, checked and announced before the first call."""

import argparse
import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from model.errors import ConfigurationError, KeyMissing
from model.settings import DOTENV, MAIN, ROOT, Settings
from model.values import Verb
from pipeline.plan import Job, Scope, backfill_window, choose, make_job, pull_window, settle_window
from sources import SOURCES
from sources.base import BaseSource
from sources.config import read_targets

log = logging.getLogger(__name__)

JOB_OPTIONS = ("config", "assets", "metrics", "start", "end", "days")  # of a command line and of `job_of`


def names_of(source: str, config: Path | None = None) -> list[str]:
    """The sources of a command line; raises ConfigurationError where one config file is given for all sources."""
    if config and source == "all":
        raise ConfigurationError("--config goes with one source: name it in place of 'all'")
    return list(SOURCES) if source == "all" else [source]


def with_keys(names: Iterable[str], settings: Settings) -> list[str]:
    """Those of these sources that have the key they need; logs the others, and raises KeyMissing if none is left."""
    found, missing = [], None
    for name in names:
        try:
            api_of(SOURCES[name], settings)
        except KeyMissing as error:
            log.warning("%s: skipped", error)
            missing = error
        else:
            found.append(name)
    if missing and not found:
        raise missing
    return found


def jobs_of(names: Sequence[str], arguments: argparse.Namespace, settings: Settings) -> list[Job]:
    """The jobs of a command line, one for each source. All are checked before any call is made."""
    given = vars(arguments)
    options = {name: given[name] for name in JOB_OPTIONS if name in given}
    if given.get("all_days"):
        options["verified_since"] = datetime.now(UTC)
    if given.get("full"):
        options["scope"] = Scope.FULL
    elif given.get("gaps"):
        options["scope"] = Scope.EMPTY_GAPS if arguments.retry_empty else Scope.GAPS
    if given.get("retry_empty") and not arguments.gaps:
        raise ConfigurationError("--retry-empty needs --gaps: write --gaps --retry-empty")
    jobs = [job_of(name, arguments.verb, settings, **options) for name in names]
    warn_of_exposed_secrets(names, settings)
    for job in jobs:
        need_series(job)
        announce(job)
    return jobs


def job_of(
    name: str,
    verb: Verb,
    settings: Settings,
    *,
    config: Path | None = None,
    assets: Sequence[str] = (),
    metrics: Sequence[str] = (),
    start: datetime | None = None,
    end: datetime | None = None,
    days: int | None = None,
    verified_since: datetime | None = None,
    scope: Scope = Scope.MISSING,
) -> Job:
    """The job of a source; it may have no series. Raises ConfigurationError for a wrong config, key or option.

    Without `assets` and `metrics` it has all series of the config. `start`, `end` and `scope` are those of a backfill,
    `days` and `verified_since` those of a settle; without them the source decides.
    """
    source, now = SOURCES[name], datetime.now(UTC)
    file = config or ROOT / source.CONFIG
    every = read_targets(file, source)
    api = api_of(source, settings)
    if verb is Verb.BACKFILL:
        window = backfill_window(now, source.history_start(now), start, end)
    elif verb is Verb.SETTLE:
        window = settle_window(now, source.SETTLE_DAYS if days is None else days)
    else:
        window = pull_window(now, source.PULL_DAYS)
    scopes = {Verb.PULL: Scope.FULL, Verb.BACKFILL: scope, Verb.SETTLE: Scope.ANSWERED}
    targets = choose(every, assets, metrics, file.name)
    return make_job(api, verb, targets, window, scopes[verb], verified_since)


def api_of(source: type[BaseSource], settings: Settings) -> BaseSource:
    """The source with its key and server; raises KeyMissing, or ConfigurationError for a wrong value."""
    api = source(settings.key(source.KEY_VARIABLE), settings.url(source.BASE_URL_VARIABLE))
    if variable := source.missing_key(api.key):
        raise KeyMissing(f"{source.name} needs a key: write {variable}=… into {DOTENV} or the environment")
    return api


def warn_of_exposed_secrets(names: Iterable[str], settings: Settings, webhooks: Iterable[str] = ()) -> None:
    """Log where others can read the keys of these sources, or the URLs of webhooks in these variables."""
    variables = [(SOURCES[name].KEY_VARIABLE, SOURCES[name].BASE_URL_VARIABLE) for name in names]
    variables += [(name, name) for name in webhooks]
    for where, why, remedy in dict.fromkeys(each for pair in variables for each in settings.exposed(*pair)):
        log.warning("%s: %s: %s", where, why, remedy)


def need_series(job: Job) -> None:
    """Raise ConfigurationError where a job has no series."""
    if not job.targets:
        remedy = f"set {job.source.KEY_VARIABLE}" if job.without_key else f"run {_other_commands(job)}"
        raise ConfigurationError(f"a {job.verb} can request none of these series: {remedy}")


def announce(job: Job) -> None:
    """Log how many series a job leaves out, and why; and which of its metrics are deprecated."""
    name, key = job.source.name, job.source.KEY_VARIABLE
    for metric in dict.fromkeys(target.metric for target in job.targets):
        if deprecated := job.source.METRICS[metric].deprecated:
            log.warning("%s: %s is %s; the stored values stay", name, metric, deprecated)
    if job.without_key:
        log.warning("%s: %d series are skipped: they need %s, which is not set", name, job.without_key, key)
    if job.left_out:
        why = "have only a history" if job.verb is Verb.PULL else "have no history at the API"
        log.info("%s: %d series are skipped, since they %s: use %s", name, len(job.left_out), why, _other_commands(job))


def _other_commands(job: Job) -> str:
    """The commands that request the series which this job leaves out."""
    verbs = {verb for target in job.left_out for verb in job.source.METRICS[target.metric].verbs}
    first = [verb for verb in (Verb.PULL, Verb.BACKFILL) if verb in verbs]  # a settle needs one of these before it
    return " or ".join(f"{MAIN} {verb} {job.source.name}" for verb in first)
