"""Questions from the arguments of query_data, and frames that say what was asked and found. Loads pandas."""

from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any

import pandas as pd

from db.reader import EXTRAS
from model.errors import BadQuestion
from model.values import Series
from query import frames
from query.point_arrays import points
from query.query_session import SESSION
from query.question import Question, withdrawn_texts
from query.series_names import Names
from query.time_arguments import lag_of, past_instant, window

if TYPE_CHECKING:
    from query.time_arguments import Lag, When


def question_of(
    find: Callable[[Names], list[Series]],
    start: "When" = None,
    end: "When" = None,
    as_of: "When" = None,
    lag: "Lag" = None,
    extras: Iterable[bool] = (),
    *,
    daily: bool = False,
) -> Question:
    """The question for the series that `find` returns; wrong times are refused before `find` reads the names.

    `extras` says of each of db.reader.EXTRAS whether it is wanted.
    """
    span, known_at, known_after = window(start, end), past_instant(as_of), lag_of(lag)
    columns = list(compress(EXTRAS, extras))
    return Question(find(SESSION.names()), span, known_at, daily, known_after, columns)


def frame_of(question: Question, levels: Sequence[str], **arguments: Any) -> pd.DataFrame:
    """A frame with a column for each series, whose names have these levels: see frames.wide; tidy without any level."""
    found = points(SESSION.reader(), question)
    made = frames.wide(found, question.series, levels) if levels else frames.long(found, question.series)
    return described(made, question, **arguments)


def described(made: pd.DataFrame, question: Question, found: Question | None = None, **arguments: Any) -> pd.DataFrame:
    """The frame with its `attrs`; `found` has the series and the window of the points, if the question has others."""
    frames.with_attrs(made, question, arguments)
    made.attrs["withdrawn"] = withdrawn_texts(SESSION.reader(), found or question)
    return made


def needed(names: str | Iterable[str], what: str) -> list[str]:
    """One or more names as a list; raises BadQuestion if there is none."""
    if not (several := listed(names)):
        raise BadQuestion(f"no {what} is named: name at least one")
    return several


def listed(names: str | Iterable[str] | None) -> list[str] | None:
    """One or more names as a list; None, which stands for all of them, as it is."""
    if names is None or isinstance(names, str):
        return None if names is None else [names]
    try:
        return list(names)
    except TypeError:
        raise BadQuestion(f"{names!r} is neither a name nor a list of names") from None
