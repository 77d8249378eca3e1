"""The repeat runs of a failure that no confirm run may confirm.

A refused token is not sent again by a suspicion, and a pool of one has nobody to confirm what it met behind the 101.
There the same is asked again, one session after another, each twice `confirm.after` after the last failure. The ledger
takes a repeat run for a session beside the schedule: where it has no room, the cycles decide.
"""

from dataclasses import dataclass

from exporter.classify import OutageCause, causes_of
from exporter.plan import Job
from exporter.result import Probe, Reason, Result, Verdict
from exporter.scheduler.confirmation import NO_CONFIRM


@dataclass(frozen=True, slots=True)
class Repetition:
    """The next repeat run.

    failed: the result that gave reason
    at: seconds of the loop's clock
    left: how many may run, this one included
    """

    failed: Result
    at: float
    left: int

    def has_passed(self, passed: frozenset[Probe]) -> bool:
        """Whether what had failed is among the probes that passed when they last ran."""
        return any(verdict is Verdict.FAIL and probe in passed for probe, verdict in self.failed.verdicts.items())

    def after(self, result: Result, job: Job, now: float) -> "Repetition | None":
        """Return what follows the run's `result` at `now` (seconds of the loop's clock); None: enough is known."""
        if self.left <= 1 or not result.decided or not result.failed or result.reason is Reason.RATE_LIMITED:
            return None
        return Repetition(self.failed, now + job.repeat_after, self.left - 1)

    def identities(self, job: Job) -> tuple[str | None, ...]:
        """Return who may ask: the others of the pool, or its only one."""
        return job.confirming_identities(self.failed.identity) or (self.failed.identity,)


def repetition(job: Job, failed: Result, now: float) -> Repetition | None:
    """Return the repeat runs that follow a first failure at `now` (seconds of the loop's clock); None: none do.

    A refused token is an outage with the second one. A server that stops says nothing about the one that follows it.
    """
    stops = OutageCause.RESTARTING in causes_of(failed)
    if not job.confirm_runs or stops or failed.reason is Reason.RATE_LIMITED:
        return None
    return Repetition(failed, now + job.repeat_after, 1 if failed.reason in NO_CONFIRM else job.confirm_runs)
