"""Whether an API still means the same assets by the identifiers of a config: it may give a symbol to another asset."""

import logging
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from db.identities import Identity
from db.store import Store
from model.errors import SourceStopped
from pipeline.plan import Job
from pipeline.summary import Summary
from sources.base import BaseSource, ListedAsset
from sources.fetch import read_all
from sources.http import Client
from sources.listing import one_line

log = logging.getLogger(__name__)


def without_changed_identities(job: Job, client: Client, store: Store, summary: Summary) -> Job:
    """The job without the assets for which the API means others than before; the summary says which.

    The first identity that the API gives for an asset is taken as the right one.
    """
    source = job.source
    rows = {(each.kind, each.asset): source.canonical_id(each.kind, each.id) for each in job.targets}
    known = {(each.kind, each.asset): each for each in store.identities()}
    listed: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for asset in _listed(job, client, summary):
        if asset.identity:
            identity = one_line(asset.identity)
            listed[asset.kind, source.canonical_id(asset.kind, asset.id)][identity] = one_line(asset.name)
    now = [
        compared(known.get((kind, name)), Identity(kind, name, api_id, "", ""), listed[kind, api_id])
        for (kind, name), api_id in rows.items()
    ]
    store.set_identities([each for each in now if each and each != known.get((each.kind, each.asset))])
    changed = {(each.kind, each.asset): each for each in now if each and each.other_identity}
    for each in changed.values():
        message = f"{source.name} {each.asset}: {changed_text(each)}: {remedy_text(type(source), each)}"
        log.error("%s", message)
        summary.failures[message] += 1
    return replace(job, targets=tuple(each for each in job.targets if (each.kind, each.asset) not in changed))


def compared(known: Identity | None, row: Identity, listed: Mapping[str, str]) -> Identity | None:
    """The identity of a config row, from what is known of it and what the API lists: titles by identity.

    None if nothing is known of the row, also because its identifier was corrected, and the API does not list it.
    """
    if known is None or known.api_id != row.api_id:
        first = next(iter(listed.items()), None)
        return row._replace(identity=first[0], title=first[1]) if first else None
    if not listed:
        return known
    if known.identity in listed:
        return known._replace(title=listed[known.identity], other_identity=None, other_title=None)
    other, title = next(iter(listed.items()))
    return known._replace(other_identity=other, other_title=title)


def changed_text(identity: Identity) -> str:
    """Which other asset the API means now."""
    now, before = (
        f"{title} ({lasting})" if title else lasting
        for title, lasting in (
            (identity.other_title, identity.other_identity),
            (identity.title, identity.identity),
        )
    )
    return f"the API now means {now} by {identity.api_id}; before, it meant {before}: nothing is stored for it"


def remedy_text(source: type[BaseSource], identity: Identity) -> str:
    """What a user can do about it."""
    command = f"python main.py check {source.name} --confirm {shlex.quote(identity.asset)}"
    return f"correct the id of its row in {source.CONFIG}; or, if the other asset is the right one: {command}"


def _listed(job: Job, client: Client, summary: Summary) -> Sequence[ListedAsset]:
    """What the API lists; a call without an answer is counted as failed, and changes no identity."""
    calls = list(job.source.identity_calls(job.verb, {target.kind for target in job.targets}))
    try:
        answers, failed = read_all(client, calls, lambda *given: list(job.source.read_listing(*given)))
    except SourceStopped as error:
        answers, failed = {}, {calls[0]: str(error)}
    for message in failed.values():
        log.warning("%s", message)
        summary.failures[message] += 1
    summary.calls += len(answers) + len(failed)
    summary.failed += len(failed)
    return [asset for call in calls for asset in answers.get(call, ())]
