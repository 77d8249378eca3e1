"""The check of the person on call: sessions now, by the plan, the prober and the ledger of the daemon.

Rule 1: a check takes no slot that the schedule needs; it is refused with a cause, never queued.
Rule 2: its sessions enter the ledger and no counter.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from exporter import __version__
from exporter.files import KeyRing
from exporter.host import Clock
from exporter.plan import Job
from exporter.probing import Prober, Turn
from exporter.report import Checked, Series, name_shape, public_url, until_healthy
from exporter.resolver import Resolver
from exporter.result import Probe, Result, Skip, SkipCause, Trigger
from exporter.state import State

REFUSALS: Final = {
    SkipCause.BUDGET: "no slot to spare: the schedule needs those that are left",
    SkipCause.RESTING: "the identity or its key rests: a session now would only make it worse",
    SkipCause.RATE: "the host rests or is at its rate of connects",
    SkipCause.OVERLAP: "the identity has a connection open at this moment",
}
ADVICE: Final = "; wait, name users of its own under check_identities, or ask with --probe connect, which takes no slot"


@dataclass(frozen=True, slots=True)
class Rounds:
    """A series: at most `runs` sessions `every` so many seconds, for at most `until_healthy` seconds if given."""

    runs: int
    every: float
    until_healthy: float | None = None


Told = Callable[[list[Result], int, float], None]
"""Progress: the results so far, how many there may be, seconds until the end."""


class OnCall:
    """Checks one target. `identity`: an alias of the pool to speak as; absent: the first with a slot to spare."""

    def __init__(self, job: Job, state: State, *, identity: str | None = None, clock: Clock | None = None) -> None:
        self._job = _with_check_users(job)
        self._identity = identity
        self._clock = clock or Clock()
        self._prober = Prober(state, KeyRing(), Resolver(), self._clock, lambda *_: None)
        self._turns = 0

    @property
    def identities(self) -> tuple[str, ...]:
        """The aliases it may speak as."""
        return self._job.identities

    async def once(self, depth: Probe) -> Checked:
        """One session now; a `Checked` with the refusal's sentence if there is no room for it."""
        started = self._clock.wall()
        outcome = await self._session(depth)
        refusal = REFUSALS[outcome.cause] + ADVICE if isinstance(outcome, Skip) else None
        return self._checked(started, (outcome,) if isinstance(outcome, Result) else (), refusal)

    async def series(self, depth: Probe, rounds: Rounds, told: Told) -> Series:
        """Sessions in a row, each as the next identity in turn, until all are done or the target is healthy."""
        started, loop = self._clock.wall(), asyncio.get_running_loop()
        begin, results, skips = loop.time(), list[Result](), list[Skip]()
        shapes = {alias: name_shape(subject) for alias, subject in self._job.target.identities.items()}
        for number in range(rounds.runs):
            told(results, rounds.runs, (rounds.runs - number) * rounds.every)
            await asyncio.sleep(max(0.0, begin + number * rounds.every - loop.time()))
            if rounds.until_healthy is not None and loop.time() - begin > rounds.until_healthy:
                break
            outcome = await self._session(depth)
            results += [outcome] if isinstance(outcome, Result) else []
            skips += [outcome] if isinstance(outcome, Skip) else []
            if rounds.until_healthy is not None and until_healthy(results, identities=shapes):
                break
        told(results, rounds.runs, 0.0)
        return Series(
            checked=self._checked(started, tuple(results), None),
            planned=rounds.runs,
            every=rounds.every,
            finished_at=self._clock.wall(),
            until_healthy=rounds.until_healthy,
            shapes=shapes,
            skips=tuple(skips),
        )

    async def _session(self, depth: Probe) -> Result | Skip:
        """The first identity, in turn, that the ledger lets speak."""
        pool: list[str | None] = [self._identity] if self._identity else [*self._job.identities] or [None]
        turn, self._turns = self._turns % len(pool), self._turns + 1
        outcome: Result | Skip = Skip(self._job.name, SkipCause.BUDGET)
        for alias in pool[turn:] + pool[:turn]:
            cycle = self._job.cycle_at(self._clock.wall())
            outcome = await self._prober.run(Turn(self._job, cycle, Trigger.CHECK, depth, alias))
            if isinstance(outcome, Result):
                break
        return outcome

    def _checked(self, started: float, results: tuple[Result, ...], refusal: str | None) -> Checked:
        target = self._job.target
        return Checked(
            target.name, public_url(target.url), results, started, __version__, timeout=target.timeout, refusal=refusal
        )


def _with_check_users(job: Job) -> Job:
    """The job as its check users, if it has any: no schedule needs their slots."""
    users = job.target.check_identities
    if not users:
        return job
    target = job.target.model_copy(update={"identities": users})
    return replace(Job.of(target, job.profile, job.rate or 0), rate=job.rate, scheduled_rate=job.scheduled_rate)
