"""How often sentinels may connect where the backend counts connects without a token as failed logins.

Rule 1: as of `side_load`.
Rule 2: a breaker belongs to a backend: what counts is what all its targets do between two logins of any of them, and
each target must be safe by itself, too, since the others may be taken away.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from math import ceil, inf, lcm
from typing import Final

from exporter.budget import max_connects_without_token
from exporter.config import Problem
from exporter.plan.cadence import Cadence, max_connects
from exporter.plan.job import Job
from exporter.result import SideProbe

MAX_MOMENTS: Final = 20_000
"""Connects up to which a whole period of the schedules is looked at; longer ones get an upper bound."""


def sentinel_problems(jobs: Sequence[Job]) -> Iterator[Problem]:
    """Yield a problem for each sentinel that would bring a breaker of its backend too close to opening."""
    backends: dict[str, dict[int, Job]] = {}
    for index, job in enumerate(jobs):
        backends.setdefault(job.authority, {})[index] = job
    for at_backend in backends.values():
        yield from _problems_at(at_backend)


def _problems_at(jobs: dict[int, Job]) -> Iterator[Problem]:
    """Yield the problems of one backend: sentinels that are too much by themselves, else the first one too many."""
    guarded = [index for index, job in jobs.items() if job.target.sentinel is not None and _permitted(job) < inf]
    alone = {index: _most_connects({index: jobs[index]}, [index]) for index in guarded}
    faulty = [index for index in guarded if alone[index] > _permitted(jobs[index])]
    for index in faulty:
        yield _problem(index, jobs[index], _own_text(jobs[index], alone[index]))
    if faulty or not guarded:
        return
    permitted = min(_permitted(jobs[index]) for index in guarded)
    numbers = range(len(guarded) + 1)
    excess = bisect_right(numbers, permitted, key=lambda number: _most_connects(jobs, guarded[:number]))
    fitting = max(0, excess - 1)
    if fitting < len(guarded):
        connects = _most_connects(jobs, guarded[: fitting + 1])
        index = guarded[fitting]
        yield _problem(index, jobs[index], _shared_text(jobs[index], len(jobs) - 1, fitting, connects))


def _problem(index: int, job: Job, text: str) -> Problem:
    return Problem(f"targets[{index}] ({job.name}).sentinel.every", text)


def _permitted(job: Job) -> float:
    """Return how many connects without a token the strictest breaker permits in a row; infinite: none counts them."""
    most = [max_connects_without_token(breaker) for breaker in job.profile.breaker] if job.tokenless else []
    return min((number for number in most if number is not None), default=inf)


def _most_connects(jobs: dict[int, Job], sentinels: Collection[int]) -> int:
    """Return the most connects without a token between two logins, by all cycles and these sentinels.

    Exact where the schedules repeat soon. 0 without any login: then the breaker stops the cycles as well.
    """
    logins = [cadence for job in jobs.values() if job.key for cadence in _cycles(job, takes_slot=True)]
    connects = [cadence for job in jobs.values() if job.tokenless for cadence in _cycles(job, takes_slot=False)]
    connects += [cadence for index in sentinels for cadence in _sentinel(jobs[index])]
    if not logins:
        return 0
    period = lcm(*(cadence.interval_us for cadence in (*logins, *connects)))
    if sum(period // cadence.interval_us for cadence in (*logins, *connects)) > MAX_MOMENTS:
        return max_connects(connects, min(cadence.interval_us for cadence in logins))
    moments = sorted(
        ((cadence.offset_us + turn * cadence.interval_us) % period, is_login)
        for is_login, cadences in ((False, connects), (True, logins))
        for cadence in cadences
        for turn in range(period // cadence.interval_us)
    )
    return _longest_run([is_login for _, is_login in moments])


def _longest_run(is_login: Sequence[bool]) -> int:
    """Return the most moments in a row that are no login, in a period that repeats and has at least one."""
    first = is_login.index(True)
    longest = run = 0
    for ends in (*is_login[first:], *is_login[: first + 1]):
        run = 0 if ends else run + 1
        longest = max(longest, run)
    return longest


def _cycles(job: Job, *, takes_slot: bool) -> Iterator[Cadence]:
    """Yield cadences of the job's cycles that send a token, or of those that do not."""
    pattern, cadence = job.slot_pattern, job.cadence
    period_us = pattern.period * cadence.interval_us
    for cycle in range(pattern.period):
        if pattern.takes_slot(cycle) is takes_slot:
            yield Cadence(period_us, cadence.offset_us + cycle * cadence.interval_us)


def _sentinel(job: Job) -> Iterator[Cadence]:
    for schedule in job.side_schedules:
        if schedule.probe is SideProbe.SENTINEL:
            yield from schedule.cadence.parts()


def _own_text(job: Job, connects: int) -> str:
    cycles = job.slot_pattern.period // max(1, len(job.slot_pattern.slot_cycles))
    runs = (int(_permitted(job)) - (cycles - 1)) // cycles
    safe = f"every {ceil(job.interval / (runs + 1))}s" if runs > 0 else "no sentinel, or more frequent logins"
    return (
        f"up to {connects} connects without a token would lie between two logins, {cycles * job.interval:g}s apart. "
        f"{_breaker_text(job)}. Safe: {safe}"
    )


def _shared_text(job: Job, others: int, fitting: int, connects: int) -> str:
    """`others`: targets at the same backend; `fitting`: how many sentinels before this one are safe."""
    targets = f"{others} other target{'s' * (others > 1)}"
    safe = "only the sentinels of targets before this one" if fitting else "no sentinel"
    return (
        f"together with {targets} at {job.authority}, up to {connects} connects without a token would lie between two "
        f"logins. {_breaker_text(job)}. Safe: {safe} at this backend, or more frequent logins"
    )


def _breaker_text(job: Job) -> str:
    return (
        f"The backend's breaker counts them as failed logins (profile {job.target.profile}), and permits "
        f"{_permitted(job)} with room for others"
    )
