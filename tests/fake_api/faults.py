"""What goes wrong on purpose: the options, the choice of a fault for a request, the rate limit."""

import math
import re
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path

from tests.fake_api.answer import HTML, Answer, html, plain

SPOILED = ("drop", "truncate", "cut-json", "hang")  # done at the socket to the true answer
FAULT_KINDS = ("500", "502", "521", "403", "html", "empty", *SPOILED)
ECHO = "echo"  # 400 with a body that repeats the request, key and all; only where it is asked for
RETRY_AFTER = ("seconds", "date", "none")


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Options:
    """How the fake behaves; FakeApi takes each as a keyword.

    `faults` is the share of requests (0 to 1) that get one of `fault_kinds`, chosen by a hash of the
    request, its attempt number and `seed`, so that a repeat may pass. `broken` maps regular expressions over
    the path (with its query, without keys) to the fault that such requests always get: one of FAULT_KINDS, ECHO
    or any status as text.
    """

    port: int = 0
    now: Callable[[], datetime] = utc_now
    latency: float = 0.0  # seconds
    rate_limit: int | None = None  # requests per rate_window seconds
    rate_window: float = 60.0
    retry_after: str = "seconds"
    faults: float = 0.0
    fault_kinds: tuple[str, ...] = FAULT_KINDS
    most_faults: int | None = None  # attempts of one request that may fail so, at the most
    seed: int = 0
    hang: float = 30.0  # seconds until a hanging request is dropped
    broken: Mapping[str, str] = field(default_factory=dict)
    bad_symbols: tuple[str, ...] = ()
    most_series: int = 100  # of Artemis in one call, symbols × metrics; a larger call answers 500
    restated: int = 0
    artemis_key: tuple[str, ...] | str | None = None  # None accepts any key, or none
    defillama_key: tuple[str, ...] | str | None = None  # None accepts any key
    credits_left: int = 1_000_000  # of a key of DefiLlama, this month
    key_status: int = 401  # DefiLlama's answer to another key: 401 or 403
    universe: tuple[Path, ...] | list[Path] = ()  # config files besides the shipped ones
    shipped: bool = True  # whether the repository's own config files belong to the universe

    def __post_init__(self) -> None:
        if self.retry_after not in RETRY_AFTER:
            raise ValueError(f"retry_after {self.retry_after!r} is none of {', '.join(RETRY_AFTER)}")
        for kind in (*self.fault_kinds, *self.broken.values()):
            if kind not in (*FAULT_KINDS, ECHO) and not re.fullmatch(r"[2-5]\d\d", kind):
                raise ValueError(f"fault {kind!r} is none of {', '.join(FAULT_KINDS)}")


def fault(options: Options, target: str, attempt: int) -> str | None:
    """The kind of fault this attempt gets, if any."""
    for pattern, kind in options.broken.items():
        if re.search(pattern, target):
            return kind
    if not options.faults or not options.fault_kinds:
        return None
    if options.most_faults is not None and attempt > options.most_faults:
        return None
    drawn = zlib.crc32(f"{options.seed} {attempt} {target}".encode())
    if drawn % 10000 >= options.faults * 10000:
        return None
    return options.fault_kinds[drawn // 10000 % len(options.fault_kinds)]


def fault_answer(kind: str) -> Answer:
    """The answer of a fault that has one of its own."""
    if kind == "502":
        return html(502, "502 Bad Gateway", "cloudflare")
    if kind == "521":
        return html(521, "api.llama.fi | 521: Web server is down", "cloudflare")
    if kind == "403":
        return html(403, "Attention Required! | Cloudflare", "cloudflare")
    if kind == "html":
        return html(200, "Just a moment...", "cloudflare")
    if kind == "empty":
        return Answer(200, b"", HTML)
    return plain(int(kind), {"500": "Internal Server Error", "404": "404 page not found\n"}.get(kind, f"Fault {kind}"))


class RateLimit:
    """A fixed window: it opens with a request, and closes `rate_window` seconds later."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._opened = -math.inf
        self._used = 0

    def refusal(self) -> Answer | None:
        """Count a request; 429 if it is one too many."""
        if self._options.rate_limit is None:
            return None
        with self._lock:
            now = time.monotonic()
            if now - self._opened >= self._options.rate_window:
                self._opened, self._used = now, 0
            self._used += 1
            if self._used <= self._options.rate_limit:
                return None
            left = self._opened + self._options.rate_window - now
        headers = {
            "seconds": {"Retry-After": str(math.ceil(left))},
            "date": {"Retry-After": formatdate(math.ceil(time.time() + left), usegmt=True)},
            "none": {},
        }
        refused = plain(429, "Too Many Requests")
        return Answer(429, refused.body, refused.content_type, headers[self._options.retry_after])
