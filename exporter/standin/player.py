"""Plays an incident of the data set to the connections of a stand-in: its steps become bytes.

The steps of a connection up to its request are those of the first script; the user of the token picks the script of
the others. A wait is the time between two steps. A message of the client starts what follows it in the script, as
often as it comes; a close of the client that comes earlier than the script's is answered at once.

Rule 1: what an incident is stands in the data; nothing here knows one by name.
"""

import asyncio
import base64
import json
import random
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final

from websockets.frames import Frame, Opcode
from websockets.http11 import Request

from exporter.standin import frames, http_answers
from exporter.standin.connection import AcceptedConnection, plain_headers
from exporter.standin.credentials import UpgradeRequest, unverified_subject
from exporter.standin.faults import ActiveFault
from exporter.standin.incidents import Incident, IncidentScript, IncidentStep, substituted
from exporter.standin.server_connection import ConversationEndedError
from exporter.standin.server_state import ServerState

MESSAGES: Final = ("text", "binary")
PING: Final = Frame(Opcode.PING, b"").serialize(mask=False)


@dataclass(slots=True)
class IncidentPlay:
    """An incident that is being played, and how many connections its pulses have met."""

    incident: Incident
    clock: Callable[[], float]
    _began: float | None = None
    _met: dict[int, int] = field(default_factory=dict)

    def scripts(self) -> tuple[IncidentScript, ...]:
        """The scripts for the next connection, one of which is its user's."""
        now = self.clock()
        self._began = now if self._began is None else self._began
        due = tuple(script for script in self.incident.scripts if self._is_due(script, now - self._began))
        return due or tuple(script for script in self.incident.scripts if script.pulse is None)

    def _is_due(self, script: IncidentScript, since: float) -> bool:
        if script.pulse is None:
            return False
        window = int(since // script.pulse.every)
        met = self._met.get(window, 0)
        self._met[window] = met + 1
        return window < script.pulse.times and met < script.pulse.connections


@dataclass(frozen=True, slots=True)
class _Segment:
    """Steps of the server, and the step that they follow: the request, a message or the close of the client."""

    after: IncidentStep
    steps: tuple[IncidentStep, ...]


def _segments(script: IncidentScript) -> Iterator[_Segment]:
    """The steps from the request on."""
    triggers = [
        number
        for number, step in enumerate(script.steps)
        if step.by_client and step.kind in ("http_request", "close", *MESSAGES)
    ]
    for number, end in zip(triggers, [*triggers[1:], len(script.steps)], strict=True):
        after, *steps = script.steps[number:end]
        yield _Segment(after, tuple(step for step in steps if not step.by_client))


class PlayedConnection(AcceptedConnection):
    """An accepted socket to which an incident is played."""

    def __init__(
        self,
        sock: socket.socket,
        peer: str,
        server_state: ServerState,
        play: IncidentPlay,
        *,
        tls: Callable[[list[ActiveFault]], ssl.SSLContext] | None,
    ) -> None:
        super().__init__(sock, peer, server_state, tls=tls)
        self._scripts = play.scripts()
        self._request: Request | None = None
        self._user = ""
        self._received: Mapping[str, Any] = {}
        self._connection_id = f"ws_{random.randbytes(8).hex()}"

    def _open(self) -> None:
        """What the script has before the request happens before a byte is read."""
        for step in takewhile(lambda step: step.kind != "http_request", self._scripts[0].steps):
            if step.kind == "silence":
                self.wire.mute()
                self.wire.ignores_input = True
            elif step.kind == "rst":
                self.wire.on_bytes = self.wire.abort

    async def _serve(self) -> None:
        self._request = request = await self.wire.request()
        self._path, _, query = request.path.partition("?")
        script = self._script_of(UpgradeRequest(self._path, query, plain_headers(request.headers)))
        segments = list(_segments(script))
        conversation = asyncio.create_task(self._converse([each for each in segments if each.after.kind != "close"]))

        def stop() -> None:
            conversation.cancel()

        self.wire.on_close = stop
        try:
            await asyncio.wait([conversation])
        finally:
            conversation.cancel()
        if conversation.cancelled():
            await self._answer_close(segments)
        else:
            conversation.result()

    def _script_of(self, upgrade: UpgradeRequest) -> IncidentScript:
        token = upgrade.token()
        self._token_seen = token is not None
        scripts = self._scripts
        subject = unverified_subject(token, self._server_state.wall()) if token else ""
        self._user = subject or next(iter(scripts[0].users), "")
        return next((script for script in scripts if self._user in script.users), scripts[0])

    async def _converse(self, segments: Sequence[_Segment]) -> None:
        """The request's segment, then one for each message; the last one again for each further message."""
        for segment in segments:
            if segment.after.kind in MESSAGES:
                await self._receive()
            await self._run(segment)
        if not segments or segments[-1].after.kind not in MESSAGES:
            await self.wire.wait_lost()
        while True:
            await self._receive()
            await self._run(segments[-1])

    async def _receive(self) -> None:
        message = await self.wire.message()
        try:
            value = json.loads(message or "null")
        except (ValueError, RecursionError):
            value = None
        self._received = value if isinstance(value, dict) else {}

    async def _run(self, segment: _Segment) -> None:
        since = segment.after.at
        for step in segment.steps:
            await asyncio.sleep(max(0.0, step.at - since))
            since = step.at
            ACTIONS[step.kind](self, step.values)

    async def _answer_close(self, segments: Sequence[_Segment]) -> None:
        """As the script does, if its client closes first too; else with the client's own code."""
        scripted = [segment for segment in segments if segment.after.kind == "close"]
        others = (step.kind for segment in segments if segment not in scripted for step in segment.steps)
        if scripted and "close" not in others:
            await self._run(scripted[0])
        else:
            self.wire.close(self.wire.trace.close_received or 1000)

    # What a step of the server does -----------------------------------------------------------------------------------

    def _filled(self, value: Any) -> Any:
        now = self._server_state.wall()
        variables = {
            "user": self._user,
            "connection_id": self._connection_id,
            "time": now,
            "iso_time": frames.iso(now),
            "http_date": http_answers.date(now),
            **{f"received.{name}": each for name, each in self._received.items()},
        }
        return substituted(value, variables)

    def accept_upgrade(self, _values: Mapping[str, Any]) -> None:
        """The 101, or what RFC 6455 section 4.2.2 has for a request that is no good upgrade."""
        if self._request is not None:
            self.wire.answer_upgrade(self._request, wall=self._server_state.wall())

    def answer_http(self, values: Mapping[str, Any]) -> None:
        """An answer that is no 101; the connection takes no further request."""
        status = values["status"]
        fields = "".join(f"{name}: {value}\r\n" for name, value in self._filled(values["headers"]).items())
        phrase = values.get("reason") or http_answers.phrase(status)
        self.wire.write(f"HTTP/1.1 {status} {phrase}\r\n{fields}\r\n{values['body']}".encode("latin-1", "replace"))
        self.wire.ignores_input = True

    def send_text(self, values: Mapping[str, Any]) -> None:
        """A text message: `json` as compact JSON, or `text` as it is."""
        filled = self._filled(values["json"] if "json" in values else values["text"])
        text = json.dumps(filled, separators=(",", ":")) if "json" in values else str(filled)
        self.wire.send(text.encode())

    def send_binary(self, values: Mapping[str, Any]) -> None:
        """A binary message."""
        self.wire.send_binary(base64.b64decode(values["base64"]))

    def close(self, values: Mapping[str, Any]) -> None:
        """A close frame; with 1005 an empty one."""
        self.wire.close(values["code"], values["reason"])
        if self.wire.trace.first_closer == "server":
            raise ConversationEndedError

    def fall_silent(self, values: Mapping[str, Any]) -> None:
        """Send no further message; without `ping` in `answers`, nothing at all."""
        self.wire.discarding = True
        if "ping" not in values["answers"]:
            self.wire.mute()


ACTIONS: Final[Mapping[str, Callable[[PlayedConnection, Mapping[str, Any]], None]]] = {
    "101": PlayedConnection.accept_upgrade,
    "http_status": PlayedConnection.answer_http,
    "text": PlayedConnection.send_text,
    "binary": PlayedConnection.send_binary,
    "ping": lambda connection, _values: connection.wire.write(PING),
    "close": PlayedConnection.close,
    "fin": lambda connection, _values: connection.wire.finish(),
    "rst": lambda connection, _values: connection.wire.abort(),
    "silence": PlayedConnection.fall_silent,
    "tls": lambda _connection, _values: None,  # the certificate is chosen before the first byte
    "refuse": lambda _connection, _values: None,  # nothing listens
}
"""Kind of a step → what the server does."""
