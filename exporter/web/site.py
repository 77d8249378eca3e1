"""What the HTTP side shows and does: the one list of it, which the daemon fulfils.

Rule 1: a door for each kind of request, asked anew at each. Rule 2: nothing of aiohttp stands here.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

from exporter.metrics import ExpositionFormat
from exporter.web.filters import ResultSource
from exporter.web.pages import StatusBoard
from exporter.web.render import MetricSource

JSON_TYPE: Final = "application/json"
TEXT_TYPE: Final = "text/plain"


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What is answered: a document, or a sentence."""

    status: HTTPStatus
    text: str
    kind: str = TEXT_TYPE


@dataclass(frozen=True, slots=True)
class ProbeQuery:
    """A probe that somebody asks for. `target`, `probe`: names, "" where the profile's deepest probe is meant.

    `scrape_timeout`: seconds after which nobody waits for the answer any more; None: who asks does not say.
    `debug`: wants a text for people. `form`: of the figures.
    """

    target: str
    probe: str
    scrape_timeout: float | None
    debug: bool
    form: ExpositionFormat


class Site(Protocol):
    """Who is asked."""

    @property
    def status_board(self) -> StatusBoard:
        """What the status page shows."""

    @property
    def metric_source(self) -> MetricSource:
        """What a scrape is made of."""

    def record_scrape(self, read_at: float) -> None:
        """GET on the metrics has been answered, with the figures of a moment of the loop's clock."""

    def ready(self) -> HttpReply:
        """Whether traffic is welcome."""

    def healthy(self) -> HttpReply:
        """Whether we do our work; how targets do says nothing of that."""

    def result_source(self) -> ResultSource:
        """The last results of every target."""

    async def probe(self, question: ProbeQuery) -> HttpReply:
        """A session now: its figures in the form asked for, or as a text; or a sentence and another status than 200."""

    async def reload(self) -> HttpReply:
        """The config has been read anew, or why not."""

    async def check(self, target: str, probe: str) -> HttpReply:
        """A check of a target, by name, as deep as a probe, by name ("": as deep as the profile goes)."""
