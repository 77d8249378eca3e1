"""What the HTTP side shows and does: the one list of it, which the daemon fulfils.

Rule 1: a door for each kind of request, asked anew at each. Rule 2: nothing of aiohttp stands here.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

from exporter.metrics import Form
from exporter.web.filters import Recent
from exporter.web.pages import Board
from exporter.web.render import Figures

JSON: Final = "application/json"
TEXT: Final = "text/plain"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered: a document, or a sentence."""

    status: HTTPStatus
    text: str
    kind: str = TEXT


@dataclass(frozen=True, slots=True)
class Question:
    """A probe that somebody asks for. `target`, `probe`: names, "" where the profile's deepest probe is meant.

    `scrape_timeout`: seconds after which nobody waits for the answer any more; None: who asks does not say.
    `debug`: wants a text for people. `form`: of the figures.
    """

    target: str
    probe: str
    scrape_timeout: float | None
    debug: bool
    form: Form


class Site(Protocol):
    """Who is asked."""

    @property
    def board(self) -> Board:
        """What the status page shows."""

    @property
    def figures(self) -> Figures:
        """What a scrape is made of."""

    def scraped(self) -> None:
        """GET on the metrics has been answered."""

    def ready(self) -> Answer:
        """Whether traffic is welcome."""

    def healthy(self) -> Answer:
        """Whether we do our work; how targets do says nothing of that."""

    def recent(self) -> Recent:
        """The last results of every target."""

    async def probe(self, question: Question) -> Answer:
        """A session now: its figures in the form asked for, or as a text; or a sentence and another status than 200."""

    async def check(self, target: str, probe: str) -> Answer:
        """A check of a target, by name, as deep as a probe, by name ("": as deep as the profile goes)."""
