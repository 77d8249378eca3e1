"""The confirm runs of one doubt: of a first failure, of a suspicion, or of a session that waits too long.

Rule 1: run n begins n × `confirm.after` after the doubt, whether or not those before it have ended. So a silent backend
costs one timeout and not three, and the third failure begins 2 × `confirm.after` after the first at the earliest.
Rule 2: the first run that does not fail ends it; runs under way finish.
Rule 3: an identity has one session at a time. A doubt of connects may also be confirmed anonymously, without a slot,
where such a connect sends no token; else, and only in a pool of one, by the identity in doubt.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from exporter.plan import Job
from exporter.result import Probe, Reason, Result, Skip, SkipCause, Verdict

NO_CONFIRM: Final = frozenset({Reason.AUTH_REJECTED, Reason.AUTH_UNAVAILABLE, Reason.RATE_LIMITED})
"""Reasons that another session would only make worse."""


def confirmable(result: Result) -> bool:
    """Whether another session may confirm this one: it failed, and not for one of `NO_CONFIRM`."""
    return result.decided and result.failed and result.reason not in NO_CONFIRM


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why confirm runs start.

    since: what their times are counted from, seconds of the loop's clock
    depth: of the runs
    identity: in doubt, which others confirm; None: it was anonymous
    of_connects: whether connects are in doubt
    waiting: whether the session in doubt is still under way
    first_number: n of the first run; 0 where no session of the pool is in doubt
    """

    since: float
    depth: Probe
    identity: str | None = None
    of_connects: bool = True
    waiting: bool = False
    first_number: int = 1

    @property
    def has_failed(self) -> bool:
        """Whether a session of the pool has failed already."""
        return not self.waiting and self.first_number > 0


@dataclass(slots=True)
class Confirmation:
    """The runs of one doubt. `open_session` is given their depth and identity; `record` is given each result.

    results: of the runs that have ended
    skip: of the run that found no room
    over: no more runs begin
    """

    job: Job
    doubt: Doubt
    open_session: Callable[[Probe, str | None], Awaitable[Result | Skip]]
    record: Callable[[Result], None]
    results: list[Result] = field(default_factory=list)
    skip: Skip | None = None
    over: bool = False
    _since: float = field(init=False)
    _has_failed: bool = field(init=False)
    _free: list[str | None] = field(init=False)
    _busy: int = 0
    _waits_for_own: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._since, self._has_failed = self.doubt.since, self.doubt.has_failed
        self._free = list(self.job.confirming_identities(self.doubt.identity))
        if not self.job.identities:
            self._free *= self.job.confirm_runs + 1  # nobody may have several sessions at a time
        elif not self._free and self.doubt.of_connects and not self._anonymous:
            self._waits_for_own = True
            if not self.doubt.waiting:
                self._free_own()

    @property
    def is_possible(self) -> bool:
        """Whether a run is wanted, and there is anyone to do it."""
        wanted = self.job.confirm_runs >= self.doubt.first_number
        return wanted and bool(self._free or self._waits_for_own or self._anonymous)

    @property
    def passed(self) -> frozenset[Probe]:
        """The probes that passed in one of the runs."""
        return frozenset(
            probe for result in self.results for probe, verdict in result.verdicts.items() if verdict is Verdict.PASS
        )

    @property
    def _anonymous(self) -> bool:
        return self.doubt.of_connects and bool(self.job.identities) and self.job.connects_anonymously

    async def run(self) -> bool:
        """Run them; True if all of them took place and failed."""
        numbers = range(self.doubt.first_number, self.job.confirm_runs + 1)
        async with asyncio.TaskGroup() as group:
            for number in numbers:
                await self._wait_for_time(number * self.job.confirm_after)
                if self.over:
                    break
                group.create_task(self._confirm_once())
        return not self.over and len(self.results) == len(numbers)

    def end(self) -> None:
        """Begin no more runs."""
        self.over = True
        self._news.set()

    def settle(self, result: Result) -> None:
        """Note the result of the session in doubt; unless it failed, the doubt is over."""
        self._note(result)
        if self._waits_for_own:
            self._free_own()

    def _free_own(self) -> None:
        self._waits_for_own = False
        self._free.append(self.doubt.identity)
        self._news.set()

    async def _confirm_once(self) -> None:
        outcome = await self._first_answer()
        if isinstance(outcome, Skip):
            self.skip = outcome
            self.end()
        elif outcome is not None:
            self.results.append(outcome)
            self._note(outcome)
            self.record(outcome)

    def _note(self, result: Result) -> None:
        """End with what is no failure. If the first failure is none of a long wait, the times are counted from it."""
        if not confirmable(result):
            self.end()
        elif not self._has_failed:
            self._has_failed = True
            if result.reason is not Reason.TIMEOUT:
                self._since = max(self._since, asyncio.get_running_loop().time())
                self._news.set()

    async def _first_answer(self) -> Result | Skip | None:
        """Run one session as the first identity that has room, else anonymously; None: it is over before that."""
        outcome: Result | Skip = Skip(self.job.name, SkipCause.BUDGET)
        tried: set[str | None] = set()
        anonymous = self._anonymous
        while not self.over:
            alias = next((alias for alias in self._free if alias not in tried), "")
            if alias != "":
                outcome = await self._as_identity(alias)
                tried.add(alias)
            elif anonymous:
                anonymous = False
                outcome = await self.open_session(Probe.CONNECT, None)
            elif self._busy or self._waits_for_own:
                await self._wait_for_identity(tried)
                continue
            else:
                return outcome
            if isinstance(outcome, Result):
                return outcome
        return None

    async def _as_identity(self, alias: str | None) -> Result | Skip:
        self._free.remove(alias)
        self._busy += 1
        try:
            return await self.open_session(self.doubt.depth, alias)
        finally:
            self._busy -= 1
            self._free.append(alias)
            self._news.set()

    async def _wait_for_time(self, seconds: float) -> None:
        """Wait until so long after the doubt."""
        loop = asyncio.get_running_loop()
        while not self.over and loop.time() < self._since + seconds:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._since + seconds):
                    await self._news.wait()

    async def _wait_for_identity(self, tried: set[str | None]) -> None:
        while not self.over and (self._busy or self._waits_for_own) and tried.issuperset(self._free):
            self._news.clear()
            await self._news.wait()
