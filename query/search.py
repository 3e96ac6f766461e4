"""Finds assets and metrics by a part of what they are called, or of what is said of them; the best match first."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

from db.coverage import StoredSeries
from model.text import close_names
from query.series_names import Configs
from sources import note_of, unit_of

SAID = ("unit", "note")  # texts that are no names
MOST_SIMILAR = 5  # texts that are shown where none has the wanted words


class Entry(NamedTuple):
    """An asset or a metric of a source, with all texts by which it can be found: each with what it is."""

    kind: str  # "asset" or "metric"
    source: str
    name: str
    points: int
    texts: dict[str, str]  # the text and what it is, the most telling first


class Match(NamedTuple):
    """An entry, and the text of it that matches best."""

    entry: Entry
    matched: str  # what the text is: asset, metric, name, entity, id, unit or note
    text: str


def entries(every: Iterable[StoredSeries], configs: Configs) -> list[Entry]:
    """All assets and metrics of these series, with what the configs and the sources say of them."""
    points, texts = Counter[tuple[str, str, str]](), dict[tuple[str, str, str], dict[str, str]]()
    for (source, asset, metric), number, _ in every:
        for key in (("asset", source, asset), ("metric", source, metric)):
            points[key] += number
            texts.setdefault(key, {key[2]: key[0]})
    for source, rows in configs.items():
        for row in rows:
            of_asset = texts.get(("asset", source, row.asset), {})
            for text, what in ((row.name, "name"), (row.entity, "entity"), (row.id, "id")):
                of_asset.setdefault(text, what)
    for (kind, source, name), said in texts.items():
        if kind == "metric":
            said.setdefault(unit_of([(source, "", name)]), "unit")
            said.setdefault(note_of(source, name), "note")
    return [
        Entry(*key, points[key], {text: what for text, what in said.items() if text}) for key, said in texts.items()
    ]


def matches(text: str, found_in: Iterable[Entry]) -> list[Match]:
    """The entries with a text that has these words: in a name first, then in a unit or note.

    A text that is equal comes first, then one that begins with them, then one with them at a word, then any other; of
    equally good ones, what is stored. If no text has the words, the entries with the most similar texts.
    """
    every = list(found_in)
    ranked = [
        ((what in SAID, rank, place, not entry.points, entry.name, entry.source), Match(entry, what, each))
        for entry in every
        for place, (each, what) in enumerate(entry.texts.items())
        if (rank := _rank(_folded(text), _folded(each))) is not None
    ]
    best: dict[tuple[str, ...], Match] = {}
    for match in [match for _, match in sorted(ranked, key=itemgetter(0))] or _similar(text, every):
        best.setdefault(match.entry[:3], match)
    return list(best.values())


def _rank(wanted: str, text: str) -> int | None:
    tests = (text == wanted, text.startswith(wanted), f" {wanted}" in text, wanted in text)
    return next((rank for rank, passed in enumerate(tests) if passed), None)


def _folded(text: str) -> str:
    """The words of a text, in lower case, with one space between them."""
    return " ".join(re.split(r"[\W_]+", text.casefold())).strip()


def _similar(text: str, every: Sequence[Entry]) -> list[Match]:
    known = {each for entry in every for each, what in entry.texts.items() if what not in SAID}
    near = close_names(text, known, MOST_SIMILAR)
    return [Match(entry, entry.texts[each], each) for each in near for entry in every if each in entry.texts]
