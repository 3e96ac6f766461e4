"""Backfills killed at random moments and started again: the whole table in the end, and nothing stored asked again."""

import json
import logging
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import pytest

from pipeline.run import BATCH_SECONDS
from sources import SOURCES
from tests.commands import (
    DAY,
    SECONDS,
    Rows,
    Table,
    artemis_backfill,
    copy_tree,
    defillama_backfill,
    differences,
    environment,
    for_points,
    run,
    run_process,
    series,
    start,
    stored,
    today,
    write,
)
from tests.fake_api import FAULT_KINDS, FakeApi, Request
from tests.waiting import until

log = logging.getLogger(__name__)

LATENCY = 0.3  # seconds, so that several calls are under way when a kill comes
LONGEST = BATCH_SECONDS + 0.3  # seconds between the answers that a kill waits for and the kill
HANDLING = 1.0  # seconds that one answer may take on a busy machine, and a load be late by
HANDED_OVER = 2  # answers that wait between the workers and the one who stores
MOST_RUNS = 100
LASTING = ("400", "404", "401")  # failures that are not tried again; the last one ends the run
WHOLE = {  # path and type of the whole histories
    ("api/protocol", ""): "TVL",
    ("api/summary/fees", "dailyFees"): "FEES",
    ("api/summary/fees", "dailyRevenue"): "REVENUE",
    ("api/summary/dexs", "dailyVolume"): "DEX_VOLUME",
}
OURS = """
SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'crypto-metrics %%' AND datname = current_database()
"""
COVERED = """
SELECT asset, metric_name, lower(days), upper(days) FROM coverage, unnest(answered) AS days WHERE source = %s
"""

Name = tuple[str, str]  # asset, metric
Days = tuple[date, date]  # the first, and the one after the last
Covered = dict[Name, list[Days]]


class Form(NamedTuple):
    """How much a backfill asks for, and how often it is killed."""

    source: str
    config: str
    start: date
    kills: int

    @property
    def most_lost(self) -> int:
        """Good answers that one kill can cost: those of one load, and those that came while it went on.

        A load has what stood ready when the one before it ended, and what came since, at the pace of the source.
        """
        source = SOURCES[self.source]
        return round((BATCH_SECONDS + HANDLING) / source.REQUEST_DELAY) + 2 * (source.MAX_IN_FLIGHT + HANDED_OVER)

    def table(self) -> Table:
        """What there is to be stored."""
        if self.source == "artemis":
            return artemis_backfill(self.config, today(), self.start)
        return defillama_backfill(self.config, today(), self.start)


@dataclass
class Tally:
    """The requests of all runs, and what became of them."""

    sent: int = 0
    failed: int = 0  # by a fault
    unanswered: int = 0  # when the kill came
    stored: int = 0
    dropped: int = 0  # good answers that a run which ended early did not store
    lost: list[int] = field(default_factory=list)  # good answers, by each kill
    again: list[str] = field(default_factory=list)  # that asked for nothing but what was stored when their run began
    runs: int = 0

    def count(self, sent: Sequence[Request], before: Covered, after: Covered, form: Form, *, killed: bool) -> None:
        """Count the requests of a run, given what was covered before it and after it."""
        lost = 0
        for request in sent:
            asked = [(name, days) for name, days in _asked(form, request) if not _holds(before, name, days)]
            if not asked:
                self.again.append(f"run {self.runs}: {request.path}?{request.query}")
            if request.fault:
                self.failed += 1
            elif request.status == 0:
                self.unanswered += 1
            elif any(_holds(after, name, days) for name, days in asked):
                self.stored += 1
            else:
                lost += 1
        self.sent += len(sent)
        self.runs += 1
        if killed:
            self.lost.append(lost)
        else:
            self.dropped += lost


def artemis(symbols: int, equities: int, days: int, kills: int) -> Form:
    """Ten metrics of each symbol, and five of each equity, three of them quarterly."""
    metrics = "PRICE MC FDMC FEES REVENUE DAU TXNS TVL CHAIN_SPOT_VOLUME STABLECOIN_SUPPLY"
    rows = [f"coin-{number},{metrics}" for number in range(symbols)]
    rows += [f"eq-{number},PRICE MC TOTAL_REVENUE EBITDA BASIC_EPS" for number in range(equities)]
    return Form("artemis", "\n".join(["asset,metrics", *rows, ""]), today() - days * DAY, kills)


def defillama(protocols: int, coins: int, days: int, kills: int) -> Form:
    """Four whole histories of each protocol; prices, of which one call gives 500 days."""
    rows = [f"protocol-{number},protocol,{' '.join(WHOLE.values())}," for number in range(protocols)]
    rows += [f"coin-{number},coin,PRICE,coingecko:coin-{number}" for number in range(coins)]
    return Form("defillama", "\n".join(["asset,kind,metrics,id", *rows, ""]), today() - days * DAY, kills)


