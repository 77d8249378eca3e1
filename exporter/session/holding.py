"""Keeps an open WebSocket open: pings it, asks again, hears the server's heartbeats, and says how it ended.

Rule 1: what a cadence or an age means is judged by the watcher; here only our own waits for an answer end.
Rule 2: due times are monotonic, and one that was missed is not made up for: nothing bunches up.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import inf
from typing import Any, Final, NamedTuple, Protocol

from websockets.frames import CloseCode, Frame, Opcode

from exporter.config import Profile
from exporter.profiles import SessionMessages, lookup, matches, read_interval
from exporter.result import ErrorKind, HoldEnd, LineLevel, ProbeError
from exporter.session.messages import MessageStream
from exporter.transport import Clock, ReceivedBytes

RENEWAL_SECONDS: Final = 30.0
"""Seconds after which the slot is recorded as held again, and what the server sends is counted from 0 again."""

HEARTBEAT_KIND: Final = "ping"
"""The kind under which a profile passes over the messages by which a backend shows that it lives."""

END_OF_ERROR: Final[Mapping[ErrorKind, HoldEnd]] = {
    ErrorKind.CLOSED: HoldEnd.CLOSED,
    ErrorKind.EOF: HoldEnd.LOST,
    ErrorKind.RESET: HoldEnd.LOST,
}
"""Any other error is the server's breach of the protocol."""
RESTART_CODES: Final = frozenset({CloseCode.GOING_AWAY, CloseCode.SERVICE_RESTART})


class HoldTerms(NamedTuple):
    """What is done on a held connection; all times in seconds.

    length: how long it is held
    patience: how long a pong and a reply are awaited
    ping: between two pings; inf: the only one is sent at the end, to see whether anybody is still there
    ask: between two requests; inf: there are none
    """

    length: float
    patience: float
    ping: float = inf
    ask: float = inf


class LineWatcher(Protocol):
    """Records what happens on a held connection. Moments are monotonic seconds."""

    def opened(self, at: float, announced: float | None) -> None:
        """Record that it is open; `announced`: seconds between heartbeats, as the welcome or a reply says."""

    def round_trip(self, level: LineLevel, seconds: float, at: float) -> None:
        """Record the answer to a ping (protocol) or to a request (application)."""

    def unanswered_request(self) -> None:
        """Record that a request got no answer in time."""

    def heartbeat(self, level: LineLevel, at: float) -> None:
        """Record a heartbeat of the server."""

    def check_heartbeats(self, now: float) -> float:
        """Judge whether heartbeats stay out; return when to look again."""

    def ended(self, end: HoldEnd, age: float) -> None:
        """Record how it ended, `age` seconds after it was opened."""


class HoldRequest(NamedTuple):
    """A request to keep the connection of a passed session open."""

    terms: HoldTerms
    watcher: LineWatcher


