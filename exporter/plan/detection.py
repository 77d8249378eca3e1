"""How long an outage lasts before it pages: what a schedule means for detection.

Rule 1: from the first moment of the outage to the session that establishes it (`classify.outage`), and from there to
the page: a scrape, an evaluation of the rules, and the group of the shipped Alertmanager.
"""

from enum import StrEnum
from typing import Final, NamedTuple, Self

from exporter.classify import MIN_FAILURES, MIN_FAILURES_OF_CAUSE, OutageCause
from exporter.classify.usual_waits import MIN_OVERDUE_SECONDS
from exporter.plan.job import Job
from exporter.result import Probe

MINUTES_FROM_SECONDS: Final = 180.0
"""Seconds from which minutes are shown."""
HOURS_FROM_SECONDS: Final = 3 * 3600.0
GROUP_SECONDS: Final = 0.5
"""Seconds that the shipped Alertmanager waits before it notifies (`group_wait` of pages)."""


SHIPPED_STEPS: Final = 5.0, 15.0
"""Seconds between scrapes, and between evaluations: those of the shipped examples, and Prometheus's usual ones."""


class OutageKind(StrEnum):
    """What sessions meet."""

    REFUSED = "connects that are refused"
    SILENT = "connects that nothing answers"
    TURNED_AWAY = "clients turned away after the 101"
    TOKENS = "refused tokens"


class Seconds(NamedTuple):
    """Seconds until something: in the median of all moments at which an outage may begin, and at most."""

    median: float
    most: float

    def paged(self, step: float) -> Self:
        """Return the seconds to the page, if scrapes and evaluations are `step` seconds apart."""
        return type(self)(self.median + step + GROUP_SECONDS, self.most + 2 * step + GROUP_SECONDS)


def expected_detection(job: Job, kind: OutageKind) -> Seconds | None:
    """Return when an outage of this kind is established if it begins while all is usual; None: it cannot be seen."""
    if kind is OutageKind.TOKENS:
        needed = MIN_FAILURES_OF_CAUSE[OutageCause.AUTH_REJECTED]
        sends_tokens = job.carrier is not None and Probe.AUTH in job.probes
        return (
            _by_cycles(job, job.interval * job.every(Probe.AUTH), needed, 0.0, repeats=True) if sends_tokens else None
        )
    of_connects, deepest = kind is not OutageKind.TURNED_AWAY, job.probes[-1]
    if not of_connects and deepest is Probe.CONNECT:
        return None
    cycle = job.interval * (1 if of_connects else job.every(deepest))
    waits = job.target.timeout if kind is OutageKind.SILENT else 0.0
    runs = _confirm_runs(job, of_connects=of_connects)
    if runs < MIN_FAILURES - 1:
        return _by_cycles(job, cycle, MIN_FAILURES - runs, waits, repeats=not runs)
    rest = _until_third_timeout(job) if waits else (MIN_FAILURES - 1) * job.confirm_after
    if not of_connects or job.target.sentinel is None:
        return Seconds(cycle / 2 + rest, cycle + rest)
    first = job.target.sentinel.every
    return Seconds(first / 2 + rest, first + (_held_up(job, first) if waits else 0.0) + rest)


def detection_text(job: Job) -> str:
    """Return what a schedule means for detection, in one sentence."""
    kinds = ((kind, expected_detection(job, kind)) for kind in OutageKind)
    parts = [f"{kind} {_pages_text(seconds)}" for kind, seconds in kinds if seconds is not None]
    return (
        "from an outage to its page, in the median and at most, if Prometheus scrapes and evaluates every "
        f"{SHIPPED_STEPS[0]:g} s (every {SHIPPED_STEPS[1]:g} s): {'; '.join(parts)}"
    )


def _held_up(job: Job, every: float) -> float:
    """Return the seconds from a sentinel to a cycle that begins before the sentinel's wait is overdue; 0: none does."""
    gap = job.interval % every or every
    return gap if gap < MIN_OVERDUE_SECONDS else 0.0


def _by_cycles(job: Job, cycle: float, needed: int, waits: float, *, repeats: bool) -> Seconds:
    """Return when `needed` cycles have failed, if each `waits`; `repeats`: repeat runs follow where there is room."""
    sooner = min(needed - 1, job.confirm_runs, _spare_slots(job)) if repeats else 0
    rest = waits + sooner * min(cycle, job.repeat_after + waits) + (needed - 1 - sooner) * cycle
    return Seconds(cycle / 2 + rest, cycle + rest)


def _spare_slots(job: Job) -> int:
    """Return how many sessions beside the schedule certainly find a slot, by the user with the fewest."""
    if job.allowed_slots is None or not job.users:
        return MIN_FAILURES
    return min(job.allowed_slots - peak for peak in job.peaks.values())


def _until_third_timeout(job: Job) -> float:
    """Return the seconds from the first connect that waits to the third failure (`scheduler.confirmation`)."""
    each, after = job.target.timeout, max(job.confirm_after, MIN_OVERDUE_SECONDS)
    others = len(job.identities) - 1
    if not job.identities or job.connects_anonymously:
        others = MIN_FAILURES
    second = after if others else max(after, each)
    third = max(2 * job.confirm_after, MIN_OVERDUE_SECONDS)
    return (third if others >= MIN_FAILURES - 1 else max(third, second + each)) + each


def _confirm_runs(job: Job, *, of_connects: bool) -> int:
    """Return how many confirm runs certainly follow a first failure."""
    if not of_connects and len(job.users) == 1:
        return 0
    if job.allowed_slots is None or not job.users or (of_connects and job.connects_anonymously):
        return job.confirm_runs
    return min(job.confirm_runs, sum(job.allowed_slots - peak for peak in job.peaks.values()))


def _pages_text(seconds: Seconds) -> str:
    soon, later = (_range_text(*seconds.paged(step)) for step in SHIPPED_STEPS)
    return f"{soon} ({later})"


def _range_text(median: float, most: float) -> str:
    if most <= MINUTES_FROM_SECONDS:
        return f"{median:.0f} and {most:.0f} s"
    if most <= HOURS_FROM_SECONDS:
        return f"{_number_text(median, 60.0)} and {_number_text(most, 60.0)} min"
    return f"{_number_text(median, 3600.0)} and {_number_text(most, 3600.0)} h"


def _number_text(seconds: float, unit: float) -> str:
    """Format with one decimal, without `.0`."""
    return f"{seconds / unit:.1f}".removesuffix(".0")
