"""The hold probe: one connection per target that stays open, its heartbeats, and how it ends (docs/hold.md).

Rule 1: an end is no verdict, no cycle and no part of an outage: one that was not to be expected is a reason to look.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Final, Protocol

from websockets.frames import CloseCode

from exporter import log
from exporter.classify import Cuts, EndLearner, HeartbeatCadence, find_cuts
from exporter.config import Hold
from exporter.host import Clock
from exporter.plan import SideSchedule, hold_job
from exporter.probing import ProbeRequest
from exporter.result import Close, ConnectionEnd, HoldEnd, Initiator, LineLevel, Result, Trigger
from exporter.session import HoldRequest, HoldTerms
from exporter.side_probes.runner import RunSession, SideRun

_logger = logging.getLogger("exporter.side_probes")

EXPECTED_ENDS: Final = frozenset({HoldEnd.OVER, HoldEnd.CUT})
"""Ends after which nothing is looked for."""
OUR_ENDS: Final = frozenset({HoldEnd.OVER, HoldEnd.UNANSWERED, HoldEnd.BROKEN})
"""Ends that the exporter makes, whatever the server answers to them."""
ENDS_OF_PATH: Final = frozenset({HoldEnd.LOST, HoldEnd.CLOSED, HoldEnd.RESTART})
"""Ends whose age says something of the path: that of an unanswered ping is ours."""
MAX_QUIET_TRIES: Final = 5
"""Quiet connections at the begin that show nothing, after which those with traffic have their turn."""
MAX_WAIT_OPENINGS: Final = 16
"""Openings that are left out at most after one that failed: twice as many after each."""


class HoldSink(Protocol):
    """Records what held connections show, by the target's name."""

    def record_hold_opening(self, name: str, *, quiet: bool) -> None:
        """Record that a connection is open now; `quiet`: without pings and requests."""

    def record_failed_opening(self, name: str, result: Result) -> None:
        """Record a session that brought no connection."""

    def clear_hold(self, name: str) -> None:
        """Record that none is open."""

    def record_round_trip(self, name: str, level: LineLevel, seconds: float) -> None:
        """Record the answer to a ping or a request."""

    def set_hold_deaf(self, name: str, *, deaf: bool) -> None:
        """Set whether the last request was not answered."""

    def record_heartbeat(self, name: str, level: LineLevel) -> None:
        """Record a heartbeat of the server."""

    def set_heartbeats(self, name: str, level: LineLevel, interval: float, *, announced: bool, lost: bool) -> None:
        """Set how often a heartbeat is due, in seconds, whether the server says so, and whether it stays out."""

    def record_hold_end(self, name: str, end: ConnectionEnd, cuts: Cuts) -> None:
        """Record the end of a connection, and what is known of cuts now."""


@dataclass(slots=True)
class _Memory:
    """What is known of one target's line, over all its connections.

    quiet_at: when the last quiet connection was opened, monotonic seconds
    quiet_tries: how many were opened
    failures: openings that failed, in a row
    next_number: no opening of a smaller number is tried
    """

    busy: EndLearner = field(default_factory=EndLearner)
    quiet: EndLearner = field(default_factory=EndLearner)
    cadences: dict[LineLevel, HeartbeatCadence] = field(
        default_factory=lambda: {level: HeartbeatCadence() for level in LineLevel}
    )
    quiet_at: float = -inf
    quiet_tries: int = 0
    failures: int = 0
    next_number: int = 0

    def is_quiet_next(self, hold: Hold, now: float) -> bool:
        """Whether the next connection is quiet: at first until it is known what cuts one, then one per `max_age`."""
        if hold.quiet is None:
            return False
        is_known = self.quiet.usual is not None or self.quiet.survived or self.quiet_tries >= MAX_QUIET_TRIES
        return not is_known or now - self.quiet_at >= hold.max_age


