"""Passes results and events of the scheduler on to metrics, history, log and listeners.

Rule 1: this module decides nothing.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from exporter import log
from exporter.budget import refusal_id
from exporter.daemon.services import Services
from exporter.daemon.status_source import identity_statuses_of
from exporter.metrics import target_series
from exporter.plan import Job
from exporter.report import TargetContext, find_layer
from exporter.result import Probe, RefusalCase, RefusalOutcome, Result, Skip, SuspicionOutcome, Trigger

_logger = logging.getLogger("exporter.daemon")


@dataclass(frozen=True, slots=True)
class ResultListeners:
    """Callbacks for results, skips and changed jobs; `keep`: stores a result over a restart."""

    on_result: Callable[[Result], None] = field(default=lambda _: None)
    on_skip: Callable[[Skip], None] = field(default=lambda _: None)
    keep: Callable[[Result], None] = field(default=lambda _: None)
    on_job_changed: Callable[[Job], None] = field(default=lambda _: None)


class ResultDispatcher:
    """Fulfils `scheduler.ResultSinks`."""

    def __init__(self, services: Services, listeners: ResultListeners) -> None:
        self._services = services
        self._jobs = services.jobs
        self._metrics = services.metrics
        self._history = services.history
        self._changes = services.changes
        self._state = services.state
        self._clock = services.clock
        self._listeners = listeners
        self._open: Counter[str] = Counter()
        self._contexts: dict[str, TargetContext] = {}

    def add_target(self, job: Job) -> None:
        """Make the series of a new target. A session of a removed target of the same name may still be open."""
        self._set_job(job)
        self._changes.record(job.name)
        self._register(job)
        self._metrics.set_open_connections(job.name, self._open[job.name])

    def job_changed(self, job: Job) -> None:
        """Update the series of a changed target: add new ones, drop those it no longer has, keep the others."""
        before = self._jobs[job.name]
        self._set_job(job)
        if job.target is not before.target:
            self._changes.record(job.name)
            self._register(job)
            if job.target.url != before.target.url:
                self._metrics.clear_learned(job.name)
            if job.target.hold != before.target.hold or job.target.url != before.target.url:
                self._history.set_held_connection(job.name, None)
            self.update_identities(job, job.identities)
        self._listeners.on_job_changed(job)

    def remove_target(self, name: str) -> None:
        """Drop everything about a target."""
        del self._jobs[name], self._contexts[name]
        self._metrics.remove_target(name)
        self._history.remove(name)
        self._changes.remove(name)
        self._drop_count(name)

    def _set_job(self, job: Job) -> None:
        self._jobs[job.name] = job
        self._contexts[job.name] = TargetContext.of(job)

    def _register(self, job: Job) -> None:
        self._metrics.add_target(target_series(job.target, job.profile), self._clock.wall())
        self._metrics.set_auth_bypassed(job.name, bypassed=job.target.allow_auth_bypass)
        self._history.set_probes(job.name, job.probes)
        self._restore_refusals(job)

    def record_result(self, result: Result) -> None:
        """Record a finished session."""
        job = self._jobs[result.target]
        self._metrics.record_result(result, find_layer(result, self._contexts[job.name]) if result.failed else None)
        self._history.add(result)
        self._changes.sessions += 1
        self._changes.record(result.target)
        self._listeners.keep(result)
        log.log_session(result)
        self._listeners.on_result(result)
        own = () if result.identity is None else (result.identity,)
        self.update_identities(job, job.identities if result.failed else own)

    def record_cycle(self, result: Result) -> None:
        """Record the verdicts of a scheduled cycle."""
        self._metrics.record_cycle(result)
        self._history.add_cycle(result)
        self._changes.record(result.target)

    def record_skip(self, skip: Skip) -> None:
        """Record a cycle that opened no session."""
        self._metrics.record_skip(skip)
        self._history.add_skip(skip, self._clock.wall())
        self._changes.skips[skip.cause] += 1
        self._changes.record(skip.target)
        self._listeners.on_skip(skip)

    def record_suspicion(self, target: str, outcome: SuspicionOutcome) -> None:
        """Record what became of a suspicion."""
        self._metrics.record_suspicion(target, outcome)

    def record_refusal(self, target: str, case: RefusalCase, outcome: RefusalOutcome) -> None:
        """Record what became of a credential that must be refused; a decision outlives a restart, by the ledger."""
        self._metrics.record_refusal(target, case, outcome)
        job = self._jobs.get(target)
        if job is not None and outcome.is_decided:
            with self._state.transaction() as ledger:
                ledger.record_refusal(refusal_id(target, job.endpoint, case), outcome, self._clock.wall())

    def _restore_refusals(self, job: Job) -> None:
        """Show the last decisions about this URL: a case that runs once a day must not be unknown until tomorrow."""
        refusals = job.target.refusals
        if refusals is None:
            return
        with self._state.transaction() as ledger:
            for case in refusals.cases:
                outcome = ledger.refusal_outcome(refusal_id(job.name, job.endpoint, case), self._clock.wall())
                self._metrics.set_refusal(job.name, case, outcome)

    def set_next_due(self, target: str, probe: Probe, at: float) -> None:
        """Record when (unix seconds) a probe runs next."""
        self._metrics.set_due(target, probe, at)

    def clock_stepped(self, seconds: float) -> None:
        """Shift the ledger after a step of the wall clock."""
        _logger.warning("the wall clock stepped by %.1f s: the schedule of every target is recomputed", seconds)
        self._state.shift_times(seconds)

    def opened(self, target: str, change: int) -> None:
        """Add `change` to the number of open connections of a target."""
        self._open[target] += change
        self._metrics.set_open_connections(target, self._open[target])
        self._drop_count(target)

    def _drop_count(self, target: str) -> None:
        if target not in self._jobs and not self._open[target]:
            del self._open[target]

    def update_identities(self, job: Job, aliases: Iterable[str]) -> None:
        """Update the metrics of these identities from the ledger, and that of the target's token."""
        if job.key is not None:
            request = job.session_cost("", job.probes[-1], None, Trigger.SCHEDULE)
            rest = self._state.ledger.token_cooldown(request, self._clock.wall())
            self._metrics.set_token_resting(
                job.name, resting=rest is not None, rejected=rest is not None and rest.rejected
            )
        for status in identity_statuses_of(self._services, job, aliases):
            held, budget, resting = status.held, status.budget, status.resting
            self._metrics.set_identity(job.name, status.alias, held=held, budget=budget, resting=resting)
