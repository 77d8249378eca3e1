"""One WebSocket conversation, from `resolve` to `close`.

Rule 1: every wait stands in a phase, and one deadline bounds them all; closing has a small budget of its own.
Rule 2: whatever the library, the operating system or the server does leaves as `Facts`; only cancellation escapes,
and after an orderly close.
Rule 3: what was received is read before anything is judged. Rule 4: we close with 1000 and never originate a 1011.
"""

import asyncio
import json
import logging
import re
import ssl
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from websockets import exceptions as ws
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from exporter.config import Exchange
from exporter.profiles import Script, matches
from exporter.resolver import Resolver
from exporter.result import Close, Facts, Fault, Initiator, Kind, Phase, Probe
from exporter.transport import Clock, Link, Received

SILENT: Final = logging.getLogger("exporter.websockets")
"""The library's logger prints Authorization headers and frames at debug level: it gets one that never speaks."""
SILENT.disabled = True

HEAD_LIMIT: Final = 32_768
"""Bytes of an upgrade answer's status line and headers, those of all 1xx before it included; more is no answer."""

FLOOD: Final = 16
"""A session that receives this many times its message limit is ended as `too_big`."""

FRAMES: Final = 50_000
"""A session that receives more is ended as `too_big`: of the smallest frames, 16 MiB keep the loop busy for 30 s."""

DRAIN: Final = 16
"""Reads of what has already arrived, in one go: 256 KiB. A flood would have no end."""

FRAGMENTS: Final = 1024
"""Fragments of one message; empty ones cost the sender two bytes and us an object each."""

NORMAL: Final = 1000
INTERNAL: Final = 1011
ABNORMAL: Final = 1006
INVALID_DATA: Final = 1007
TOO_BIG: Final = 1009
SWITCHING: Final = 101

STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: [^\r\n]*)?\r?\n")
HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
RETRY_AFTER: Final = re.compile(rb"\nretry-after:[ \t]*(\d{1,9})[ \t]*\r?\n", re.IGNORECASE)

KINDS: Final[Mapping[type[BaseException], Kind]] = {
    ws.WebSocketException: Kind.PROTOCOL,
    ws.ConnectionClosed: Kind.CLOSED,
    ws.ConnectionClosedOK: Kind.CLOSED,
    ws.ConnectionClosedError: Kind.CLOSED,
    ws.InvalidURI: Kind.UPGRADE,
    ws.InvalidProxy: Kind.UPGRADE,
    ws.InvalidHandshake: Kind.UPGRADE,
    ws.SecurityError: Kind.UPGRADE,
    ws.RequestLineTooLong: Kind.UPGRADE,
    ws.StatusLineTooLong: Kind.UPGRADE,
    ws.HeaderLineTooLong: Kind.UPGRADE,
    ws.TooManyHeaders: Kind.UPGRADE,
    ws.ProxyError: Kind.UPGRADE,
    ws.InvalidProxyMessage: Kind.UPGRADE,
    ws.InvalidProxyStatus: Kind.UPGRADE,
    ws.InvalidMessage: Kind.UPGRADE,
    ws.InvalidMethod: Kind.UPGRADE,
    ws.InvalidProtocol: Kind.UPGRADE,
    ws.InvalidStatus: Kind.STATUS,
    ws.InvalidHeader: Kind.UPGRADE,
    ws.InvalidHeaderFormat: Kind.UPGRADE,
    ws.InvalidHeaderValue: Kind.UPGRADE,
    ws.InvalidOrigin: Kind.UPGRADE,
    ws.InvalidUpgrade: Kind.UPGRADE,
    ws.NegotiationError: Kind.UPGRADE,
    ws.DuplicateParameter: Kind.UPGRADE,
    ws.InvalidParameterName: Kind.UPGRADE,
    ws.InvalidParameterValue: Kind.UPGRADE,
    ws.ProtocolError: Kind.PROTOCOL,
    ws.PayloadTooBig: Kind.TOO_BIG,
    ws.TooManyFragments: Kind.TOO_BIG,
    ws.InvalidState: Kind.PROTOCOL,
    ws.ConcurrencyError: Kind.PROTOCOL,
    UnicodeDecodeError: Kind.PROTOCOL,
    EOFError: Kind.EOF,
}
"""Every exception of the library, and the two of Python that its parser keeps. A test proves that none is missing."""


def kind_of(error: BaseException) -> Kind:
    """The kind of a library exception; what no row knows is a protocol violation."""
    return next((KINDS[cls] for cls in type(error).__mro__ if cls in KINDS), Kind.PROTOCOL)


