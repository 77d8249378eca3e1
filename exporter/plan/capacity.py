"""What a schedule could do to its backends, and the nearest one that does no harm.

Rule 1: each problem holds the arithmetic and what to write instead.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil
from typing import Final

from exporter.config import Problem
from exporter.plan.cadence import Cadence, microseconds, most_connects
from exporter.plan.job import Job
from exporter.result import Probe

MINUTE_MICROSECONDS: Final = microseconds(60)
MAX_INTERVAL_SECONDS: Final = 86_400
"""Seconds: the longest interval that the config takes."""
MAX_EVERY: Final = 10_000
"""The largest `every` that the config takes."""


def user_peaks(jobs: Sequence[Job]) -> Counter[str]:
    """User → slots held at most, over all targets that speak as this user to the same backend."""
    total: Counter[str] = Counter()
    for job in jobs:
        for _, user, peak in job.own_peaks():
            total[user] += peak
    return total


def host_rates(jobs: Sequence[Job]) -> dict[str, int]:
    """Host → connects in any minute at most, over all targets."""
    grids: dict[str, list[Cadence]] = {}
    for job in jobs:
        grids.setdefault(job.host, []).append(job.grid)
    return {host: most_connects(there, MINUTE_MICROSECONDS) for host, there in grids.items()}


def slot_problems(jobs: Sequence[Job], total: Counter[str]) -> Iterator[Problem]:
    """Targets whose schedule could hold more slots of a user than it may."""
    over = {index: job for index, job in enumerate(jobs) if _worst(job, total) > max(job.allowed or 0, 0)}
    for index, job in over.items():
        own = max(peak for _, _, peak in job.own_peaks())
        if not job.allowed or job.allowed < 1:
            yield Problem(_path(index, job, "limits"), _no_slot(job))
        elif own > job.allowed:
            yield Problem(_path(index, job, "interval"), _too_many(job, own, 0, _together(job, jobs)))
        elif not any(_share(job, over[later]) for later in over if later > index):  # the last one says it for all
            yield Problem(
                _path(index, job, "interval"), _too_many(job, own, _worst(job, total) - own, _together(job, jobs))
            )


def rate_problems(jobs: Sequence[Job], rates: dict[str, int]) -> Iterator[Problem]:
    """Hosts that the schedules connect to more often than is permitted."""
    for host, rate in rates.items():
        there = [(index, job) for index, job in enumerate(jobs) if job.host == host]
        index, first = min(there, key=lambda pair: pair[1].grid.interval)
        if first.rate is not None and rate > first.rate:
            safe = _safe_rate([job for _, job in there], first.rate)
            yield Problem(
                _path(index, first, "interval"),
                f"{host} would see up to {_many(rate, 'connect')} a minute from {_many(len(there), 'target')}, but "
                f"max_connects_per_minute is {first.rate}. Safe: "
                + (f"interval {safe}s" + (" for each of them" if len(there) > 1 else "") if safe else "fewer targets"),
            )


def _path(index: int, job: Job, field: str) -> str:
    return f"targets[{index}] ({job.name}).{field}"


def _many(count: int, thing: str) -> str:
    plural = thing.removesuffix("y") + "ies" if thing.endswith("y") else thing + "s"
    return f"{count} {thing if count == 1 else plural}"


def _no_slot(job: Job) -> str:
    limits = job.limits
    return (
        f"slots_per_identity {limits.slots_per_identity} less reserve {limits.reserve} leaves no slot to probe with: "
        "the backend must keep more slots, or limits.reserve, what is left to other clients of the user, be smaller "
        "(0 at least)"
    )


def _worst(job: Job, total: Counter[str]) -> int:
    """Give the most slots that a user of this target holds at once, over all targets; 0 if it has no limit."""
    return 0 if job.allowed is None else max((total[user] for user in job.users.values()), default=0)


def _share(job: Job, other: Job) -> bool:
    return not set(job.users.values()).isdisjoint(other.users.values())


def _together(job: Job, jobs: Sequence[Job]) -> list[Job]:
    """The targets that are tied to this one by shared users, itself first, directly or by way of others."""
    tied = [job]
    for one in tied:
        tied += [other for other in jobs if not any(other is known for known in tied) and _share(one, other)]
    return tied


def _too_many(job: Job, own: int, others: int, tied: Sequence[Job]) -> str:
    target, limits = job.target, job.limits
    sessions, pool = job.turns.most(job.span), len(job.users)
    sharers = " and ".join(other.name for other in tied[1:] if _share(job, other))
    shared = f", and up to {others} more of the same user by {sharers}" if others else ""
    return (
        f"up to {_many(sessions, 'session')} would begin within the {job.window:g}s that a slot may be held "
        f"(slot_release {limits.slot_release:g}s + timeout {target.timeout:g}s + close_timeout "
        f"{target.close_timeout:g}s): over {_many(pool, 'identity')} that is {_many(own, 'slot')} of one user at once"
        f"{shared}, but slots_per_identity {limits.slots_per_identity} less reserve {limits.reserve} allows "
        f"{job.allowed}. Safe: {', or '.join(_ways_out(job, others, tied))}"
    )


def _ways_out(job: Job, others: int, tied: Sequence[Job]) -> Iterator[str]:
    """Ways out, each enough by itself, whatever the targets are that share its users."""
    if len(tied) == 1:
        yield from _safe(job, job.allowed or 0)
        return
    interval = _joint_interval(tied)
    if interval is not None:
        yield f"interval {interval}s for each of {', '.join(other.name for other in tied)}, which share users"
    if others:
        yield from _safe(job, (job.allowed or 0) - others)
        yield "users of its own"
    else:
        yield f"users of its own and {next(_safe(job, job.allowed or 0))}"


def _joint_interval(tied: Sequence[Job]) -> int | None:
    """Give the smallest whole number of seconds at which all of these together hold no more slots than each allows.

    A target that is slower already stays as it is.
    """
    low, high = ceil(min(job.interval for job in tied)), MAX_INTERVAL_SECONDS + 1
    while low < high:
        middle = (low + high) // 2
        if _fits(tied, middle):
            high = middle
        else:
            low = middle + 1
    return low if low <= MAX_INTERVAL_SECONDS else None


def _fits(tied: Sequence[Job], seconds: int) -> bool:
    slowed = [job if job.interval >= seconds else replace(job, grid=Cadence.of(job.name, seconds)) for job in tied]
    total = user_peaks(slowed)
    return all(_worst(job, total) <= max(job.allowed or 0, 0) for job in slowed)


def _safe(job: Job, allowed: int) -> Iterator[str]:
    """The smallest change of one figure by which this target holds at most `allowed` slots of a user."""
    if allowed >= 1:
        interval = _safe_interval(job, allowed)
        if interval is not None:
            yield f"interval {interval}s"
        yield _many(ceil(job.turns.most(job.span) / allowed), "identity")
        every = job.span // (allowed * len(job.users)) + 1
        if job.tokenless and every <= MAX_EVERY:
            names = [f"probes.{probe}.every" for probe in job.probes if probe is not Probe.CONNECT]
            yield f"{' and '.join(names)} {every}"


def _safe_interval(job: Job, allowed: int) -> int | None:
    """Give the smallest whole number of seconds; the longer the interval, the fewer slots, so halve the range."""
    low, high = ceil(job.interval), ceil(job.window) + 1
    while low < high:
        middle = (low + high) // 2
        span = microseconds(job.window) // microseconds(middle)
        if ceil(job.turns.most(span) / len(job.users)) <= allowed:
            high = middle
        else:
            low = middle + 1
    return low if low <= MAX_INTERVAL_SECONDS else None


def _safe_rate(jobs: Sequence[Job], permitted: int) -> int | None:
    """Give an interval in whole seconds at which these targets together keep the rate; the smallest below 100 s."""
    seconds = max(ceil(60 * len(jobs) / permitted), int(max(job.open_for for job in jobs)) + 1)
    while seconds <= MAX_INTERVAL_SECONDS:
        if most_connects([Cadence.of(job.name, seconds) for job in jobs], MINUTE_MICROSECONDS) <= permitted:
            return seconds
        seconds += max(1, seconds // 100)
    return None
