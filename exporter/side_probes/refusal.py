"""The refusal probe: what must be refused is refused, the right way.

Rule 1: a run is one session with one credential. The ledger decides whether it may be sent (`budget.forgeries`).
Rule 2: a refusal in another way counts only while good tokens are let in, before it and after it: in an outage every
session ends in another way.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from exporter.classify import refusal_outcome
from exporter.plan import Job
from exporter.probing import ProbeRequest
from exporter.result import RefusalCase, RefusalOutcome, Result, Skip, Trigger
from exporter.side_probes.runner import RunSession, SideRun

_logger = logging.getLogger("exporter.side_probes")

PATIENCE_SECONDS: Final = 10.0
"""Seconds that a session waits for the end of another login of the backend, or of its user's other connection."""
LINES: Final = {
    RefusalOutcome.BYPASSED: (logging.ERROR, "a credential that must be refused was let in"),
    RefusalOutcome.WRONG_WAY: (logging.WARNING, "a credential was refused, but not as the profile says"),
    RefusalOutcome.INCONCLUSIVE: (logging.INFO, "a credential that must be refused met no decision"),
    RefusalOutcome.REFUSED: (logging.DEBUG, "a credential was refused as it must be"),
}


class RefusalSink(Protocol):
    """What the refusal probe reports to."""

    def record_refusal(self, target: str, case: RefusalCase, outcome: RefusalOutcome) -> None:
        """Record what became of one run."""


class RefusalProbe:
    """Runs the refusal probe of all targets. `passes`: whether the target of this name passed its last cycle."""

    def __init__(self, sink: RefusalSink, passes: Callable[[str], bool] = lambda _: True) -> None:
        self._sink = sink
        self._passes = passes

    async def run(self, run: SideRun, open_session: RunSession) -> None:
        """Send the credential of the run's case, and record what became of it."""
        job, case = run.job, RefusalCase(run.schedule.variant)
        identity = run.schedule.identity or next(iter(job.identities), None)
        request = ProbeRequest(
            job,
            run.number,
            Trigger.SIDE_PROBE,
            job.probes[-1],
            identity,
            patience=PATIENCE_SECONDS,
            due=run.due,
            refusal=case,
        )
        passed_before = self._passes(job.name)
        session = await open_session(request)
        outcome = (
            RefusalOutcome.SKIPPED if isinstance(session, Skip) else refusal_outcome(session, job.profile.refused_by)
        )
        if outcome is RefusalOutcome.WRONG_WAY and not (passed_before and await self._passes_next_cycle(job)):
            outcome = RefusalOutcome.INCONCLUSIVE
        self._sink.record_refusal(job.name, case, outcome)
        if isinstance(session, Result):
            _log(case, outcome, session)

    async def _passes_next_cycle(self, job: Job) -> bool:
        await asyncio.sleep(job.interval + job.open_for)
        return self._passes(job.name)


def _log(case: RefusalCase, outcome: RefusalOutcome, result: Result) -> None:
    level, text = LINES[outcome]
    keys = {
        "target": result.target,
        "case": case,
        "phase": result.phase,
        "reason": result.reason,
        "http_status": result.http_status,
        "close_code": result.close.code if result.close else None,
    }
    _logger.log(level, text, extra={"keys": {name: value for name, value in keys.items() if value is not None}})
