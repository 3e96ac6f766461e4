"""Finds series by what a person calls their asset."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from model.errors import BadQuestion
from model.text import close_names, first_of
from model.values import Series

SHOWN = 8  # names in a message


class SeriesByName:
    """Finds series by the name of their asset: by the exact name, by the name in any case, and by the entity."""

    def __init__(self, series: Iterable[Series], entities: Mapping[tuple[str, str], str]) -> None:
        self._ways: tuple[dict[str, dict[str, list[Series]]], ...] = {}, {}, {}
        for each in series:
            entity = entities.get((each.source, each.asset), "")
            names = each.asset, each.asset.casefold(), entity.casefold()
            for way, name in zip(self._ways, names, strict=True):
                way.setdefault(name, {}).setdefault(each.source, []).append(each)

    def find(self, name: str) -> dict[str, list[Series]]:
        """The series of this name by source; in each source, those of the first of the three ways that finds any."""
        exact, any_case, entity = self._ways
        folded = name.casefold()
        return entity.get(folded, {}) | any_case.get(folded, {}) | exact.get(name, {})


def one_asset(found: list[Series], name: str) -> list[Series]:
    """The same series; raises BadQuestion if they are of several assets, all of which `name` may mean."""
    assets = sorted({each.asset for each in found})
    if len(assets) > 1:
        raise BadQuestion(f"{name!r} may mean several assets of {found[0].source}: name one of {some(assets)}")
    return found


def with_all(found: list[Series], metrics: Sequence[str]) -> list[Series]:
    """The series of the assets that have all of these metrics, if there are such assets; otherwise all series."""
    having: dict[str, set[str]] = defaultdict(set)
    for each in found:
        having[each.asset].add(each.metric)
    return [each for each in found if having[each.asset].issuperset(metrics)] or found


def metrics_of(series: Iterable[Series]) -> set[str]:
    """The metrics that these series have."""
    return {each.metric for each in series}


def some(names: Iterable[str], near: str = "") -> str:
    """A few of these names as text, those most similar to `near` first."""
    known = sorted(set(names))
    return first_of(list(dict.fromkeys([*close_names(near, known, SHOWN), *known])), SHOWN)
