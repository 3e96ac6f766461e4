"""The report in a real browser: small and large, light and dark, without a network."""

import base64
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from db.embedded import EmbeddedServer
from tests.report_pages import fill, fill_charts, fresh_url, written

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
)
SECONDS = 60  # for any answer
SIZES = ((360, 800), (1200, 900))
SCHEMES = ("light", "dark")
COMPLAINTS = {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}
LEAST_CONTRAST = 4.5  # of text to what is behind it: WCAG 2, level AA

# The contrast of each text to the nearest colour behind it, the least first, with the text.
CONTRASTS = """(() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgba = colour => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        return canvas.getImageData(0, 0, 1, 1).data;
    };
    const light = colour => {
        const [r, g, b] = [...rgba(colour)].map(each => {
            const share = each / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = element => {
        for (; element; element = element.parentElement) {
            const colour = getComputedStyle(element).backgroundColor;
            if (rgba(colour)[3] === 255) return colour;
        }
        return 'white';
    };
    const found = new Map();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        if (!node.data.trim()) continue;
        const element = node.parentElement, style = getComputedStyle(element);
        const colour = element instanceof SVGElement ? style.fill : style.color, back = behind(element);
        const [dark, bright] = [light(colour), light(back)].sort((a, b) => a - b);
        found.set(colour + back, [(bright + 0.05) / (dark + 0.05), node.data, colour, back]);
    }
    return [...found.values()].sort((a, b) => a[0] - b[0]);
})()"""
# The texts of a card that lie over each other, or are outside of the card, or are smaller than 9 pixels.
MEETING = """[...document.querySelectorAll('figure')].flatMap(card => {
    const outer = card.getBoundingClientRect();
    const texts = [...card.querySelectorAll('b, strong, dt, dd, span, text')];
    const boxes = texts.map(each => {
        const range = document.createRange();
        range.selectNodeContents(each);
        return range.getBoundingClientRect();
    });
    const size = each => {
        const svg = each.ownerSVGElement, scale = svg ? svg.clientWidth / svg.viewBox.baseVal.width : 1;
        return parseFloat(getComputedStyle(each).fontSize) * scale;
    };
    return texts.filter((each, number) => {
        const box = boxes[number];
        return size(each) < 9 || box.left < outer.left || box.right > outer.right || boxes.some((other, place) =>
            place > number && box.left < other.right && other.left < box.right &&
            box.top + 1 < other.bottom && other.top + 1 < box.bottom);
    }).map(each => card.textContent.slice(0, 40) + ': ' + each.textContent);
})"""
OPEN_ALL = "document.querySelectorAll('details').forEach(each => { each.open = true; })"
WIDTHS = "[document.documentElement.scrollWidth, innerWidth]"
BY_KEYBOARD = """[...document.querySelectorAll('a, summary, .wide')].filter(each => each.tabIndex < 0).length"""


class Browser:
    """A Chromium that is spoken to in its debugging protocol, through a pipe."""

    def __init__(self, to: BinaryIO, out_of: BinaryIO) -> None:
        self.events: list[dict[str, Any]] = []
        self._to, self._out_of, self._number, self._rest = to, out_of, 0, b""
        self._session: str | None = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> Any:
        """What a method gives; events that come before it are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def show(self, file: Path, width: int, height: int, scheme: str) -> None:
        """Open a page in a window of this size and colour scheme, and wait until it is loaded."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.ask("Page.navigate", url=file.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def picture(self, **clip: float) -> bytes:
        """A PNG of the page, or of a part of it."""
        part = {"clip": {**clip, "scale": 1}} if clip else {}
        return base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=True, **part)["data"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._out_of], [], [], SECONDS)
            assert ready, "Chromium does not answer"
            read = os.read(self._out_of.fileno(), 1 << 16)
            assert read, "Chromium has ended"
            self._rest += read
        message, self._rest = self._rest.split(b"\0", 1)
        found: dict[str, Any] = json.loads(message)
        return found


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a new profile; it reads its descriptor 3 and writes its descriptor 4."""
    assert CHROMIUM
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    # the two are moved out of the way first, as each may have the other's number
    line = f'exec 8<&{theirs_in} 9>&{theirs_out} && exec 3<&8 4>&9 8<&- 9>&- && exec "$0" "$@"'
    command = ["/bin/bash", "-c", line, CHROMIUM, *OPTIONS, f"--user-data-dir={profile}"]
    with subprocess.Popen(  # noqa: S603 - the browser that is installed
        command, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        os.close(theirs_in)
        os.close(theirs_out)
        with os.fdopen(ours_out, "wb") as to, os.fdopen(ours_in, "rb") as out_of:
            try:
                yield Browser(to, out_of)
            finally:
                process.kill()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests."""
    with browser(tmp_path_factory.mktemp("chromium")) as one:
        yield one


