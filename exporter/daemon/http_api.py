"""Answers the HTTP side: what `web.Site` asks for."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from exporter.daemon.on_demand import OnDemandProbes
from exporter.daemon.probe_endpoint import BadProbeQueryError, ProbeEndpoint, named
from exporter.daemon.reloading import ReloadOutcome
from exporter.daemon.services import Services
from exporter.daemon.startup_gate import StartupGate
from exporter.daemon.status_source import StatusSource
from exporter.report import FORMATS, UNKNOWN_CONTEXT, RenderContext, TargetContext
from exporter.web import JSON_TYPE, HttpReply, ProbeQuery, ResultSource

NO_LIFECYCLE: Final = "reload by HTTP is switched off: start with --web.enable-lifecycle, or send a SIGHUP\n"
CLOSING_SESSIONS: Final = "stopping: running sessions are being closed"


@dataclass(frozen=True, slots=True)
class HealthCallbacks:
    """How we do ourselves: a sentence if we are ill or going, else None. `look`: follow the wall clock now."""

    stopping: Callable[[], bool]
    ill: Callable[[], str | None]
    look: Callable[[], None]


class HttpApi:
    """Fulfils `web.Site`.

    `newcomers` wait for a scrape that is served; `reload` is there if clients may ask for it.
    """

    def __init__(
        self,
        ground: Services,
        vitals: HealthCallbacks,
        newcomers: StartupGate,
        *,
        sessions: OnDemandProbes,
        timeout_offset: float,
        reload: Callable[[], Awaitable[ReloadOutcome]] | None,
    ) -> None:
        self.metric_source = ground.metrics
        self.board = StatusSource(ground, vitals.ill, newcomers.starts_within)
        self._ground = ground
        self._jobs = ground.jobs
        self._vitals = vitals
        self._newcomers = newcomers
        self._sessions = sessions
        self._probes = ProbeEndpoint(ground.jobs, sessions, ground.clock.wall, offset=timeout_offset)
        self._reload = reload

    def scraped(self, since: float) -> None:
        """A scrape has been served, of the figures at a moment of the loop's clock."""
        self._ground.news.last_scrape = self._ground.clock.wall()
        self._newcomers.scraped(since)

    def ready(self) -> HttpReply:
        """Not ready while stopping."""
        if self._vitals.stopping():
            return _no(CLOSING_SESSIONS)
        return HttpReply(HTTPStatus.OK, "ready\n")

    def healthy(self) -> HttpReply:
        """Whether we do our work; how targets do says nothing of that."""
        ill = self._vitals.ill()
        return HttpReply(HTTPStatus.OK, "healthy\n") if ill is None else _no(ill)

    def recent(self) -> ResultSource:
        """Every target, in the order of the config."""
        return ResultSource(tuple(self._jobs), self._ground.history.results, self._ground.clock.wall(), self._context)

    def _context(self, target: str) -> TargetContext:
        job = self._jobs.get(target)
        return UNKNOWN_CONTEXT if job is None else TargetContext.of(job)

    async def probe(self, question: ProbeQuery) -> HttpReply:
        """With the ledger of the schedule, and no counter of it."""
        self._vitals.look()  # a ledger of yesterday's clock would think slots free
        return await self._probes.answer(question)

    async def reload(self) -> HttpReply:
        """The config is read anew; every mistake in it is said."""
        if self._reload is None:
            return HttpReply(HTTPStatus.FORBIDDEN, NO_LIFECYCLE)
        if self._vitals.stopping():
            return _no("the exporter is stopping")
        done = await self._reload()
        status = HTTPStatus.OK if done.successful else HTTPStatus.INTERNAL_SERVER_ERROR
        return HttpReply(status, "".join(f"{sentence}\n" for sentence in done.sentences))

    async def check(self, target: str, probe: str) -> HttpReply:
        """One at a time for a target, with the ledger of the schedule."""
        try:
            job, depth = named(self._jobs, target, probe)
        except BadProbeQueryError as problem:
            return HttpReply(HTTPStatus.BAD_REQUEST, f"{problem}\n")
        self._vitals.look()
        said = await self._sessions.fresh(job, depth)
        if isinstance(said, str):
            return _no(said)
        if said.checked.refusal is not None:
            return _no(said.checked.refusal)
        return HttpReply(
            HTTPStatus.OK, FORMATS["json"](said.checked, RenderContext(self._ground.clock.wall())), JSON_TYPE
        )


def _no(sentence: str) -> HttpReply:
    return HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, f"{sentence}\n")