@dataclass(frozen=True, slots=True)
class Order:
    """What one session needs. Durations in seconds; `resource` is path and query, the token's parameter included."""

    host: str
    port: int
    resource: str = field(repr=False)
    script: Script = field(repr=False)
    depth: Probe
    timeout: float
    close_timeout: float
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    subprotocols: tuple[str, ...] = field(default=(), repr=False)
    ip_protocol: str = "any"


class _Track:
    """When each phase began and ended: the only place that times."""

    def __init__(self, start: float) -> None:
        self.started = start
        self.phase = Phase.RESOLVE
        self.phases: dict[Phase, float] = {}
        self.marks: dict[Phase, float] = {}
        self._since = start

    def begin(self, phase: Phase, at: float) -> None:
        self.phase, self._since = phase, at

    def end(self, at: float) -> None:
        self.phases[self.phase] = max(0.0, at - self._since)
        self.marks[self.phase] = max(0.0, at - self.started)

    def forget(self, phase: Phase) -> None:
        self.phases.pop(phase, None)
        self.marks.pop(phase, None)


class Session:
    """One conversation; `run` it once. `kernel_stamps=False` is for loops whose clock is not the machine's."""

    def __init__(self, order: Order, resolver: Resolver, clock: Clock, *, kernel_stamps: bool = True) -> None:
        self._order = order
        self._resolver = resolver
        self._clock = clock
        self._kernel_stamps = kernel_stamps
        self._script = order.script
        self._track = _Track(clock())
        self._link: Link | None = None
        self._protocol: ClientProtocol | None = None
        self._inbox: deque[tuple[Mapping[str, Any], float]] = deque()
        self._parts: list[bytes] = []
        self._text = False
        self._fault: Fault | None = None
        self._close: Close | None = None
        self._welcome: Mapping[str, Any] | None = None
        self._refusal: Mapping[str, Any] | None = None
        self._notices: list[str] = []
        self._passed_over: Counter[str] = Counter()
        self._received = 0
        self._frames = 0
        self._rest = Received(b"", 0.0)
        self._violation: Fault | None = None
        self._asked = False
        self._expiry: float | None = None
        self._address: str | None = None

    async def run(self) -> Facts:
        """Converse, close, and tell what was met. Raises OSError only if our own machine is in trouble."""
        try:
            await self._bounded()
            ended = self._track.phase
        finally:
            await self._leave()
        return Facts(
            phases=self._track.phases,
            marks=self._track.marks,
            ended=ended,
            fault=self._fault,
            close=self._close,
            welcome=self._welcome,
            refusal=self._refusal,
            notices=tuple(self._notices),
            passed_over=dict(self._passed_over),
            certificate_expiry=self._expiry,
            address=self._address,
            slot_taken=self._slot_taken(),
        )

    async def _bounded(self) -> None:
        """The conversation under its one deadline; how it failed is kept, not raised."""
        try:
            async with asyncio.timeout(self._order.timeout):
                await self._converse()
        except TimeoutError:
            self._fault = Fault(Kind.DEADLINE)
        except Fault as fault:
            self._fault = self._blame(fault)
        met = self._track.phase
        if self._fault is None:
            self._track.begin(Phase.CLOSE, self._clock())
        else:
            self._drain()
        self._note_close(met)
        self._name_cause()

    def _blame(self, fault: Fault) -> Fault:
        """A TLS alert before the 101 belongs to the handshake; after it, the connection is broken.

        A new fault, without the traceback that would keep the session and all it has read.
        """
        kind, phase = fault.kind, fault.phase
        if kind in (Kind.TLS, Kind.CERTIFICATE) and self._track.phase is Phase.UPGRADE:
            self._track.forget(Phase.TLS)
            phase = Phase.TLS
        elif kind in (Kind.TLS, Kind.CERTIFICATE) and self._track.phase is not Phase.TLS:
            kind = Kind.RESET
        return Fault(kind, fault.detail, status=fault.status, retry_after=fault.retry_after, phase=phase)

    def _slot_taken(self) -> bool:
        """True unless the server cannot have created anything for us."""
        opened = Phase.UPGRADE in self._track.phases
        unsure = self._fault is not None and self._fault.kind in (Kind.DEADLINE, Kind.EOF, Kind.RESET)
        return self._asked and (opened or unsure)

    # The phases ---------------------------------------------------------------------------------------------------

    async def _converse(self) -> None:
        link = self._link = await self._connected()
        if self._order.tls is not None:
            self._track.begin(Phase.TLS, self._clock())
            at = await link.start_tls(self._order.tls, self._order.server_name or self._order.host)
            self._expiry = link.certificate_expiry
            self._track.end(at)
        await self._upgraded(link)
        if self._order.depth is Probe.CONNECT:
            return
        if self._script.profile.welcome is not None:
            await self._admitted()
        if self._script.auth is not None:
            await self._exchange(self._script.auth, Phase.AUTH)
        if self._order.depth is Probe.SEND and self._script.send is not None:
            await self._exchange(self._script.send, Phase.REPLY)

    async def _connected(self) -> Link:
        order, track = self._order, self._track
        address = await self._resolver.resolve(order.host, order.port, order.ip_protocol)
        self._address = str(address[1][0])
        track.end(self._clock())
        track.begin(Phase.TCP, self._clock())
        link = await Link.connect(address, self._clock, kernel_stamps=self._kernel_stamps)
        track.end(self._clock())
        return link

    async def _upgraded(self, link: Link) -> None:
        """Ask for the upgrade and judge the answer's head; a refused one's body is never awaited."""
        self._track.begin(Phase.UPGRADE, self._clock())
        protocol = self._protocol = self._offer()
        self._asked = True
        self._flush()
        head, rest = await self._head(link)
        protocol.receive_data(head)
        if protocol.handshake_exc is not None:
            raise Fault(kind_of(protocol.handshake_exc), type(protocol.handshake_exc).__name__)
        self._track.end(rest.at)
        self._track.begin(self._next_phase(), rest.at)
        if self._track.phase is Phase.CLOSE:
            self._rest = rest  # nothing after the 101 can fail a session that came for no more
        elif rest.data:
            self._feed(*rest)

    async def _head(self, link: Link) -> tuple[bytes, Received]:
        """The complete head of a 101, and what came with its end. Raises Fault for any other answer."""
        head, heard = b"", 0
        while True:
            data, at = await link.read()
            if not data:
                raise Fault(Kind.EOF, "before the answer to the upgrade")
            heard += len(data)
            head = _skip_informational(head + data)
            end = HEAD_END.search(head)
            if end is not None:
                return head[: end.end()], Received(head[end.end() :], at)
            if heard > HEAD_LIMIT:
                raise Fault(Kind.UPGRADE, "endless head")

    def _next_phase(self) -> Phase:
        if self._order.depth is not Probe.CONNECT:
            if self._script.profile.welcome is not None:
                return Phase.ADMISSION
            if self._script.auth is not None:
                return Phase.AUTH
        return Phase.REPLY if self._order.depth is Probe.SEND and self._script.send is not None else Phase.CLOSE

    def _offer(self) -> ClientProtocol:
        order = self._order
        path, _, query = order.resource.partition("?")
        protocol = ClientProtocol(
            WebSocketURI(order.tls is not None, order.host, order.port, path, query),
            subprotocols=[Subprotocol(name) for name in order.subprotocols] or None,
            max_size=self._script.profile.max_message_size,
            logger=SILENT,
        )
        request = protocol.connect()
        for name, value in order.headers.items():
            request.headers.pop(name, None)  # setting one adds another
            request.headers[name] = value
        protocol.send_request(request)
        return protocol

    async def _admitted(self) -> None:
        while True:
            message, at = await self._next()
            if self._script.is_error(message):
                await self._refused(message)
            if self._script.is_welcome(message):
                self._welcome = message
                self._track.end(at)
                return
            self._pass_over(message, notice=True)

    async def _exchange(self, exchange: Exchange, phase: Phase) -> None:
        """Send a message and read until *its* answer."""
        self._track.begin(phase, self._clock())
        self._send(exchange.message)
        while True:
            message, at = await self._next()
            if matches(exchange.match, message):
                if not matches(exchange.expect, message):
                    raise Fault(Kind.WRONG_REPLY)
                self._track.end(at)
                return
            if self._script.is_error(message):
                await self._refused(message)
            self._pass_over(message)

    async def _refused(self, message: Mapping[str, Any]) -> None:
        """An error frame: the close that follows it (at once, or 0.1 s later) belongs to the story."""
        self._refusal = message
        with suppress(Fault, TimeoutError):
            async with asyncio.timeout(self._order.close_timeout):
                while True:
                    await self._next()
        raise Fault(Kind.REFUSAL)

    def _pass_over(self, message: Mapping[str, Any], *, notice: bool = False) -> None:
        rule = self._script.noise(message)
        if rule is None:
            self._passed_over[self._script.kind(message)] += 1
            return
        self._passed_over[rule.kind] += 1
        if notice:
            self._notices.append(rule.kind)
        if rule.answer is not None:
            with suppress(Fault):
                self._send(rule.answer)

    # Messages -----------------------------------------------------------------------------------------------------

    def _send(self, message: Mapping[str, Any]) -> None:
        protocol = self._protocol
        if protocol is None or protocol.state is not OPEN:
            return  # the close we have received shows when the inbox is empty
        protocol.send_text(json.dumps(message, separators=(",", ":")).encode())
        self._flush()

    async def _next(self) -> tuple[Mapping[str, Any], float]:
        """The next JSON object and when it arrived; raises Fault (closed, eof, reset, protocol, too_big)."""
        while not self._inbox:
            self._raise_if_over()
            if self._link is None:
                raise Fault(Kind.EOF)
            data, at = await self._link.read()
            self._feed(data, at)
        return self._inbox.popleft()

    def _raise_if_over(self) -> None:
        protocol = self._protocol
        if self._violation is not None:
            raise self._violation
        if protocol is None:
            return
        if protocol.close_rcvd is not None:
            raise Fault(Kind.CLOSED)
        if protocol.parser_exc is not None:
            raise Fault(kind_of(protocol.parser_exc), type(protocol.parser_exc).__name__)

    def _feed(self, data: bytes, at: float) -> None:
        protocol = self._protocol
        if protocol is None:
            return
        if not data:
            protocol.receive_eof()
            if protocol.close_rcvd is None and protocol.close_sent is None:
                raise Fault(Kind.EOF)
            return
        try:
            for event in self._events(protocol, data):
                self._frame(event, at)
        except UnicodeDecodeError:
            self._fail(protocol, INVALID_DATA, Fault(Kind.PROTOCOL, "invalid UTF-8"))
        except Fault as fault:
            self._fail(protocol, TOO_BIG, fault)
        self._flush()

    def _events(self, protocol: ClientProtocol, data: bytes) -> list[Frame]:
        """The frames that are complete with these bytes."""
        protocol.receive_data(data)
        frames = [event for event in protocol.events_received() if isinstance(event, Frame)]
        self._received += len(data)
        self._frames += len(frames)
        return frames

    def _is_flood(self) -> bool:
        return self._received > FLOOD * self._script.profile.max_message_size or self._frames > FRAMES

    def _frame(self, frame: Frame, at: float) -> None:
        """Join fragments (RFC 6455 section 5.4), keep JSON objects; raises UnicodeDecodeError (section 8.1), Fault."""
        if self._is_flood():
            raise Fault(Kind.TOO_BIG, "flood")
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._text, self._parts = frame.opcode is Opcode.TEXT, []
        elif frame.opcode is not Opcode.CONT:
            return
        self._parts.append(bytes(frame.data))
        if len(self._parts) > FRAGMENTS:
            raise Fault(Kind.TOO_BIG, "fragments")
        if not frame.fin:
            return
        whole, self._parts = b"".join(self._parts), []
        if not self._text:
            self._passed_over["binary"] += 1
            return
        self._message(whole.decode(), at)

    def _fail(self, protocol: ClientProtocol, code: int, fault: Fault) -> None:
        """RFC 6455 section 7.1.7: what follows is not looked at; what came before it still counts."""
        protocol.fail(code)
        self._violation = self._violation or fault

    def _message(self, text: str, at: float) -> None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        if isinstance(message, dict):
            self._inbox.append((message, at))
        else:
            self._passed_over["not_json"] += 1

    def _flush(self) -> None:
        """Hand over what the protocol wants sent, but never a 1011 of the library's own."""
        protocol = self._protocol
        if protocol is None or self._link is None:
            return
        pending = b"".join(protocol.data_to_send())
        if not _is_own_1011(protocol):
            self._link.write(pending)

    # The end ------------------------------------------------------------------------------------------------------

    def _note_close(self, met: Phase) -> None:
        """Keep the first close frame of the conversation: the server's in the phase that it ended, ours where `met`.

        So it does not matter whether a close came in one segment with the message before it.
        """
        protocol = self._protocol
        if protocol is None:
            return
        received, sent = protocol.close_rcvd, protocol.close_sent
        if received is not None and (sent is None or protocol.close_rcvd_then_sent):
            self._close = Close(int(received.code), Initiator.REMOTE, self._track.phase, received.reason)
        elif sent is not None and sent.code != INTERNAL:
            self._close = Close(int(sent.code), Initiator.LOCAL, met)

    def _drain(self) -> None:
        """Read what has already arrived: the frame that names the cause may wait behind the failure."""
        if self._link is None or Phase.UPGRADE not in self._track.phases:
            return
        with suppress(Fault):
            for _ in range(DRAIN):
                received = self._link.read_now()
                if received is None or not received.data:
                    break
                self._feed(*received)
        while self._inbox and self._refusal is None:
            message, _ = self._inbox.popleft()
            if self._script.is_error(message):
                self._refusal = message

    def _name_cause(self) -> None:
        """An error frame or a close frame says more than the silence or the broken connection after it."""
        fault = self._fault
        if fault is None or fault.kind not in (Kind.DEADLINE, Kind.RESET, Kind.EOF, Kind.CLOSED):
            return
        if self._refusal is not None:
            self._fault = Fault(Kind.REFUSAL)
        elif self._close is not None:
            remote = self._close.initiator is Initiator.REMOTE
            self._fault = Fault(Kind.CLOSED) if remote else self._violation or Fault(Kind.PROTOCOL)

    async def _leave(self) -> None:
        """Close with 1000 within the budget; how the close goes cannot change what was proved."""
        if self._link is None:
            return
        try:
            if self._protocol is not None and Phase.UPGRADE in self._track.phases:
                async with asyncio.timeout(self._order.close_timeout):
                    await self._closed(self._protocol, self._link)
        except (TimeoutError, Fault):
            pass
        finally:
            self._settle()
            self._link.close()

    async def _closed(self, protocol: ClientProtocol, link: Link) -> None:
        ours = protocol.state is OPEN and not self._is_broken()
        if ours:
            self._track.begin(Phase.CLOSE, self._clock())
            protocol.send_close(NORMAL)
            self._flush()
        data, at = self._rest
        while not self._is_flood() and not _is_own_1011(protocol):
            if data:
                self._events(protocol, data)
                self._flush()
            if ours and protocol.close_rcvd is not None and Phase.CLOSE not in self._track.phases:
                self._track.end(at)
            data, at = await link.read()
            if not data:
                return

    def _is_broken(self) -> bool:
        return self._fault is not None and self._fault.kind in (Kind.EOF, Kind.RESET)

    def _settle(self) -> None:
        """The close as recorded: the first frame; a different answer to ours is the server's; none is 1006."""
        protocol = self._protocol
        if self._close is not None or protocol is None or Phase.UPGRADE not in self._track.phases:
            return
        received, sent = protocol.close_rcvd, protocol.close_sent
        if received is not None and received.code != NORMAL:
            self._close = Close(int(received.code), Initiator.REMOTE, Phase.CLOSE, received.reason)
        elif sent is not None and sent.code == NORMAL:
            self._close = Close(NORMAL, Initiator.LOCAL, Phase.CLOSE)
        else:
            self._close = Close(ABNORMAL, Initiator.NONE, self._track.phase)


