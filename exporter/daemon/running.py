"""Starts the packages and stops them."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from exporter import __version__
from exporter.daemon.http_api import HealthCallbacks, HttpApi
from exporter.daemon.on_demand import OnDemandProbes
from exporter.daemon.plan_applier import PlanApplier
from exporter.daemon.reloading import Load, Reloader, ReloadOutcome, nothing_to_load
from exporter.daemon.result_dispatcher import ResultDispatcher, ResultListeners
from exporter.daemon.services import Services
from exporter.daemon.startup_gate import StartupGate
from exporter.daemon.status_source import identities
from exporter.files import MAX_UNCHECKED_SECONDS, TLS_CONTEXTS, KeyRing
from exporter.history import History
from exporter.host import Clock, LoopLagMonitor, SystemdNotifier, collect_garbage, cooperatively, raise_descriptor_limit
from exporter.metrics import Metrics
from exporter.plan import Job, Plan
from exporter.probing import Prober
from exporter.report.formatting import count, span
from exporter.resolver import Resolver
from exporter.result import Holdup, Result, Skip
from exporter.scheduler import Scheduler
from exporter.state import LedgerFile
from exporter.web import MAX_CONNECTIONS, ListenAddress, ListenOptions, WebServer

if TYPE_CHECKING:
    from exporter.state.history_file import HistoryFile

_logger = logging.getLogger("exporter.daemon")

SPARE_DESCRIPTORS: Final = 64 + MAX_CONNECTIONS
"""Descriptors that sessions leave for files, look-ups and the connections of the HTTP side."""

ON_DEMAND_ONE_IN: Final = 4
"""Of all sessions that may be open at once, a quarter may be asked for over HTTP: the schedule is not crowded out."""

FIRST_SESSIONS_WAIT: Final = (
    "the first sessions wait for a scrape of /metrics, %s at most; --startup.delay=0s: for nothing"
)
"""So that counters are seen at 0 before they count: an increase from nothing is none to Prometheus."""

STALE_SECONDS: Final = 300.0
STALE_CYCLES: Final = 3
"""Sessions of an earlier process say nothing of now if so many seconds, and intervals, have passed since the last."""

HOUSEKEEPING_SECONDS: Final = 5.0
"""Seconds between two looks at what the ledger says of each identity."""


@dataclass(frozen=True, slots=True)
class DaemonOptions:
    """How to run.

    `startup_delay`: seconds that new targets wait, for a scrape too; 0 starts sessions at once. `timeout_offset`:
    seconds by which /probe answers before the scrape that asks gives up. `history_file`: keeps the history over
    restarts. `load`: reads the config anew. `lifecycle`: HTTP clients may ask for that.
    """

    listen: ListenAddress | ListenOptions
    startup_delay: float = 15.0
    timeout_offset: float = 0.5
    history_file: Path | None = None
    load: Load = nothing_to_load
    lifecycle: bool = False
    on_result: Callable[[Result], None] = field(default=lambda _: None)
    on_skip: Callable[[Skip], None] = field(default=lambda _: None)


class Daemon:
    """The running exporter: `await start()`, `await stop()`."""

    def __init__(
        self, plan: Plan, options: DaemonOptions, *, state: LedgerFile | None = None, clock: Clock | None = None
    ) -> None:
        clock = clock or Clock()
        self._options = options
        self._ground = Services(
            jobs={job.name: job for job in plan.jobs},
            metrics=Metrics(__version__),
            history=History(),
            state=state or LedgerFile.in_memory(wall=clock.wall),
            clock=clock,
            resolver=Resolver(),
        )
        self._chores: list[asyncio.Task[None]] = []
        self._dead = ""
        self._server: WebServer | None = None
        self._started = AsyncExitStack()
        self._stopping = False
        self._notifier = SystemdNotifier()
        self._loop_watch = LoopLagMonitor(clock.monotonic)
        self._file = _history_file(options.history_file, self._ground)
        keep = self._file.add if self._file else _nobody
        self._told = ResultDispatcher(self._ground, ResultListeners(options.on_result, options.on_skip, keep))
        self._keys = KeyRing(fresh=MAX_UNCHECKED_SECONDS, now=clock.monotonic)
        ground, late = self._ground, self._loop_watch.max_lag_seconds
        self._prober = Prober(ground.state, self._keys, ground.resolver, clock, self._told.opened, late=late)
        asked = Prober(ground.state, self._keys, ground.resolver, clock, lambda *_: None, late=late)
        self._sessions = OnDemandProbes(ground, asked, self._room)
        self._scheduler = Scheduler(
            plan.jobs,
            self._prober.run,
            self._told,
            clock,
            most=_most(plan.max_sessions),
            others=lambda: self._sessions.in_flight,
        )
        self._newcomers = StartupGate(options.startup_delay, self._scheduler.begin, self._ended)
        self._reloading = Reloader(self._ground, self._swap(plan), options.load, self._forget, self._tell_systemd)
        self._desk = HttpApi(
            ground,
            HealthCallbacks(stopping=lambda: self._stopping, ill=self._unhealthy_reason, look=self._scheduler.look),
            self._newcomers,
            sessions=self._sessions,
            timeout_offset=options.timeout_offset,
            reload=self._reloading.reload if options.lifecycle else None,
        )

    def _swap(self, plan: Plan) -> PlanApplier:
        return PlanApplier(
            self._ground,
            self._scheduler,
            self._told,
            self._newcomers,
            delay=self._options.startup_delay,
            most=_most,
            wanted={job.name: job for job in plan.jobs},
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
        self._server = await WebServer.start(self._options.listen, self._desk)
        self._started.push_async_callback(self._server.close)
        self._started.push_async_callback(self._end_background_tasks)
        self._started.push_async_callback(self._sessions.stopped)
        self._started.push_async_callback(self._scheduler.stop)
        self._started.push_async_callback(self._newcomers.close)
        self._started.push_async_callback(self._reloading.close)
        background_tasks = {
            "begin": self._begin(),
            "watch_loop": self._loop_watch.run(self._lag),
            "tidy": self._housekeeping(),
            "garbage": collect_garbage(lambda: self._in_flight == 0, lambda: self._reloading.reads),
            "watchdog": self._notifier.run_watchdog(lambda: self._unhealthy_reason() is None),
        }
        if self._file is not None:
            background_tasks["history"] = self._file.run()
        self._chores = [asyncio.create_task(chore, name=name) for name, chore in background_tasks.items()]
        for chore in self._chores:
            chore.add_done_callback(self._ended)
        where = {"listen": self._server.addresses, "url": self.url}
        keys = {"version": __version__, "targets": len(self._ground.jobs), **where}
        _logger.info("listening", extra={"keys": keys})
        if self._newcomers.longest:
            _logger.info(FIRST_SESSIONS_WAIT, span(self._newcomers.longest))
        await self._notifier.notify("READY=1", self._status)

    def rest_of(self, result: Result) -> tuple[Holdup, float | None] | None:
        """Why the next turns of the result's identity send no token, and until when; None: they do."""
        job = self._ground.jobs.get(result.target)
        if job is None or result.identity is None:
            return None
        (one,) = identities(self._ground, job, (result.identity,))
        return None if one.holdup is None else (one.holdup, one.until)

    def reload(self) -> None:
        """Have the config read anew, soon; the log says how it went. Before the start is over it waits for that."""
        if not self._stopping:
            self._reloading.ask()

    async def stop(self) -> None:
        """Not ready, no new session, running ones finish or are closed with 1000; then the HTTP side ends.

        A second call does nothing.
        """
        if not self._stopping:
            self._stopping = True
            self._sessions.stop()
            await self._notifier.notify("STOPPING=1", "STATUS=running sessions are being closed")
        await self._started.aclose()

    def _prime(self) -> None:
        for job in list(self._ground.jobs.values()):
            self._told.came(job)
        self._ground.metrics.record_reload(self._ground.clock.wall(), successful=True)
        self._scheduler.announce(self._ground.clock.wall() + self._options.startup_delay)

    # Chores ---------------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        """What the history's file holds is read before the first session."""
        if self._file is not None:
            await self._file.load(tuple(self._ground.jobs))
            async for job in cooperatively(list(self._ground.jobs.values())):
                self._recall_outages(job)
                self._ground.news.of(job.name)
        self._ground.news.begins_by = self._ground.clock.wall() + self._newcomers.longest
        self._newcomers.expect(self._ground.jobs)
        self._reloading.open()

    def _recall_outages(self, job: Job) -> None:
        """An outage that stood a moment ago stands: a restart in the middle of one is no second page."""
        results = self._ground.history.recent(job.name)
        begin = self._ground.clock.wall() - max(STALE_SECONDS, STALE_CYCLES * job.interval)
        if results and results[-1].started_at >= begin:
            self._ground.metrics.restore_outages(job.name, results)

    async def _housekeeping(self) -> None:
        while True:
            async for name in cooperatively(list(self._ground.jobs)):
                job = self._ground.jobs.get(name)
                if job is not None:
                    self._told.tell_identities(job, job.identities)
            self._prober.forget_all_but(self._ground.jobs.values())
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            async for _ in cooperatively(self._ground.state.ledger.prune_in_steps(self._ground.clock.wall())):
                pass
            with self._ground.state.transaction():
                pass  # what others have written

    def _lag(self, seconds: float) -> None:
        self._ground.metrics.set_loop_lag(seconds)
        self._scheduler.look()

    @property
    def _in_flight(self) -> int:
        return self._scheduler.in_flight + self._sessions.in_flight

    def _room(self) -> bool:
        """Whether a session that no schedule asked for may be opened: they are a part of the most, never all of it."""
        most = self._scheduler.most
        return self._in_flight < most and self._sessions.in_flight < max(1, most // ON_DEMAND_ONE_IN)

    @property
    def _status(self) -> str:
        """What `systemctl status` shows."""
        return f"STATUS={count(len(self._ground.jobs), 'target')}, listening on {self.url}"

    async def _tell_systemd(self, reloaded: ReloadOutcome) -> None:
        """Its own `reload` is over before ours is, and never fails: the status is where it can be seen."""
        how = "" if reloaded.successful else f"; {reloaded.sentences[0]}"
        await self._notifier.notify(self._status + how)

    def _forget(self) -> None:
        """Let go of the keys and certificates that no target names any more; in a thread."""
        targets = [job.target for job in self._reloading.wanted.values()]
        self._keys.forget_all_but(target.auth.source for target in targets if target.auth is not None)
        TLS_CONTEXTS.forget_all_but(target.tls for target in targets)

    def _ended(self, chore: asyncio.Task[None]) -> None:
        """A task ends by itself if it breaks, or has done what it was for."""
        if not chore.cancelled() and chore.exception() is not None:
            self._dead = chore.get_name()
            _logger.error("the task %s has died: please report this", self._dead, exc_info=chore.exception())

    def _unhealthy_reason(self) -> str | None:
        if self._dead:
            return f"the task {self._dead} has died, see the log: restart"
        if not self._stopping and not self._scheduler.alive:
            return "cycles fall due and none is started: restart"
        return None

    async def _end_background_tasks(self) -> None:
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)


def _history_file(path: Path | None, ground: Services) -> "HistoryFile | None":
    """The file that keeps the history, if one does."""
    if path is None:
        return None
    from exporter.state.history_file import HistoryFile  # noqa: PLC0415 - SQLite is loaded by who keeps a history

    return HistoryFile(path, ground.history, wall=ground.clock.wall)


def _nobody(_: Result) -> None:
    """Keep nothing."""


def _most(wished: int) -> int:
    """How many sessions there may be at once."""
    most = max(1, min(wished, raise_descriptor_limit() - SPARE_DESCRIPTORS))
    if most < wished:
        _logger.warning("at most %d sessions at once, not max_sessions: raise the limit of open files", most)
    return most
