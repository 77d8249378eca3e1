"""How long an outage lasts before it pages: what a schedule means for detection.

Rule 1: from the first moment of the outage to the session that establishes it (`classify.outage`). A scrape and a rule
evaluation come on top.
"""

from typing import Final

from exporter.classify import MIN_FAILURES, MIN_FAILURES_OF_CAUSE, OutageCause
from exporter.plan.job import Job
from exporter.result import Probe

MINUTES_FROM_SECONDS: Final = 180.0
"""Seconds from which minutes are shown."""
HOURS_FROM_SECONDS: Final = 3 * 3600.0


def detection(job: Job, probe: Probe) -> tuple[float, float]:
    """Return the least and the most seconds until an outage that this probe shows is established.

    Least: the outage begins right before a cycle, and sessions fail at once. Most: it begins right after a cycle has
    passed, and each session fails by its timeout.
    """
    cycle, each = job.interval * job.every(probe), job.target.timeout
    runs = _confirm_runs(job)
    if runs >= MIN_FAILURES - 1:
        last = max(runs * job.confirm_after, job.confirm_after + each)
        return runs * job.confirm_after, cycle + each + last + each
    return max(cycle, runs * job.confirm_after) if runs else (MIN_FAILURES - 1) * cycle, MIN_FAILURES * cycle + each


def token_detection(job: Job) -> tuple[float, float]:
    """Return the same for refused tokens, which no confirm run follows."""
    cycle, needed = job.interval * job.every(Probe.AUTH), MIN_FAILURES_OF_CAUSE[OutageCause.AUTH_REJECTED]
    return (needed - 1) * cycle, needed * cycle + job.target.timeout


def sentinel_detection(job: Job) -> tuple[float, float, float] | None:
    """Return the seconds until an outage of connects that a sentinel meets is established; None: as without.

    Least: the outage begins right before a connect of the sentinel. Then the most, if connects fail at once, and if
    each fails by its timeout: then a cycle may begin right before the sentinel's connect fails, and is waited for.
    """
    sentinel, after, each = job.target.sentinel, job.confirm_after, job.target.timeout
    runs = _confirm_runs(job)
    if sentinel is None or runs < MIN_FAILURES - 1:
        return None
    slowly = each + max(runs * after, after + each) + each
    return runs * after, sentinel.every + runs * after, sentinel.every + job.sentinel_limit + slowly


def detection_text(job: Job) -> str:
    """Return what a schedule means for detection, in one sentence."""
    parts = [f"an outage pages {_range_text(*detection(job, Probe.CONNECT))} after it begins"]
    seconds = sentinel_detection(job)
    if seconds is not None:
        least, at_once, slowly = seconds
        parts.append(
            f"what the sentinel sees, {_range_text(least, at_once)} if connects fail at once, "
            f"{_range_text(least, slowly)} if they time out"
        )
    rare_probes = (probe for probe in job.probes if job.every(probe) > 1)
    parts += [f"what only {probe} sees, {_range_text(*detection(job, probe))}" for probe in rare_probes]
    if job.carrier is not None and Probe.AUTH in job.probes:
        parts.append(f"refused tokens, {_range_text(*token_detection(job))}")
    return "; ".join(parts) + "; a scrape and an evaluation of the rules come on top"


def _confirm_runs(job: Job) -> int:
    """Return how many confirm runs certainly follow a first failure."""
    if job.users and len(job.users) == 1:
        return 0
    if job.allowed_slots is None or not job.users:
        return job.confirm_runs
    return min(job.confirm_runs, sum(job.allowed_slots - peak for peak in job.peaks.values()))


def _range_text(least: float, most: float) -> str:
    if most <= MINUTES_FROM_SECONDS:
        return f"{least:.0f} to {most:.0f} s"
    if most <= HOURS_FROM_SECONDS:
        return f"{_number_text(least, 60.0)} to {_number_text(most, 60.0)} min"
    return f"{_number_text(least, 3600.0)} to {_number_text(most, 3600.0)} h"


def _number_text(seconds: float, unit: float) -> str:
    """Format with one decimal, without `.0`."""
    return f"{seconds / unit:.1f}".removesuffix(".0")
