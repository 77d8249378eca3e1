"""Frames become JSON values, each with the moment it arrived; JSON values become frames.

Rule 1: never raises for what the server sends until what came before it has been handed out.
Rule 2: what a server may make us keep is bounded: bytes, frames, fragments, values.
Rule 3: text or binary makes no difference: what is JSON in UTF-8 is a message, and values that white space separates
in one frame are messages in turn.
"""

import json
import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Any, Final, NoReturn

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN, Protocol

from exporter.result import MAX_KEYS, ErrorKind, ProbeError, key_name
from exporter.session.error_kinds import kind_of
from exporter.session.transcript import CODE, KIND, Entry, Transcript
from exporter.transport import Connection

MAX_RECEIVED_LIMITS: Final = 16
"""A session that receives this many times its message limit is ended as `too_big`."""

MAX_FRAMES: Final = 50_000
"""A session that receives more is ended as `too_big`: of the smallest frames, 16 MiB keep the loop busy for 30 s. So is
one that receives more values."""

MAX_FRAGMENTS: Final = 1024
"""Fragments of one message; empty ones cost the sender two bytes and us an object each."""

MAX_EXAMINED_KEYS: Final = 32
"""Fields of one unknown message whose names are looked at."""

MAX_EXAMINED_MESSAGES: Final = 64
"""Unknown messages of a session whose fields are looked at."""

JSON_WHITESPACE: Final = re.compile(r"[ \t\n\r]*")
"""RFC 8259 section 2."""


