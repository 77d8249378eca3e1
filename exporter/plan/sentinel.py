"""How often a sentinel may connect where the backend counts connects without a token as failed logins.

Rule 1: as of `side_load`.
"""

from collections.abc import Iterator, Sequence
from math import ceil

from exporter.budget import max_connects_without_token
from exporter.config import Problem
from exporter.plan.job import Job
from exporter.result import Probe


def sentinel_problems(jobs: Sequence[Job]) -> Iterator[Problem]:
    """Yield a problem for each sentinel that would bring a breaker of its backend too close to opening."""
    for index, job in enumerate(jobs):
        sentinel, permitted = job.target.sentinel, _permitted(job)
        if sentinel is None or permitted is None or not job.tokenless:
            continue
        cycles = min(job.every(probe) for probe in job.probes if probe is not Probe.CONNECT)
        seconds = cycles * job.interval
        connects = ceil(seconds / sentinel.every) + cycles - 1
        if connects <= permitted:
            continue
        left = permitted - (cycles - 1)
        safe = f"every {ceil(seconds / left)}s" if left > 1 else "no sentinel, or more frequent logins"
        yield Problem(
            f"targets[{index}] ({job.name}).sentinel.every",
            f"up to {connects} connects without a token would lie between two logins, {seconds:g}s apart. The "
            f"backend's breaker counts them as failed logins (profile {job.target.profile}), and permits {permitted} "
            f"with room for others. Safe: {safe}",
        )


def _permitted(job: Job) -> int | None:
    """Return how many connects without a token the strictest breaker permits in a row; None: none counts them."""
    most = [max_connects_without_token(breaker) for breaker in job.profile.breaker]
    return min((number for number in most if number is not None), default=None)
