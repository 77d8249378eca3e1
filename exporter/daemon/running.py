"""Starts the packages and stops them."""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from exporter import __version__
from exporter.config.otlp import OtlpSettings
from exporter.daemon.hold_recorder import HoldRecorder
from exporter.daemon.http_api import HealthCallbacks, HttpApi
from exporter.daemon.on_demand import OnDemandProbes
from exporter.daemon.plan_applier import PlanApplier
from exporter.daemon.reloading import Load, Reloader, ReloadOutcome, nothing_to_load
from exporter.daemon.result_dispatcher import ResultDispatcher, ResultListeners
from exporter.daemon.services import Links, Services
from exporter.daemon.startup_gate import StartupGate
from exporter.daemon.status_source import identity_statuses_of
from exporter.files import MAX_UNCHECKED_SECONDS, TLS_CONTEXTS, KeyRing
from exporter.history import History
from exporter.host import Clock, LoopLagMonitor, SystemdNotifier, collect_garbage, cooperatively, raise_descriptor_limit
from exporter.metrics import Metrics
from exporter.plan import Job, Plan
from exporter.probing import Prober
from exporter.report.formatting import count, span
from exporter.resolver import Resolver
from exporter.result import Holdup, Result, SideProbe, Skip
from exporter.scheduler import Scheduler
from exporter.side_probes import (
    ConnectSentinel,
    HoldProbe,
    LeakCanary,
    RefusalProbe,
    RunSideProbe,
    SideProbes,
    StatsReader,
)
from exporter.state import LedgerFile
from exporter.web import MAX_CONNECTIONS, ListenAddress, ListenOptions, WebServer

if TYPE_CHECKING:
    from exporter.state.history_file import HistoryFile

_logger = logging.getLogger("exporter.daemon")

SPARE_DESCRIPTORS: Final = 64 + MAX_CONNECTIONS
"""Descriptors reserved for files, look-ups and the connections of the HTTP server."""

ON_DEMAND_ONE_IN: Final = 4
"""One in this many of the sessions open at once may be on demand, so that they do not crowd out the schedule."""

FIRST_SESSIONS_WAIT: Final = (
    "the first sessions wait for a scrape of /metrics, %s at most; with --startup.delay=0s they begin at once"
)
"""A counter must be scraped at 0 before it counts, or Prometheus sees no increase."""

STALE_SECONDS: Final = 300.0
STALE_CYCLES: Final = 3
"""An outage is restored if its last session is no older than these seconds, or this many intervals if that is more."""

HOUSEKEEPING_SECONDS: Final = 5.0
"""Seconds between two updates of the identities' metrics from the ledger."""


@dataclass(frozen=True, slots=True)
class DaemonOptions:
    """How to run.

    `startup_delay`: seconds that new targets wait, and then for a scrape; 0 starts sessions at once.
    `timeout_offset`: seconds by which /probe answers before its scrape times out.
    `history_file`: stores the history over restarts; None: it is not stored.
    `load`: reads the config again.
    `lifecycle`: whether HTTP clients may ask for a reload.
    `origin`: the name of the place that the exporter probes from; None: it has none.
    `otlp`: sends the metrics to a receiver; None: it does not.
    """

    listen: ListenAddress | ListenOptions
    startup_delay: float = 15.0
    timeout_offset: float = 0.5
    history_file: Path | None = None
    load: Load = nothing_to_load
    lifecycle: bool = False
    origin: str | None = None
    otlp: OtlpSettings | None = None
    on_result: Callable[[Result], None] = field(default=lambda _: None)
    on_skip: Callable[[Skip], None] = field(default=lambda _: None)


