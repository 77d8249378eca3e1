"""Answers the HTTP side: what `web.Site` asks for."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from exporter.daemon.board import Board
from exporter.daemon.ground import Ground
from exporter.oncall import OnCall
from exporter.report import FORMATS, View
from exporter.result import Probe
from exporter.web import JSON, Answer, Recent

STOPPING: Final = "stopping: running sessions are being closed"


@dataclass(frozen=True, slots=True)
class Vitals:
    """How we do ourselves: a sentence if we are ill or going, else None. `look`: follow the wall clock now."""

    stopping: Callable[[], bool]
    ill: Callable[[], str | None]
    look: Callable[[], None]


class Desk:
    """Fulfils `web.Site`. `on_scrape` is told after each served scrape."""

    def __init__(self, ground: Ground, vitals: Vitals, on_scrape: Callable[[], None]) -> None:
        self.figures = ground.metrics
        self.board = Board(ground, vitals.ill)
        self._ground = ground
        self._jobs = ground.jobs
        self._vitals = vitals
        self._on_scrape = on_scrape
        self._being_checked: set[str] = set()

    def scraped(self) -> None:
        """A scrape has been served."""
        self._ground.news.last_scrape = self._ground.clock.wall()
        self._on_scrape()

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
        return Recent(tuple(self._jobs), self._ground.history.results, self._ground.clock.wall())

    async def check(self, target: str, probe: str) -> Answer:
        """One at a time for a target, with the ledger of the schedule."""
        job = self._jobs.get(target)
        if job is None:
            return _wrong(f"unknown target; known are {', '.join(self._jobs)}")
        if probe and probe not in job.probes:
            return _wrong(f"the target has the probes {', '.join(job.probes)}")
        if self._vitals.stopping():
            return _no("the exporter is stopping")
        if target in self._being_checked:
            return _no("another check of the target is under way; ask again in a moment")
        self._vitals.look()  # a ledger of yesterday's clock would think slots free
        self._being_checked.add(target)
        try:
            on_call = OnCall(job, self._ground.state, clock=self._ground.clock, resolver=self._ground.resolver)
            checked = await on_call.once(Probe(probe) if probe else job.probes[-1])
        finally:
            self._being_checked.discard(target)
        if checked.refusal is not None:
            return _no(checked.refusal)
        return Answer(HTTPStatus.OK, FORMATS["json"](checked, View(self._ground.clock.wall())), JSON)


def _no(sentence: str) -> Answer:
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{sentence}\n")


def _wrong(sentence: str) -> Answer:
    return Answer(HTTPStatus.BAD_REQUEST, f"{sentence}\n")
