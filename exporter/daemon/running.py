"""Starts the rooms and stops them."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from exporter import __version__
from exporter.daemon.asked import Sessions
from exporter.daemon.desk import Desk, Vitals
from exporter.daemon.ground import Ground
from exporter.daemon.told import Listeners, Told
from exporter.files import FRESH, KeyRing
from exporter.history import History
from exporter.host import Clock, LoopWatch, collect_garbage, descriptors, in_slices
from exporter.metrics import Metrics, target_series
from exporter.plan import Plan
from exporter.probing import Prober
from exporter.resolver import Resolver
from exporter.result import Result, Skip
from exporter.scheduler import Scheduler
from exporter.state import State
from exporter.web import Address, Server

if TYPE_CHECKING:
    from exporter.state.history_file import HistoryFile

LOG = logging.getLogger("exporter.daemon")

FIRST_SCRAPE: Final = 60.0
"""Seconds after the start at which the first session waits no longer for a scrape."""

SPARE_DESCRIPTORS: Final = 64
"""Descriptors that sessions leave for files, look-ups and the HTTP side."""

ASKED_PART: Final = 4
"""Of all sessions that may be open at once, a quarter may be asked for over HTTP: the schedule is not crowded out."""

TIDY: Final = 5.0
"""Seconds between two looks at what the ledger says of each identity."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to run. `startup_delay` in seconds; 0 starts sessions at once, without waiting for a scrape.

    `history_file`: where the history is kept over restarts, if it is.
    `timeout_offset`: seconds by which /probe answers before the scrape that asks gives up.
    """

    listen: Address
    startup_delay: float = 15.0
    history_file: Path | None = None
    timeout_offset: float = 0.5
    on_result: Callable[[Result], None] = field(default=lambda _: None)
    on_skip: Callable[[Skip], None] = field(default=lambda _: None)


class Daemon:
    """The running exporter: `await start()`, `await stop()`."""

    def __init__(self, plan: Plan, options: Options, *, state: State | None = None, clock: Clock | None = None) -> None:
        clock = clock or Clock()
        self._options = options
        self._ground = Ground(
            jobs={job.name: job for job in plan.jobs},
            metrics=Metrics(__version__),
            history=History(),
            state=state or State.in_memory(wall=clock.wall),
            clock=clock,
            resolver=Resolver(),
        )
        self._scraped = asyncio.Event()
        self._chores: list[asyncio.Task[None]] = []
        self._server: Server | None = None
        self._started = AsyncExitStack()
        self._stopping = False
        self._loop_watch = LoopWatch(clock.monotonic)
        self._file = _history_file(options.history_file, self._ground)
        keep = self._file.add if self._file else _nobody
        self._told = Told(self._ground, Listeners(options.on_result, options.on_skip, keep))
        keys = KeyRing(fresh=FRESH, now=clock.monotonic)
        ground, late = self._ground, self._loop_watch.worst
        prober = Prober(ground.state, keys, ground.resolver, clock, self._told.opened, late=late)
        asked = Prober(ground.state, keys, ground.resolver, clock, lambda *_: None, late=late)
        self._sessions = Sessions(ground, asked, self._room)
        self._most = _most(plan)
        self._scheduler = Scheduler(
            plan.jobs, prober.run, self._told, clock, most=self._most, others=lambda: self._sessions.in_flight
        )
        vitals = Vitals(stopping=lambda: self._stopping, ill=self._ill, look=self._scheduler.look)
        self._desk = Desk(
            ground,
            vitals,
            self._scraped.set,
            sessions=self._sessions,
            timeout_offset=options.timeout_offset,
        )

    @property
    def url(self) -> str:
        """Where the HTTP side listens; empty before the start."""
        return self._server.url if self._server else ""

    async def start(self) -> None:
        """Prime the series, listen, and begin cycles after the start-up wait. Raises ListenProblem; `stop` then too."""
        self._started.callback(self._ground.state.close)
        if self._file is not None:
            self._started.push_async_callback(self._file.close)
        self._prime()
        self._server = await Server.start(self._options.listen, self._desk)
        self._started.push_async_callback(self._server.close)
        self._started.push_async_callback(self._end_chores)
        self._started.push_async_callback(self._sessions.stopped)
        self._started.push_async_callback(self._scheduler.stop)
        chores = {
            "begin": self._begin(),
            "watch_loop": self._loop_watch.run(self._lag),
            "tidy": self._tidy(),
            "garbage": collect_garbage(lambda: self._in_flight == 0),
        }
        if self._file is not None:
            chores["history"] = self._file.run()
        self._chores = [asyncio.create_task(chore, name=name) for name, chore in chores.items()]
        for chore in self._chores:
            chore.add_done_callback(_mourn)
        keys = {"version": __version__, "targets": len(self._ground.jobs), "url": self.url}
        LOG.info("listening", extra={"keys": keys})

    async def stop(self) -> None:
        """Not ready, no new session, running ones finish or are closed with 1000; then the HTTP side ends.

        A second call does nothing.
        """
        self._stopping = True
        self._sessions.stop()
        await self._started.aclose()

    def _prime(self) -> None:
        for job in self._ground.jobs.values():
            self._ground.metrics.add_target(target_series(job.target, job.profile))
            self._ground.metrics.auth_bypassed(job.name, bypassed=job.target.allow_auth_bypass)
        self._ground.metrics.reloaded(self._ground.clock.wall(), successful=True)
        self._scheduler.announce(self._ground.clock.wall() + self._options.startup_delay)

    # Chores ---------------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        """Design 8: the first session waits for the delay and for one served scrape, at most `FIRST_SCRAPE`.

        What the history's file holds is read before it.
        """
        if self._file is not None:
            await self._file.load(tuple(self._ground.jobs))
            for name in self._ground.jobs:
                self._ground.news.of(name)
        delay = self._options.startup_delay
        if delay > 0:
            await asyncio.sleep(delay)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, FIRST_SCRAPE - delay)):
                    await self._scraped.wait()
        self._scheduler.start()

    async def _tidy(self) -> None:
        while True:
            async for job in in_slices(list(self._ground.jobs.values())):
                self._told.tell_identities(job, job.identities)
            await asyncio.sleep(TIDY)
            async for _ in in_slices(self._ground.state.ledger.pruning(self._ground.clock.wall())):
                pass
            with self._ground.state.transaction():
                pass  # what others have written

    def _lag(self, seconds: float) -> None:
        self._ground.metrics.loop_lag(seconds)
        self._scheduler.look()

    @property
    def _in_flight(self) -> int:
        return self._scheduler.in_flight + self._sessions.in_flight

    def _room(self) -> bool:
        """Whether a session that no schedule asked for may be opened: they are a part of the most, never all of it."""
        return self._in_flight < self._most and self._sessions.in_flight < max(1, self._most // ASKED_PART)

    def _ill(self) -> str | None:
        dead = [chore.get_name() for chore in self._chores if _died(chore)]
        if dead:
            return f"the task {dead[0]} has died, see the log: restart"
        if not self._stopping and not self._scheduler.alive:
            return "cycles fall due and none is started: restart"
        return None

    async def _end_chores(self) -> None:
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)


def _history_file(path: Path | None, ground: Ground) -> "HistoryFile | None":
    """The file that keeps the history, if one does."""
    if path is None:
        return None
    from exporter.state.history_file import HistoryFile  # noqa: PLC0415 - SQLite is loaded by who keeps a history

    return HistoryFile(path, ground.history, wall=ground.clock.wall)


def _nobody(_: Result) -> None:
    """Keep nothing."""


def _most(plan: Plan) -> int:
    """How many sessions there may be at once."""
    most = max(1, min(plan.max_sessions, descriptors() - SPARE_DESCRIPTORS))
    if most < plan.max_sessions:
        LOG.warning("at most %d sessions at once, not max_sessions: raise the limit of open files", most)
    return most


def _died(chore: asyncio.Task[None]) -> bool:
    return chore.done() and not chore.cancelled() and chore.exception() is not None


def _mourn(chore: asyncio.Task[None]) -> None:
    if _died(chore):
        LOG.error("the task %s has died: please report this", chore.get_name(), exc_info=chore.exception())