class Daemon:
    """The running exporter: `await start()`, `await stop()`."""

    def __init__(
        self, plan: Plan, options: DaemonOptions, *, state: LedgerFile | None = None, clock: Clock | None = None
    ) -> None:
        clock = clock or Clock()
        self._options = options
        self._services = Services(
            jobs={job.name: job for job in plan.jobs},
            metrics=Metrics(__version__, options.origin, at=clock.wall()),
            history=History(),
            state=state or LedgerFile.in_memory(wall=clock.wall),
            clock=clock,
            resolver=Resolver(),
            links=Links(plan.runbook_url),
            origin=options.origin,
        )
        self._background_tasks: list[asyncio.Task[None]] = []
        self._dead_task = ""
        self._server: WebServer | None = None
        self._started = AsyncExitStack()
        self._stopping = False
        self._notifier = SystemdNotifier()
        self._loop_watch = LoopLagMonitor(clock.monotonic)
        self._history_file = _open_history(options.history_file, self._services)
        keep = self._history_file.add if self._history_file else _discard
        listeners = ResultListeners(options.on_result, options.on_skip, keep, self._change_side_probes)
        self._dispatcher = ResultDispatcher(self._services, listeners)
        self._key_ring = KeyRing(max_age_seconds=MAX_UNCHECKED_SECONDS, now=clock.monotonic)
        services, keys, stall = self._services, self._key_ring, self._loop_watch.max_lag_seconds
        self._prober = Prober(
            services.state, keys, services.resolver, clock, self._dispatcher.opened, max_loop_stall=stall
        )
        uncounted = Prober(services.state, keys, services.resolver, clock, lambda *_: None, max_loop_stall=stall)
        self._on_demand = OnDemandProbes(services, uncounted, self._has_capacity)
        self._scheduler = self._cycles(plan, clock)
        recorder = HoldRecorder(services.metrics, services.history, services.changes, clock)
        self._hold = HoldProbe(clock, self._scheduler.suspect, recorder)
        self._stats = self._stats_reader(clock)
        self._side_probes = SideProbes(
            uncounted.run,
            self._runs_of_side_probes(clock),
            clock,
            has_capacity=self._has_side_capacity,
            check_clock_step=self._scheduler.check_clock_step,
        )
        self._startup_gate = StartupGate(options.startup_delay, self._begin, self._on_task_end)
        applier = self._plan_applier(plan)
        self._reloader = Reloader(services, applier, options.load, self._forget_files, self._report_reload)
        self._http_api = HttpApi(
            services,
            HealthCallbacks(lambda: self._stopping, self._unhealthy_reason, self._scheduler.check_clock_step),
            self._startup_gate,
            on_demand=self._on_demand,
            timeout_offset=options.timeout_offset,
            reload=self._reloader.reload if options.lifecycle else None,
        )

    def _cycles(self, plan: Plan, clock: Clock) -> Scheduler:
        return Scheduler(
            plan.jobs,
            self._prober.run,
            self._dispatcher,
            clock,
            max_sessions=_session_limit(plan.max_sessions),
            other_sessions=lambda: self._on_demand.in_flight + self._side_in_flight,
        )

    def _runs_of_side_probes(self, clock: Clock) -> dict[SideProbe, RunSideProbe]:
        metrics = self._services.metrics
        return {
            SideProbe.CANARY: LeakCanary(clock, metrics.set_leak_findings).run,
            SideProbe.SENTINEL: ConnectSentinel(self._scheduler.suspect, metrics.record_sentinel).run,
            SideProbe.HOLD: self._hold.run,
            SideProbe.REFUSAL: RefusalProbe(self._dispatcher, metrics.passes).run,
            SideProbe.STATS: self._stats.run,
        }

    def _stats_reader(self, clock: Clock) -> StatsReader:
        services = self._services
        return StatsReader(
            services.metrics,
            services.state,
            self._key_ring,
            services.resolver,
            clock,
            has_capacity=self._has_side_capacity,
            check_clock_step=self._scheduler.check_clock_step,
        )

    def _plan_applier(self, plan: Plan) -> PlanApplier:
        return PlanApplier(
            self._services,
            self._scheduler,
            self._side_probes,
            self._dispatcher,
            self._startup_gate,
            delay=self._options.startup_delay,
            session_limit=_session_limit,
            wanted={job.name: job for job in plan.jobs},
        )

    @property
    def url(self) -> str:
        """The URL of the HTTP server; empty before the start."""
        return self._server.url if self._server else ""

    async def start(self) -> None:
        """Make the series, listen, and begin cycles after the start-up delay.

        Raises ListenError; `stop` must be called then too.
        """
        self._started.callback(self._services.state.close)
        if self._history_file is not None:
            self._started.push_async_callback(self._history_file.close)
        self._make_series()
        self._server = await WebServer.start(self._options.listen, self._http_api)
        self._started.push_async_callback(self._server.close)
        self._started.push_async_callback(self._end_background_tasks)
        self._started.push_async_callback(self._on_demand.wait_stopped)
        self._started.push_async_callback(self._scheduler.stop)
        self._started.push_async_callback(self._side_probes.stop)
        self._started.push_async_callback(self._startup_gate.close)
        self._started.push_async_callback(self._reloader.close)
        coroutines = {
            "begin": self._restore_and_begin(),
            "watch_loop": self._loop_watch.run(self._record_lag),
            "tidy": self._housekeeping(),
            "garbage": collect_garbage(
                lambda: self._in_flight <= self._hold.open_lines, lambda: self._reloader.is_reading
            ),
            "watchdog": self._notifier.run_watchdog(lambda: self._unhealthy_reason() is None),
        }
        if self._history_file is not None:
            coroutines["history"] = self._history_file.run()
        if self._options.otlp is not None:
            coroutines["otlp"] = self._export(self._options.otlp)
        self._background_tasks = [asyncio.create_task(task, name=name) for name, task in coroutines.items()]
        for task in self._background_tasks:
            task.add_done_callback(self._on_task_end)
        where = {"listen": self._server.addresses, "url": self.url}
        keys = {"version": __version__, "targets": len(self._services.jobs), **where}
        _logger.info("listening", extra={"keys": keys})
        if self._startup_gate.max_wait:
            _logger.info(FIRST_SESSIONS_WAIT, span(self._startup_gate.max_wait))
        await self._notifier.notify("READY=1", self._status)

    def rest_of(self, result: Result) -> tuple[Holdup, float | None] | None:
        """Why sessions of the result's identity send no token now, and until when; None if they do."""
        job = self._services.jobs.get(result.target)
        if job is None or result.identity is None:
            return None
        (status,) = identity_statuses_of(self._services, job, (result.identity,))
        return None if status.holdup is None else (status.holdup, status.until)

    def reload(self) -> None:
        """Request a reload, which waits for the end of the start; the log shows its outcome."""
        if not self._stopping:
            self._reloader.request_reload()

    async def stop(self) -> None:
        """Stop: not ready, no new session, running ones finish or are closed with 1000; then the HTTP server stops.

        A second call does nothing.
        """
        if not self._stopping:
            self._stopping = True
            self._on_demand.stop()
            await self._notifier.notify("STOPPING=1", "STATUS=running sessions are being closed")
        await self._started.aclose()

    def _begin(self, name: str) -> None:
        self._scheduler.begin(name)
        job = self._services.jobs.get(name)
        if job is not None:
            self._side_probes.begin(job)

    def _change_side_probes(self, job: Job) -> None:
        self._side_probes.change(job)

    def _make_series(self) -> None:
        for job in list(self._services.jobs.values()):
            self._dispatcher.add_target(job)
        self._services.metrics.record_reload(self._services.clock.wall(), successful=True)
        self._scheduler.announce(self._services.clock.wall() + self._options.startup_delay)

    def _export(self, settings: OtlpSettings) -> Coroutine[None, None, None]:
        """The export by OTLP, forever. An accepted one counts as a scrape: its receiver has seen the zeros."""
        from exporter.daemon.otlp import OtlpExporter  # noqa: PLC0415 - its library is an extra

        resource = {
            "service.name": "ws-factory-exporter",
            "service.instance.id": f"{socket.gethostname()}:{urlsplit(self.url).port}",
            **({} if self._options.origin is None else {"ws_exporter.origin": self._options.origin}),
        }
        services = self._services
        return OtlpExporter(settings, services.metrics, services.clock, resource, self._http_api.record_scrape).run()

    # Background tasks -----------------------------------------------------------------------------------------------

    async def _restore_and_begin(self) -> None:
        """Load the stored history, then let the first sessions begin."""
        if self._history_file is not None:
            await self._history_file.load(tuple(self._services.jobs))
            async for job in cooperatively(list(self._services.jobs.values())):
                self._restore_outages(job)
                self._services.changes.record(job.name)
        self._services.changes.begins_by = self._services.clock.wall() + self._startup_gate.max_wait
        self._startup_gate.add(self._services.jobs)
        self._reloader.open()

    def _restore_outages(self, job: Job) -> None:
        """Continue a recent outage, so that a restart in the middle of it sends no second alert."""
        results = self._services.history.recent(job.name)
        begin = self._services.clock.wall() - max(STALE_SECONDS, STALE_CYCLES * job.interval)
        if results and results[-1].started_at >= begin:
            self._services.metrics.restore_outages(job.name, results)

    async def _housekeeping(self) -> None:
        while True:
            async for name in cooperatively(list(self._services.jobs)):
                job = self._services.jobs.get(name)
                if job is not None:
                    self._dispatcher.update_identities(job, job.identities)
            self._prober.forget_all_but(self._services.jobs.values())
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            async for _ in cooperatively(self._services.state.ledger.prune_in_steps(self._services.clock.wall())):
                pass
            with self._services.state.transaction():
                pass  # reads what other processes have written

    def _record_lag(self, seconds: float) -> None:
        self._services.metrics.set_loop_lag(seconds)
        self._scheduler.check_clock_step()

    @property
    def _in_flight(self) -> int:
        return self._scheduler.in_flight + self._on_demand.in_flight + self._side_in_flight

    @property
    def _side_in_flight(self) -> int:
        return self._side_probes.in_flight + self._stats.in_flight

    def _has_side_capacity(self) -> bool:
        """Whether a side probe may open one more connection."""
        return self._in_flight < self._scheduler.max_sessions

    def _has_capacity(self) -> bool:
        """Whether an on-demand session may be opened."""
        limit = self._scheduler.max_sessions
        return self._in_flight < limit and self._on_demand.in_flight < max(1, limit // ON_DEMAND_ONE_IN)

    @property
    def _status(self) -> str:
        """The line that `systemctl status` shows."""
        return f"STATUS={count(len(self._services.jobs), 'target')}, listening on {self.url}"

    async def _report_reload(self, outcome: ReloadOutcome) -> None:
        """Show a failed reload in the status: `systemctl reload` has ended before the reload, and never fails."""
        failure = "" if outcome.successful else f"; {outcome.sentences[0]}"
        await self._notifier.notify(self._status + failure)

    def _forget_files(self) -> None:
        """Drop the keys and certificates that no target names any more; in a thread."""
        jobs = self._reloader.wanted.values()
        targets = [job.target for job in jobs]
        self._key_ring.forget_all_but(target.auth.source for target in targets if target.auth is not None)
        TLS_CONTEXTS.forget_all_but(tls for job in jobs for tls in (job.target.tls, job.tls_before))

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        """Log a task that has died, and remember it for the health check."""
        if not task.cancelled() and task.exception() is not None:
            self._dead_task = task.get_name()
            _logger.error("the task %s has died: please report this", self._dead_task, exc_info=task.exception())

    def _unhealthy_reason(self) -> str | None:
        if self._dead_task:
            return f"the task {self._dead_task} has died, see the log: restart"
        if not self._stopping and not self._scheduler.alive:
            return "cycles fall due and none is started: restart"
        return None

    async def _end_background_tasks(self) -> None:
        for task in self._background_tasks:
            task.cancel()
        await asyncio.gather(*self._background_tasks, return_exceptions=True)


def _open_history(path: Path | None, services: Services) -> "HistoryFile | None":
    """The file that stores the history; None if the history is not stored."""
    if path is None:
        return None
    from exporter.state.history_file import HistoryFile  # noqa: PLC0415 - SQLite is loaded only when it is used

    return HistoryFile(path, services.history, wall=services.clock.wall)


def _discard(_: Result) -> None:
    """Store nothing."""


def _session_limit(wanted: int) -> int:
    """The number of sessions that may be open at once: `wanted`, or fewer if descriptors are short."""
    limit = max(1, min(wanted, raise_descriptor_limit() - SPARE_DESCRIPTORS))
    if limit < wanted:
        _logger.warning("at most %d sessions at once, not max_sessions: raise the limit of open files", limit)
    return limit
