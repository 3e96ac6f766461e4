"""HTML of which every text is escaped, and how names, numbers and times are written in it."""

from datetime import date, datetime
from html import escape

from query.amount_text import amount

NEAR = 0.005  # of a value, that what is written of it may be beside it
VOID = frozenset({"link", "meta"})  # elements without an end tag


class Html(str):
    """Markup as it stands in the page; any other text is escaped on its way there."""

    __slots__ = ()


def element(name: str, /, *children: str | None, **attributes: object) -> Html:
    """An element; None leaves a child or an attribute out. `class_` and `aria_label` are class and aria-label."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    end = "" if name in VOID else f"</{name}>"
    return Html(f"<{name}{words}>{together(*children)}{end}")


def together(*children: str | None) -> Html:
    """Markup and texts one after another."""
    return Html("".join(each if isinstance(each, Html) else escape(each) for each in children if each is not None))


def named(name: str) -> Html:
    """A name that may be broken over lines after its underscores."""
    return Html(escape(name).replace("_", "_<wbr>"))


def table(caption: str, columns: list[str], rows: list[Html], class_: str | None = None) -> Html:
    """A table that scrolls by itself where it is too wide; its rows are ready."""
    head = element("tr", *(element("th", column, scope="col") for column in columns))
    body = element("table", element("caption", caption), element("thead", head), element("tbody", *rows), class_=class_)
    return element("div", body, class_="wide", role="region", tabindex=0, aria_label=f"Table: {caption}")


def row(head: str, *cells: str) -> Html:
    """A row of a table, headed by its first cell."""
    return element("tr", element("th", head, scope="row"), *(element("td", cell) for cell in cells))


def section(name: str, title: str, *parts: Html) -> Html:
    """A part of the page under its title, to which a link can lead."""
    head = element("h2", title, id=f"{name}-title")
    return element("section", head, *parts, id=name, aria_labelledby=f"{name}-title")


def short(value: float, unit: str = "", near: float = NEAR) -> str:
    """A value with as few digits as tell it to such a share of itself."""
    return amount(value, unit, near * abs(value))


def day(at: date) -> str:
    """A day."""
    return f"{at:%Y-%m-%d}"


def minute(at: datetime) -> str:
    """A time to the minute."""
    return f"{at:%Y-%m-%d %H:%M}"
