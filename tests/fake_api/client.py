"""Requests to the fake APIs on a fixed day, for their own tests."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from http.client import HTTPConnection, HTTPMessage
from typing import Any

from tests.fake_api import FakeApi, truth

NOW = datetime(2025, 12, 19, 10, 0, 30, tzinfo=UTC)
TODAY = NOW.date()
MIDNIGHT = int(datetime(2025, 12, 19, tzinfo=UTC).timestamp())
POOL = "747c1d2a-c668-4682-b9f9-296708a3dd90"


@contextmanager
def fake(**options: Any) -> Iterator[FakeApi]:
    """The fake APIs at NOW, with no assets but those of the option `universe`."""
    with FakeApi(**{"now": lambda: NOW, "shipped": False, **options}) as api:
        yield api


def get(api: FakeApi, path: str, **headers: str) -> tuple[int, bytes, HTTPMessage]:
    """Status, body and headers of an answer."""
    host = api.url.removeprefix("http://")
    connection = HTTPConnection(host, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def body(api: FakeApi, path: str) -> Any:
    """The JSON of an answer, which must be a 200."""
    status, text, _ = get(api, path)
    assert status == 200, text
    return json.loads(text)


def day_of(seconds: int) -> date:
    """The UTC day."""
    return datetime.fromtimestamp(seconds, UTC).date()


def closed(asset: str, metric: str, source: str = "defillama") -> dict[date, float]:
    """The values of the closed days."""
    return dict(truth.history(source, asset, metric, date(2019, 1, 1), TODAY))
