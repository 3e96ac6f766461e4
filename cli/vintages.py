"""The command `vintages`: every value that each point of a series had."""

import argparse
from collections.abc import Callable

from cli.query import TABLE, output_format, write_rows
from cli.query_screen import show_points
from model.settings import Settings
from query.query_session import QuerySession
from query.question import Question
from query.time_arguments import window
from query.vintages import need_vintages, vintages_of

COLUMNS = ("pulled_at", "value", "known_at", "known_until", "reason")


def show_vintages(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Print or write every value of a series, when it was known, and why it replaced the one before it."""
    form, span = output_format(arguments), window(arguments.start, arguments.end)
    session = QuerySession()
    series = session.names().many(arguments.metric, [arguments.asset], arguments.source)
    rows = vintages_of(session.reader(), need_vintages(Question(series, span)))
    title = f"{series[0]} vintages"
    if form == TABLE:
        show_points(rows, COLUMNS, title)
    else:
        write_rows(form, arguments.out, COLUMNS, rows, title)
    return 0
