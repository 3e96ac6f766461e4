"""One random history: each event happens in the database and in the model, which are then compared."""

import random
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import psycopg2
import pytest

from db.archive import restore
from db.coverage import Name
from db.database import Database
from db.quarantine import ACCEPTED, RESTATED, adopt, reconsider, reject
from db.session import session_for
from model.errors import RunRefused
from model.values import DAY, DataPoint, Target, Verb, Window, midnight
from pipeline.acceptance import Judgement, judge
from pipeline.fresh_start import clear_source
from pipeline.plan import Job, Scope, backfill_window, make_job, pull_window, settle_window
from pipeline.run import run
from sources.base import Answer
from sources.pace import Pace
from tests.histories.clock import DatabaseClock
from tests.histories.provider import BEGIN, POISON, SECOND, TARGETS, Provider, Restating
from tests.histories.records import File, Key
from tests.histories.tables_model import TablesModel
from tests.tables import Rows

FIRST_RUN = BEGIN + 20 * DAY + timedelta(hours=11)
LIVE_ONLY = {Restating.name: ["LIVE"]}
OWN_TIMES = Restating.own_times()
REFUSED = "another process makes this run now"
EVENTS = {"run": 20, "decide": 8, "fresh": 1, "restore": 2, "clock": 1}  # weights