@pytest.fixture(scope="module")
def file(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with something of everything, and charts of values that are hard to draw."""
    file = tmp_path_factory.mktemp("page") / "report.html"
    with fresh_url(server) as url:
        fill(url, file.parent)
        fill_charts(url, file.parent)
        written(url, file, "--metric", "TXNS", "--metric", "APY", "--metric", "PRICE", "--metric", "FEES")
    return file


@pytest.fixture(params=[(*size, scheme) for size in SIZES for scheme in SCHEMES], ids=str)
def shown(request: pytest.FixtureRequest, chromium: Browser, file: Path) -> Browser:
    """The page in a window of each size and scheme, with all of its parts open."""
    chromium.show(file, *request.param)
    chromium.evaluate(OPEN_ALL)
    return chromium


def test_nothing_of_the_page_stands_out_at_its_side(shown: Browser) -> None:
    width, window = shown.evaluate(WIDTHS)
    assert width <= window


def test_each_text_can_be_told_from_what_is_behind_it(shown: Browser) -> None:
    contrasts = shown.evaluate(CONTRASTS)
    assert len(contrasts) > 5
    assert [each for each in contrasts if each[0] < LEAST_CONTRAST] == []


def test_the_page_asks_for_nothing_and_the_browser_has_no_complaint(shown: Browser, file: Path) -> None:
    asked = [
        event["params"]["request"]["url"] for event in shown.events if event["method"] == "Network.requestWillBeSent"
    ]
    told = [event for event in shown.events if event["method"] in COMPLAINTS]
    assert (asked, told) == ([file.as_uri()], [])


def test_a_page_that_is_not_ours_would_be_complained_about(chromium: Browser, file: Path, tmp_path: Path) -> None:
    harmed = tmp_path / "harmed.html"
    script = (
        "<img src='x.png'><script>console.log(1)</script><style>body{color:white}</style><main style='width:4000px'"
    )
    harmed.write_text(file.read_text().replace("<main", script))
    chromium.show(harmed, 360, 800, "light")
    assert any(event["method"] in COMPLAINTS for event in chromium.events)
    assert chromium.evaluate("getComputedStyle(document.body).color") != "rgb(255, 255, 255)"


def test_strips_and_lines_are_drawn(shown: Browser) -> None:
    flat = """[...document.querySelectorAll('.strip path, .plot path:not(.dot)')].filter(each => !each.getTotalLength())
        .length"""
    small = """[...document.querySelectorAll('.strip, .plot')].filter(each => each.clientWidth < 160).length"""
    assert (shown.evaluate(flat), shown.evaluate(small)) == (0, 0)
    assert shown.evaluate("document.querySelectorAll('.strip path').length") > 20
    assert shown.evaluate("document.querySelectorAll('path path').length") == 0
    assert shown.evaluate("document.querySelectorAll('.plot .dot').length") == 1


def test_the_texts_of_a_card_can_be_read_and_do_not_meet(shown: Browser) -> None:
    assert shown.evaluate("document.querySelectorAll('.plot text').length") > 40
    assert shown.evaluate(MEETING) == []


def test_the_schemes_differ(chromium: Browser, file: Path) -> None:
    backs = []
    for scheme in SCHEMES:
        chromium.show(file, 360, 800, scheme)
        backs.append(chromium.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert backs == ["rgb(255, 255, 255)", "rgb(17, 23, 28)"]


def test_what_can_be_used_can_be_reached_by_the_keyboard(chromium: Browser, file: Path) -> None:
    chromium.show(file, 360, 800, "light")
    assert chromium.evaluate(BY_KEYBOARD) == 0
    for key in ("keyDown", "keyUp"):
        chromium.ask("Input.dispatchKeyEvent", type=key, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert chromium.evaluate("document.activeElement.textContent") == "To the contents"
