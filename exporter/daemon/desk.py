"""Answers the HTTP side: what `web.Site` asks for."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from exporter.daemon.asked import Sessions
from exporter.daemon.board import Board
from exporter.daemon.ground import Ground
from exporter.daemon.newcomers import Newcomers
from exporter.daemon.probes import Probes, Wrong, named
from exporter.daemon.reloading import Reloaded
from exporter.report import FORMATS, NEUTRAL, Context, View
from exporter.web import JSON, Answer, Question, Recent

NO_LIFECYCLE: Final = "reload by HTTP is switched off: start with --web.enable-lifecycle, or send a SIGHUP\n"
STOPPING: Final = "stopping: running sessions are being closed"


@dataclass(frozen=True, slots=True)
class Vitals:
    """How we do ourselves: a sentence if we are ill or going, else None. `look`: follow the wall clock now."""

    stopping: Callable[[], bool]
    ill: Callable[[], str | None]
    look: Callable[[], None]


class Desk:
    """Fulfils `web.Site`.

    `newcomers` wait for a scrape that is served; `reload` is there if clients may ask for it.
    """

    def __init__(
        self,
        ground: Ground,
        vitals: Vitals,
        newcomers: Newcomers,
        *,
        sessions: Sessions,
        timeout_offset: float,
        reload: Callable[[], Awaitable[Reloaded]] | None,
    ) -> None:
        self.figures = ground.metrics
        self.board = Board(ground, vitals.ill, newcomers.starts_within)
        self._ground = ground
        self._jobs = ground.jobs
        self._vitals = vitals
        self._newcomers = newcomers
        self._sessions = sessions
        self._probes = Probes(ground.jobs, sessions, ground.clock.wall, offset=timeout_offset)
        self._reload = reload

    def scraped(self, since: float) -> None:
        """A scrape has been served, of the figures at a moment of the loop's clock."""
        self._ground.news.last_scrape = self._ground.clock.wall()
        self._newcomers.scraped(since)

    def ready(self) -> Answer:
        """Not ready while stopping."""
        if self._vitals.stopping():
            return _no(STOPPING)
        return Answer(HTTPStatus.OK, "ready\n")

    def healthy(self) -> Answer:
        """Whether we do our work; how targets do says nothing of that."""
        ill = self._vitals.ill()
        return Answer(HTTPStatus.OK, "healthy\n") if ill is None else _no(ill)

    def recent(self) -> Recent:
        """Every target, in the order of the config."""
        return Recent(tuple(self._jobs), self._ground.history.results, self._ground.clock.wall(), self._context)

    def _context(self, target: str) -> Context:
        job = self._jobs.get(target)
        return NEUTRAL if job is None else Context.of(job)

    async def probe(self, question: Question) -> Answer:
        """With the ledger of the schedule, and no counter of it."""
        self._vitals.look()  # a ledger of yesterday's clock would think slots free
        return await self._probes.answer(question)

    async def reload(self) -> Answer:
        """The config is read anew; every mistake in it is said."""
        if self._reload is None:
            return Answer(HTTPStatus.FORBIDDEN, NO_LIFECYCLE)
        if self._vitals.stopping():
            return _no("the exporter is stopping")
        done = await self._reload()
        status = HTTPStatus.OK if done.successful else HTTPStatus.INTERNAL_SERVER_ERROR
        return Answer(status, "".join(f"{sentence}\n" for sentence in done.sentences))

    async def check(self, target: str, probe: str) -> Answer:
        """One at a time for a target, with the ledger of the schedule."""
        try:
            job, depth = named(self._jobs, target, probe)
        except Wrong as problem:
            return Answer(HTTPStatus.BAD_REQUEST, f"{problem}\n")
        self._vitals.look()
        said = await self._sessions.fresh(job, depth)
        if isinstance(said, str):
            return _no(said)
        if said.checked.refusal is not None:
            return _no(said.checked.refusal)
        return Answer(HTTPStatus.OK, FORMATS["json"](said.checked, View(self._ground.clock.wall())), JSON)


def _no(sentence: str) -> Answer:
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{sentence}\n")
