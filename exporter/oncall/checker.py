"""Checks one target now, with the plan, the prober and the ledger that the daemon uses."""

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
    is_healthy,
    name_shape,
    public_url,
)
from exporter.report.formatting import count, moment, span
from exporter.resolver import Resolver
from exporter.result import Holdup, Probe, Result, Skip, Trigger
from exporter.session import MessageObserver
from exporter.state import LedgerFile

REFUSAL_TEXTS: Final = {
    Holdup.BUSY: "the identity has a connection open at this moment; ask again in a few seconds",
    Holdup.VERDICT: "the backend has not yet answered another login of the exporter; ask again in a few seconds",
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
"""What each refusal of the ledger means; ordered by how soon it ends."""
OWN_USER_HOLDUPS: Final = frozenset({Holdup.SLOTS, Holdup.IDENTITY})
"""Refusals that a check with `check_identities` avoids."""
TOKEN_HOLDUPS: Final = frozenset({Holdup.REJECTED, Holdup.BREAKER_TOKEN})
OWN_USERS_ADVICE: Final = ", name users of its own under check_identities"
CONNECT_ADVICE: Final = ", or ask with --probe connect (HTTP: probe=connect), which takes no slot and sends no token"
FORCE_ADVICE: Final = ", or send it all the same with check --send-token, if an open breaker would harm no other user"
CYCLE_START_SECONDS: Final = 0.5
"""Seconds from the due time of a cycle until it has its slot, on a busy machine too."""
MAX_WAIT_FRACTION: Final = 0.25
"""The part of a session's time limit that may pass while another connection of the identity ends."""


@dataclass(frozen=True, slots=True)
class SeriesOptions:
    """The shape of a series.

    `runs`: sessions at most. `every`: seconds between two starts. `is_healthy`: seconds after which a series that
    waits for health gives up; None: the series runs to its end.
    """

    runs: int
    every: float
    until_healthy: float | None = None

    @property
    def max_runs(self) -> int:
        """Runs that can begin in time."""
        return self.runs if self.until_healthy is None else min(self.runs, int(self.until_healthy // self.every) + 1)

    def max_seconds(self, session_seconds: float) -> float:
        """How long the series takes at most, if each session takes `session_seconds`."""
        limit = (self.runs - 1) * max(self.every, session_seconds) + session_seconds
        return limit if self.until_healthy is None else min(limit, self.until_healthy + session_seconds)


ProgressCallback = Callable[[list[Result], int, float], None]
"""Gets the results so far, the number of runs at most, and the seconds until the end."""


class Checker:
    """Checks one target.

    `identity`: an alias of the pool to speak as; default: the first with a slot to spare.
    `scheduled_prober`: the prober of the schedule in this process, for which a check leaves room; default: this process
    runs no schedule.
    `turn`: the number of this check; each number puts another identity of the pool first.
    `send_token`: sends a token even while it rests after rejections.
    `observer`: is shown the content of the sessions' messages; not with a prober of the schedule.
    `origin`: the name of the place that is probed from, for the report.
    `interrupted`: true after a series that was cancelled before its end.
    """

    def __init__(
        self,
        job: Job,
        state: LedgerFile,
        *,
        identity: str | None = None,
        clock: Clock | None = None,
        scheduled_prober: Prober | None = None,
        turn: int = 0,
        send_token: bool = False,
        observer: MessageObserver | None = None,
        origin: str | None = None,
    ) -> None:
        self._job = _with_check_users(job)
        self._identity = identity
        self._state = state
        self._clock = clock or Clock()
        self._shares_process_with_schedule = scheduled_prober is not None
        self._is_scheduled = self._shares_process_with_schedule or state.is_shared
        self._prober = scheduled_prober or Prober(
            state, KeyRing(), Resolver(), self._clock, lambda *_: None, observer=observer
        )
        self._next_turn = turn
        self._send_token = send_token
        self._origin = origin
        self.interrupted = False

    async def check_once(self, depth: Probe, limits: TimeLimits = NO_LIMITS) -> CheckReport:
        """Run one session now, within the limits; the report holds the ledger's refusal if there was no room."""
        started_at = self._clock.wall()
        outcome = await self._run_session(depth, limits)
        refusal = self._refusal_text(outcome, depth) if isinstance(outcome, Skip) else None
        report = self._report(started_at, (outcome,) if isinstance(outcome, Result) else (), refusal)
        return replace(report, timeout=min(self._job.target.timeout, limits.verdict))

    async def check_series(self, depth: Probe, options: SeriesOptions, on_progress: ProgressCallback) -> CheckSeries:
        """Run sessions in a row, each as the next identity, until all are done or the target is healthy.

        A cancelled series closes its open session and returns what it has found so far.
        """
        started_at, results, skips = self._clock.wall(), list[Result](), list[Skip]()
        shapes = {alias: name_shape(self._job.target.identities[alias]) for alias in self._aliases(depth) if alias}
        try:
            await self._run_all(depth, options, shapes, (results, skips, on_progress))
        except asyncio.CancelledError:
            self.interrupted = True
        on_progress(results, options.runs, 0.0)
        return CheckSeries(
            report=self._report(started_at, tuple(results), None),
            planned=options.runs,
            every=options.every,
            finished_at=self._clock.wall(),
            until_healthy=options.until_healthy,
            shapes=shapes,
            skips=tuple(skips),
        )

    async def _run_all(
        self,
        depth: Probe,
        options: SeriesOptions,
        shapes: Mapping[str, str],
        into: tuple[list[Result], list[Skip], ProgressCallback],
    ) -> None:
        results, skips, on_progress = into
        loop = asyncio.get_running_loop()
        begin = loop.time()
        max_seconds = options.max_seconds(self._job.open_for)
        for number in range(options.runs):
            on_progress(results, options.runs, max(1.0, max_seconds - (loop.time() - begin)))
            due = number * options.every
            if options.until_healthy is not None and max(due, loop.time() - begin) > options.until_healthy:
                return
            await asyncio.sleep(max(0.0, begin + due - loop.time()))
            outcome = await self._run_session(depth)
            results += [outcome] if isinstance(outcome, Result) else []
            skips += [outcome] if isinstance(outcome, Skip) else []
            if options.until_healthy is not None and is_healthy(results, identities=shapes):
                return

    def min_runs(self, depth: Probe) -> int:
        """Runs that it takes at least to show health (`is_healthy`)."""
        return max(REQUIRED_PASSES, len(self._aliases(depth)))

    def takes_slot(self, depth: Probe) -> bool:
        """Whether a session of this depth takes one of a limited number of slots."""
        requests = [self._request(depth, alias) for alias in self._aliases(depth)]
        return any(request.user is not None and request.slots for request in requests)

    @property
    def has_own_users(self) -> bool:
        """Whether checks speak as users that the schedule does not use."""
        return bool(self._job.target.check_identities)

    def describe_series(self, depth: Probe, options: SeriesOptions) -> str:
        """How long a series takes at most, and whether the ledger can have room for all of it."""
        max_seconds = span(options.max_seconds(self._job.open_for))
        pace = f", one every {span(options.every)}" if options.runs > 1 else ""
        until = "" if options.until_healthy is None else "until it is healthy, up to "
        duration = f"{until}{count(options.runs, 'run')}{pace}: {max_seconds} at most"
        room = self._free_and_total_slots(depth)
        if room is None:
            return duration
        free, total = room
        runs_in_window = min(options.runs, int(self._job.window // options.every) + 1)
        if runs_in_window <= free:
            return duration
        safe_seconds = math.ceil(self._job.window / total)
        return (
            f"{duration}; of the first {runs_in_window} the budget lets {free} happen at most, and skips the others: "
            f"a slot is held for {span(self._job.window)} (it takes --every {safe_seconds}s at least)"
        )

    def _free_and_total_slots(self, depth: Probe) -> tuple[int, int] | None:
        """Slots of all identities that may speak: free at most, and in all; None: unlimited."""
        now, free, total = self._clock.wall(), 0, 0
        with self._state.transaction() as ledger:
            for request in (self._request(depth, alias) for alias in self._aliases(depth)):
                limit = None if request.user is None else ledger.slot_budget(request, now)
                if limit is None:
                    return None
                free += max(0, limit - ledger.held_slots(request.user or "", now))
                total += limit
        return free, total

    def _request(self, depth: Probe, alias: str | None) -> SessionCost:
        return self._job.session_cost("", depth, alias, Trigger.CHECK)

    def _aliases(self, depth: Probe) -> list[str | None]:
        """The identities that may speak; None: the session sends no token."""
        if not self._job.identities or (depth is Probe.CONNECT and self._job.tokenless):
            return [None]
        return [self._identity] if self._identity else [*self._job.identities]

    async def _run_session(self, depth: Probe, limits: TimeLimits = NO_LIMITS) -> Result | Skip:
        """A session as the first identity, in turn, that the ledger admits; waits if all are only busy."""
        pool = self._aliases(depth)
        first, self._next_turn = self._next_turn % len(pool), self._next_turn + 1
        ordered = pool[first:] + pool[:first]
        waits = {alias: self._wait_for_schedule(alias, limits) for alias in ordered}
        ready = [alias for alias in ordered if not waits[alias]]
        if not ready:
            await asyncio.sleep(min(waits.values()))
        refused = []
        for request in [self._probe_request(depth, alias, limits) for alias in ready or ordered]:
            outcome = await self._prober.run(request)
            if isinstance(outcome, Result):
                return outcome
            refused.append((outcome, request))
        skip, request = min(refused, key=lambda pair: _order_of(pair[0]))
        if skip.holdup not in MOMENTARY_HOLDUPS:
            return skip
        patience = min(self._job.open_for, limits.verdict * MAX_WAIT_FRACTION)
        return await self._prober.run(request._replace(patience=patience))

    def _wait_for_schedule(self, alias: str | None, limits: TimeLimits) -> float:
        """Seconds until the next scheduled cycle as this alias has begun, if the check should wait for it; else 0.

        A cycle waits for the session of a check. If both take as long as they may, and the check begins just before the
        cycle, the cycle after it finds the target busy and is lost.
        """
        job, now = self._job, self._clock.wall()
        cycle = job.cycle_at(now) + 1
        if alias is None or self.has_own_users or not self._is_scheduled or job.identity(cycle) != alias:
            return 0.0
        both_end = now + min(job.open_for, limits.end) + job.open_for
        return job.due(cycle) + CYCLE_START_SECONDS - now if both_end > job.due(cycle + 1) else 0.0

    def _probe_request(self, depth: Probe, alias: str | None, limits: TimeLimits) -> ProbeRequest:
        cycle = self._job.cycle_at(self._clock.wall())
        return ProbeRequest(
            self._job,
            cycle,
            Trigger.CHECK,
            depth,
            alias,
            limits,
            shares_process_with_schedule=self._shares_process_with_schedule,
            forced=self._send_token,
        )

    def _refusal_text(self, skip: Skip, depth: Probe) -> str:
        """Why there is no session, until when, and what helps; no advice that the ledger would refuse as well."""
        holdup = skip.holdup or Holdup.BUSY
        own_users = OWN_USERS_ADVICE if holdup in OWN_USER_HOLDUPS and not self.has_own_users else ""
        can_send = holdup in TOKEN_HOLDUPS and not self._shares_process_with_schedule
        connect = CONNECT_ADVICE if self._can_connect(holdup, depth) else ""
        send_token = FORCE_ADVICE if can_send else ""
        return REFUSAL_TEXTS[holdup] + own_users + connect + send_token + self._until_text(holdup, skip.until)

    def _can_connect(self, holdup: Holdup, depth: Probe) -> bool:
        if depth is Probe.CONNECT or holdup in MOMENTARY_HOLDUPS or not self._job.tokenless:
            return False
        with self._state.transaction() as ledger:
            return ledger.find_refusal(self._request(Probe.CONNECT, None), self._clock.wall()) is None

    def _until_text(self, holdup: Holdup, until: float | None) -> str:
        if holdup in MOMENTARY_HOLDUPS:
            return ""
        if until is None:
            return ". No time ends this" if holdup in TOKEN_HOLDUPS else ""
        return f". The next try is at {moment(until)}, in {span(max(1.0, until - self._clock.wall()))}"

    def _report(self, started_at: float, results: tuple[Result, ...], refusal: str | None) -> CheckReport:
        target = self._job.target
        return CheckReport(
            target.name,
            public_url(target.url),
            results,
            started_at,
            __version__,
            timeout=target.timeout,
            refusal=refusal,
            context=TargetContext.of(self._job),
            origin=self._origin,
        )


def _order_of(skip: Skip) -> int:
    """The place in `REFUSAL_TEXTS`: what ends soonest comes first."""
    return [*REFUSAL_TEXTS].index(skip.holdup or Holdup.BUSY)


def _with_check_users(job: Job) -> Job:
    """The job with the target's `check_identities`, if there are any: the schedule does not need their slots."""
    users = job.target.check_identities
    if not users:
        return job
    target = job.target.model_copy(update={"identities": users})
    return replace(Job.of(target, job.profile, job.rate or 0), rate=job.rate, scheduled_rate=job.scheduled_rate)
