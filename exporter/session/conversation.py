"""The phases of one session, and its end."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any, Final, NoReturn

from websockets.frames import CloseCode
from websockets.utils import generate_key

from exporter.config import Pattern, Step, Welcome
from exporter.framing import FramingError
from exporter.profiles import matches
from exporter.resolver import Resolver
from exporter.result import Close, ErrorKind, Initiator, Phase, Probe, ProbeError, SessionObservation
from exporter.session.addresses import ChosenAddress, resolve_address
from exporter.session.before import BeforePhase
from exporter.session.error_kinds import attribute_to_phase
from exporter.session.messages import MessageStream
from exporter.session.overdue import OverdueWatch
from exporter.session.phase_timer import PhaseTimer
from exporter.session.request import SessionRequest
from exporter.session.upgrade import (
    UpgradeResponse,
    chosen_subprotocol,
    find_handshake_breach,
    open_protocol,
    read_head,
    serialize_request,
)
from exporter.transport import Clock, Connection, ReceivedBytes

MAX_DRAIN_READS: Final = 16
"""Reads of bytes that have already arrived, 256 KiB in all: a flood would never end."""

LATE_DEADLINE_TOLERANCE_SECONDS: Final = 0.05
"""Seconds by which a deadline may fire late while the loop is healthy."""

MAX_BODY_WAIT_SECONDS: Final = 0.05
"""Seconds for which the beginning of a refusal's body is awaited after its head: the verdict stands by then."""

END_OF_STREAM: Final = ReceivedBytes(b"", 0.0)

OTHER_KIND: Final = "other"
"""The kind of messages that no rule knows."""


