"""A site for the HTTP server alone: what it is asked for, as values that a test sets."""

from http import HTTPStatus

from exporter.config import Target
from exporter.metrics import Metrics, target_series
from exporter.profiles import BUILT_IN
from exporter.web import HttpReply, ListenAddress, ListenOptions, ResultSource, WebServer
from support import status_fixtures


class Shown:
    """What the server asks for, and what it told."""

    def __init__(self):
        self.metrics = Metrics("1.2.3")
        identities = {"pool-001": "u1", "pool-002": "u2", "uuid-001": "u3"}
        target = Target.model_validate({"name": "staging", "url": "wss://localhost/ws", "identities": identities})
        self.metrics.add_target(target_series(target, BUILT_IN["factory"]))
        self.metric_source = self.metrics
        self.is_ready = HttpReply(HTTPStatus.OK, "ready\n")
        self.is_healthy = HttpReply(HTTPStatus.OK, "healthy\n")
        self.is_reloaded = HttpReply(HTTPStatus.OK, "reloaded: no target has changed\n")
        self.scrapes = 0
        self.questions = []
        self.probed = HttpReply(HTTPStatus.OK, "probe_success 1\n")
        self.status_board = status_fixtures.Board(status_fixtures.healthy(["staging"]))
        self.results, self.now = {}, 0.0

    def record_scrape(self, _read_at):
        self.scrapes += 1

    def ready(self):
        return self.is_ready

    def healthy(self):
        return self.is_healthy

    def result_source(self):
        return ResultSource(tuple(self.results), lambda name: self.results[name], self.now)

    async def held_connections(self):
        return HttpReply(HTTPStatus.OK, "{}\n", "application/json")

    async def probe(self, question):
        self.questions.append(question)
        return self.probed

    async def reload(self):
        return self.is_reloaded

    async def check(self, target, probe):
        return HttpReply(HTTPStatus.OK, f"{target} {probe}\n")

    async def serve(self, metric_source=None, **doorway):
        """A server on loopback; `doorway`: what of it is to be other than plain."""
        self.metric_source = metric_source or self.metrics
        return await WebServer.start(ListenOptions(**{"listen": (ListenAddress("127.0.0.1", 0),), **doorway}), self)
