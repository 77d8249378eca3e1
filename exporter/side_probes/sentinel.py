"""The sentinel: anonymous connects between the cycles, whose failure starts the confirm runs of the pool at once.

Rule 1: a sentinel's own session is no verdict, no cycle and no part of an outage: it is a reason to look.
"""

from collections.abc import Callable
from typing import Protocol

from exporter import log
from exporter.probing import ProbeRequest, TimeLimits
from exporter.result import Probe, Reason, Result, SentinelOutcome, Skip, Trigger
from exporter.session import Overdue
from exporter.side_probes.runner import RunSession, SideRun

RecordOutcome = Callable[[str, SentinelOutcome], None]
"""Gets a target's name, and what its sentinel's connect came to."""


class Suspect(Protocol):
    """Starts the confirm runs of a target."""

    def __call__(self, name: str, overdue_seconds: float = 0.0, /) -> None:
        """Get the target's name, and for how long the answer has been overdue that it still waits for."""


class ConnectSentinel:
    """Does the runs of all sentinels."""

    def __init__(self, suspect: Suspect, record: RecordOutcome) -> None:
        self._suspect = suspect
        self._record = record

    async def run(self, run: SideRun, open_session: RunSession) -> None:
        """Connect once; a connect that waits longer than usual is a reason to look before it has failed."""
        name = run.job.name
        result = await open_session(_request(run, lambda overdue: self._suspect(name, overdue.seconds)))
        outcome = sentinel_outcome(result)
        self._record(name, outcome)
        if isinstance(result, Result) and outcome is SentinelOutcome.FAILED:
            log.log_session(result)
            self._suspect(name)


def sentinel_outcome(result: Result | Skip) -> SentinelOutcome:
    """Return what the connect came to; one that limits the rate, or that the exporter itself spoiled, shows nothing."""
    if isinstance(result, Skip):
        return SentinelOutcome.SKIPPED
    if result.impairment is not None or result.void or result.distorted or not result.decided:
        return SentinelOutcome.INCONCLUSIVE
    if not result.failed:
        return SentinelOutcome.PASSED
    return SentinelOutcome.INCONCLUSIVE if result.reason in UNSUSPICIOUS else SentinelOutcome.FAILED


UNSUSPICIOUS = frozenset({Reason.RATE_LIMITED, Reason.AUTH_REJECTED, Reason.AUTH_UNAVAILABLE})
"""Reasons that are the backend's policy towards us, or that no confirm run follows."""


def _request(run: SideRun, report_overdue: Callable[[Overdue], None]) -> ProbeRequest:
    job, limit = run.job, run.job.sentinel_limit
    within = TimeLimits(limit, limit + job.target.close_timeout)
    return ProbeRequest(
        job, run.number, Trigger.SIDE_PROBE, Probe.CONNECT, None, within, due=run.due, report_overdue=report_overdue
    )
