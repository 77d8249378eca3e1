"""Who is told of what happens: metrics, history, the log, and whoever else listens.

Rule 1: passes on, decides nothing.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from exporter import log
from exporter.daemon.ground import Ground
from exporter.history import State, Word
from exporter.plan import Job
from exporter.report.words import cause
from exporter.result import Probe, Result, Skip, Trigger
from exporter.web import LandingTarget

LOG = logging.getLogger("exporter.daemon")


@dataclass(frozen=True, slots=True)
class Listeners:
    """Whoever else wants to know; `keep`: what keeps results over a restart."""

    on_result: Callable[[Result], None] = field(default=lambda _: None)
    on_skip: Callable[[Skip], None] = field(default=lambda _: None)
    keep: Callable[[Result], None] = field(default=lambda _: None)


class Told:
    """The sinks of the scheduler (`scheduler.Sinks`), and what the last results say of each target."""

    def __init__(self, ground: Ground, listeners: Listeners) -> None:
        self._jobs = ground.jobs
        self._metrics = ground.metrics
        self._history = ground.history
        self._state = ground.state
        self._clock = ground.clock
        self._listeners = listeners
        self._open: Counter[str] = Counter()

    def observe(self, result: Result) -> None:
        """Tell everybody of a finished session."""
        self._metrics.observe(result)
        self._history.add(result)
        self._listeners.keep(result)
        log.session(result)
        self._listeners.on_result(result)
        job = self._jobs[result.target]
        own = () if result.identity is None else (result.identity,)
        self.tell_identities(job, job.identities if result.failed else own)

    def cycle(self, result: Result) -> None:
        """Count the verdict of a scheduled cycle."""
        self._metrics.cycle(result)
        self._history.cycle(result)

    def skip(self, skip: Skip) -> None:
        """Count a cycle that opened no session."""
        self._metrics.skip(skip)
        self._history.skip(skip, self._clock.wall())
        self._listeners.on_skip(skip)

    def due(self, target: str, probe: Probe, at: float) -> None:
        """Tell when a probe runs next."""
        self._metrics.due(target, probe, at)

    def stepped(self, seconds: float) -> None:
        """Follow a step of the wall clock."""
        LOG.warning("the wall clock stepped by %.1f s: every target is planned anew", seconds)
        self._state.shift(seconds)

    def opened(self, target: str, change: int) -> None:
        """Count the open connections of a target."""
        self._open[target] += change
        self._metrics.open_connections(target, self._open[target])

    def tell_identities(self, job: Job, aliases: Iterable[str]) -> None:
        """What the ledger says of them now; a failure may have put the whole pool to rest."""
        ledger, now = self._state.ledger, self._clock.wall()
        for alias in aliases:
            request = job.request("", Probe.SEND, alias, Trigger.SCHEDULE)
            self._metrics.identity_state(
                job.name,
                alias,
                held=ledger.held(request.user or "", now),
                budget=ledger.budget(request, now),
                resting=ledger.resting(request.user, request.key, now),
            )

    def row(self, job: Job) -> LandingTarget:
        """A target's state in words."""
        state = self._history.state(job.name)
        return LandingTarget(job.name, STATES.get(state.word, state.word.value), _detail(state))


STATES: Final = {Word.UNKNOWN: "not probed yet"}


def _detail(state: State) -> str:
    result = state.result
    if result is None:
        return ""
    if state.word is Word.UNKNOWN:
        return "nothing was proved by the sessions so far"
    if result.impairment is not None:
        return f"our own failure: {result.impairment}"
    return f"{state.probe}: {cause(result)}" if state.word is Word.FAILING else ""
