"""The library's exceptions as kinds of faults.

Rule 1: a row for every class that an open WebSocket can raise, so that a new one in a release fails a test and not a
dashboard. The handshake is judged in `upgrade`: the library never sees it.
"""

from collections.abc import Mapping
from typing import Final

from websockets import exceptions as ws

from exporter.result import ErrorKind

ERROR_KINDS: Final[Mapping[type[BaseException], ErrorKind]] = {
    ws.WebSocketException: ErrorKind.PROTOCOL,
    ws.ConnectionClosed: ErrorKind.CLOSED,
    ws.ConnectionClosedOK: ErrorKind.CLOSED,
    ws.ConnectionClosedError: ErrorKind.CLOSED,
    ws.ProtocolError: ErrorKind.PROTOCOL,
    ws.PayloadTooBig: ErrorKind.TOO_BIG,
    ws.TooManyFragments: ErrorKind.TOO_BIG,
    ws.InvalidState: ErrorKind.PROTOCOL,
    ws.ConcurrencyError: ErrorKind.PROTOCOL,
    UnicodeDecodeError: ErrorKind.PROTOCOL,
    EOFError: ErrorKind.EOF,
}
"""The library's exceptions on an open WebSocket, and the two of Python that its parser keeps."""


def kind_of(error: BaseException) -> ErrorKind:
    """The kind of a library exception; what no row knows is a protocol violation."""
    return next((ERROR_KINDS[cls] for cls in type(error).__mro__ if cls in ERROR_KINDS), ErrorKind.PROTOCOL)
