"""The command `export`: what is stored as Parquet files, one for each source and metric."""

import argparse
import logging
from collections.abc import Callable
from itertools import chain

from cli.query import NOT_KNOWN
from cli.query_screen import NO_POINT
from model.errors import BadQuestion
from model.files import new_folder
from model.settings import MAIN, Settings
from model.text import counted
from model.values import Series
from query.query_session import QuerySession
from query.question import Question
from query.series_names import Names
from query.time_arguments import past_instant, window

log = logging.getLogger(__name__)


def export(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Write all points, or those of some names and times, into a new folder; all as stored at one instant."""
    from query import arrow_tables  # fails here where pyarrow is missing

    span, as_of = window(arguments.start, arguments.end), past_instant(arguments.as_of)
    session = QuerySession()
    with session.reader().snapshot() as reader:
        question = Question(_series(session.names(), arguments), span, as_of)
        points, files, size = 0, 0, 0
        with new_folder(arguments.out) as folder:
            for file, count in arrow_tables.write_partitions(folder, reader, question):
                log.info("%s: %s", file.parent.relative_to(folder), counted(count, "point"))
                points, files, size = points + count, files + 1, size + file.stat().st_size
    print(f"{arguments.out}: {counted(points, 'point')} in {counted(files, 'file')}; {size / 1e6:,.2f} MB")
    if not points:
        log.warning("%s", NO_POINT if as_of is None else NOT_KNOWN)
    return 0


def _series(names: Names, arguments: argparse.Namespace) -> list[Series]:
    """The series of these names that have points, of all without a name; raises BadQuestion if there are none."""
    source = arguments.source
    of_assets = [names.every(source, asset=each) for each in arguments.assets] or [names.every(source)]
    of_metrics = [names.every(source, metric=each) for each in arguments.metrics] or [names.every(source)]
    found = sorted(each.series for each in set(chain(*of_assets)) & set(chain(*of_metrics)) if each.points)
    if not found:
        raise BadQuestion(f"nothing is stored of these names together: name fewer of them; {MAIN} gaps lists what is")
    return found
