"""What passed in a session, frame by frame, without any of it: types, sizes, moments, and words of the profile.

It costs a session some microseconds: what is kept of a frame is a plain list until the session is over.
"""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Final

from websockets import frames as ws
from websockets.frames import CloseCode

from exporter.result import Direction, Frame, Opcode

FRAMES_KEPT_AT_EACH_END: Final = 20
"""Frames that are kept of the beginning of a session, and as many of its end."""

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
_IN, _OUT, _TEXT, _CLOSE, _PONG = Direction.IN, Direction.OUT, Opcode.TEXT, Opcode.CLOSE, Opcode.PONG
_PINGED, _CLOSED = ws.Opcode.PING, ws.Opcode.CLOSE
"""The same at hand: to look a member up in its enum, or to hash it, costs as much as all the rest."""


Entry = list[Any]
"""A `Frame` in the making, its moment by the clock of the session."""
_made: Final = tuple.__new__
"""As `Frame._make`, without its call in between."""

AT: Final = itemgetter(0)
KIND: Final = Frame._fields.index("kind")
CODE: Final = Frame._fields.index("code")


class Transcript:
    """The first and the last frames of a session; `left_out` counts those in between."""

    __slots__ = ("_closed", "_entries", "_outgoing", "left_out")

    def __init__(self) -> None:
        self.left_out = 0
        self._entries: list[Entry] = []
        self._outgoing: list[Entry] = []
        self._closed = False

    def received(self, frame: ws.Frame, at: float) -> Entry:
        """Keep a frame of the peer; to a ping the library has a pong ready."""
        size, code = len(frame.data), None
        if frame.opcode is _PINGED:
            self._outgoing.append([at, _OUT, _PONG, size, None, None])
        elif frame.opcode is _CLOSED:
            code = str(int.from_bytes(frame.data[:2], "big") if size else CloseCode.NO_STATUS_RCVD)
        entry = [at, _IN, _BY_NUMBER[frame.opcode], size, None, code]
        self._entries.append(entry)
        if len(self._entries) > _MAX_BUFFERED_FRAMES:
            self._cut()
        return entry

    def sending(self, size: int, kind: str) -> None:
        """A text frame of ours, which the next flush sends."""
        self._outgoing.append([0.0, _OUT, _TEXT, size, kind, None])

    def sent(self, at: float, close: ws.Close | None) -> None:
        """What was ready has gone out, our close frame with it if there is one."""
        if self._outgoing:
            for entry in self._outgoing:
                entry[0] = at
            self._entries += self._outgoing
            self._outgoing.clear()
        if close is not None and not self._closed:
            self._closed = True
            size = 0 if close.code == CloseCode.NO_STATUS_RCVD else 2 + len(close.reason.encode())
            self._entries.append([at, _OUT, _CLOSE, size, None, str(int(close.code))])

    def frames(self, started: float) -> tuple[Frame, ...]:
        """The transcript of a session that is over and began at `started`; what came early and was read late, too."""
        self._entries.sort(key=AT)
        self._cut()
        for entry in self._entries:
            entry[0] -= started
        return tuple([_made(Frame, entry) for entry in self._entries])

    def _cut(self) -> None:
        more = len(self._entries) - 2 * FRAMES_KEPT_AT_EACH_END
        if more > 0:
            del self._entries[FRAMES_KEPT_AT_EACH_END:-FRAMES_KEPT_AT_EACH_END]
            self.left_out += more
