"""Hides secrets by value, wherever they stand: in log lines, tracebacks, and values that are about to become JSON."""

import base64
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import unescape
from typing import Any

HIDDEN = "***"
UTF8 = ("utf-8", "surrogatepass")  # the environment may hold bytes that are no text
SHORTEST_SECRET = 4  # characters; hiding anything shorter would make every text unreadable
PART = 6  # bytes in a row of a longer secret, which are hidden too, since many texts are cut
ESCAPE = re.compile(  # a character as URLs, HTML, and JSON or a repr write it, also where it was encoded more than once
    rb"%(?:25)*(?P<percent>[0-9a-fA-F]{2})|&(?:amp;)*(?P<html>\#?\w{1,8};)"
    rb"|\\+(?:u(?P<code>[0-9a-fA-F]{4})|x(?P<byte>[0-9a-fA-F]{2})|(?P<escaped>.))"
)


class Secrets:
    """Hides secrets, and parts of them, in each encoding in which a server or a library may repeat them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Take the secrets as they are; those shorter than SHORTEST_SECRET are not hidden."""
        plain = [secret.encode(*UTF8) for secret in secrets if len(secret) >= SHORTEST_SECRET]
        self._wholes = {form for secret in plain for form in (secret, _decoded(secret)[0], *_base64_forms(secret))}
        parts = (form[at : at + PART] for form in self._wholes for at in range(len(form) - PART + 1))
        self._parts = {part for part in parts if not _is_like_a_word(part)}

    def hide(self, text: str) -> str:
        """The text with HIDDEN in place of each secret and each part of one."""
        raw = text.encode(*UTF8)
        decoded, places = _decoded(raw)
        found = [(at, at + PART) for at in range(len(decoded) - PART + 1) if decoded[at : at + PART] in self._parts]
        for whole in self._wholes:
            if whole in decoded:
                found += [each.span() for each in re.finditer(re.escape(whole), decoded)]
        if not found:
            return text
        shown: list[bytes] = []
        end = 0
        for first, last in sorted(found):
            if places[first] > end or not shown:
                shown.append(raw[end : places[first]])
            end = max(end, places[last])
        return HIDDEN.encode().join([*shown, raw[end:]]).decode("utf-8", "replace")


class Scrubber(logging.Formatter):
    """A log format that hides secrets, in tracebacks too."""

    def __init__(self, secrets: list[str], pattern: str = "%(message)s") -> None:
        super().__init__(pattern)
        self.scrub = Secrets(secrets).hide

    def format(self, record: logging.LogRecord) -> str:
        """The scrubbed line or lines of a record."""
        return self.scrub(super().format(record))


def scrubbed(value: Any, scrub: Callable[[str], str]) -> Any:
    """The same value with every text in it scrubbed, before it is wrapped, escaped or written as JSON."""
    if type(value) is str:  # not a member of an enumeration: that is our own text
        return scrub(value)
    if isinstance(value, dict):
        return {name: scrubbed(each, scrub) for name, each in value.items()}
    if isinstance(value, list):
        return [scrubbed(each, scrub) for each in value]
    if isinstance(value, tuple):
        parts = (scrubbed(each, scrub) for each in value)
        return value._make(parts) if hasattr(value, "_make") else tuple(parts)
    return value


def _is_like_a_word(part: bytes) -> bool:
    """Whether a part of a secret may be part of a word, such as artemis, which would be hidden everywhere."""
    return part.isalpha() and part in (part.lower(), part.upper(), part.title())


def _decoded(raw: bytes) -> tuple[bytes, Sequence[int]]:
    """The text without escapes; and for each of its bytes, and for its end, where it began."""
    if not ESCAPE.search(raw):
        return raw, range(len(raw) + 1)
    decoded, end = bytearray(), 0
    places: list[int] = []
    for found in ESCAPE.finditer(raw):
        decoded += raw[end : found.start()]
        places += range(end, found.start())
        part = _character(found)
        decoded += part
        places += [found.start()] * len(part)
        end = found.end()
    return bytes(decoded + raw[end:]), [*places, *range(end, len(raw) + 1)]


def _character(escape: re.Match[bytes]) -> bytes:
    """What an escape stands for."""
    if escape["html"]:
        return unescape(f"&{escape['html'].decode('utf-8', 'replace')}").encode("utf-8", "replace")
    if escape["code"]:
        return chr(int(escape["code"], 16)).encode(*UTF8)
    if digits := escape["percent"] or escape["byte"]:
        return bytes([int(digits, 16)])
    return escape["escaped"]


def _base64_forms(secret: bytes) -> Iterator[bytes]:
    """The characters of base64 that come from the secret alone, wherever it begins in the encoded text."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + secret)
        inner = whole[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
        if len(inner) > PART:
            yield inner
            yield inner.translate(bytes.maketrans(b"+/", b"-_"))
