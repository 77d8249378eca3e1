"""Frames become JSON values by the profile's framing, each with the moment it arrived; JSON values become frames.

Rule 1: a violation by the server is raised only after all messages before it have been returned.
Rule 2: the memory that a server can fill is bounded: bytes, frames, fragments, values.
Rule 3: text and binary frames are alike: JSON in UTF-8 is a message, and each of several values in one frame is one.
"""

import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN, Protocol

from exporter.framing import MessageReader
from exporter.profiles import BINARY_KIND, MessageMatcher
from exporter.result import MAX_KEYS, Direction, ErrorKind, ProbeError, key_name
from exporter.session.error_kinds import kind_of
from exporter.session.observer import MessageObserver, SeenMessage
from exporter.session.transcript import CODE, KIND, Entry, Transcript
from exporter.transport import Connection

MAX_RECEIVED_LIMITS: Final = 16
"""A session that receives more than this many times its message limit ends as `too_big`."""

MAX_FRAMES: Final = 50_000
"""A session with more frames or more values ends as `too_big`: 16 MiB of the smallest frames block the loop
for 30 s."""

MAX_FRAGMENTS: Final = 1024
"""Fragments of one message; an empty one costs the sender two bytes, and us an object."""

MAX_ARRIVED_READS: Final = 16
"""Reads of bytes that have already arrived, 256 KiB in all: a flood would never end."""

HTTP_ANSWER: Final = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)[ \r\n]")
"""The beginning of an HTTP answer where a frame had to be: some frameworks answer a request that was upgraded."""

MAX_SHORT_PAYLOAD_BYTES: Final = 125
MAX_MEDIUM_PAYLOAD_BYTES: Final = 0xFFFF
"""Longer payloads have two or eight bytes of length more (RFC 6455 section 5.2)."""

MAX_EXAMINED_KEYS: Final = 32
"""Fields of one unknown message whose names are examined."""

MAX_EXAMINED_MESSAGES: Final = 64
"""Unknown messages of a session whose fields are examined."""


