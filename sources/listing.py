"""What an API offers: all its listings read through one client, and the metrics of single assets."""

import queue
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from model.errors import CallFailed
from model.text import printable
from model.values import MAX_ASSET
from sources.base import BaseSource, Call, Offer, loud
from sources.http import Client

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Offers:
    """The assets that an API offers, each once, and which calls gave no answer and why."""

    listed: tuple[Offer, ...]
    failed: dict[Call, str] = field(default_factory=dict)
    unsure: frozenset[str] = frozenset()  # kinds of which a listing failed: an asset or a metric may be missing


def fetch_offers(source: BaseSource, client: Client) -> Offers:
    """All that the API lists, asked for at the client's pace; what several listings say of one asset is united.

    Raises SourceStopped where no call will be answered: the key is refused, or the API is down.
    """
    answers, failed = _get_all(client, source.listings(), lambda call, told: list(source.read_listing(call, told)))
    offers = [offer for listed in answers.values() for offer in listed]
    unsure = {kind for call in failed for kind in source.listed_kinds(call)}
    return Offers(distinct(united(offers)), failed, frozenset(unsure))


def with_metrics(source: BaseSource, client: Client, offers: Sequence[Offer]) -> Offers:
    """The same offers in their order, with the metrics that the API tells for one asset at a time; a call for each.

    Where such a call fails, the metrics stay None. Raises SourceStopped as of `fetch_offers`.
    """
    asked = {offer: call for offer in offers if offer.metrics is None and (call := source.metrics_of(offer))}
    answers, failed = _get_all(client, asked.values(), source.read_metrics)
    completed = (offer._replace(metrics=answers.get(asked[offer])) if offer in asked else offer for offer in offers)
    return Offers(tuple(completed), failed, frozenset(offer.kind for offer, call in asked.items() if call in failed))


def united(offers: Iterable[Offer]) -> list[Offer]:
    """One offer for each kind and identifier, whatever its case, in the order in which they come first."""
    found: dict[tuple[str, str], Offer] = {}
    for offer in offers:
        key = (offer.kind, offer.id.casefold())
        known = found.get(key, offer)
        found[key] = known._replace(
            asset=one_line(known.asset),
            name=one_line(known.name or offer.name),
            symbol=one_line(known.symbol or offer.symbol),
            metrics=None if known.metrics is None or offer.metrics is None else known.metrics | offer.metrics,
            dead=one_line(known.dead or offer.dead),
        )
    return list(found.values())


def distinct(offers: Iterable[Offer]) -> tuple[Offer, ...]:
    """The offers, with no asset twice within a kind: the first keeps its own, as lists begin with the largest."""
    taken: set[tuple[str, str]] = set()
    made: list[Offer] = []
    for offer in offers:
        free = (name for name in names_for(offer) if (offer.kind, name.casefold()) not in taken)
        asset = next(free, offer.id)
        taken.add((offer.kind, asset.casefold()))
        made.append(offer._replace(asset=asset))
    return tuple(made)


def names_for(offer: Offer) -> Iterator[str]:
    """What a config may call an asset, the shortest first, as far as it fits the column."""
    part = re.split("[-#:]", offer.id)[0]  # of a pool's uuid the first eight digits
    names = (offer.asset, f"{offer.asset}-{part}", f"{offer.asset}-{offer.id}", offer.id)
    return (name for name in names if 0 < len(name) <= MAX_ASSET)


def one_line(text: str) -> str:
    """A text of an answer in one printable line."""
    return " ".join(printable(text).split())


def _get_all(
    client: Client, calls: Iterable[Call], read: Callable[[Call, Any], T]
) -> tuple[dict[Call, T], dict[Call, str]]:
    """What each call's answer says, and why others have none; both in the order of the calls."""
    order = list(dict.fromkeys(calls))
    todo = deque(order)
    ended: queue.SimpleQueue[tuple[Call, T | BaseException]] = queue.SimpleQueue()

    def work() -> None:
        while todo:
            with suppress(IndexError):  # another thread has taken the last one
                call = todo.popleft()
                ended.put((call, _ask(client, call, read)))
        client.hang_up()

    # daemons: a Ctrl-C does not wait for those that sit in a read
    for _ in range(min(client.source.MAX_IN_FLIGHT, len(order))):
        threading.Thread(target=work, name=client.source.name, daemon=True).start()
    answers: dict[Call, T] = {}
    failed: dict[Call, str] = {}
    for _ in order:
        call, answer = ended.get()
        if isinstance(answer, CallFailed):
            failed[call] = str(answer)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            answers[call] = answer
    return _in_order(answers, order), _in_order(failed, order)


def _in_order(found: Mapping[Call, T], order: Iterable[Call]) -> dict[Call, T]:
    return {call: found[call] for call in order if call in found}


def _ask(client: Client, call: Call, read: Callable[[Call, Any], T]) -> T | BaseException:
    def told(payload: Any, _: object) -> T:
        with loud(call):
            return read(call, payload)

    try:
        return client.get(call, told)
    except BaseException as error:  # noqa: BLE001 (raised where the answers are taken)
        return error
