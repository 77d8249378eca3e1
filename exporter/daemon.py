"""Puts the rooms together, starts them, stops them.

Rule 1: no rule of its own about probes, backends or metrics. Rule 2: what is started here is stopped here, in the
opposite order, whatever happens.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from exporter import __version__, log
from exporter.files import FRESH, KeyRing
from exporter.host import Clock, LoopWatch, collect_garbage, descriptors, in_slices
from exporter.metrics import Metrics, target_series
from exporter.oncall import OnCall
from exporter.plan import Job, Plan
from exporter.probing import Prober
from exporter.report import FORMATS, View
from exporter.resolver import Resolver
from exporter.result import Probe, Result, Skip, Trigger, Verdict
from exporter.scheduler import Scheduler
from exporter.state import State
from exporter.web import Address, LandingData, LandingTarget, Server

LOG = logging.getLogger("exporter.daemon")

FIRST_SCRAPE: Final = 60.0
"""Seconds after the start at which the first session waits no longer for a scrape."""

SPARE_DESCRIPTORS: Final = 64
"""Descriptors that sessions leave for files, look-ups and the HTTP side."""

TIDY: Final = 5.0
"""Seconds between two looks at what the ledger says of each identity."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to run. `startup_delay` in seconds; 0 starts sessions at once, without waiting for a scrape."""

    listen: Address
    startup_delay: float = 15.0
    on_result: Callable[[Result], None] = field(default=lambda _: None)
    on_skip: Callable[[Skip], None] = field(default=lambda _: None)


