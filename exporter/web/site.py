"""The interface between the HTTP server and the daemon, which fulfils it.

Rule 1: one method for each kind of request, called for each request. Rule 2: nothing here depends on aiohttp.
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
    """The content of a response: a document, or a sentence; `kind`: its media type."""

    status: HTTPStatus
    text: str
    kind: str = TEXT_TYPE


@dataclass(frozen=True, slots=True)
class ProbeQuery:
    """The query of a /probe request.

    `target`, `probe`: names; an empty `probe` means the profile's deepest one.
    `scrape_timeout`: seconds after which the client gives up; None if it does not say.
    `debug`: whether the client wants a text for people. `form`: the format of the metrics.
    """

    target: str
    probe: str
    scrape_timeout: float | None
    debug: bool
    form: ExpositionFormat


class Site(Protocol):
    """The daemon, as the HTTP server uses it."""

    @property
    def status_board(self) -> StatusBoard:
        """The source of the status page."""

    @property
    def metric_source(self) -> MetricSource:
        """The source of a scrape."""

    def record_scrape(self, read_at: float) -> None:
        """Note a served scrape, whose samples were read at `read_at` in the loop's time."""

    def ready(self) -> HttpReply:
        """503 while stopping, else 200."""

    def healthy(self) -> HttpReply:
        """200 if the process works, whatever its targets do; else 503 and the reason."""

    def result_source(self) -> ResultSource:
        """The last results of every target."""

    async def held_connections(self) -> HttpReply:
        """What the held connections of all targets show, as JSON."""

    async def probe(self, query: ProbeQuery) -> HttpReply:
        """Run a session and reply with its metrics or text; if it cannot run, with another status and a sentence."""

    async def reload(self) -> HttpReply:
        """Reload the config; the reply has every mistake in it."""

    async def check(self, target: str, probe: str) -> HttpReply:
        """Check a target as deep as a probe, both by name; an empty `probe` means the profile's deepest one."""
