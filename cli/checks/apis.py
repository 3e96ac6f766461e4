"""What the checks ask of the APIs: one cheap call for the key, the lists of what there is, and what is on no list."""

import logging
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from cli.checks.finding import Finding, Severity
from cli.checks.identifiers import Catalogue, Match, Told, listed_findings, merged, missing_findings
from model.errors import CallFailed, SourceStopped
from model.text import counted
from model.values import Target, Verb
from pipeline.plan import pull_window
from sources.base import BaseSource, Call
from sources.config import Asset
from sources.http import Client
from sources.listing import Listing, fetch_listing, with_metrics

log = logging.getLogger(__name__)

TOO_MANY = 429
REFUSES = (400, 404, 422)  # what an API answers to an identifier that it does not know
LATER = "try again later"


def probe(api: BaseSource, client: Client) -> Finding | None:
    """What is wrong with the API or its key; None where one cheap call is answered, or where the source has none."""
    call = api.probe()
    if call is None:
        return None
    try:
        client.get(call, lambda *_: None)
    except CallFailed as error:
        if error.status == TOO_MANY:
            what = f"the rate limit is met: {error}"
            return Finding(Severity.WARNING, api.name, what, f"{LATER}: another program may use the key")
        return Finding(Severity.ERROR, api.name, f"the API gives no answer: {error}", f"{LATER}; look at its site")
    except SourceStopped as error:  # which says what to do
        return Finding(Severity.ERROR, api.name, str(error))
    return None


def identifier_findings(
    api: BaseSource, client: Client, rows: Sequence[Asset], seen: Collection[tuple[str, str]]
) -> Told:
    """The rows of a config beside all that the API lists; `seen` has the series (asset, metric) with values.

    Raises SourceStopped where no call is answered.
    """
    offers = fetch_listing(api, client)
    catalogue = Catalogue(type(api), offers.assets)
    matches = catalogue.match(merged(rows))
    unknown = [row for row, offer in matches if offer is None and row.kind not in offers.unsure]
    listed = [offer for _, offer in matches if offer]
    if one_by_one := sum(api.metrics_call(offer) is not None for offer in listed):
        seconds = one_by_one * api.REQUEST_DELAY
        log.info("%s: asking for the metrics of %d assets: at least %.0f s", api.name, one_by_one, seconds)
    known = with_metrics(api, client, listed)
    told = iter(known.assets)
    matches = [Match(row, offer and next(told)) for row, offer in matches]
    missing, failed = _without_value(api, client, unknown)
    findings = [
        *_unanswered(api, offers, known, Listing((), failed)),
        *missing_findings(type(api), missing, catalogue),
        *listed_findings(type(api), matches, catalogue, offers.unsure, seen),
    ]
    explained = [(row.asset, metric) for row in missing for metric in row.metrics]
    explained += [(each.row.asset, name) for each in matches for name in catalogue.unlisted(each, offers.unsure)]
    return Told(findings, frozenset(explained))


def _unanswered(api: BaseSource, *asked: Listing) -> list[Finding]:
    failed = [why for offers in asked for why in offers.failed.values()]
    if not failed:
        return []
    what = f"no answer from {counted(len(failed), 'list')}, so not all is known: {failed[0]}"
    return [Finding(Severity.WARNING, api.name, what, LATER)]


def _without_value(api: BaseSource, client: Client, rows: Sequence[Asset]) -> tuple[list[Asset], dict[Call, str]]:
    """Those of the rows for which the API has no value either, of kinds that a pull asks for one by one.

    Its lists may not have all of these: DefiLlama lists no coins but tokens of what else it lists.
    """
    listings = {call.path for call in api.listing_calls()}
    targets = [target for row in rows if (target := _pulled(api, row)) and not _from_lists(api, row.kind, listings)]
    found: set[tuple[str, str]] = set()
    failed: dict[Call, str] = {}
    for call in _pull(api, targets):
        try:
            points = client.answer(call).points
        except CallFailed as error:
            if error.status not in REFUSES:  # else not listed, and refused when it is asked for
                failed[call] = str(error)
                found |= {(each.kind, each.id) for each in call.targets}  # of which nothing is known
            continue
        with_value = {(point.asset, point.metric) for point in points}
        found |= {(each.kind, each.id) for each in call.targets if (each.asset, each.metric) in with_value}
    return [row for row in rows if (row.kind, row.id) not in found], failed


def _pulled(api: BaseSource, row: Asset) -> Target | None:
    """The first series of a row that a pull asks for."""
    return next((each for each in row.targets() if Verb.PULL in api.METRICS[each.metric].verbs), None)


def _from_lists(api: BaseSource, kind: str, listings: Collection[str]) -> bool:
    """Whether a pull takes any value of a kind from a list, which then has all of it."""
    names = [name for name, metric in api.METRICS.items() if kind in metric.kinds and Verb.PULL in metric.verbs]
    return any(call.path in listings for call in _pull(api, [Target("any", name, "any", kind) for name in names]))


def _pull(api: BaseSource, targets: Sequence[Target]) -> list[Call]:
    return list(api.calls(Verb.PULL, targets, pull_window(datetime.now(UTC), api.PULL_DAYS)))
