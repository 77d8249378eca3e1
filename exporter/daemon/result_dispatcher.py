"""Who is told of what happens: metrics, history, the log, and whoever else listens.

Rule 1: passes on, decides nothing.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from exporter import log
from exporter.daemon.services import Services
from exporter.daemon.status_source import identities
from exporter.metrics import target_series
from exporter.plan import Job
from exporter.result import Probe, Result, Skip, Trigger

_logger = logging.getLogger("exporter.daemon")


@dataclass(frozen=True, slots=True)
class ResultListeners:
    """Whoever else wants to know; `keep`: what keeps results over a restart."""

    on_result: Callable[[Result], None] = field(default=lambda _: None)
    on_skip: Callable[[Skip], None] = field(default=lambda _: None)
    keep: Callable[[Result], None] = field(default=lambda _: None)


class ResultDispatcher:
    """The sinks of the scheduler (`scheduler.ResultSinks`)."""

    def __init__(self, ground: Services, listeners: ResultListeners) -> None:
        self._ground = ground
        self._jobs = ground.jobs
        self._metrics = ground.metrics
        self._history = ground.history
        self._news = ground.news
        self._state = ground.state
        self._clock = ground.clock
        self._listeners = listeners
        self._open: Counter[str] = Counter()

    def came(self, job: Job) -> None:
        """Make the series of a new target. A session of one that had its name before may be open still."""
        self._jobs[job.name] = job
        self._news.of(job.name)
        self._show(job)
        self._metrics.set_open_connections(job.name, self._open[job.name])

    def changed(self, job: Job) -> None:
        """Make the series that the target has now, and drop those that it has no more; what both have, stays."""
        before = self._jobs[job.name]
        self._jobs[job.name] = job
        if job.target is before.target:
            return
        self._news.of(job.name)
        self._show(job)
        if job.target.url != before.target.url:
            self._metrics.clear_learned(job.name)
        self.tell_identities(job, job.identities)

    def went(self, name: str) -> None:
        """Drop everything that is known of a target."""
        del self._jobs[name]
        self._metrics.remove_target(name)
        self._history.remove(name)
        self._news.forget(name)
        self._tidy_open(name)

    def _show(self, job: Job) -> None:
        self._metrics.add_target(target_series(job.target, job.profile))
        self._metrics.set_auth_bypassed(job.name, bypassed=job.target.allow_auth_bypass)
        self._history.set_probes(job.name, job.probes)

    def observe(self, result: Result) -> None:
        """Tell everybody of a finished session."""
        self._metrics.record_result(result)
        self._history.add(result)
        self._news.sessions += 1
        self._news.of(result.target)
        self._listeners.keep(result)
        log.session(result)
        self._listeners.on_result(result)
        job = self._jobs[result.target]
        own = () if result.identity is None else (result.identity,)
        self.tell_identities(job, job.identities if result.failed else own)

    def cycle(self, result: Result) -> None:
        """Count the verdict of a scheduled cycle."""
        self._metrics.record_cycle(result)
        self._history.add_cycle(result)
        self._news.of(result.target)

    def skip(self, skip: Skip) -> None:
        """Count a cycle that opened no session."""
        self._metrics.record_skip(skip)
        self._history.add_skip(skip, self._clock.wall())
        self._news.skips[skip.cause] += 1
        self._news.of(skip.target)
        self._listeners.on_skip(skip)

    def due(self, target: str, probe: Probe, at: float) -> None:
        """Tell when a probe runs next."""
        self._metrics.set_due(target, probe, at)

    def stepped(self, seconds: float) -> None:
        """Follow a step of the wall clock."""
        _logger.warning("the wall clock stepped by %.1f s: every target is planned anew", seconds)
        self._state.shift_times(seconds)

    def opened(self, target: str, change: int) -> None:
        """Count the open connections of a target."""
        self._open[target] += change
        self._metrics.set_open_connections(target, self._open[target])
        self._tidy_open(target)

    def _tidy_open(self, target: str) -> None:
        if target not in self._jobs and not self._open[target]:
            del self._open[target]

    def tell_identities(self, job: Job, aliases: Iterable[str]) -> None:
        """What the ledger says of them now; a failure may have put the whole pool to rest."""
        if job.key is not None:
            request = job.request("", job.probes[-1], None, Trigger.SCHEDULE)
            rest = self._state.ledger.token_cooldown(request, self._clock.wall())
            self._metrics.set_token_resting(
                job.name, resting=rest is not None, rejected=rest is not None and rest.rejected
            )
        for one in identities(self._ground, job, aliases):
            self._metrics.set_identity(job.name, one.alias, held=one.held, budget=one.budget, resting=one.resting)