class MessageStream:
    """The open WebSocket of a connection. Its user labels each message (`set_kind`, `pass_over`) for the transcript.

    `passed_over`: messages that were not used, counted by kind.
    `unknown_keys`: field names of messages that no rule knows; none is part of one of the `secrets`, or holds one.
    `last_received_at`: when the last bytes arrived.
    `violation`: the server's breach of the protocol, raised once the inbox is empty.
    `http_status`: the status of an HTTP answer that came in place of a frame; None: none came.
    `observer`: is shown every message and close frame as it passes.
    `on_control`: gets each ping and pong, and when it arrived.
    """

    def __init__(
        self,
        protocol: Protocol,
        connection: Connection,
        matcher: MessageMatcher,
        secrets: Collection[str],
        observer: MessageObserver | None = None,
    ) -> None:
        self._codec = matcher.codec
        self._reader = MessageReader(matcher.codec)
        self._unreadable_kind = matcher.unreadable_kind
        self._max_message_bytes = matcher.profile.max_message_size
        self.protocol = protocol
        self.passed_over: Counter[str] = Counter()
        self.unknown_keys: dict[str, None] = {}
        self.last_received_at = 0.0
        self._secrets = secrets
        self._observer = observer
        self.on_control: Callable[[Frame, float], None] = lambda *_: None
        self.transcript = Transcript()
        self.violation: ProbeError | None = None
        self.http_status: int | None = None
        self._connection = connection
        self._max_received_bytes = MAX_RECEIVED_LIMITS * self._max_message_bytes
        self._inbox: deque[tuple[Any, float, Entry]] = deque()
        self._current_entry: Entry = []
        self._fragments: list[bytes] = []
        self._is_text = False
        self._received_bytes = 0
        self._framed_bytes = 0
        self._frame_count = 0
        self._value_count = 0

    @property
    def is_open(self) -> bool:
        """True until a close frame has passed in either direction."""
        return self.protocol.state is OPEN

    @property
    def is_flood(self) -> bool:
        """True once more has arrived than any sane backend sends."""
        return (
            self._received_bytes > self._max_received_bytes
            or self._frame_count > MAX_FRAMES
            or self._value_count > MAX_FRAMES
        )

    @property
    def is_internal_error(self) -> bool:
        """True if the library failed with a 1011 of its own, which is never sent. An echo of the server's is none."""
        received, sent = self.protocol.close_rcvd, self.protocol.close_sent
        return (
            sent is not None
            and sent.code == CloseCode.INTERNAL_ERROR
            and (received is None or received.code != CloseCode.INTERNAL_ERROR)
        )

    def send(self, message: Any, kind: str) -> None:
        """Queue a JSON value; the next `flush` sends it, at the latest before `next` waits.

        After a close frame nothing is queued; `next` raises once the inbox is empty. Raises FramingError for a value
        that the framing cannot hold.
        """
        if self.is_open:
            data = self._codec.encode(message)
            send = self.protocol.send_text if self._codec.is_text else self.protocol.send_binary
            send(data)
            self.transcript.record_queued(len(data), kind, is_text=self._codec.is_text)
            self._show(Direction.OUT, data, is_text=self._codec.is_text, values=(message,))

    def ping(self, payload: bytes) -> float:
        """Send a ping, unless a close frame has passed; return when it was sent."""
        if self.is_open:
            self.protocol.send_ping(payload)
            self.transcript.record_ping(len(payload))
        return self.flush()

    def close(self) -> float:
        """Send our close frame; return when it was sent."""
        self.protocol.send_close(CloseCode.NORMAL_CLOSURE)
        self._show(Direction.OUT, b"", code=CloseCode.NORMAL_CLOSURE)
        return self.flush()

    def flush(self) -> float:
        """Send what the protocol has queued, but never the library's own 1011; return the moment of the last send."""
        pending = self.protocol.data_to_send()
        if pending and not self.is_internal_error:
            self._connection.write(b"".join(pending))
            self.transcript.record_sent(self._connection.sent_at, self.protocol.close_sent)
        return self._connection.sent_at

    async def next(self) -> tuple[Any, float]:
        """Return the next JSON value and when it arrived. Raises ProbeError (closed, eof, reset, protocol, too_big)."""
        while not self._inbox:
            await self.read_once()
        message, at, self._current_entry = self._inbox.popleft()
        return message, at

    async def read_once(self) -> None:
        """Read the next bytes, which need not hold a message. Raises as `next` does."""
        self._raise_if_over()
        self.flush()
        self.feed(*await self._connection.read())

    def set_kind(self, kind: str, code: str | None = None) -> None:
        """Label the message that was returned last, with our own words."""
        self._current_entry[KIND], self._current_entry[CODE] = kind, code

    def pass_over(self, kind: str) -> None:
        """Count the message that was returned last as not used."""
        self._count_passed_over(self._current_entry, kind)

    def record_unknown_keys(self, message: Any) -> None:
        """Record the names of an unknown message's outermost fields, if they may be shown."""
        if not isinstance(message, dict) or self.passed_over.total() > MAX_EXAMINED_MESSAGES:
            return
        for name in map(key_name, islice(message, MAX_EXAMINED_KEYS)):
            if len(self.unknown_keys) >= MAX_KEYS:
                return
            if name is not None and not any(name in secret or secret in name for secret in self._secrets):
                self.unknown_keys[name] = None

    def take_arrived(self, is_wanted: Callable[[Any], bool]) -> Iterator[Any]:
        """Yield the JSON values at the head of the inbox, as long as they are wanted."""
        while self._inbox and is_wanted(self._inbox[0][0]):
            message, _, self._current_entry = self._inbox.popleft()
            yield message

    def feed(self, data: bytes, at: float) -> None:
        """Parse received bytes. None are the end of the stream: ProbeError (eof) unless a close frame came first."""
        self.last_received_at = at
        if not data:
            self.protocol.receive_eof()
            if self.protocol.close_rcvd is None and self.protocol.close_sent is None:
                raise ProbeError(ErrorKind.EOF)
            return
        try:
            for frame in self.parse_frames(data):
                self._handle_frame(frame, at, self.transcript.record_received(frame, at))
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, ProbeError(ErrorKind.PROTOCOL, "invalid UTF-8"))
        except ProbeError as error:
            self._fail(CloseCode.MESSAGE_TOO_BIG, error)
        if self.http_status is not None and self.violation is None:  # read as a frame, it may have to be waited for
            self._fail(CloseCode.PROTOCOL_ERROR, ProbeError(ErrorKind.PROTOCOL, "an HTTP answer"))
        self.flush()

    def parse_frames(self, data: bytes) -> list[Frame]:
        """Return the frames that these bytes complete."""
        self.protocol.receive_data(data)
        frames = [event for event in self.protocol.events_received() if isinstance(event, Frame)]
        self._framed_bytes += sum(map(_wire_bytes, frames))
        rest = self._framed_bytes - self._received_bytes  # where a frame begins in these bytes
        answer = HTTP_ANSWER.match(data, rest) if rest >= 0 else None
        if answer is not None and self.http_status is None:
            self.http_status = int(answer[1])
        self._received_bytes += len(data)
        self._frame_count += len(frames)
        return frames

    def read_arrived(self) -> None:
        """Parse what has arrived and was not read yet. Raises ProbeError as `feed` does."""
        for _ in range(MAX_ARRIVED_READS):
            received = self._connection.read_now()
            if received is None:
                return
            self.feed(*received)

    def renew_limits(self) -> None:
        """Count what the server sends from 0 again: a session that lasts is limited in each part of its time."""
        self._received_bytes -= self._framed_bytes
        self._framed_bytes = self._frame_count = self._value_count = 0

    def show_close(self, frame: Frame) -> None:
        """Show the server's close frame to the observer; another frame is none."""
        received = self.protocol.close_rcvd
        if frame.opcode is Opcode.CLOSE and received is not None:
            self._show(Direction.IN, received.reason.encode(), code=int(received.code))

    def _raise_if_over(self) -> None:
        if self.violation is not None:
            raise self.violation
        if self.protocol.close_rcvd is not None:
            raise ProbeError(ErrorKind.CLOSED)
        error = self.protocol.parser_exc
        if error is not None:
            raise ProbeError(kind_of(error), type(error).__name__)

    def _handle_frame(self, frame: Frame, at: float, entry: Entry) -> None:
        """Join fragments (RFC 6455 section 5.4), queue values; raises UnicodeDecodeError (section 8.1), ProbeError."""
        if self.is_flood:
            raise ProbeError(ErrorKind.TOO_BIG, "flood")
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._is_text, self._fragments = frame.opcode is Opcode.TEXT, []
        elif frame.opcode is not Opcode.CONT:
            self.show_close(frame)
            if frame.opcode is not Opcode.CLOSE:
                self.on_control(frame, at)
            return
        self._fragments.append(bytes(frame.data))
        if len(self._fragments) > MAX_FRAGMENTS:
            raise ProbeError(ErrorKind.TOO_BIG, "fragments")
        if not frame.fin:
            return
        payload, self._fragments = b"".join(self._fragments), []
        self._queue_values(payload, at, entry)

    def _queue_values(self, payload: bytes, at: float, entry: Entry) -> None:
        """Queue the values of a message; raises ProbeError for too many, UnicodeDecodeError (RFC 6455 section 8.1)."""
        if self._is_text:
            payload.decode()
        values, is_readable = self._reader.read(payload, MAX_FRAMES - self._value_count + 1)
        if values or (is_readable and not self._reader.rest_size):
            self._show(Direction.IN, payload, is_text=self._is_text, values=values)
        self._value_count += len(values)
        if self.is_flood:
            raise ProbeError(ErrorKind.TOO_BIG, "flood")
        if self._reader.rest_size > self._max_message_bytes or self._reader.rest_messages > MAX_FRAGMENTS:
            raise ProbeError(ErrorKind.TOO_BIG, "packet")
        self._inbox.extend((value, at, entry) for value in values)
        if not is_readable:
            self._show(Direction.IN, payload, is_text=self._is_text)
            self._count_passed_over(entry, self._unreadable_kind if self._is_text else BINARY_KIND)

    def _show(
        self,
        direction: Direction,
        data: bytes,
        *,
        is_text: bool = True,
        values: Sequence[Any] | None = None,
        code: int | None = None,
    ) -> None:
        """Show a message or a close frame to the observer, if there is one."""
        if self._observer is not None:
            seen_values = None if values is None else tuple(values)
            self._observer(SeenMessage(direction, data, is_text, seen_values, code, tuple(self._secrets)))

    def _count_passed_over(self, entry: Entry, kind: str) -> None:
        self.passed_over[kind] += 1
        entry[KIND] = entry[KIND] or kind  # of several messages in a frame, a used one was labelled first

    def _fail(self, code: int, error: ProbeError) -> None:
        """Fail the connection (RFC 6455 section 7.1.7): later bytes are ignored, earlier messages still count."""
        self.protocol.fail(code)
        self.violation = self.violation or error.with_traceback(None)  # a traceback would keep all that was read


def _wire_bytes(frame: Frame) -> int:
    """Bytes of an unmasked frame on the wire (RFC 6455 section 5.2)."""
    payload = len(frame.data)
    if payload <= MAX_SHORT_PAYLOAD_BYTES:
        return payload + 2
    return payload + (4 if payload <= MAX_MEDIUM_PAYLOAD_BYTES else 10)
