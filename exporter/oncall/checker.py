"""The check of the person on call: sessions now, by the plan, the prober and the ledger of the daemon.

Rule 1: a check takes no slot that the schedule needs and costs it no cycle: it waits for a session that is under way,
and is refused with a cause otherwise.
Rule 2: its sessions enter the ledger and no counter.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from exporter import __version__
from exporter.budget import MOMENTARY_HOLDUPS, SessionCost
from exporter.files import KeyRing
from exporter.host import Clock
from exporter.plan import Job
from exporter.probing import NO_LIMITS, Prober, ProbeRequest, TimeLimits
from exporter.report import (
    REQUIRED_PASSES,
    CheckReport,
    CheckSeries,
    TargetContext,
    name_shape,
    public_url,
    until_healthy,
)
from exporter.report.formatting import count, moment, span
from exporter.resolver import Resolver
from exporter.result import Holdup, Probe, Result, Skip, Trigger
from exporter.state import LedgerFile

REFUSAL_TEXTS: Final = {
    Holdup.BUSY: "the identity has a connection open at this moment; ask again in a few seconds",
    Holdup.VERDICT: "the backend has not answered yet to another login of ours; ask again in a few seconds",
    Holdup.RATE: "the host is at its max_connects_per_minute; wait: any connect counts there",
    Holdup.ENDPOINT: "this URL answered that it gets too many connects, and rests; wait: any connect counts there",
    Holdup.MEMORY: "which slots were held before the start is not known yet; wait until it is",
    Holdup.SLOTS: "no slot to spare: those that are left are kept for the schedule; wait until one is released",
    Holdup.IDENTITY: "the identity rests after a slot limit; wait until its slots are released",
    Holdup.REJECTED: "the backend rejected the token of late, and it rests; put another key or token into its file",
    Holdup.BREAKER_CONNECT: (
        "connects without a token count in the backend's login breaker: one more may shut everybody out; wait until a "
        "token is let in"
    ),
    Holdup.BREAKER_TOKEN: (
        "the backend rejected tokens in a row: one more may open its login breaker and shut everybody out; put another "
        "key or token into its file, or wait until another one is let in"
    ),
}
"""What the ledger answered, the one first that is over soonest."""
OWN_USER_HOLDUPS: Final = frozenset({Holdup.SLOTS, Holdup.IDENTITY})
"""What users of its own are spared."""
TOKEN_HOLDUPS: Final = frozenset({Holdup.REJECTED, Holdup.BREAKER_TOKEN})
OWN_USERS: Final = ", name users of its own under check_identities"
TAKES_NONE: Final = ", or ask with --probe connect (HTTP: probe=connect), which takes no slot and sends no token"
SEND_IT: Final = ", or send it all the same with check --send-token, if nobody else can be harmed"
CYCLE_START_SECONDS: Final = 0.5
"""Seconds after it is due within which a cycle has its slot, on a busy machine too."""
WAIT_ONE_IN: Final = 4
"""The part of a session's time, where that is bounded, that may be waited for another connection's end."""


@dataclass(frozen=True, slots=True)
class SeriesOptions:
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


class Checker:
    """Checks one target. `identity`: an alias of the pool to speak as; absent: the first with a slot to spare.

    `beside`: the prober for sessions in the process that runs the schedule, for which they leave room from the first
    on; absent: this process has no schedule. `turn`: whose turn it is to speak first, counted from any number on.
    `send_token`: send one that rests after rejections too.
    `interrupted`: a series was cancelled before its end.
    """

    def __init__(
        self,
        job: Job,
        state: LedgerFile,
        *,
        identity: str | None = None,
        clock: Clock | None = None,
        beside: Prober | None = None,
        turn: int = 0,
        send_token: bool = False,
    ) -> None:
        self._job = _with_check_users(job)
        self._identity = identity
        self._state = state
        self._clock = clock or Clock()
        self._beside = beside is not None
        self._is_scheduled = self._beside or state.is_shared
        self._prober = beside or Prober(state, KeyRing(), Resolver(), self._clock, lambda *_: None)
        self._turns = turn
        self._send_token = send_token
        self.interrupted = False

    async def once(self, depth: Probe, within: TimeLimits = NO_LIMITS) -> CheckReport:
        """One session now, within the time limits; a `CheckReport` with the refusal's sentence if there is no room."""
        started = self._clock.wall()
        outcome = await self._session(depth, within)
        refusal = self._refusal(outcome, depth) if isinstance(outcome, Skip) else None
        checked = self._checked(started, (outcome,) if isinstance(outcome, Result) else (), refusal)
        return replace(checked, timeout=min(self._job.target.timeout, within.verdict))

    async def series(self, depth: Probe, rounds: SeriesOptions, told: Told) -> CheckSeries:
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
        return CheckSeries(
            checked=self._checked(started, tuple(results), None),
            planned=rounds.runs,
            every=rounds.every,
            finished_at=self._clock.wall(),
            until_healthy=rounds.until_healthy,
            shapes=shapes,
            skips=tuple(skips),
        )

    async def _all(
        self,
        depth: Probe,
        rounds: SeriesOptions,
        shapes: Mapping[str, str],
        into: tuple[list[Result], list[Skip], Told],
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
        return max(REQUIRED_PASSES, len(self._speakers(depth)))

    def takes_slot(self, depth: Probe) -> bool:
        """Whether a session of this depth takes one of a limited number of slots."""
        requests = [self._request(depth, alias) for alias in self._speakers(depth)]
        return any(request.user is not None and request.slots for request in requests)

    @property
    def has_own_users(self) -> bool:
        """Whether it speaks as users that no schedule uses."""
        return bool(self._job.target.check_identities)

    def announce(self, depth: Probe, rounds: SeriesOptions) -> str:
        """How long a series will take at most, and whether the ledger can have room for all of it."""
        longest = span(rounds.longest(self._job.open_for))
        paced = f", one every {span(rounds.every)}" if rounds.runs > 1 else ""
        until = "" if rounds.until_healthy is None else "until it is healthy, up to "
        took = f"{until}{count(rounds.runs, 'run')}{paced}: {longest} at most"
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

    def _request(self, depth: Probe, alias: str | None) -> SessionCost:
        return self._job.request("", depth, alias, Trigger.CHECK)

    def _speakers(self, depth: Probe) -> list[str | None]:
        """Who may speak; None: nobody, no token is sent."""
        if not self._job.identities or (depth is Probe.CONNECT and self._job.tokenless):
            return [None]
        return [self._identity] if self._identity else [*self._job.identities]

    async def _session(self, depth: Probe, within: TimeLimits = NO_LIMITS) -> Result | Skip:
        """The first identity, in turn, that the ledger lets speak; who is merely in use is waited for, then."""
        pool = self._speakers(depth)
        turn, self._turns = self._turns % len(pool), self._turns + 1
        ordered = pool[turn:] + pool[:turn]
        waits = {alias: self._wait_for_schedule(alias, within) for alias in ordered}
        ready = [alias for alias in ordered if not waits[alias]]
        if not ready:
            await asyncio.sleep(min(waits.values()))
        skips = []
        for turn_of in [self._turn(depth, alias, within) for alias in ready or ordered]:
            outcome = await self._prober.run(turn_of)
            if isinstance(outcome, Result):
                return outcome
            skips.append((outcome, turn_of))
        skip, turn_of = min(skips, key=lambda pair: _rank(pair[0]))
        patience = min(self._job.open_for, within.verdict / WAIT_ONE_IN)
        return await self._prober.run(turn_of._replace(patience=patience)) if skip.holdup in MOMENTARY_HOLDUPS else skip

    def _wait_for_schedule(self, alias: str | None, within: TimeLimits) -> float:
        """Seconds until the schedule has begun its next cycle as this alias, if that is better waited for; else 0.

        A cycle waits for our session. But if both take as long as they may, and ours begins just before the cycle,
        the one after it finds the target busy and is lost.
        """
        job, now = self._job, self._clock.wall()
        cycle = job.cycle_at(now) + 1
        if alias is None or self.has_own_users or not self._is_scheduled or job.identity(cycle) != alias:
            return 0.0
        ends = now + min(job.open_for, within.end) + job.open_for
        return job.due(cycle) + CYCLE_START_SECONDS - now if ends > job.due(cycle + 1) else 0.0

    def _turn(self, depth: Probe, alias: str | None, within: TimeLimits) -> ProbeRequest:
        cycle = self._job.cycle_at(self._clock.wall())
        mine = {"beside": self._beside, "forced": self._send_token}
        return ProbeRequest(self._job, cycle, Trigger.CHECK, depth, alias, within, **mine)

    def _refusal(self, skip: Skip, depth: Probe) -> str:
        """Why not, until when, and what helps against that: nothing that would be refused as well."""
        holdup = skip.holdup or Holdup.BUSY
        own = OWN_USERS if holdup in OWN_USER_HOLDUPS and not self.has_own_users else ""
        send_it = SEND_IT if holdup in TOKEN_HOLDUPS and not self._beside else ""
        connect = TAKES_NONE if self._can_connect(holdup, depth) else ""
        return REFUSAL_TEXTS[holdup] + own + connect + send_it + self._until(holdup, skip.until)

    def _can_connect(self, holdup: Holdup, depth: Probe) -> bool:
        if depth is Probe.CONNECT or holdup in MOMENTARY_HOLDUPS or not self._job.tokenless:
            return False
        with self._state.transaction() as ledger:
            return ledger.refusal(self._request(Probe.CONNECT, None), self._clock.wall()) is None

    def _until(self, holdup: Holdup, until: float | None) -> str:
        if holdup in MOMENTARY_HOLDUPS:
            return ""
        if until is None:
            return ". No time ends this" if holdup in TOKEN_HOLDUPS else ""
        return f". The next try is at {moment(until)}, in {span(max(1.0, until - self._clock.wall()))}"

    def _checked(self, started: float, results: tuple[Result, ...], refusal: str | None) -> CheckReport:
        target = self._job.target
        return CheckReport(
            target.name,
            public_url(target.url),
            results,
            started,
            __version__,
            timeout=target.timeout,
            refusal=refusal,
            context=TargetContext.of(self._job),
        )


def _rank(skip: Skip) -> int:
    return [*REFUSAL_TEXTS].index(skip.holdup or Holdup.BUSY)


def _with_check_users(job: Job) -> Job:
    """The job as its check users, if it has any: no schedule needs their slots."""
    users = job.target.check_identities
    if not users:
        return job
    target = job.target.model_copy(update={"identities": users})
    return replace(Job.of(target, job.profile, job.rate or 0), rate=job.rate, scheduled_rate=job.scheduled_rate)