def _no_number(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


FROM_JSON: Final = json.JSONDecoder(parse_constant=_no_number)
TO_JSON: Final = json.JSONEncoder(separators=(",", ":")).encode


def _values(text: str) -> Iterator[Any]:
    """The JSON values of a text, white space between them; raises ValueError, RecursionError for anything else."""
    at = _past_space(text, 0)
    while at < len(text):
        value, end = FROM_JSON.raw_decode(text, at)
        at = _past_space(text, end)
        if at == end < len(text):
            raise ValueError("no white space after a value")
        yield value


def _past_space(text: str, at: int) -> int:
    found = JSON_WHITESPACE.match(text, at)
    return found.end() if found else at


class MessageStream:
    """The open WebSocket of a link. `limit`: bytes of a message. `passed_over`: messages of no use, by kind.

    Whoever takes a message says what it was (`name`, `pass_over`): the transcript tells. `unknown_keys`: names of
    fields of messages that no rule knows, none that stands in one of the `secrets` or holds one. `heard_at`: when the
    last bytes arrived.
    """

    def __init__(self, protocol: Protocol, link: Connection, limit: int, secrets: Collection[str]) -> None:
        self.protocol = protocol
        self.passed_over: Counter[str] = Counter()
        self.unknown_keys: dict[str, None] = {}
        self.heard_at = 0.0
        self._secrets = secrets
        self.transcript = Transcript()
        self.violation: ProbeError | None = None
        self._link = link
        self._most = MAX_RECEIVED_LIMITS * limit
        self._inbox: deque[tuple[Any, float, Entry]] = deque()
        self._taken: Entry = []
        self._parts: list[bytes] = []
        self._text = False
        self._received = 0
        self._frames = 0
        self._values = 0

    @property
    def is_open(self) -> bool:
        """True until a close frame has passed in either direction."""
        return self.protocol.state is OPEN

    @property
    def is_flood(self) -> bool:
        """True once more has arrived than a backend in its right mind sends."""
        return self._received > self._most or self._frames > MAX_FRAMES or self._values > MAX_FRAMES

    @property
    def gave_up(self) -> bool:
        """True if the library gave up with a 1011 of its own, which never goes out. To echo the server's is another."""
        received, sent = self.protocol.close_rcvd, self.protocol.close_sent
        return (
            sent is not None
            and sent.code == CloseCode.INTERNAL_ERROR
            and (received is None or received.code != CloseCode.INTERNAL_ERROR)
        )

    def send(self, message: Any, kind: str) -> None:
        """Have a JSON value sent by the next `flush`, which comes at the latest before we wait for more.

        After a close frame nothing is: that shows when the inbox is empty.
        """
        if self.is_open:
            data = TO_JSON(message).encode()
            self.protocol.send_text(data)
            self.transcript.sending(len(data), kind)

    def close(self) -> float:
        """Send our close frame; when it went out."""
        self.protocol.send_close(CloseCode.NORMAL_CLOSURE)
        return self.flush()

    def flush(self) -> float:
        """Hand over what the protocol wants sent, but never a 1011 of the library's own; when we last did."""
        pending = self.protocol.data_to_send()
        if pending and not self.gave_up:
            self._link.write(b"".join(pending))
            self.transcript.sent(self._link.sent_at, self.protocol.close_sent)
        return self._link.sent_at

    async def next(self) -> tuple[Any, float]:
        """The next JSON value and when it arrived; raises Fault (closed, eof, reset, protocol, too_big)."""
        while not self._inbox:
            self._raise_if_over()
            self.flush()
            self.feed(*await self._link.read())
        message, at, self._taken = self._inbox.popleft()
        return message, at

    def name(self, kind: str, code: str | None = None) -> None:
        """Say what the message was that was handed out last, in words of ours."""
        self._taken[KIND], self._taken[CODE] = kind, code

    def pass_over(self, kind: str) -> None:
        """Say that the message that was handed out last is of no use."""
        self._pass(self._taken, kind)

    def note_keys(self, message: Any) -> None:
        """Keep the names of an unknown message's outermost fields, if they may be shown."""
        if not isinstance(message, dict) or self.passed_over.total() > MAX_EXAMINED_MESSAGES:
            return
        for name in map(key_name, islice(message, MAX_EXAMINED_KEYS)):
            if len(self.unknown_keys) >= MAX_KEYS:
                return
            if name is not None and not any(name in secret or secret in name for secret in self._secrets):
                self.unknown_keys[name] = None

    def arrived(self, wanted: Callable[[Any], bool]) -> Iterator[Any]:
        """The JSON values at the head of what has arrived, as long as they are wanted."""
        while self._inbox and wanted(self._inbox[0][0]):
            message, _, self._taken = self._inbox.popleft()
            yield message

    def feed(self, data: bytes, at: float) -> None:
        """Take bytes in; none is the end of the stream, which raises Fault (eof) unless a close frame came first."""
        self.heard_at = at
        if not data:
            self.protocol.receive_eof()
            if self.protocol.close_rcvd is None and self.protocol.close_sent is None:
                raise ProbeError(ErrorKind.EOF)
            return
        try:
            for frame in self.events(data):
                self._frame(frame, at, self.transcript.received(frame, at))
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, ProbeError(ErrorKind.PROTOCOL, "invalid UTF-8"))
        except ProbeError as fault:
            self._fail(CloseCode.MESSAGE_TOO_BIG, fault)
        self.flush()

    def events(self, data: bytes) -> list[Frame]:
        """The frames that are complete with these bytes, as they are."""
        self.protocol.receive_data(data)
        frames = [event for event in self.protocol.events_received() if isinstance(event, Frame)]
        self._received += len(data)
        self._frames += len(frames)
        return frames

    def _raise_if_over(self) -> None:
        if self.violation is not None:
            raise self.violation
        if self.protocol.close_rcvd is not None:
            raise ProbeError(ErrorKind.CLOSED)
        error = self.protocol.parser_exc
        if error is not None:
            raise ProbeError(kind_of(error), type(error).__name__)

    def _frame(self, frame: Frame, at: float, entry: Entry) -> None:
        """Join fragments (RFC 6455 section 5.4), keep JSON values; raises UnicodeDecodeError (section 8.1), Fault."""
        if self.is_flood:
            raise ProbeError(ErrorKind.TOO_BIG, "flood")
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._text, self._parts = frame.opcode is Opcode.TEXT, []
        elif frame.opcode is not Opcode.CONT:
            return
        self._parts.append(bytes(frame.data))
        if len(self._parts) > MAX_FRAGMENTS:
            raise ProbeError(ErrorKind.TOO_BIG, "fragments")
        if not frame.fin:
            return
        whole, self._parts = b"".join(self._parts), []
        try:
            text = whole.decode()
        except UnicodeDecodeError:
            if self._text:
                raise
            self._pass(entry, "binary")
            return
        self._values_of(text, at, entry)

    def _values_of(self, text: str, at: float, entry: Entry) -> None:
        """Keep the JSON values of a message; raises Fault for too many."""
        try:
            values = list(islice(_values(text), MAX_FRAMES - self._values + 1))
        except (ValueError, RecursionError):
            values = []
        self._values += len(values)
        if self.is_flood:
            raise ProbeError(ErrorKind.TOO_BIG, "flood")
        self._inbox.extend((value, at, entry) for value in values)
        if not values:
            self._pass(entry, "not_json" if self._text else "binary")

    def _pass(self, entry: Entry, kind: str) -> None:
        self.passed_over[kind] += 1
        entry[KIND] = entry[KIND] or kind  # of several messages in a frame, the one that matters came to be named

    def _fail(self, code: int, fault: ProbeError) -> None:
        """RFC 6455 section 7.1.7: what follows is not looked at; what came before it still counts."""
        self.protocol.fail(code)
        self.violation = self.violation or fault