@pytest.mark.parametrize(
    ("form", "faults"),
    [
        pytest.param(defillama(12, 12, 1000, kills=4), 0.0, id="60-series"),
        *(
            pytest.param(form, faults, id=f"500-series-{form.source}-{faults:.0%}", marks=pytest.mark.long)
            for faults in (0.0, 0.1)
            for form in (artemis(46, 8, 17 * 365, kills=20), defillama(113, 48, 2000, kills=20))
        ),
    ],
)
def test_a_killed_backfill_is_completed_by_its_restarts_which_ask_for_nothing_that_is_stored(
    form: Form, faults: float, tmp_path: Path, database_url: str, rows: Rows
) -> None:
    file = write(tmp_path, form.config)
    line = f"main.py backfill {form.source} --start {form.start} --config"
    failing: dict[str, Any] = {"faults": faults, "fault_kinds": (*FAULT_KINDS, *LASTING), "hang": 0.5}
    with FakeApi(latency=LATENCY, universe=[file], shipped=False, **failing) as api:
        env = environment(database_url, api)
        plan = run(line.replace("--config", "--dry-run --config"), file, env=env).stdout
        undisturbed = int(re.findall(r"backfill: ([\d,]+) calls", plan)[0].replace(",", ""))
        tally = _kill_and_restart(form, undisturbed, lambda: start(line, file, env=env), api, rows)
    log.info("%s, %.0f %% faults: %d calls undisturbed; %s", form.source, 100 * faults, undisturbed, tally)
    assert tally.again == []
    assert differences(stored(rows, form.source), form.table()) == []
    _costs_what_the_kills_lost(tally, form, undisturbed)
    assert _holes(form, tmp_path, env) == []


def _kill_and_restart(
    form: Form, undisturbed: int, begin: Callable[[], subprocess.Popen[str]], api: FakeApi, rows: Rows
) -> Tally:
    """Runs until one ends well, after all the kills."""
    chance = random.Random(form.source)  # noqa: S311 - no secret
    tally, code, delays = Tally(), -1, _delays(form.kills, chance)
    before = _covered(form, rows)
    while delays or code != 0:
        assert tally.runs < MOST_RUNS
        assert code != 0, "it was complete before the last kill"
        answers = chance.randint(0, 2 * (undisturbed - tally.stored) // (len(delays) + 2))
        first = len(api.requests)
        with begin() as process:
            killed = bool(delays) and _killed(process, api, first, answers, delays[-1])
            process.communicate(timeout=SECONDS)
        code = process.returncode
        until(lambda: not rows(OURS))  # the server may still be committing
        after = _covered(form, rows)
        tally.count(for_points(api.requests[first:]), before, after, form, killed=killed)
        before = after
        if killed:
            delays.pop()
    return tally


def _delays(number: int, chance: random.Random) -> list[float]:
    """Seconds spread over the time from one load to the next, in no order."""
    delays = [LONGEST * (place + chance.random()) / number for place in range(number)]
    chance.shuffle(delays)
    return delays


def _killed(process: subprocess.Popen[str], api: FakeApi, first: int, answers: int, delay: float) -> bool:
    """Kill a run so many seconds after so many of its requests are answered; False where it ends before."""
    moment: float | None = None
    while process.poll() is None:
        if moment is None and sum(request.status != 0 for request in api.requests[first:]) >= answers:
            moment = time.monotonic() + delay
        if moment is not None and time.monotonic() >= moment:
            process.kill()
            return process.wait() == -signal.SIGKILL
        time.sleep(0.005)
    return False


def _covered(form: Form, rows: Rows) -> Covered:
    found: Covered = {}
    for asset, metric, first, end in rows(COVERED, form.source):
        found.setdefault((asset, metric), []).append((first, end))  # type: ignore[arg-type]
    return found


def _holds(covered: Covered, name: Name, days: Days) -> bool:
    return any(first <= days[0] and days[1] <= end for first, end in covered.get(name, ()))


def _asked(form: Form, request: Request) -> Iterator[tuple[Name, Days]]:
    """The series of the config for which a request asks, with the days of each."""
    query = {name: values[0] for name, values in parse_qs(request.query).items()}
    if form.source == "artemis":
        metrics = request.path.rpartition("/")[2].split(",")
        days = date.fromisoformat(query["startDate"]), date.fromisoformat(query["endDate"]) + DAY
        names = [(symbol, metric) for symbol in query["symbols"].split(",") for metric in metrics]
    elif "/coins/chart/" in request.path:
        start = datetime.fromtimestamp(int(query["start"]), UTC).date()
        days = start, start + int(query["span"]) * DAY
        names = [(coin.removeprefix("coingecko:"), "PRICE") for coin in request.path.rpartition("/")[2].split(",")]
    else:
        days = form.start, today()
        path, _, asset = request.path.removeprefix("/llama/").rpartition("/")
        names = [(asset, WHOLE[path, query.get("dataType", "")])]
    known = {(one.asset, one.metric) for one in series(form.config)}
    assert known.intersection(names)
    return ((name, days) for name in names if name in known)


def _costs_what_the_kills_lost(tally: Tally, form: Form, undisturbed: int) -> None:
    """Each call is stored once; the others were lost to a kill, under way when it came, or failed.

    Where series share calls, those of which a kill kept different windows do so no longer: one more call that is
    not full, at the most.
    """
    assert len(tally.lost) == form.kills
    assert max(tally.lost) <= form.most_lost
    assert tally.unanswered + tally.dropped <= tally.runs * SOURCES[form.source].MAX_IN_FLIGHT
    assert undisturbed <= tally.stored <= undisturbed + (form.kills if form.source == "artemis" else 0)


def _holes(form: Form, tmp_path: Path, env: dict[str, str]) -> list[dict[str, object]]:
    """The series that `main.py gaps` finds fault with, as it must not."""
    copy_tree(tmp_path / "copy")
    write(tmp_path / "copy", form.config).rename(tmp_path / "copy" / SOURCES[form.source].CONFIG)
    done = run_process(f"main.py gaps {form.source} --json", env=env, root=tmp_path / "copy")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, object]] = json.loads(done.stdout)
    assert {(each["asset"], each["metric"]) for each in found} == {one[:2] for one in series(form.config)}
    return [each for each in found if each["never_asked"] or each["lost"]]