def _is_own_1011(protocol: ClientProtocol) -> bool:
    """True if the library gave up with a 1011 of its own: it never goes out. To echo the server's is another thing."""
    received, sent = protocol.close_rcvd, protocol.close_sent
    return sent is not None and sent.code == INTERNAL and (received is None or received.code != INTERNAL)


def _skip_informational(head: bytes) -> bytes:
    """The answer's bytes without complete 1xx heads before it (103 may precede 101, RFC 8297).

    Raises Fault (upgrade) for what cannot become an HTTP/1 answer, and (status) once a refusal's head is complete.
    """
    while True:
        if not head.startswith(b"HTTP/1.") and not b"HTTP/1.".startswith(head[:7]):
            raise Fault(Kind.UPGRADE, "no HTTP answer")
        line, end = STATUS_LINE.match(head), HEAD_END.search(head)
        if line is None and b"\n" in head:
            raise Fault(Kind.UPGRADE, "no status line")
        if line is None or end is None:
            return head
        status = int(line[1])
        if status == SWITCHING:
            return head
        if not 100 <= status < 200:  # noqa: PLR2004
            asked = RETRY_AFTER.search(head, 0, end.end())
            raise Fault(Kind.STATUS, status=status, retry_after=float(asked[1]) if asked else None)
        head = head[end.end() :]