class HoldProbe:
    """Opens the held connections of all targets."""

    def __init__(self, clock: Clock, suspect: Callable[[str], None], sink: HoldSink) -> None:
        self._clock = clock
        self._suspect = suspect
        self._sink = sink
        self._memories: dict[str, tuple[SideSchedule, _Memory]] = {}
        self._lines: dict[str, _Line] = {}

    @property
    def open_lines(self) -> int:
        """How many connections are held now."""
        return sum(line.is_open for line in self._lines.values())

    async def run(self, run: SideRun, open_session: RunSession) -> None:
        """Hold one connection until it ends; without one, wait the longer the more often it has failed."""
        hold, memory = run.job.target.hold, self._memory(run)
        if hold is None or run.number < memory.next_number:
            return
        quiet = memory.is_quiet_next(hold, self._clock.monotonic())
        line = self._lines[run.job.name] = _Line(run.job.name, memory, self._clock, self._sink, quiet=quiet)
        job = hold_job(run.job)
        terms = _terms(hold, run.job.target.timeout, quiet=quiet)
        request = ProbeRequest(
            job,
            run.number,
            Trigger.SIDE_PROBE,
            job.probes[-1],
            run.schedule.identity,
            due=run.due,
            hold=HoldRequest(terms, line),
        )
        try:
            outcome = await open_session(request)
        finally:
            if self._lines[run.job.name] is line:  # else a changed schedule has begun another one
                del self._lines[run.job.name]
                self._sink.clear_hold(run.job.name)
        if not isinstance(outcome, Result):
            return
        if line.end is not None:
            self._finish(run, line, line.end, outcome)
        else:
            log.log_session(outcome)
            self._sink.record_failed_opening(run.job.name, outcome)
            memory.next_number = run.number + min(2**memory.failures, MAX_WAIT_OPENINGS)
            memory.failures += 1

    def _finish(self, run: SideRun, line: "_Line", end: HoldEnd, result: Result) -> None:
        memory = line.memory
        memory.failures = 0
        ended = _connection_end(end, self._clock.wall(), line.age, result.close)
        self._sink.record_hold_end(run.job.name, ended, find_cuts(memory.busy, memory.quiet))
        keys = {"target": run.job.name, "end": end, "age_seconds": round(line.age, 1), "quiet": line.quiet}
        _logger.info("a held connection has ended", extra={"keys": keys})
        if not ended.expected:
            self._suspect(run.job.name)

    def _memory(self, run: SideRun) -> _Memory:
        """Return what is known of the target's line; another URL, user or pace begins without a past."""
        schedule, memory = self._memories.get(run.job.name, (None, None))
        if memory is None or schedule != run.schedule:
            memory = _Memory()
            self._memories[run.job.name] = run.schedule, memory
        return memory


class _Line:
    """One connection: tells the memory and the sink what happens on it. `end` None: it was not opened, or not ended."""

    def __init__(self, name: str, memory: _Memory, clock: Clock, sink: HoldSink, *, quiet: bool) -> None:
        self._name = name
        self._clock = clock
        self._sink = sink
        self._opened_at = 0.0
        self.memory = memory
        self.quiet = quiet
        self.end: HoldEnd | None = None
        self.age = 0.0
        self.is_open = False

    def opened(self, at: float, announced: float | None) -> None:
        self._opened_at, self.is_open = at, True
        if self.quiet:
            self.memory.quiet_at = at
            self.memory.quiet_tries += 1
        self._sink.record_hold_opening(self._name, quiet=self.quiet)
        self.memory.cadences[LineLevel.APPLICATION].announced = announced
        for level, cadence in self.memory.cadences.items():
            cadence.begin(at)
            self._report(level, cadence)

    def round_trip(self, level: LineLevel, seconds: float, at: float) -> None:
        self._sink.record_round_trip(self._name, level, seconds)
        if not self.quiet:
            self.memory.busy.record_age(at - self._opened_at)
        if level is LineLevel.APPLICATION:
            self._sink.set_hold_deaf(self._name, deaf=False)

    def unanswered_request(self) -> None:
        self._sink.set_hold_deaf(self._name, deaf=True)
        _logger.warning("a request on a held connection got no answer", extra={"keys": {"target": self._name}})

    def heartbeat(self, level: LineLevel, at: float) -> None:
        cadence = self.memory.cadences[level]
        cadence.record(at)
        self._sink.record_heartbeat(self._name, level)
        self._report(level, cadence)

    def check_heartbeats(self, now: float) -> float:
        for level, cadence in self.memory.cadences.items():
            if cadence.lost_at is not None and cadence.lost_at <= now:
                cadence.lost = True
                self._report(level, cadence)
                keys = {"target": self._name, "level": level, "interval_seconds": cadence.interval}
                _logger.warning("the server's heartbeats stay out on a held connection", extra={"keys": keys})
        return min(
            (at for cadence in self.memory.cadences.values() if (at := cadence.lost_at) is not None), default=inf
        )

    def ended(self, end: HoldEnd, age: float) -> None:
        learner = self.memory.quiet if self.quiet else self.memory.busy
        self.age, self.end, self.is_open = age, end, False
        if end is HoldEnd.OVER:
            learner.record_over(age)
        elif end in ENDS_OF_PATH:
            self.end = HoldEnd.CUT if learner.is_usual(age) else end
            learner.record_cut(age)

    def _report(self, level: LineLevel, cadence: HeartbeatCadence) -> None:
        if cadence.interval is not None:
            announced = cadence.announced is not None
            self._sink.set_heartbeats(self._name, level, cadence.interval, announced=announced, lost=cadence.lost)


def _connection_end(end: HoldEnd, ended_at: float, age: float, close: Close | None) -> ConnectionEnd:
    code = None if close is None or close.code == CloseCode.ABNORMAL_CLOSURE else int(close.code)
    initiator = Initiator.NONE if close is None else close.initiator
    return ConnectionEnd(
        end,
        ended_at,
        age,
        expected=end in EXPECTED_ENDS,
        close_code=code,
        closed_by=Initiator.LOCAL if end in OUR_ENDS else initiator,
    )


def _terms(hold: Hold, patience: float, *, quiet: bool) -> HoldTerms:
    if quiet and hold.quiet is not None:
        return HoldTerms(hold.quiet, patience)
    return HoldTerms(hold.max_age, patience, hold.ping, inf if hold.ask is None else hold.ask)
