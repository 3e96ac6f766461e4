"""One HTTP answer, before it meets a socket."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

JSON, TEXT, HTML = "application/json", "text/plain; charset=utf-8", "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def ok(payload: object) -> Answer:
    """200 with JSON."""
    return error(200, payload)


def ok_text(json_text: str) -> Answer:
    """200 with JSON that is already written."""
    return Answer(200, json_text.encode())


def error(status: int, payload: object) -> Answer:
    """A status with JSON."""
    return Answer(status, dumps(payload).encode())


def plain(status: int, words: str) -> Answer:
    """A status with plain text, as DefiLlama words its errors."""
    return Answer(status, words.encode(), TEXT)


def html(status: int, title: str, server: str) -> Answer:
    """A status with the page of a proxy."""
    page = (
        f"<html>\n<head><title>{title}</title></head>\n<body>\n<center><h1>{title}</h1></center>\n"
        f"<hr><center>{server}</center>\n</body>\n</html>\n"
    )
    return Answer(status, page.encode(), HTML)


def dumps(payload: object) -> str:
    """Compact JSON."""
    return json.dumps(payload, separators=(",", ":"))


def array(rows: Iterable[str]) -> str:
    """A JSON list of rows that are already written."""
    return f"[{','.join(rows)}]"
