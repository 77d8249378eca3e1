"""How long an outage goes on before it pages: what a schedule means for detection.

Rule 1: from the outage's first moment to the session that makes it one (`classify.outage`). A scrape and an evaluation
of the rules come on top.
"""

from typing import Final

from exporter.classify import MIN_FAILURES, MIN_FAILURES_OF_CAUSE, OutageCause
from exporter.plan.job import Job
from exporter.result import Probe

MINUTES_FROM_SECONDS: Final = 180.0
"""Seconds from which on minutes are told."""
HOURS_FROM_SECONDS: Final = 3 * 3600.0


def detection(job: Job, probe: Probe) -> tuple[float, float]:
    """Seconds at least and at most until an outage that this probe shows stands.

    At least: it begins right before a cycle, and sessions fail at once. At most: it begins right after a cycle has
    passed, and each session fails by its timeout.
    """
    cycle, each = job.interval * job.every(probe), job.target.timeout
    runs = _confirm_runs(job)
    if runs >= MIN_FAILURES - 1:
        last = max(runs * job.confirm_after, job.confirm_after + each)
        return runs * job.confirm_after, cycle + each + last + each
    return max(cycle, runs * job.confirm_after) if runs else (MIN_FAILURES - 1) * cycle, MIN_FAILURES * cycle + each


def token_detection(job: Job) -> tuple[float, float]:
    """The same for refused tokens, which no confirm run follows."""
    cycle, needed = job.interval * job.every(Probe.AUTH), MIN_FAILURES_OF_CAUSE[OutageCause.AUTH_REJECTED]
    return (needed - 1) * cycle, needed * cycle + job.target.timeout


def in_words(job: Job) -> str:
    """What a schedule means for detection, in one sentence."""
    parts = [f"an outage pages {_between(*detection(job, Probe.CONNECT))} after it begins"]
    seldom = (probe for probe in job.probes if job.every(probe) > 1)
    parts += [f"what only {probe} sees, {_between(*detection(job, probe))}" for probe in seldom]
    if job.carrier is not None and Probe.AUTH in job.probes:
        parts.append(f"refused tokens, {_between(*token_detection(job))}")
    return "; ".join(parts) + "; a scrape and an evaluation of the rules come on top"


def _confirm_runs(job: Job) -> int:
    """How many confirm runs surely follow a first failure."""
    if job.users and len(job.users) == 1:
        return 0
    if job.allowed is None or not job.users:
        return job.confirm_runs
    return min(job.confirm_runs, sum(job.allowed - peak for peak in job.peaks.values()))


def _between(least: float, most: float) -> str:
    if most <= MINUTES_FROM_SECONDS:
        return f"{least:.0f} to {most:.0f} s"
    if most <= HOURS_FROM_SECONDS:
        return f"{_shown(least, 60.0)} to {_shown(most, 60.0)} min"
    return f"{_shown(least, 3600.0)} to {_shown(most, 3600.0)} h"


def _shown(seconds: float, unit: float) -> str:
    """One digit after the point where it says something."""
    return f"{seconds / unit:.1f}".removesuffix(".0")
