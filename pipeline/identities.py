"""Whether an API still means the same assets by the identifiers of a config: it may give a symbol to another asset."""

import logging
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from db.identities import Identity, identities
from db.store import Store
from model.errors import SourceStopped
from model.settings import MAIN
from model.values import Target
from pipeline.plan import Job
from pipeline.summary import Summary
from sources.base import BaseSource
from sources.http import Client
from sources.listing import one_line, read_lists

log = logging.getLogger(__name__)


def without_changed_identities(job: Job, client: Client, store: Store, summary: Summary) -> Job:
    """The job without the assets for which the API means others than before; the summary says which.

    The first asset that the API means by an identifier is taken as the right one. A list without an answer changes
    nothing: it counts as a failed call, and the next run requests it again.
    """
    source = job.source
    calls = list(source.identity_calls(job.verb, {target.kind for target in job.targets}))
    try:
        assets, failed = read_lists(source, client, calls)
    except SourceStopped:  # each call for points ends with it, too
        return job
    summary.calls += len(calls)
    summary.failed += len(failed)
    summary.warnings += failed.values()
    listed: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for asset in assets:
        if asset.lasting_id:
            key = asset.kind, source.canonical_id(asset.kind, asset.id)
            listed[key][one_line(asset.lasting_id)] = one_line(asset.name)
    known = {each[:3]: each for each in store.identities()}
    rows = dict.fromkeys(row_of(source, each) for each in job.targets)
    compare = (compared(known.get(row), Identity(*row, "", ""), listed[row[0], row[2]]) for row in rows)
    now = [each for each in compare if each]
    store.set_identities([each for each in now if each != known.get(each[:3])])
    changed = [each for each in now if each.other_lasting_id]
    summary.warnings += [
        f"{source.name} {each.asset}: {changed_text(each)}: {remedy_text(source.name, each)}" for each in changed
    ]
    for message in summary.warnings:
        log.warning("%s", message)
    left_out = {each[:3] for each in changed}
    kept = (each for each in job.targets if row_of(source, each) not in left_out)
    return replace(job, targets=tuple(kept))


def row_of(source: BaseSource, target: Target) -> tuple[str, str, str]:
    """The row of the table identities: kind, asset and canonical identifier."""
    return target.kind, target.asset, source.canonical_id(target.kind, target.id)


def changed_rows(cursor: Any, source: BaseSource, targets: Iterable[Target]) -> list[Identity]:
    """The rows of a config by which the API means another asset than before, as far as runs have seen it."""
    rows = {row_of(source, each) for each in targets}
    return [each for each in identities(cursor, source.name) if each.other_lasting_id and each[:3] in rows]


def compared(known: Identity | None, row: Identity, listed: Mapping[str, str]) -> Identity | None:
    """The identity of a config row, from what is known of it and what the API lists: titles by lasting identifier.

    None if nothing is known of the row, and the API does not list it.
    """
    if not listed:
        return known
    first, title = next(iter(listed.items()))
    if known is None:
        return row._replace(lasting_id=first, title=title)
    if known.lasting_id in listed:
        return known._replace(title=listed[known.lasting_id], other_lasting_id=None, other_title=None)
    return known._replace(other_lasting_id=first, other_title=title)


def changed_text(identity: Identity) -> str:
    """Which other asset the API means now."""
    return (
        f"{identity.canonical_id} now stands for {identity.now} at the API, and stood for {identity.before} before: "
        "nothing is stored for it"
    )


def remedy_text(source: str, identity: Identity) -> str:
    """What a user can do about it."""
    command = f"{MAIN} check {source} --confirm {shlex.quote(identity.asset)}"
    return f"correct the id of its row in the config; or, if the other asset is the right one: {command}"
