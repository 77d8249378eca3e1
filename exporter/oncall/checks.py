"""The check of the person on call: sessions now, by the plan, the prober and the ledger of the daemon.

Rule 1: a check takes no slot that the schedule needs; it is refused with a cause, never queued.
Rule 2: its sessions enter the ledger and no counter.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from exporter import __version__
from exporter.budget import Request
from exporter.files import KeyRing
from exporter.host import Clock
from exporter.plan import Job
from exporter.probing import UNHURRIED, Prober, Turn, Within
from exporter.report import NEEDED, Checked, Context, Series, name_shape, public_url, until_healthy
from exporter.report.words import count, span
from exporter.resolver import Resolver
from exporter.result import Probe, Result, Skip, SkipCause, Trigger
from exporter.state import State

REFUSALS: Final = {
    SkipCause.OVERLAP: "the identity has a connection open at this moment; ask again in a few seconds",
    SkipCause.RATE: "the host rests after a rate limit, or is at its rate of connects; wait: any connect counts there",
    SkipCause.BUDGET: "no slot to spare: those that are left are kept for the schedule; wait until one is released",
    SkipCause.RESTING: "the identity or its key rests: a session now would only make it worse; wait until that is over",
}
"""What the ledger answered, the one first that is over soonest."""
TAKES_NONE: Final = ", or ask with --probe connect (HTTP: probe=connect), which takes no slot and sends no token"
OWN_USERS: Final = ", name users of its own under check_identities"


@dataclass(frozen=True, slots=True)
class Rounds:
    """A series: at most `runs` sessions `every` so many seconds, for at most `until_healthy` seconds if given."""

    runs: int
    every: float
    until_healthy: float | None = None

    @property
    def most(self) -> int:
        """Runs that can begin."""
        return self.runs if self.until_healthy is None else min(self.runs, int(self.until_healthy // self.every) + 1)

    def longest(self, session: float) -> float:
        """Seconds it takes at most, if a session takes `session`."""
        runs = (self.runs - 1) * max(self.every, session) + session
        return runs if self.until_healthy is None else min(runs, self.until_healthy + session)


Told = Callable[[list[Result], int, float], None]
"""Progress: the results so far, how many there may be, seconds until the end."""


class OnCall:
    """Checks one target. `identity`: an alias of the pool to speak as; absent: the first with a slot to spare.

    `beside`: the prober for sessions in the process that runs the schedule, for which they leave room from the first
    on; absent: this process has no schedule. `turn`: whose turn it is to speak first, counted from any number on.
    `interrupted`: a series was cancelled before its end.
    """

    def __init__(
        self,
        job: Job,
        state: State,
        *,
        identity: str | None = None,
        clock: Clock | None = None,
        beside: Prober | None = None,
        turn: int = 0,
    ) -> None:
        self._job = _with_check_users(job)
        self._identity = identity
        self._state = state
        self._clock = clock or Clock()
        self._beside = beside is not None
        self._prober = beside or Prober(state, KeyRing(), Resolver(), self._clock, lambda *_: None)
        self._turns = turn
        self.interrupted = False

    async def once(self, depth: Probe, within: Within = UNHURRIED) -> Checked:
        """One session now, within so much time; a `Checked` with the refusal's sentence if there is no room for it."""
        started = self._clock.wall()
        outcome = await self._session(depth, within)
        refusal = self._refusal(outcome.cause) if isinstance(outcome, Skip) else None
        checked = self._checked(started, (outcome,) if isinstance(outcome, Result) else (), refusal)
        return replace(checked, timeout=min(self._job.target.timeout, within.verdict))

    async def series(self, depth: Probe, rounds: Rounds, told: Told) -> Series:
        """Sessions in a row, each as the next identity in turn, until all are done or the target is healthy.

        Cancelled, it closes the session that is open and tells what it has found so far.
        """
        started, results, skips = self._clock.wall(), list[Result](), list[Skip]()
        shapes = {alias: name_shape(self._job.target.identities[alias]) for alias in self._speakers(depth) if alias}
        try:
            await self._all(depth, rounds, shapes, (results, skips, told))
        except asyncio.CancelledError:
            self.interrupted = True
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

    async def _all(
        self, depth: Probe, rounds: Rounds, shapes: Mapping[str, str], into: tuple[list[Result], list[Skip], Told]
    ) -> None:
        results, skips, told = into
        loop = asyncio.get_running_loop()
        begin = loop.time()
        longest = rounds.longest(self._job.open_for)
        for number in range(rounds.runs):
            told(results, rounds.runs, max(1.0, longest - (loop.time() - begin)))
            at = number * rounds.every
            if rounds.until_healthy is not None and max(at, loop.time() - begin) > rounds.until_healthy:
                return
            await asyncio.sleep(max(0.0, begin + at - loop.time()))
            outcome = await self._session(depth)
            results += [outcome] if isinstance(outcome, Result) else []
            skips += [outcome] if isinstance(outcome, Skip) else []
            if rounds.until_healthy is not None and until_healthy(results, identities=shapes):
                return

    def least(self, depth: Probe) -> int:
        """Runs that it takes at least to show health (`until_healthy`)."""
        return max(NEEDED, len(self._speakers(depth)))

    def takes_slot(self, depth: Probe) -> bool:
        """Whether a session of this depth takes one of a limited number of slots."""
        requests = [self._request(depth, alias) for alias in self._speakers(depth)]
        return any(request.user is not None and request.slots for request in requests)

    @property
    def has_own_users(self) -> bool:
        """Whether it speaks as users that no schedule uses."""
        return bool(self._job.target.check_identities)

    def announce(self, depth: Probe, rounds: Rounds) -> str:
        """How long a series will take at most, and whether the ledger can have room for all of it."""
        longest = span(rounds.longest(self._job.open_for))
        took = f"{count(rounds.runs, 'run')}, one every {span(rounds.every)}: {longest} at most"
        room = self._room(depth)
        if room is None:
            return took
        free, slots = room
        within = min(rounds.runs, int(self._job.window // rounds.every) + 1)
        if within <= free:
            return took
        safe = math.ceil(self._job.window / slots)
        return (
            f"{took}; of the first {within} the budget lets {free} happen at most, and skips the others: "
            f"a slot is held for {span(self._job.window)} (it takes --every {safe}s at least)"
        )

    def _room(self, depth: Probe) -> tuple[int, int] | None:
        """Slots of all who may speak, free at most and in all; None: unlimited."""
        now, free, slots = self._clock.wall(), 0, 0
        with self._state.transaction() as ledger:
            for request in (self._request(depth, alias) for alias in self._speakers(depth)):
                limit = None if request.user is None else ledger.budget(request, now)
                if limit is None:
                    return None
                free += max(0, limit - ledger.held(request.user or "", now))
                slots += limit
        return free, slots

    def _request(self, depth: Probe, alias: str | None) -> Request:
        return self._job.request("", depth, alias, Trigger.CHECK)

    def _speakers(self, depth: Probe) -> list[str | None]:
        """Who may speak; None: nobody, no token is sent."""
        if not self._job.identities or (depth is Probe.CONNECT and self._job.tokenless):
            return [None]
        return [self._identity] if self._identity else [*self._job.identities]

    async def _session(self, depth: Probe, within: Within = UNHURRIED) -> Result | Skip:
        """The first identity, in turn, that the ledger lets speak."""
        pool = self._speakers(depth)
        turn, self._turns = self._turns % len(pool), self._turns + 1
        skips = []
        for alias in pool[turn:] + pool[:turn]:
            cycle = self._job.cycle_at(self._clock.wall())
            turn_of = Turn(self._job, cycle, Trigger.CHECK, depth, alias, within, beside=self._beside)
            outcome = await self._prober.run(turn_of)
            if isinstance(outcome, Result):
                return outcome
            skips.append(outcome)
        return min(skips, key=lambda skip: [*REFUSALS].index(skip.cause))

    def _refusal(self, cause: SkipCause) -> str:
        """Why not, and what helps against that."""
        spared = cause in (SkipCause.BUDGET, SkipCause.RESTING)
        own = OWN_USERS if spared and not self.has_own_users else ""
        return REFUSALS[cause] + own + (TAKES_NONE if spared and self._job.tokenless else "")

    def _checked(self, started: float, results: tuple[Result, ...], refusal: str | None) -> Checked:
        target = self._job.target
        return Checked(
            target.name,
            public_url(target.url),
            results,
            started,
            __version__,
            timeout=target.timeout,
            refusal=refusal,
            context=Context.of(self._job),
        )


def _with_check_users(job: Job) -> Job:
    """The job as its check users, if it has any: no schedule needs their slots."""
    users = job.target.check_identities
    if not users:
        return job
    target = job.target.model_copy(update={"identities": users})
    return replace(Job.of(target, job.profile, job.rate or 0), rate=job.rate, scheduled_rate=job.scheduled_rate)
