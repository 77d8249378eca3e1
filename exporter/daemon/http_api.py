"""Answers HTTP requests: fulfils `web.Site`."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

from exporter.daemon.on_demand import OnDemandProbes
from exporter.daemon.probe_endpoint import BadProbeQueryError, ProbeEndpoint, job_and_depth
from exporter.daemon.reloading import ReloadOutcome
from exporter.daemon.services import Services
from exporter.daemon.startup_gate import StartupGate
from exporter.daemon.status_source import StatusSource, held_connection_of
from exporter.host import cooperatively
from exporter.report import FORMATS, UNKNOWN_CONTEXT, RenderContext, TargetContext, held_document
from exporter.web import JSON_TYPE, HttpReply, ProbeQuery, ResultSource

NO_LIFECYCLE: Final = "reload by HTTP is switched off: start with --web.enable-lifecycle, or send a SIGHUP\n"
CLOSING_SESSIONS: Final = "stopping: running sessions are being closed"


@dataclass(frozen=True, slots=True)
class HealthCallbacks:
    """The health of the process.

    `unhealthy_reason`: a sentence if the exporter does not do its work, else None.
    `check_clock_step`: follows the wall clock now.
    """

    stopping: Callable[[], bool]
    unhealthy_reason: Callable[[], str | None]
    check_clock_step: Callable[[], None]


class HttpApi:
    """Fulfils `web.Site`; `reload`: None if clients may not ask for one."""

    def __init__(
        self,
        services: Services,
        health: HealthCallbacks,
        startup_gate: StartupGate,
        *,
        on_demand: OnDemandProbes,
        timeout_offset: float,
        reload: Callable[[], Awaitable[ReloadOutcome]] | None,
    ) -> None:
        self.metric_source = services.metrics
        self.status_board = StatusSource(services, health.unhealthy_reason, startup_gate.starts_within)
        self._services = services
        self._jobs = services.jobs
        self._health = health
        self._startup_gate = startup_gate
        self._on_demand = on_demand
        self._probe_endpoint = ProbeEndpoint(services, on_demand, offset=timeout_offset)
        self._reload = reload

    def record_scrape(self, read_at: float) -> None:
        """Note a served scrape, whose samples were read at `read_at` in the loop's time."""
        self._services.changes.last_scrape = self._services.clock.wall()
        self._startup_gate.record_scrape(read_at)

    def ready(self) -> HttpReply:
        """503 while stopping, else 200."""
        if self._health.stopping():
            return _unavailable(CLOSING_SESSIONS)
        return HttpReply(HTTPStatus.OK, "ready\n")

    def healthy(self) -> HttpReply:
        """200 if the process works, whatever its targets do; else 503 and the reason."""
        reason = self._health.unhealthy_reason()
        return HttpReply(HTTPStatus.OK, "healthy\n") if reason is None else _unavailable(reason)

    def result_source(self) -> ResultSource:
        """The last results of every target, in the order of the config."""
        return ResultSource(
            tuple(self._jobs), self._services.history.results, self._services.clock.wall(), self._context
        )

    async def held_connections(self) -> HttpReply:
        """What the held connection of every target that holds one shows, by name, as JSON; a target is one slice."""
        pieces = []
        async for job in cooperatively(list(self._jobs.values())):
            held = held_connection_of(self._services, job)
            if held is not None:
                pieces.append(f"{json.dumps(job.name)}: {json.dumps(held_document(held), allow_nan=False)}")
        return HttpReply(HTTPStatus.OK, "{" + ",\n".join(pieces) + "}\n", JSON_TYPE)

    def _context(self, target: str) -> TargetContext:
        job = self._jobs.get(target)
        return UNKNOWN_CONTEXT if job is None else TargetContext.of(job)

    async def probe(self, query: ProbeQuery) -> HttpReply:
        """Run a session that obeys the ledger of the schedule and counts in no metric of it."""
        self._health.check_clock_step()  # before a step is applied, the ledger may show held slots as free
        return await self._probe_endpoint.answer(query)

    async def reload(self) -> HttpReply:
        """Reload the config; the reply has every mistake in it."""
        if self._reload is None:
            return HttpReply(HTTPStatus.FORBIDDEN, NO_LIFECYCLE)
        if self._health.stopping():
            return _unavailable("the exporter is stopping")
        outcome = await self._reload()
        status = HTTPStatus.OK if outcome.successful else HTTPStatus.INTERNAL_SERVER_ERROR
        return HttpReply(status, "".join(f"{sentence}\n" for sentence in outcome.sentences))

    async def check(self, target: str, probe: str) -> HttpReply:
        """Run a session that obeys the ledger, one at a time for each target, and reply with its report."""
        try:
            job, depth = job_and_depth(self._jobs, target, probe)
        except BadProbeQueryError as problem:
            return HttpReply(HTTPStatus.BAD_REQUEST, f"{problem}\n")
        self._health.check_clock_step()
        outcome = await self._on_demand.run(job, depth)
        if isinstance(outcome, str):
            return _unavailable(outcome)
        if outcome.report.refusal is not None:
            return _unavailable(outcome.report.refusal)
        report = replace(outcome.report, held=held_connection_of(self._services, job))
        text = FORMATS["json"](report, RenderContext(self._services.clock.wall()))
        return HttpReply(HTTPStatus.OK, text, JSON_TYPE)


def _unavailable(sentence: str) -> HttpReply:
    return HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, f"{sentence}\n")