class Session:
    """One conversation; call `run` once. `kernel_stamps`, `max_loop_stall`: see `transport.Connection`."""

    def __init__(
        self,
        request: SessionRequest,
        resolver: Resolver,
        clock: Clock,
        *,
        kernel_stamps: bool = True,
        max_loop_stall: Callable[[], float] = lambda: inf,
    ) -> None:
        self._request = request
        self._resolver = resolver
        self._clock = clock
        self._kernel_stamps = kernel_stamps
        self._max_loop_stall = max_loop_stall
        self._session_messages = request.session_messages
        self._profile = request.session_messages.profile
        self._matcher = request.session_messages.reader
        self._timer = PhaseTimer(clock())
        self._watch = OverdueWatch(self._timer, request.wait_rule, clock)
        self._connection: Connection | None = None
        self._response = UpgradeResponse()
        self._stream: MessageStream | None = None  # from the 101 on
        self._early_bytes = END_OF_STREAM  # bytes behind the head of the 101
        self._error: ProbeError | None = None
        self._close: Close | None = None
        self._welcome: Mapping[str, Any] | None = None
        self._refusal: Any = None
        self._error_word: str | None = None
        self._final_kind: ErrorKind | None = None  # a refusal or a wrong reply, once one has come
        self._awaited_pattern: Pattern | None = None
        self._refused_at: float | None = None  # when the refusal or wrong reply arrived
        self._failed_at = 0.0
        self._notices: dict[str, None] = {}
        self._upgrade_sent = False
        self._has_spoken = False  # a message of a step was sent
        self._subprotocol: str | None = None
        self._close_sent_at = inf
        self._closes_crossed = False  # the server's close was sent before it can have read ours
        self._deadline_overrun = 0.0  # seconds by which the deadline fired late
        self._address: ChosenAddress | None = None
        self._before = None if request.before is None else BeforePhase(request, resolver, self._timer)

    async def run(self) -> SessionObservation:
        """Run the session, close it and return what it met. Raises OSError only for errors of this machine."""
        try:
            await self._converse_until_deadline()
            ended = self._timer.phase
        finally:
            await self._close_connection()
        author, before = self._response.author(), self._before
        address = self._address or (before.address if before else None)
        return SessionObservation(
            phases=self._timer.phases,
            marks=self._timer.marks,
            ended=ended,
            fault=self._error,
            close=self._close,
            welcome=self._welcome,
            refusal=self._refusal,
            notices=tuple(self._notices),
            passed_over=dict(self._stream.passed_over) if self._stream else {},
            unknown_keys=tuple(self._stream.unknown_keys) if self._stream else (),
            refused_after=self._refused_after(),
            error_word=self._error_word,
            certificate_end=self._connection.certificate_end if self._connection else None,
            subprotocol=self._subprotocol,
            address=address.text if address else None,
            address_answered=self._connection is not None or bool(before and before.failed_connected),
            address_number=address.number if address else None,
            addresses=address.addresses if address else None,
            failed_addresses=address.failed if address else (),
            slot_taken=self._may_hold_slot(),
            late=max(self._deadline_overrun, self._connection.read_delay if self._connection else 0.0),
            transcript=self._stream.transcript.frames(self._timer.started) if self._stream else (),
            frames_left_out=self._stream.transcript.left_out if self._stream else 0,
            answered_by=author.by,
            via=author.via,
            interim_status=self._response.interim_status,
            stream_status=self._stream.http_status if self._stream and self._error else None,
            ending=self._connection.ending if self._connection and self._error else None,
        )

    async def _converse_until_deadline(self) -> None:
        """Run the phases under their one deadline; a failure is recorded, not raised."""
        try:
            async with asyncio.timeout(self._request.timeout):
                with self._watch:
                    await self._converse()
        except TimeoutError:
            self._error = ProbeError(ErrorKind.DEADLINE)
            self._deadline_overrun = self._clock() - self._timer.started - self._request.timeout
        except ProbeError as error:
            self._error, self._failed_at = attribute_to_phase(error, self._timer.phase), self._clock()
            if self._error.phase is Phase.TLS:
                self._timer.forget(Phase.TLS)
        last_phase = self._timer.phase
        if self._error is None:
            self._timer.begin(Phase.CLOSE, self._clock())
        else:
            await self._read_body()
            self._drain()
        self._record_close(last_phase)
        self._prefer_stated_cause()

    def _refused_after(self) -> float | None:
        """Return the seconds from the start to the server's refusal, or to the loss of the connection; else None."""
        if self._error is None:
            return None
        moments = {
            ErrorKind.STATUS: self._failed_at,
            ErrorKind.EOF: self._failed_at,
            ErrorKind.RESET: self._failed_at,
            ErrorKind.REFUSAL: self._refused_at,
            ErrorKind.WRONG_REPLY: self._refused_at,
            ErrorKind.CLOSED: self._stream.last_received_at if self._stream else None,
        }
        at = moments.get(self._error.kind)
        return None if at is None else max(0.0, at - self._timer.started)

    def _may_hold_slot(self) -> bool:
        """True unless the server cannot have taken a slot; even behind a wrong 101 it may have."""
        kind = self._error and self._error.kind
        is_unknown = kind in (ErrorKind.DEADLINE, ErrorKind.EOF, ErrorKind.RESET, ErrorKind.UPGRADE)
        return self._upgrade_sent and (self._stream is not None or is_unknown)

    # The phases ---------------------------------------------------------------------------------------------------

    async def _converse(self) -> None:
        if self._before is not None:
            self._request = await self._before.run(self._clock)
        connection = self._connection = await self._connect()
        if self._request.tls is not None:
            self._timer.begin(Phase.TLS, self._clock())
            at = await connection.start_tls(self._request.tls, self._request.server_name or self._request.host)
            self._timer.end(at)
        stream = self._stream = await self._upgrade(connection)
        if self._timer.phase is Phase.CLOSE:
            return  # nothing after the 101 can fail a connect-deep session
        early_bytes, self._early_bytes = self._early_bytes, END_OF_STREAM
        if early_bytes.data:
            stream.feed(*early_bytes)
        await self._run_probes(stream)

    async def _run_probes(self, stream: MessageStream) -> None:
        welcome = self._profile.welcome
        if welcome is not None:
            await self._await_welcome(stream, welcome)
        if self._profile.auth:
            await self._run_steps(stream, self._profile.auth, Phase.AUTH, Probe.AUTH)
        if self._request.depth is Probe.SEND and self._profile.send:
            await self._run_steps(stream, self._profile.send, Phase.REPLY, Probe.SEND)

    async def _connect(self) -> Connection:
        request, timer = self._request, self._timer
        chosen = self._address = await resolve_address(request, self._resolver)
        timer.end(self._clock())
        timer.begin(Phase.TCP, self._clock())
        connection = await Connection.connect(
            chosen.address, self._clock, kernel_stamps=self._kernel_stamps, max_loop_stall=self._max_loop_stall
        )
        timer.end(self._clock())
        return connection

    async def _upgrade(self, connection: Connection) -> MessageStream:
        """Send the upgrade and return the open WebSocket. Raises ProbeError (status, upgrade, eof, reset)."""
        key = generate_key()
        self._upgrade_sent, written_at = True, self._clock()
        connection.write(serialize_request(self._request, key))
        self._timer.begin(Phase.UPGRADE, max(written_at, connection.sent_at))
        self._early_bytes = await read_head(connection, self._response)
        breach = find_handshake_breach(self._response.fields, key, self._request.subprotocols)
        if breach is not None:
            raise ProbeError(ErrorKind.UPGRADE, breach)
        chosen = chosen_subprotocol(self._response.fields)
        self._subprotocol = chosen if chosen in self._profile.subprotocols else None
        self._timer.end(self._early_bytes.at)
        self._timer.begin(self._next_phase(), self._early_bytes.at)
        protocol = open_protocol(self._request)
        return MessageStream(protocol, connection, self._matcher, self._request.secrets, self._request.observer)

    def _next_phase(self) -> Phase:
        if self._request.depth is not Probe.CONNECT:
            if self._profile.welcome is not None:
                return Phase.ADMISSION
            if self._profile.auth:
                return Phase.AUTH
        sends = self._request.depth is Probe.SEND and bool(self._profile.send)
        return Phase.REPLY if sends else Phase.CLOSE

    async def _await_welcome(self, stream: MessageStream, welcome: Welcome) -> None:
        self._awaited_pattern = welcome.match
        while True:
            message, at = await stream.next()
            if self._is_error(message):
                message, at = await self._handle_error_frame(stream, message, at)
            if self._matcher.is_welcome(message):
                stream.set_kind("welcome")
                self._welcome = message
                self._timer.end(at)
                return
            self._handle_passed_over(stream, message)

    async def _run_steps(self, stream: MessageStream, steps: Sequence[Step], phase: Phase, probe: Probe) -> None:
        """Take the steps of a probe; its phase lasts from the first message to the last answer."""
        at = self._clock()
        for number, step in enumerate(steps):
            bound = self._session_messages.bind(step)
            if bound.message is not None:
                at = self._send_step(stream, bound.message, probe)
            if number == 0:
                self._timer.begin(phase, at)
            if bound.match is not None:
                at = await self._await_reply(stream, step, bound.match, bound.expect)
        self._timer.end(at)

    def _send_step(self, stream: MessageStream, message: Any, probe: Probe) -> float:
        """Send a message; return when. Raises ProbeError if a value that the server gave us cannot be sent back."""
        for arrived in stream.take_arrived(self._is_noise):
            self._handle_passed_over(stream, arrived)  # its answer, if it wants one, goes out with our message
        try:
            stream.send(message, probe.value)
        except FramingError:
            raise ProbeError(ErrorKind.WRONG_REPLY) from None
        self._has_spoken = True
        written_at = self._clock()
        return max(written_at, stream.flush())

    async def _await_reply(self, stream: MessageStream, step: Step, match: Pattern, expect: Pattern) -> float:
        """Read until the answer of a step; return when it arrived."""
        self._awaited_pattern = match
        while True:
            message, at = await stream.next()
            if self._is_error(message):
                await self._handle_error_frame(stream, message, at)
            if matches(match, message):
                if not matches(expect, message) or not self._session_messages.keep(step, message):
                    await self._handle_wrong_reply(stream, at)
                stream.set_kind("reply")
                return at
            self._handle_passed_over(stream, message)

    def _is_error(self, message: Any) -> bool:
        """True for an error frame, even if it matches the awaited pattern, unless that pattern names the error.

        JSON-RPC 2.0 section 5: an error carries the id of its request.
        """
        awaited = self._awaited_pattern
        if awaited is None or not matches(awaited, message):
            return self._matcher.is_error(message)
        return self._matcher.refuses(message, awaited)

    async def _handle_error_frame(self, stream: MessageStream, message: Any, at: float) -> tuple[Any, float]:
        """Record an error frame, and the close that follows at once or 0.1 s later. Raises ProbeError.

        Returns the welcome if it follows an error that no rule knows: such an error refused nothing.
        """
        self._record_refusal(stream, message, at)
        if self._timer.phase is not Phase.ADMISSION or self._matcher.sorts(message):
            await self._read_until_close(stream, lambda *_: False)
        elif (welcome := await self._read_until_close(stream, partial(self._is_late_welcome, stream))) is not None:
            stream.passed_over[OTHER_KIND] += 1
            self._refusal = self._error_word = self._final_kind = None
            return welcome
        raise ProbeError(ErrorKind.REFUSAL)

    def _is_late_welcome(self, stream: MessageStream, message: Any, at: float) -> bool:
        """True for the welcome behind an error that no rule knows; an error that a rule knows is final."""
        if self._is_error(message):
            if self._matcher.sorts(message) and not self._matcher.sorts(self._refusal):
                self._refusal = None
                self._record_refusal(stream, message, at)
        elif self._matcher.is_welcome(message):
            return not self._matcher.sorts(self._refusal)
        else:
            self._handle_passed_over(stream, message)
        return False

    async def _handle_wrong_reply(self, stream: MessageStream, at: float) -> NoReturn:
        """Record a reply without its expected content, and the close that may say why. Raises ProbeError."""
        stream.set_kind("wrong_reply")
        self._final_kind, self._refused_at = ErrorKind.WRONG_REPLY, at
        await self._read_until_close(stream, partial(self._record_error_frame, stream))
        raise ProbeError(self._final_kind)

    def _record_error_frame(self, stream: MessageStream, message: Any, at: float) -> bool:
        if self._is_error(message):
            self._record_refusal(stream, message, at)
        return False

    async def _read_until_close(
        self, stream: MessageStream, is_wanted: Callable[[Any, float], bool]
    ) -> tuple[Any, float] | None:
        """Read on until the close; return the first message that `is_wanted`, None if there is none."""
        with suppress(ProbeError, TimeoutError):
            async with asyncio.timeout(self._request.close_timeout):
                while True:
                    message, at = await stream.next()
                    if is_wanted(message, at):
                        return message, at
        return None

    def _record_refusal(self, stream: MessageStream, message: Any, at: float) -> None:
        word = self._matcher.error_word(message)
        stream.set_kind("error", word)
        if self._refusal is None:
            self._refusal, self._refused_at, self._error_word = message, at, word
        self._final_kind = ErrorKind.REFUSAL

    def _is_noise(self, message: Any) -> bool:
        return not self._matcher.is_error(message) and self._matcher.noise(message) is not None

    def _handle_passed_over(self, stream: MessageStream, message: Any) -> None:
        rule = self._matcher.noise(message)
        stream.pass_over(self._matcher.kind(message) if rule is None else rule.kind)
        if rule is None:
            if not self._matcher.is_welcome(message):  # NATS welcomes again after the login: its fields are known
                stream.record_unknown_keys(message)
            return
        self._notices.setdefault(rule.kind)
        if rule.answer is not None:
            stream.send(rule.answer, "answer")

    # The end ------------------------------------------------------------------------------------------------------

    async def _read_body(self) -> None:
        """Read the beginning of a refusal's body, which may show who made it; it mostly came with the head."""
        connection = self._connection
        if connection is None or not self._response.lacks_body:
            return
        with suppress(TimeoutError, ProbeError):
            async with asyncio.timeout(min(MAX_BODY_WAIT_SECONDS, self._close_budget_seconds())):
                while self._response.lacks_body and (received := await connection.read()).data:
                    self._response.feed_body(received.data)

    def _drain(self) -> None:
        """Read bytes that have already arrived: the frame that names the cause may wait behind the failure."""
        stream, connection = self._stream, self._connection
        if stream is None or connection is None:
            return
        with suppress(ProbeError):
            for _ in range(MAX_DRAIN_READS):
                received = connection.read_now()
                if received is None or not received.data or self._is_after_missed_deadline(received.at):
                    break
                stream.feed(*received)
        for message in stream.take_arrived(lambda _: True):
            self._record_error_frame(stream, message, stream.last_received_at)

    def _is_after_missed_deadline(self, at: float) -> bool:
        """True for bytes that arrived after the deadline because our own loop enforced it late."""
        return (
            self._deadline_overrun > LATE_DEADLINE_TOLERANCE_SECONDS
            and at > self._timer.started + self._request.timeout
        )

    def _record_close(self, last_phase: Phase) -> None:
        """Record the first close frame: the server's under the phase that it ended, ours under `last_phase`.

        The phase then does not depend on whether a close shared a segment with the message before it.
        """
        if self._stream is None:
            return
        protocol = self._stream.protocol
        received, sent = protocol.close_rcvd, protocol.close_sent
        if received is not None and (sent is None or protocol.close_rcvd_then_sent):
            self._close = Close(int(received.code), Initiator.REMOTE, self._timer.phase, received.reason)
        elif sent is not None and sent.code != CloseCode.INTERNAL_ERROR:
            self._close = Close(int(sent.code), Initiator.LOCAL, last_phase)

    def _prefer_stated_cause(self) -> None:
        """Prefer the cause that an error frame or a close frame states to the silence or broken connection after it."""
        error = self._error
        if error is None or error.kind not in (ErrorKind.DEADLINE, ErrorKind.RESET, ErrorKind.EOF, ErrorKind.CLOSED):
            return
        if self._final_kind is not None:
            self._error = ProbeError(self._final_kind)
        elif self._close is not None:
            is_remote = self._close.initiator is Initiator.REMOTE
            violation = self._stream.violation if self._stream else None
            self._error = ProbeError(ErrorKind.CLOSED) if is_remote else violation or ProbeError(ErrorKind.PROTOCOL)

    async def _close_connection(self) -> None:
        """Close with 1000 within the budget; the close cannot change the verdicts."""
        if self._connection is None:
            return
        seconds, is_final = self._close_budget_seconds(), False
        try:
            if self._stream is not None:
                async with asyncio.timeout(seconds):
                    await self._exchange_closes(self._stream, self._connection)
                is_final = True
        except TimeoutError:
            is_final = seconds >= self._request.close_timeout
        except ProbeError:
            is_final = True
        finally:
            self._record_close_result(is_final=is_final)
            self._connection.close()

    def _close_budget_seconds(self) -> float:
        """Return the seconds that the close may take; our frame is sent even if 0 are left to wait for the answer."""
        remaining = self._request.total_timeout - (self._clock() - self._timer.started)
        return max(0.0, min(self._request.close_timeout, remaining))

    async def _exchange_closes(self, stream: MessageStream, connection: Connection) -> None:
        is_broken = self._error is not None and self._error.kind in (ErrorKind.EOF, ErrorKind.RESET)
        sends_close = stream.is_open and not is_broken
        if sends_close:
            self._timer.begin(Phase.CLOSE, self._clock())
            self._say_bye(stream)
            self._close_sent_at = stream.close()
        data, at = self._early_bytes
        while not stream.is_flood and not stream.is_internal_error:
            if data:
                for frame in stream.parse_frames(data):
                    stream.transcript.record_received(frame, at)
                    stream.show_close(frame)
                stream.flush()
            if sends_close and stream.protocol.close_rcvd is not None and Phase.CLOSE not in self._timer.phases:
                self._timer.end(at)
                self._closes_crossed = at < self._close_sent_at + connection.min_rtt_seconds
            data, at = await connection.read()
            if not data:
                return

    def _say_bye(self, stream: MessageStream) -> None:
        """Queue the profile's last message before our close frame: brokers log a client without one as lost."""
        bye = self._session_messages.bye() if self._has_spoken else None
        if bye is not None:
            with suppress(FramingError):
                stream.send(bye, "bye")

    def _record_close_result(self, *, is_final: bool) -> None:
        """Record the close of a session without one so far: the server's, else ours, or 1006 if ours got no answer.

        A server's close that arrived sooner than an answer to ours can is one of its own. `is_final`: the wait for the
        answer is over.
        """
        if self._close is not None or self._stream is None:
            return
        received, sent = self._stream.protocol.close_rcvd, self._stream.protocol.close_sent
        if received is None and (is_final or sent is None or sent.code != CloseCode.NORMAL_CLOSURE):
            self._close = Close(CloseCode.ABNORMAL_CLOSURE, Initiator.NONE, self._timer.phase)
        elif received is not None and self._closes_crossed:
            self._close = Close(int(received.code), Initiator.REMOTE, Phase.CLOSE, received.reason)
        else:
            self._close = Close(CloseCode.NORMAL_CLOSURE, Initiator.LOCAL, Phase.CLOSE)