class Daemon:
    """The running exporter: `await start()`, `await stop()`."""

    def __init__(self, plan: Plan, options: Options, *, state: State | None = None, clock: Clock | None = None) -> None:
        self._plan = plan
        self._jobs = {job.name: job for job in plan.jobs}
        self._options = options
        self._clock = clock or Clock()
        self._state = state or State.in_memory(wall=self._clock.wall)
        self._metrics = Metrics(__version__)
        self._open: Counter[str] = Counter()
        self._latest: dict[str, Result] = {}
        self._judged: dict[tuple[str, Probe], Result] = {}
        self._scraped = asyncio.Event()
        self._chores: list[asyncio.Task[None]] = []
        self._server: Server | None = None
        self._started = AsyncExitStack()
        self._resolver = Resolver()
        self._being_checked: set[str] = set()
        keys = KeyRing(fresh=FRESH, now=self._clock.monotonic)
        self._loop_watch = LoopWatch(self._clock.monotonic)
        prober = Prober(self._state, keys, self._resolver, self._clock, self._opened, late=self._loop_watch.worst)
        most = max(1, min(plan.max_sessions, descriptors() - SPARE_DESCRIPTORS))
        if most < plan.max_sessions:
            LOG.warning("at most %d sessions at once, not max_sessions: raise the limit of open files", most)
        self._scheduler = Scheduler(plan.jobs, prober.run, self, self._clock, most=most)
        self._stopping = False

    @property
    def url(self) -> str:
        """Where the HTTP side listens; empty before the start."""
        return self._server.url if self._server else ""

    async def start(self) -> None:
        """Prime the series, listen, and begin cycles after the start-up wait. Raises ListenProblem; `stop` then too."""
        self._started.callback(self._state.close)
        self._prime()
        self._server = await Server.start(
            self._options.listen.host,
            self._options.listen.port,
            figures=self._metrics,
            ready=self._ready,
            healthy=self._healthy,
            on_scrape=self._scraped.set,
            landing=self._landing,
            check=self._check,
        )
        self._started.push_async_callback(self._server.close)
        self._started.push_async_callback(self._end_chores)
        self._started.push_async_callback(self._scheduler.stop)
        chores = {
            "begin": self._begin(),
            "watch_loop": self._loop_watch.run(self._lag),
            "tidy": self._tidy(),
            "garbage": collect_garbage(lambda: self._scheduler.in_flight == 0),
        }
        self._chores = [asyncio.create_task(chore, name=name) for name, chore in chores.items()]
        for chore in self._chores:
            chore.add_done_callback(_mourn)
        keys = {"version": __version__, "targets": len(self._jobs), "url": self.url}
        LOG.info("listening", extra={"keys": keys})

    async def stop(self) -> None:
        """Not ready, no new session, running ones finish or are closed with 1000; then the HTTP side ends.

        A second call does nothing.
        """
        self._stopping = True
        await self._started.aclose()

    async def _end_chores(self) -> None:
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)

    # Sinks of the scheduler -----------------------------------------------------------------------------------------

    def observe(self, result: Result) -> None:
        """Tell everybody of a finished session."""
        self._metrics.observe(result)
        self._latest[result.target] = result
        for probe, verdict in result.verdicts.items():
            if verdict is not Verdict.NONE:
                self._judged[result.target, probe] = result
        log.session(result)
        self._options.on_result(result)
        job = self._jobs[result.target]
        own = () if result.identity is None else (result.identity,)
        self._tell_identities(job, job.identities if result.failed else own)

    def cycle(self, result: Result) -> None:
        """Count the verdict of a scheduled cycle."""
        self._metrics.cycle(result)

    def skip(self, skip: Skip) -> None:
        """Count a cycle that opened no session."""
        self._metrics.skip(skip)
        self._options.on_skip(skip)

    def due(self, target: str, probe: Probe, at: float) -> None:
        """Tell when a probe runs next."""
        self._metrics.due(target, probe, at)

    def stepped(self, seconds: float) -> None:
        """Follow a step of the wall clock."""
        LOG.warning("the wall clock stepped by %.1f s: every target is planned anew", seconds)
        self._state.shift(seconds)

    # Chores ---------------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        """Design 8: the first session waits for the delay and for one served scrape, at most `FIRST_SCRAPE`."""
        delay = self._options.startup_delay
        if delay > 0:
            await asyncio.sleep(delay)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, FIRST_SCRAPE - delay)):
                    await self._scraped.wait()
        self._scheduler.start()

    async def _tidy(self) -> None:
        while True:
            async for job in in_slices(self._plan.jobs):
                self._tell_identities(job, job.identities)
            await asyncio.sleep(TIDY)
            async for _ in in_slices(self._state.ledger.pruning(self._clock.wall())):
                pass
            with self._state.transaction():
                pass  # what others have written

    def _lag(self, seconds: float) -> None:
        self._metrics.loop_lag(seconds)
        self._scheduler.look()

    async def _check(self, name: str, probe: str) -> tuple[int, str]:
        """A check that somebody asks of us: one at a time for a target, with the ledger of the schedule.

        `probe` "": as deep as the profile goes.
        """
        job = self._jobs.get(name)
        if job is None:
            return HTTPStatus.BAD_REQUEST, f"unknown target; known are {', '.join(self._jobs)}\n"
        if probe and probe not in job.probes:
            return HTTPStatus.BAD_REQUEST, f"the target has the probes {', '.join(job.probes)}\n"
        if self._stopping:
            return HTTPStatus.SERVICE_UNAVAILABLE, "the exporter is stopping\n"
        if name in self._being_checked:
            return HTTPStatus.SERVICE_UNAVAILABLE, "another check of the target is under way; ask again in a moment\n"
        self._scheduler.look()  # a ledger of yesterday's clock would think slots free
        self._being_checked.add(name)
        try:
            on_call = OnCall(job, self._state, clock=self._clock, resolver=self._resolver)
            checked = await on_call.once(Probe(probe) if probe else job.probes[-1])
        finally:
            self._being_checked.discard(name)
        if checked.refusal is not None:
            return HTTPStatus.SERVICE_UNAVAILABLE, f"{checked.refusal}\n"
        return HTTPStatus.OK, FORMATS["json"](checked, View(self._clock.wall()))

    # Shown ----------------------------------------------------------------------------------------------------------

    def _prime(self) -> None:
        for job in self._plan.jobs:
            self._metrics.add_target(target_series(job.target, job.profile))
            self._metrics.auth_bypassed(job.name, bypassed=job.target.allow_auth_bypass)
        self._metrics.reloaded(self._clock.wall(), successful=True)
        self._scheduler.announce(self._clock.wall() + self._options.startup_delay)

    def _opened(self, target: str, change: int) -> None:
        self._open[target] += change
        self._metrics.open_connections(target, self._open[target])

    def _tell_identities(self, job: Job, aliases: Iterable[str]) -> None:
        """What the ledger says of them now; a failure may have put the whole pool to rest."""
        ledger, now = self._state.ledger, self._clock.wall()
        for alias in aliases:
            request = job.request("", Probe.SEND, alias, Trigger.SCHEDULE)
            self._metrics.identity_state(
                job.name,
                alias,
                held=ledger.held(request.user or "", now),
                budget=ledger.budget(request, now),
                resting=ledger.resting(request.user, request.key, now),
            )

    def _ready(self) -> tuple[bool, str]:
        if self._stopping:
            return False, "stopping: running sessions are being closed"
        return True, "ready"

    def _healthy(self) -> tuple[bool, str]:
        """Whether we do our work; how targets do says nothing of that."""
        dead = [chore.get_name() for chore in self._chores if _died(chore)]
        if dead:
            return False, f"the task {dead[0]} has died, see the log: restart"
        if not self._stopping and not self._scheduler.alive:
            return False, "cycles fall due and none is started: restart"
        return True, "healthy"

    def _landing(self) -> LandingData:
        return LandingData(__version__, tuple(map(self._row, self._plan.jobs)))

    def _row(self, job: Job) -> LandingTarget:
        """A target by the last verdict of each of its probes: a session that only connected does not mend `send`."""
        latest = self._latest.get(job.name)
        if latest is None:
            return LandingTarget(job.name, "not probed yet")
        if latest.impairment is not None:
            return LandingTarget(job.name, "impaired", f"our own failure: {latest.impairment}")
        if not any((job.name, probe) in self._judged for probe in job.probes):
            return LandingTarget(job.name, "not probed yet", "nothing was proved by the sessions so far")
        for probe in job.probes:
            judged = self._judged.get((job.name, probe))
            if judged is not None and judged.verdicts[probe] is Verdict.FAIL:
                return LandingTarget(job.name, "failing", f"{probe}: {_cause(judged)}")
        return LandingTarget(job.name, "passing")


def _cause(result: Result) -> str:
    factory = f" ({result.factory_reason})" if result.factory_reason else ""
    return f"{result.phase}: {result.reason}{factory}"


def _died(chore: asyncio.Task[None]) -> bool:
    return chore.done() and not chore.cancelled() and chore.exception() is not None


def _mourn(chore: asyncio.Task[None]) -> None:
    if _died(chore):
        LOG.error("the task %s has died: please report this", chore.get_name(), exc_info=chore.exception())