class History:
    """The random events, and the files of fresh starts."""

    def __init__(self, seed: int, database: Database, rows: Rows, provider: Provider, folder: Path) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - repeatable numbers
        self.database, self.rows, self.provider, self.folder = database, rows, provider, folder
        self.clock, self.now, self.model = DatabaseClock(rows), FIRST_RUN, TablesModel()
        self.instants: list[datetime] = []  # at which something may have changed
        self.files: list[tuple[Path, File]] = []
        # the instants for which somebody has asked, with the answers; and those that have left with each file
        self.asked: list[tuple[datetime, dict[Key, tuple[float, datetime]]]] = []
        self.away: list[list[tuple[datetime, dict[Key, tuple[float, datetime]]]]] = []
        self.cleared = set[Key]()
        self.log: list[str] = []
        rows(f"ALTER TABLE coverage ADD CHECK (asset <> '{POISON.asset}')")

    def event(self, number: int) -> str:
        """Let some time pass and something happen; says what."""
        chance = self.chance
        self.tick(timedelta(hours=chance.choice((0.1, 1, 3, 7, 13, 24, 40))) * chance.random())
        if chance.random() < 0.15:  # a moment before midnight, which a run may pass
            self.set(midnight(self.now) + DAY - timedelta(seconds=chance.randint(1, 200)))
        self.provider.change(self.now)
        useless = {"decide": not self.model.undecided("waiting", "rejected"), "restore": not self.files}
        weights = {kind: 0 if useless.get(kind) else weight for kind, weight in EVENTS.items()}
        kind = "run" if number < 2 else chance.choices([*weights], [*weights.values()])[0]
        done: str = getattr(self, f"_{kind}")()
        self.log.append(f"{self.now:%m-%d %H:%M} {done}")
        return done

    def set(self, at: datetime) -> None:
        """Set the clock, forward or backward."""
        self.now = at.replace(microsecond=self.chance.randint(1, 999_999))
        self.clock.set(self.now)
        self.instants.append(self.now)

    def tick(self, step: timedelta | None = None) -> None:
        """Let some time pass."""
        self.set(self.now + (step or timedelta(seconds=self.chance.randint(1, 90))))

    def _clock(self) -> str:
        self.set(self.now - timedelta(hours=self.chance.choice((1, 8, 30))))
        self.asked, *self.away = ([each for each in part if each[0] < self.now] for part in (self.asked, *self.away))
        return "the clock was ahead"

    def _run(self) -> str:
        verb = self.chance.choice(list(Verb))
        scope = self.chance.choice((Scope.MISSING, Scope.FULL, Scope.GAPS)) if verb is Verb.BACKFILL else Scope.ANSWERED
        targets = [each for each in TARGETS if self.chance.random() < 0.7] or TARGETS
        if self.chance.random() < 0.1:
            targets.insert(self.chance.randint(0, len(targets)), POISON)
        return self.make(verb, scope, targets, kill_at=self.chance.choice((None, None, None, 0, 1, 2, 4)))

    def make(self, verb: Verb, scope: Scope, targets: Sequence[Target], kill_at: int | None) -> str:
        """A run, killed before its write of this number."""
        today = midnight(self.now)
        window = {
            Verb.PULL: lambda: pull_window(self.now, Restating.PULL_DAYS),
            Verb.BACKFILL: lambda: backfill_window(self.now, BEGIN, None, None),
            Verb.SETTLE: lambda: settle_window(self.now, 4),
        }[verb]()
        since = today - 3 * DAY if verb is Verb.SETTLE and self.chance.random() < 0.5 else None
        source = Restating(self.provider.url)
        scope = Scope.FULL if verb is Verb.PULL else scope
        job = make_job(source, verb, targets, window, scope, since)
        batch = self.chance.choice((1, 30, 50_000))
        writes = self._make(job, batch, kill_at)
        self._expect(job, batch, writes)
        killed = "" if kill_at is None else f", killed before write {kill_at}"
        return f"{verb} {scope.name} {len(job.targets)} series, {batch} points a load{killed}"

    def _make(self, job: Job, batch: int, kill_at: int | None) -> list[datetime]:
        """Make the run; when it began, and when it wrote."""
        times, source = list[datetime](), job.source
        assert isinstance(source, Restating)

        def check_place() -> None:
            if kill_at is not None and len(times) > kill_at:
                raise RunRefused(REFUSED)
            self.tick()
            times.append(self.now)
            if len(times) == 1:
                source.received = self.now + self.chance.choice((0, 1)) * SECOND

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pipeline.run.BATCH_POINTS", batch)
            patch.setattr("pipeline.run.BATCH_SECONDS", float("inf"))
            with suppress(psycopg2.errors.CheckViolation, RunRefused):
                run(job, self.database, threading.Event(), str, Pace(0.0), check_place=check_place)
        return times

    def _expect(self, job: Job, batch: int, times: list[datetime]) -> None:
        """What the run has done to the model."""
        model, source, verb = self.model, job.source, job.verb
        assert isinstance(source, Restating)
        began, *times = times
        model.begin(began)
        known, compared = model.known(), defaultdict[Name, list[Window]](list)
        for answers in self._loads(source.answers, job, batch):
            if not times or any(answer.call.targets[0] == POISON for answer in answers):
                return
            at, points, judged = times.pop(0), list[DataPoint](), Judgement()
            for answer in answers:
                mine = points_of(answer, verb)
                points += mine
                judged.add(judge(answer, mine, source, known))
            model.load(verb, points, judged, at, source.received)
            for each in [*judged.answered, *judged.withdrawn]:
                if each.days:
                    compared[each.asset, each.metric].append(each.days)
        if verb is Verb.SETTLE:
            self._expect_decisions(compared, times)
        assert times == [], self.log

    def _expect_decisions(self, compared: Mapping[Name, Sequence[Window]], times: list[datetime]) -> None:
        """What a settle decides, one write after the other, until it is killed."""
        model, held = self.model, set[Name]()
        names = model.judged(compared)
        for name, keys in model.doubtful(compared):
            if not times:
                return
            times.pop(0)
            model.hold(keys)
            held.add(name)
        if names := [name for name in names if name not in held]:
            if not times:
                return
            at = times.pop(0)
            for name in names:
                model.adopt(name, RESTATED, at)
        if compared and times:
            times.pop(0)
            model.verify(compared)

    def _loads(self, answers: Sequence[Answer], job: Job, batch: int) -> Iterator[list[Answer]]:
        """The answers of each load: as many as have so many points."""
        together, number = list[Answer](), 0
        for answer in list(answers):
            together.append(answer)
            number += len(points_of(answer, job.verb))
            if number >= batch:
                yield together
                together, number = [], 0
        if together:
            yield together

    def _decide(self) -> str:
        """A person decides."""
        name = self.chance.choice(self.model.undecided("waiting", "rejected"))
        accepts = name not in self.model.undecided("waiting") or self.chance.random() < 0.5
        self.tick()
        with session_for(self.database, "settle") as session, session, session.cursor() as cursor:
            if accepts:
                reconsider(cursor, Restating.name, name)
                adopt(cursor, Restating.name, [name], OWN_TIMES, ACCEPTED, run=None)
            else:
                reject(cursor, Restating.name, name)
        if accepts:
            self.model.adopt(name, ACCEPTED, self.now)
        else:
            self.model.reject(name)
        return f"{'accepted' if accepts else 'rejected'} {name}"

    def _fresh(self) -> str:
        """A fresh start, whose backfill may be killed."""
        targets = TARGETS if self.chance.random() < 0.7 else [each for each in TARGETS if each.asset == "a"]
        keep_all, path = self.chance.random() < 0.3, self.folder / f"{len(self.files)}.csv.gz"
        job = make_job(
            Restating(self.provider.url), Verb.BACKFILL, targets, backfill_window(self.now, BEGIN, None, None)
        )
        self.tick()
        clear_source(job, self.database, path, threading.Event(), keep_all=keep_all)
        file = self.model.save([] if keep_all else [each[:2] for each in job.targets], job.window)
        self.cleared |= self.model.points.keys()
        self.model.clear(self.now)
        self.files.append((path, file))
        self.away.append([(at, {key: answer[key] for key in answer.keys() & file.points}) for at, answer in self.asked])
        self.asked = []
        return "fresh start; " + self.make(Verb.BACKFILL, Scope.MISSING, targets, self.chance.choice((None, None, 2)))

    def _restore(self) -> str:
        """Restore any file."""
        number = self.chance.randrange(len(self.files))
        path, file = self.files[number]
        back = file.points.keys() - self.model.points
        self.tick()
        restore(self.database, path, LIVE_ONLY)
        self.model.restore(file)
        self.asked += [(at, {key: answer[key] for key in answer.keys() & back}) for at, answer in self.away[number]]
        self.away[number] = []
        return f"restored file {number}"


def points_of(answer: Answer, verb: Verb) -> list[DataPoint]:
    """The points of an answer that a run stores; a pull dates each at the midnight of its day."""
    start, window = answer.call.window.start, answer.call.window.ordinals
    points = sorted(answer.points, key=lambda point: point.at)
    if verb is Verb.PULL:
        return [replace(point, at=midnight(point.at)) for point in points if point.at >= start]
    return [each for each in points if Restating.METRICS[each.metric].day_of(each.at).toordinal() in window]
