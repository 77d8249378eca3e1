"""The frames of a session without their content: types, sizes, moments, and words of the profile.

For speed (some microseconds a session), a frame is a plain list until the session is over.
"""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Final

from websockets import frames as ws
from websockets.frames import CloseCode

from exporter.result import Direction, Frame, Opcode

FRAMES_KEPT_AT_EACH_END: Final = 20
"""Frames kept of the beginning of a session, and of its end as well."""

_MAX_BUFFERED_FRAMES: Final = 4 * FRAMES_KEPT_AT_EACH_END

OPCODES: Final[Mapping[int, Opcode]] = {
    int(ws.Opcode.CONT): Opcode.CONTINUATION,
    int(ws.Opcode.TEXT): Opcode.TEXT,
    int(ws.Opcode.BINARY): Opcode.BINARY,
    int(ws.Opcode.CLOSE): Opcode.CLOSE,
    int(ws.Opcode.PING): Opcode.PING,
    int(ws.Opcode.PONG): Opcode.PONG,
}
_BY_NUMBER: Final = tuple(OPCODES.get(number, Opcode.TEXT) for number in range(16))
_IN, _OUT = Direction.IN, Direction.OUT
_TEXT, _BINARY, _CLOSE = Opcode.TEXT, Opcode.BINARY, Opcode.CLOSE
_PING, _PONG = Opcode.PING, Opcode.PONG
_PING_FRAME, _CLOSE_FRAME = ws.Opcode.PING, ws.Opcode.CLOSE
"""Enum members as globals: a look-up or a hash of one costs as much as all the rest."""


Entry = list[Any]
"""The fields of a `Frame` in order; the moment is by the clock of the session."""
_new_frame: Final = tuple.__new__
"""As `Frame._make`, without its extra call."""

AT: Final = itemgetter(0)
KIND: Final = Frame._fields.index("kind")
CODE: Final = Frame._fields.index("code")


class Transcript:
    """The first and the last frames of a session; `left_out` counts those in between."""

    __slots__ = ("_close_recorded", "_entries", "_outgoing", "left_out")

    def __init__(self) -> None:
        self.left_out = 0
        self._entries: list[Entry] = []
        self._outgoing: list[Entry] = []
        self._close_recorded = False

    def record_received(self, frame: ws.Frame, at: float) -> Entry:
        """Record a frame of the peer; the library answers a ping by itself."""
        size, code = len(frame.data), None
        if frame.opcode is _PING_FRAME:
            self._outgoing.append([at, _OUT, _PONG, size, None, None])
        elif frame.opcode is _CLOSE_FRAME:
            code = str(int.from_bytes(frame.data[:2], "big") if size else CloseCode.NO_STATUS_RCVD)
        entry = [at, _IN, _BY_NUMBER[frame.opcode], size, None, code]
        self._entries.append(entry)
        if len(self._entries) > _MAX_BUFFERED_FRAMES:
            self._drop_middle()
        return entry

    def record_queued(self, size: int, kind: str, *, is_text: bool = True) -> None:
        """Record our frame, which the next flush sends."""
        self._outgoing.append([0.0, _OUT, _TEXT if is_text else _BINARY, size, kind, None])

    def record_ping(self, size: int) -> None:
        """Record our ping, which the next flush sends."""
        self._outgoing.append([0.0, _OUT, _PING, size, None, None])

    def record_sent(self, at: float, close: ws.Close | None) -> None:
        """Record that all queued frames were sent, and our close frame if there is one."""
        if self._outgoing:
            for entry in self._outgoing:
                entry[0] = at
            self._entries += self._outgoing
            self._outgoing.clear()
        if close is not None and not self._close_recorded:
            self._close_recorded = True
            size = 0 if close.code == CloseCode.NO_STATUS_RCVD else 2 + len(close.reason.encode())
            self._entries.append([at, _OUT, _CLOSE, size, None, str(int(close.code))])

    def frames(self, started: float) -> tuple[Frame, ...]:
        """Return the transcript of a finished session that began at `started`, in the order of arrival."""
        self._entries.sort(key=AT)
        self._drop_middle()
        for entry in self._entries:
            entry[0] -= started
        return tuple([_new_frame(Frame, entry) for entry in self._entries])

    def _drop_middle(self) -> None:
        surplus = len(self._entries) - 2 * FRAMES_KEPT_AT_EACH_END
        if surplus > 0:
            del self._entries[FRAMES_KEPT_AT_EACH_END:-FRAMES_KEPT_AT_EACH_END]
            self.left_out += surplus
