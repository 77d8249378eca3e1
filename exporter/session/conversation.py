"""The phases of one session, and how it ends."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any, Final, NoReturn

from websockets.frames import CloseCode
from websockets.utils import generate_key

from exporter.config import Pattern, Welcome
from exporter.profiles import BoundExchange, matches
from exporter.resolver import Resolver, address_text, choose_address
from exporter.result import Close, ErrorKind, Initiator, Phase, Probe, ProbeError, SessionObservation
from exporter.session.messages import MessageStream
from exporter.session.phase_timer import PhaseTimer
from exporter.session.request import SessionRequest
from exporter.session.upgrade import objection, opened, read_head, request
from exporter.transport import Clock, Connection, ReceivedBytes

MAX_DRAIN_READS: Final = 16
"""Reads of what has already arrived, in one go: 256 KiB at most. A flood would have no end."""

LATE_DEADLINE_TOLERANCE_SECONDS: Final = 0.05
"""Seconds that a deadline may strike late without our having been away."""

END_OF_STREAM: Final = ReceivedBytes(b"", 0.0)

OTHER_KIND: Final = "other"
"""The kind of what no rule knows."""


class Session:
    """One conversation; `run` it once. `kernel_stamps`, `held`: see `transport.Connection`."""

    def __init__(
        self,
        order: SessionRequest,
        resolver: Resolver,
        clock: Clock,
        *,
        kernel_stamps: bool = True,
        held: Callable[[], float] = lambda: inf,
    ) -> None:
        self._order = order
        self._resolver = resolver
        self._clock = clock
        self._kernel_stamps = kernel_stamps
        self._held = held
        self._script = order.script
        self._reader = order.script.reader
        self._track = PhaseTimer(clock())
        self._link: Connection | None = None
        self._messages: MessageStream | None = None  # from the 101 on
        self._early = END_OF_STREAM  # what came with the end of the 101
        self._fault: ProbeError | None = None
        self._close: Close | None = None
        self._welcome: Mapping[str, Any] | None = None
        self._refusal: Any = None
        self._error_word: str | None = None
        self._ending: ErrorKind | None = None  # a refusal or a wrong reply, once it came
        self._awaited: Pattern | None = None  # what the profile waits for now
        self._refused_at: float | None = None  # when that came
        self._stopped_at = 0.0  # when a fault was met
        self._notices: dict[str, None] = {}
        self._asked = False
        self._closed_at = inf  # when our close went out
        self._crossed = False  # the server's close cannot be an answer to ours
        self._deadline_overrun = 0.0  # seconds from the deadline to when it struck
        self._address: str | None = None
        self._number: int | None = None
        self._addresses: int | None = None
        self._failed: tuple[str, ...] = ()

    async def run(self) -> SessionObservation:
        """Converse, close, and tell what was met. Raises OSError only if our own machine is in trouble."""
        try:
            await self._bounded()
            ended = self._track.phase
        finally:
            await self._leave()
        return SessionObservation(
            phases=self._track.phases,
            marks=self._track.marks,
            ended=ended,
            fault=self._fault,
            close=self._close,
            welcome=self._welcome,
            refusal=self._refusal,
            notices=tuple(self._notices),
            passed_over=dict(self._messages.passed_over) if self._messages else {},
            unknown_keys=tuple(self._messages.unknown_keys) if self._messages else (),
            refused_after=self._refused_after(),
            error_word=self._error_word,
            certificate_end=self._link.certificate_end if self._link else None,
            address=self._address,
            address_number=self._number,
            addresses=self._addresses,
            failed_addresses=self._failed,
            slot_taken=self._slot_taken(),
            late=max(self._deadline_overrun, self._link.read_delay if self._link else 0.0),
            transcript=self._messages.transcript.frames(self._track.started) if self._messages else (),
            frames_left_out=self._messages.transcript.left_out if self._messages else 0,
        )

    async def _bounded(self) -> None:
        """The conversation under its one deadline; how it failed is kept, not raised."""
        try:
            async with asyncio.timeout(self._order.timeout):
                await self._converse()
        except TimeoutError:
            self._fault = ProbeError(ErrorKind.DEADLINE)
            self._deadline_overrun = self._clock() - self._track.started - self._order.timeout
        except ProbeError as fault:
            self._fault, self._stopped_at = self._blame(fault), self._clock()
        met = self._track.phase
        if self._fault is None:
            self._track.begin(Phase.CLOSE, self._clock())
        else:
            self._drain()
        self._note_close(met)
        self._name_cause()

    def _refused_after(self) -> float | None:
        """Seconds from the start to when the server said no; None if it did not."""
        if self._fault is None:
            return None
        moments = {
            ErrorKind.STATUS: self._stopped_at,
            ErrorKind.REFUSAL: self._refused_at,
            ErrorKind.WRONG_REPLY: self._refused_at,
            ErrorKind.CLOSED: self._messages.heard_at if self._messages else None,
        }
        at = moments.get(self._fault.kind)
        return None if at is None else max(0.0, at - self._track.started)

    def _blame(self, fault: ProbeError) -> ProbeError:
        """A TLS alert before the 101 belongs to the handshake; after it, the connection is broken.

        A new fault, without the traceback that would keep the session and all it has read.
        """
        kind, phase = fault.kind, fault.phase
        if kind in (ErrorKind.TLS, ErrorKind.CERTIFICATE) and self._track.phase is Phase.UPGRADE:
            self._track.forget(Phase.TLS)
            phase = Phase.TLS
        elif kind in (ErrorKind.TLS, ErrorKind.CERTIFICATE) and self._track.phase is not Phase.TLS:
            kind = ErrorKind.RESET
        return ProbeError(
            kind,
            fault.detail,
            status=fault.status,
            retry_after=fault.retry_after,
            phase=phase,
            tls_verify=fault.tls_verify,
        )

    def _slot_taken(self) -> bool:
        """True unless the server cannot have created anything for us; a wrong 101 may have let us in."""
        unsure = self._fault is not None and self._fault.kind in (
            ErrorKind.DEADLINE,
            ErrorKind.EOF,
            ErrorKind.RESET,
            ErrorKind.UPGRADE,
        )
        return self._asked and (self._messages is not None or unsure)

    # The phases ---------------------------------------------------------------------------------------------------

    async def _converse(self) -> None:
        link = self._link = await self._connected()
        if self._order.tls is not None:
            self._track.begin(Phase.TLS, self._clock())
            at = await link.start_tls(self._order.tls, self._order.server_name or self._order.host)
            self._track.end(at)
        messages = self._messages = await self._upgraded(link)
        if self._track.phase is Phase.CLOSE:
            return  # nothing after the 101 can fail a session that came for no more
        early, self._early = self._early, END_OF_STREAM
        if early.data:
            messages.feed(*early)
        await self._asked_all(messages)

    async def _asked_all(self, messages: MessageStream) -> None:
        welcome = self._script.profile.welcome
        if welcome is not None:
            await self._admitted(messages, welcome)
        if self._script.auth is not None:
            await self._exchange(messages, self._script.auth, Phase.AUTH, Probe.AUTH)
        if self._order.depth is Probe.SEND and self._script.send is not None:
            await self._exchange(messages, self._script.send, Phase.REPLY, Probe.SEND)

    async def _connected(self) -> Connection:
        order, track = self._order, self._track
        found = await self._resolver.resolve(order.connect_to or order.host, order.port, order.ip_protocol)
        address = choose_address(found, order.failed_addresses)
        self._address, self._number, self._addresses = address_text(address), found.index(address) + 1, len(found)
        self._failed = tuple(text for text in order.failed_addresses if text in map(address_text, found))
        track.end(self._clock())
        track.begin(Phase.TCP, self._clock())
        link = await Connection.connect(
            address, self._clock, kernel_stamps=self._kernel_stamps, max_loop_stall=self._held
        )
        track.end(self._clock())
        return link

    async def _upgraded(self, link: Connection) -> MessageStream:
        """Ask for the upgrade; the open WebSocket. Raises Fault (status, upgrade, eof, reset)."""
        key = generate_key()
        self._asked, asked = True, self._clock()
        link.write(request(self._order, key))
        self._track.begin(Phase.UPGRADE, max(asked, link.sent_at))
        head, self._early = await read_head(link)
        wrong = objection(head, key, self._order.subprotocols)
        if wrong is not None:
            raise ProbeError(ErrorKind.UPGRADE, wrong)
        self._track.end(self._early.at)
        self._track.begin(self._next_phase(), self._early.at)
        return MessageStream(opened(self._order), link, self._script.profile.max_message_size, self._order.secrets)

    def _next_phase(self) -> Phase:
        if self._order.depth is not Probe.CONNECT:
            if self._script.profile.welcome is not None:
                return Phase.ADMISSION
            if self._script.auth is not None:
                return Phase.AUTH
        return Phase.REPLY if self._order.depth is Probe.SEND and self._script.send is not None else Phase.CLOSE

    async def _admitted(self, messages: MessageStream, welcome: Welcome) -> None:
        self._awaited = welcome.match
        while True:
            message, at = await messages.next()
            if self._is_error(message):
                message, at = await self._refused(messages, message, at)
            if self._reader.is_welcome(message):
                messages.name("welcome")
                self._welcome = message
                self._track.end(at)
                return
            self._pass_over(messages, message)

    async def _exchange(self, messages: MessageStream, exchange: BoundExchange, phase: Phase, probe: Probe) -> None:
        """Send a message and read until *its* answer."""
        for message in messages.arrived(self._is_noise):
            self._pass_over(messages, message)  # our pong, if it wants one, goes out with our message
        messages.send(exchange.message, probe.value)
        asked = self._clock()
        self._track.begin(phase, max(asked, messages.flush()))
        self._awaited = exchange.match
        while True:
            message, at = await messages.next()
            if self._is_error(message):
                await self._refused(messages, message, at)
            if matches(exchange.match, message):
                if not matches(exchange.expect, message):
                    await self._answered_wrongly(messages, at)
                messages.name("reply")
                self._track.end(at)
                return
            self._pass_over(messages, message)

    def _is_error(self, message: Any) -> bool:
        """True for an error frame, though it may look like what we wait for, unless that names the error.

        JSON-RPC 2.0 section 5: an error carries the id of its request.
        """
        awaited = self._awaited
        if awaited is None or not matches(awaited, message):
            return self._reader.is_error(message)
        return self._reader.refuses(message, awaited)

    async def _refused(self, messages: MessageStream, message: Any, at: float) -> tuple[Any, float]:
        """An error frame: the close that follows it (at once, or 0.1 s later) belongs to the story. Raises Fault.

        The welcome, if it follows an error that no rule knows: that one refused nothing.
        """
        self._refuse(messages, message, at)
        if self._track.phase is not Phase.ADMISSION or self._reader.sorts(message):
            await self._aftermath(messages, lambda *_: False)
        elif (welcome := await self._aftermath(messages, partial(self._is_let_in, messages))) is not None:
            messages.passed_over[OTHER_KIND] += 1
            self._refusal = self._error_word = self._ending = None
            return welcome
        raise ProbeError(ErrorKind.REFUSAL)

    def _is_let_in(self, messages: MessageStream, message: Any, at: float) -> bool:
        """True for the welcome behind an error that no rule knows; one that a rule knows says more, and is final."""
        if self._is_error(message):
            if self._reader.sorts(message) and not self._reader.sorts(self._refusal):
                self._refusal = None
                self._refuse(messages, message, at)
        elif self._reader.is_welcome(message):
            return not self._reader.sorts(self._refusal)
        else:
            self._pass_over(messages, message)
        return False

    async def _answered_wrongly(self, messages: MessageStream, at: float) -> NoReturn:
        """The same for a reply that does not hold what it must: the close says why, whenever it comes."""
        messages.name("wrong_reply")
        self._ending, self._refused_at = ErrorKind.WRONG_REPLY, at
        await self._aftermath(messages, partial(self._note_error, messages))
        raise ProbeError(self._ending)

    def _note_error(self, messages: MessageStream, message: Any, at: float) -> bool:
        if self._is_error(message):
            self._refuse(messages, message, at)
        return False

    async def _aftermath(
        self, messages: MessageStream, wanted: Callable[[Any, float], bool]
    ) -> tuple[Any, float] | None:
        """What is wanted of what still comes, until the close, after the session's fate seemed decided; else None."""
        with suppress(ProbeError, TimeoutError):
            async with asyncio.timeout(self._order.close_timeout):
                while True:
                    message, at = await messages.next()
                    if wanted(message, at):
                        return message, at
        return None

    def _refuse(self, messages: MessageStream, message: Any, at: float) -> None:
        word = self._reader.error_word(message)
        messages.name("error", word)
        if self._refusal is None:
            self._refusal, self._refused_at, self._error_word = message, at, word
        self._ending = ErrorKind.REFUSAL

    def _is_noise(self, message: Any) -> bool:
        return not self._reader.is_error(message) and self._reader.noise(message) is not None

    def _pass_over(self, messages: MessageStream, message: Any) -> None:
        rule = self._reader.noise(message)
        messages.pass_over(self._reader.kind(message) if rule is None else rule.kind)
        if rule is None:
            messages.note_keys(message)
            return
        self._notices.setdefault(rule.kind)
        if rule.answer is not None:
            messages.send(rule.answer, "answer")

    # The end ------------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Read what has already arrived: the frame that names the cause may wait behind the failure."""
        messages, link = self._messages, self._link
        if messages is None or link is None:
            return
        with suppress(ProbeError):
            for _ in range(MAX_DRAIN_READS):
                received = link.read_now()
                if received is None or not received.data or self._is_after_hours(received.at):
                    break
                messages.feed(*received)
        for message in messages.arrived(lambda _: True):
            self._note_error(messages, message, messages.heard_at)

    def _is_after_hours(self, at: float) -> bool:
        """True for what came after the deadline while we were not there to see it strike: the answer to our silence."""
        return (
            self._deadline_overrun > LATE_DEADLINE_TOLERANCE_SECONDS and at > self._track.started + self._order.timeout
        )

    def _note_close(self, met: Phase) -> None:
        """Keep the first close frame of the conversation: the server's in the phase that it ended, ours where `met`.

        So it does not matter whether a close came in one segment with the message before it.
        """
        if self._messages is None:
            return
        protocol = self._messages.protocol
        received, sent = protocol.close_rcvd, protocol.close_sent
        if received is not None and (sent is None or protocol.close_rcvd_then_sent):
            self._close = Close(int(received.code), Initiator.REMOTE, self._track.phase, received.reason)
        elif sent is not None and sent.code != CloseCode.INTERNAL_ERROR:
            self._close = Close(int(sent.code), Initiator.LOCAL, met)

    def _name_cause(self) -> None:
        """An error frame or a close frame says more than the silence or the broken connection after it."""
        fault = self._fault
        if fault is None or fault.kind not in (ErrorKind.DEADLINE, ErrorKind.RESET, ErrorKind.EOF, ErrorKind.CLOSED):
            return
        if self._ending is not None:
            self._fault = ProbeError(self._ending)
        elif self._close is not None:
            remote = self._close.initiator is Initiator.REMOTE
            violation = self._messages.violation if self._messages else None
            self._fault = ProbeError(ErrorKind.CLOSED) if remote else violation or ProbeError(ErrorKind.PROTOCOL)

    async def _leave(self) -> None:
        """Close with 1000 within the budget; how the close goes cannot change what was proved."""
        if self._link is None:
            return
        seconds, over = self._closing_time(), False
        try:
            if self._messages is not None:
                async with asyncio.timeout(seconds):
                    await self._closed(self._messages, self._link)
                over = True
        except TimeoutError:
            over = seconds >= self._order.close_timeout
        except ProbeError:
            over = True
        finally:
            self._settle(over=over)
            self._link.close()

    def _closing_time(self) -> float:
        """Seconds that the close may take; our frame goes out even if none is left to wait for an answer."""
        left = self._order.total_timeout - (self._clock() - self._track.started)
        return max(0.0, min(self._order.close_timeout, left))

    async def _closed(self, messages: MessageStream, link: Connection) -> None:
        broken = self._fault is not None and self._fault.kind in (ErrorKind.EOF, ErrorKind.RESET)
        ours = messages.is_open and not broken
        if ours:
            self._track.begin(Phase.CLOSE, self._clock())
            self._closed_at = messages.close()
        data, at = self._early
        while not messages.is_flood and not messages.gave_up:
            if data:
                for frame in messages.events(data):
                    messages.transcript.received(frame, at)
                messages.flush()
            if ours and messages.protocol.close_rcvd is not None and Phase.CLOSE not in self._track.phases:
                self._track.end(at)
                self._crossed = at < self._closed_at + link.min_rtt_seconds
            data, at = await link.read()
            if not data:
                return

    def _settle(self, *, over: bool) -> None:
        """The close as recorded: the first frame, if it was the server's; else ours, or 1006 if that got no answer.

        A server's close that came sooner than an answer to ours can is one of its own. `over`: the answer had its time.
        """
        if self._close is not None or self._messages is None:
            return
        received, sent = self._messages.protocol.close_rcvd, self._messages.protocol.close_sent
        if received is None and (over or sent is None or sent.code != CloseCode.NORMAL_CLOSURE):
            self._close = Close(CloseCode.ABNORMAL_CLOSURE, Initiator.NONE, self._track.phase)
        elif received is not None and self._crossed:
            self._close = Close(int(received.code), Initiator.REMOTE, Phase.CLOSE, received.reason)
        else:
            self._close = Close(CloseCode.NORMAL_CLOSURE, Initiator.LOCAL, Phase.CLOSE)
