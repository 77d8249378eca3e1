"""One connection from accept to its record: it reads the path, runs the upgrade, and starts the conversation.

Rule 1: every connection ends in a record; only cancellation from outside and defects of the stand-in raise.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import NoReturn

from websockets.datastructures import Headers
from websockets.http11 import Request

from exporter.standin import frames, http_answers
from exporter.standin.connection_record import ConnectionRecord, connection_record
from exporter.standin.conversation import Conversation, ConversationLog
from exporter.standin.credentials import UpgradeRequest
from exporter.standin.fault_actions import FAULT_ACTIONS
from exporter.standin.fault_registry import ALIASES, ALL_PATHS, at
from exporter.standin.faults import ActiveFault, FaultStage
from exporter.standin.server_connection import ConversationEndedError, ServerConnection
from exporter.standin.server_state import ServerState
from exporter.standin.transport_paths import TRANSPORT_PATHS
from exporter.standin.wire_fault_actions import WIRE_FAULT_ACTIONS


class AcceptedConnection:
    """An accepted socket. `run` it in a task of its own; when the task is done, `record` returns its record."""

    def __init__(
        self,
        sock: socket.socket,
        peer: str,
        server_state: ServerState,
        *,
        tls: Callable[[list[ActiveFault]], ssl.SSLContext] | None,
    ) -> None:
        self._server_state = server_state
        self._peer = peer
        self._tls = tls is not None
        self._faults = server_state.fault_registry.of_listener()
        self._names = [fault.name for fault in self._faults]
        context = tls and tls(self._faults)
        self.wire = ServerConnection(sock, context=context, timings=server_state.timings, clock=server_state.clock)
        self._log = ConversationLog()
        self._path: str | None = None
        self._token_seen = False

    async def run(self) -> None:
        """Serve the connection to its end."""
        self.wire.on_open = self._open
        self.wire.owner = asyncio.current_task()  # to be cancelled when the connection is lost
        try:
            with suppress(ConversationEndedError):
                await self.wire.start()
                await self._serve()
        finally:
            self.wire.owner = None
            await self._leave()

    async def _leave(self) -> None:
        """Wait until the client or the stand-in has ended the connection."""
        try:
            if self.wire.is_started:
                await self.wire.wait_lost()
        finally:
            self.wire.kill(reset=False)

    def is_at(self, path: str) -> bool:
        """True if the connection is to this path (canonical; "*": any)."""
        own_path = ALIASES.get(self._path or "", self._path)
        return path in (ALL_PATHS, own_path)

    def _open(self) -> None:
        """Run the faults that act before a byte is read."""
        for fault in at(FaultStage.TCP, self._faults):
            if fault.name != "not_tls" or self._tls:
                WIRE_FAULT_ACTIONS[fault.name](self.wire, fault.values, FaultStage.TCP)

    async def _serve(self) -> None:
        request = await self.wire.request()
        self._path, _, query = request.path.partition("?")
        upgrade = UpgradeRequest(self._path, query, plain_headers(request.headers), self._peer)
        self._token_seen = upgrade.token() is not None
        if "websocket" not in upgrade.headers.get("upgrade", "").lower():
            self._answer_http(request, self._path)
        await self._upgrade(request, upgrade)

    def _answer_http(self, request: Request, path: str) -> None:
        """Answer plain HTTP: 200 for `/health` and `PATH/stats`, 404 for everything else, or by the fault `http`."""
        now = self._server_state.wall()
        for fault in at(FaultStage.UPGRADE, self._server_state.fault_registry.of_path(path)):
            if fault.name == "http":
                status = fault.values["status"] or HTTPStatus.SERVICE_UNAVAILABLE
                self._end_http(http_answers.refusal(fault.values, status, now))
        value = self._page(path) if request.method == "GET" else None
        status = HTTPStatus.NOT_FOUND if value is None else HTTPStatus.OK
        self._end_http(http_answers.json_answer(status, value or {"detail": "Not Found"}, now))

    def _page(self, path: str) -> frames.Frame | None:
        """The JSON at a path; None if there is none."""
        if path == "/health":
            return frames.health(self._server_state.wall())
        owner, _, last = path.rpartition("/")
        backend = self._server_state.backend(owner) if last == "stats" else None
        if backend is None:
            return None
        managers = backend.managers
        return frames.stats(managers.metrics(self._server_state.clock()), managers.limit, managers.counts())

    def _end_http(self, answer: bytes) -> NoReturn:
        self.wire.write(answer)
        self.wire.ignores_input = True
        self.wire.finish()
        raise ConversationEndedError

    async def _upgrade(self, request: Request, upgrade: UpgradeRequest) -> None:
        server_state = self._server_state
        backend = server_state.backend(upgrade.path)
        if backend is None:
            self._end_http(http_answers.answer(HTTPStatus.FORBIDDEN, b"", "text/plain", server_state.wall(), {}))
        faults = server_state.fault_registry.of_path(ALIASES.get(upgrade.path, upgrade.path))
        self._names += [fault.name for fault in faults]
        conversation = Conversation(
            self.wire, backend, server_state.timings, server_state.clock, server_state.wall, faults, FAULT_ACTIONS,
            upgrade, server_state.rng, log=self._log,
        )  # fmt: skip
        self._watch_close(faults)
        await conversation.run_faults(FaultStage.UPGRADE)
        self.wire.answer_upgrade(request, accept=conversation.accept, wall=server_state.wall())
        special = TRANSPORT_PATHS.get(upgrade.path)
        await (special(conversation) if special else conversation.run())

    def _watch_close(self, faults: list[ActiveFault]) -> None:
        closing = at(FaultStage.CLOSE, faults)
        if not closing:
            return

        def act() -> None:
            for fault in closing:
                WIRE_FAULT_ACTIONS[fault.name](self.wire, fault.values, FaultStage.CLOSE)

        self.wire.on_close = act

    def record(self) -> ConnectionRecord:
        """The record of the finished connection."""
        return connection_record(
            self.wire.trace,
            self._log,
            path=self._path,
            tls=self._tls,
            token_seen=self._token_seen,
            faults=tuple(self._names),
            now=self._server_state.clock(),
        )


def plain_headers(headers: Headers) -> dict[str, str]:
    """Names in lower case; values of repeated headers joined (RFC 9110 section 5.3)."""
    plain: dict[str, str] = {}
    for name, value in headers.raw_items():
        key = name.lower()
        plain[key] = f"{plain[key]}, {value}" if key in plain else value
    return plain
