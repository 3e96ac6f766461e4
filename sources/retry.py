"""What is retried, and after how long: pure functions. The loop that uses them is in http.py."""

import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

THROTTLED = 429
MAX_TRIES = 5  # for one call, if each try ends with a fault
MAX_THROTTLED = 10  # answers of 429 to one call; their pauses add up to at least a minute, since APIs count by minute
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0  # seconds
LONGEST_PAUSE = 900.0  # seconds; if an API asks for more, this run gives the source up


class Verdict(Enum):
    """What an answer means for its call."""

    GOOD = "read it"
    FAULT = "may pass: retry a limited number of times"
    THROTTLED = "stop all requests for a while, then retry"
    KEY_REFUSED = "stop the source: no call will be answered"
    WRONG = "lasting: this call will never be answered"


def verdict(status: int, *, html: bool) -> Verdict:
    """Judge an answer by its status and by whether its body is an HTML page.

    Both APIs answer JSON or plain text. A page of HTML comes from Cloudflare in front of them, even with a 403, so it
    says nothing about the call. A 401 and a 402 are about the key, whoever sends them.
    """
    if status == THROTTLED:
        return Verdict.THROTTLED
    if status in (401, 402) or (status == 403 and not html):
        return Verdict.KEY_REFUSED
    if status >= 500 or (html and status in (200, 403)):
        return Verdict.FAULT
    return Verdict.GOOD if status == 200 else Verdict.WRONG


def backoff(failures: int, jitter: float | None = None) -> float:
    """Seconds to wait after this many failures: exponential; `jitter` in [0, 1) chooses between half of it and all."""
    full: float = min(FIRST_BACKOFF * 2 ** (failures - 1), LONGEST_BACKOFF)
    share = random.random() if jitter is None else jitter  # noqa: S311 (no secret depends on it)
    return full * (0.5 + share / 2)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, given as seconds or as a date; None without a valid header."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d+(\.\d*)?", text, re.ASCII):
        return float(text)
    date = http_date(text)
    return None if date is None else max(0.0, (date - now).total_seconds())


def http_date(text: str) -> datetime | None:
    """The time in a header that has a date, aware; None without a valid one."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date.replace(tzinfo=date.tzinfo or UTC)