class LineHold:
    """Holds one connection; call `run` once. `keep_slot`: is called at the begin, and every `RENEWAL_SECONDS`."""

    def __init__(self, request: HoldRequest, clock: Clock, keep_slot: Callable[[], None]) -> None:
        self._terms = request.terms
        self._watcher = request.watcher
        self._clock = clock
        self._keep_slot = keep_slot
        self._over_at = self._renewal_at = inf
        self._ping_at = self._ask_at = self._heartbeat_at = inf  # when the next one is due
        self._ping_sent: float | None = None  # while its pong is awaited
        self._payload = b""
        self._asked_at = 0.0
        self._reply_by = inf
        self._awaited: Any = None
        self._heartbeats_by = inf  # when some may be lost

    async def run(
        self,
        stream: MessageStream,
        messages: SessionMessages,
        welcome: Mapping[str, Any] | None,
        early_bytes: ReceivedBytes,
    ) -> None:
        """Hold the connection until its time is over or it ends; `early_bytes`: behind the head of the 101."""
        opened_at = self._clock()
        self._renewal_at, self._over_at = opened_at, opened_at + self._terms.length
        self._ping_at = min(opened_at + self._terms.ping, self._over_at)
        self._ask_at = opened_at + self._terms.ask
        self._heartbeat_at = opened_at + _heartbeat_interval(messages.profile)
        stream.on_control = self._on_control
        self._watcher.opened(opened_at, announced_interval(messages.profile, welcome) or messages.server_heartbeat)
        try:
            if early_bytes.data:
                stream.feed(*early_bytes)
            self._handle_arrived(stream, messages)
            end = await self._run_until_end(stream, messages)
        except ProbeError as error:
            end = _end_of(error, stream)
        self._watcher.ended(end, self._clock() - opened_at)

    async def _run_until_end(self, stream: MessageStream, messages: SessionMessages) -> HoldEnd:
        while True:
            now = self._clock()
            if min(self._pong_by, self._reply_by, self._heartbeats_by) <= now:
                stream.read_arrived()  # a stall of our own makes nothing late that has come
                self._handle_arrived(stream, messages)
            if now >= self._renewal_at:
                self._renewal_at = now + RENEWAL_SECONDS
                self._keep_slot()
                stream.renew_limits()
            if self._pong_by <= now:
                return HoldEnd.UNANSWERED
            if self._reply_by <= now:
                self._reply_by, self._ask_at = inf, now + self._terms.ask
                self._watcher.unanswered_request()
            if self._ping_at <= now and self._ping_sent is None:
                self._send_ping(stream)
            if self._heartbeat_at <= now:
                self._send_heartbeat(stream, messages)
            if self._ask_at <= now < self._over_at and self._reply_by == inf:
                self._send_request(stream, messages)
            if now >= self._over_at and self._ping_at == inf and self._ping_sent is None:
                return HoldEnd.OVER
            self._heartbeats_by = self._watcher.check_heartbeats(now)
            await self._read_until(min(self._next_due, self._heartbeats_by), stream, messages)

    @property
    def _pong_by(self) -> float:
        return inf if self._ping_sent is None else self._ping_sent + self._terms.patience

    @property
    def _next_due(self) -> float:
        ping_at = self._ping_at if self._ping_sent is None else inf
        ask_at = self._ask_at if self._reply_by == inf and self._ask_at < self._over_at else inf
        return min(self._renewal_at, self._pong_by, self._reply_by, self._heartbeat_at, ping_at, ask_at)

    async def _read_until(self, moment: float, stream: MessageStream, messages: SessionMessages) -> None:
        """Read once, until that moment at most; every message that has come is handled before an end is raised."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, moment - self._clock())):
                await stream.read_once()
        self._handle_arrived(stream, messages)

    def _handle_arrived(self, stream: MessageStream, messages: SessionMessages) -> None:
        for message in stream.take_arrived(lambda _: True):
            self._handle(message, stream.last_received_at, stream, messages)

    def _handle(self, message: Any, at: float, stream: MessageStream, messages: SessionMessages) -> None:
        matcher = messages.reader
        if self._awaited is not None and (matches(self._awaited, message) or matcher.is_error(message)):
            self._awaited, self._reply_by = None, inf
            self._ask_at = self._asked_at + self._terms.ask
            stream.set_kind("reply")
            self._watcher.round_trip(LineLevel.APPLICATION, max(0.0, at - self._asked_at), at)
            return
        rule = matcher.noise(message)
        stream.pass_over(matcher.kind(message) if rule is None else rule.kind)
        if rule is None:
            return
        if rule.answer is not None:
            stream.send(rule.answer, "answer")
        if rule.kind == HEARTBEAT_KIND:
            self._watcher.heartbeat(LineLevel.APPLICATION, at)

    def _send_ping(self, stream: MessageStream) -> None:
        self._payload = secrets.token_bytes(8)
        self._ping_sent = stream.ping(self._payload)
        due = self._ping_sent + self._terms.ping
        self._ping_at = inf if self._ping_sent >= self._over_at else min(due, self._over_at)

    def _send_heartbeat(self, stream: MessageStream, messages: SessionMessages) -> None:
        """Send what the protocol expects of a silent client: a quiet connection too, as its users do."""
        heartbeat = messages.heartbeat()
        if heartbeat is not None:
            stream.send(heartbeat, "heartbeat")
        self._heartbeat_at = stream.flush() + _heartbeat_interval(messages.profile)

    def _send_request(self, stream: MessageStream, messages: SessionMessages) -> None:
        """Ask the profile's `send` again, with a nonce of its own; an error frame answers it, too."""
        messages.renew_nonce(secrets.token_hex(8))
        bound = messages.bind(messages.profile.send[0])
        stream.send(bound.message, "send")
        self._awaited, self._asked_at = bound.match, stream.flush()
        self._reply_by = self._asked_at + self._terms.patience

    def _on_control(self, frame: Frame, at: float) -> None:
        if frame.opcode is Opcode.PING:
            self._watcher.heartbeat(LineLevel.PROTOCOL, at)
        elif self._ping_sent is not None and bytes(frame.data) == self._payload:
            sent, self._ping_sent = self._ping_sent, None
            self._watcher.round_trip(LineLevel.PROTOCOL, max(0.0, at - sent), at)


def announced_interval(profile: Profile, welcome: Mapping[str, Any] | None) -> float | None:
    """Return the seconds between the server's heartbeats that the welcome announces; None: it announces none."""
    rules = profile.welcome
    if rules is None or welcome is None:
        return None
    for path, units in ((rules.heartbeat_interval, 1), (rules.heartbeat_milliseconds, 1000)):
        seconds = None if path is None else read_interval(lookup(welcome, path), units)
        if seconds is not None:
            return seconds
    return None


def _heartbeat_interval(profile: Profile) -> float:
    return inf if profile.heartbeat is None else profile.heartbeat.every


def _end_of(error: ProbeError, stream: MessageStream) -> HoldEnd:
    received = stream.protocol.close_rcvd
    if error.kind is ErrorKind.CLOSED and received is not None and received.code in RESTART_CODES:
        return HoldEnd.RESTART
    return END_OF_ERROR.get(error.kind, HoldEnd.BROKEN)
