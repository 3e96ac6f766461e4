"""Renders page.html with the contents: the report is one HTML page that loads nothing else."""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from model.amount_text import old_and_new, short_amount
from model.scrub import scrubbed
from model.settings import MAIN
from model.text import counted, first_of
from query.report import line_chart
from query.report.changes import change_text
from query.report.contents import STATES, Contents
from query.report.coverage_by_month import Strips, by_year, month_of
from sources import unit_of

FOLDER = Path(__file__).parent


def page(contents: Contents, scrub: Callable[[str], str]) -> str:
    """The page in ASCII, with every text escaped and no secrets; its policy forbids it to load or run anything."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,  # with the next option: a line that has only a tag leaves no empty line
        lstrip_blocks=True,
        optimized=False,  # the page is rendered once
    )
    environment.globals["main"] = MAIN
    environment.filters |= {
        "amount": short_amount,
        "by_year": by_year,
        "change": change_text,
        "counted": counted,
        "day": "{:%Y-%m-%d}".format,
        "first_of": first_of,
        "grouped": "{:,}".format,
        "minute": "{:%Y-%m-%d %H:%M}".format,
        "old_and_new": old_and_new,
        "unit": unit_of,
    }
    css = (FOLDER / "page.css").read_text(encoding="ascii")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    months = (month for source in contents["sources"] for cover in source["covers"] for month in cover["all"].months)
    text = environment.get_template("page.html").render(
        css=Markup(css),  # noqa: S704 - our own file
        plot=line_chart,
        policy=f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        report=scrubbed(contents, scrub),
        states=STATES,
        strips=Strips([*months] or [month_of(contents["at"])]),
    )
    return f"{text.strip()}\n".encode("ascii", "xmlcharrefreplace").decode()
