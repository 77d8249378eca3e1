"""One target as the scheduler sees it: its job, its running task, and what waits; and the sinks of what happens."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol

from exporter.plan import Job
from exporter.probing import ProbeRequest
from exporter.result import Probe, Result, Skip, SuspicionOutcome, Verdict
from exporter.scheduler.confirmation import Confirmation
from exporter.scheduler.repetition import Repetition

RunSession = Callable[[ProbeRequest], Awaitable[Result | Skip]]


class ResultSinks(Protocol):
    """What the scheduler reports to."""

    def record_result(self, result: Result) -> None:
        """Record one finished session."""

    def record_cycle(self, result: Result) -> None:
        """Record the result that answers one scheduled cycle."""

    def record_skip(self, skip: Skip) -> None:
        """Record a scheduled cycle that opened no session."""

    def record_suspicion(self, target: str, outcome: SuspicionOutcome) -> None:
        """Record what became of a suspicion (`Scheduler.suspect`)."""

    def set_next_due(self, target: str, probe: Probe, at: float) -> None:
        """Set when a probe is next due, unix seconds."""

    def clock_stepped(self, seconds: float) -> None:
        """Note that the wall clock has stepped."""

    def job_changed(self, job: Job) -> None:
        """Note that this job now runs the target of its name."""


class DiscardingSinks:
    """Sinks of a removed target."""

    def record_result(self, *_: Any, **__: Any) -> None:
        """Discard the report."""

    record_cycle = record_skip = record_suspicion = set_next_due = clock_stepped = job_changed = record_result


@dataclass(slots=True)
class TargetSchedule:
    """The schedule of one target.

    first: no cycle is due before, unix seconds
    confirmation: confirm runs under way or to come
    queued_cycles: cycles that fell due meanwhile
    passed: probes that passed when they last ran
    pending_job: the job that replaces `job` when the target is idle
    cancelled: set when nothing may follow the running cycle
    trusted_until: no suspicion before, seconds of the loop's clock
    early: what confirmed the last cycle while its session waited; None: nothing did
    repetition: the repeat run to come; None: none is
    due_or_over: set when a cycle falls due, or when nothing may follow
    """

    job: Job
    sinks: ResultSinks
    first: float = 0.0
    started: bool = False
    task: asyncio.Task[None] | None = None
    confirmation: Confirmation | None = None
    queued_cycles: list[int] = field(default_factory=list)
    passed: frozenset[Probe] = frozenset()
    pending_job: Job | None = None
    cancelled: bool = False
    trusted_until: float = -inf
    early: Confirmation | None = None
    repetition: Repetition | None = None
    due_or_over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def keeps_due_cycles(self) -> bool:
        """Whether a cycle that falls due now waits until what runs is over."""
        return self.confirmation is not None or self.repetition is not None

    def may_be_suspected(self, now: float, depth: Probe = Probe.CONNECT) -> bool:
        """Whether confirm runs may start at `now` (seconds of the loop's clock) without a failed cycle before them.

        `depth`: of the session that gave reason; all its probes must have passed when they last ran.
        """
        idle = self.started and self.confirmation is None and not self.cancelled
        passed = all(probe in self.passed for probe in self.job.probes if probe.rank <= depth.rank)
        return idle and passed and now >= self.trusted_until

    def cancel(self) -> None:
        """Let nothing follow what runs now."""
        self.cancelled = True
        self.due_or_over.set()
        if self.confirmation is not None:
            self.confirmation.end()

    def is_first_failure(self, result: Result) -> bool:
        """Record the verdicts; True if a probe failed that passed when it last ran."""
        failed = {probe for probe, verdict in result.verdicts.items() if verdict is Verdict.FAIL}
        first = not failed.isdisjoint(self.passed)
        passed = {probe for probe, verdict in result.verdicts.items() if verdict is Verdict.PASS}
        self.passed = (self.passed | passed) - failed
        return first
