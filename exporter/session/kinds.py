"""The library's exceptions as kinds of faults.

Rule 1: a row for every class that an open WebSocket can raise, so that a new one in a release fails a test and not a
dashboard. The handshake is judged in `upgrade`: the library never sees it.
"""

from collections.abc import Mapping
from typing import Final

from websockets import exceptions as ws

from exporter.result import Kind

KINDS: Final[Mapping[type[BaseException], Kind]] = {
    ws.WebSocketException: Kind.PROTOCOL,
    ws.ConnectionClosed: Kind.CLOSED,
    ws.ConnectionClosedOK: Kind.CLOSED,
    ws.ConnectionClosedError: Kind.CLOSED,
    ws.ProtocolError: Kind.PROTOCOL,
    ws.PayloadTooBig: Kind.TOO_BIG,
    ws.TooManyFragments: Kind.TOO_BIG,
    ws.InvalidState: Kind.PROTOCOL,
    ws.ConcurrencyError: Kind.PROTOCOL,
    UnicodeDecodeError: Kind.PROTOCOL,
    EOFError: Kind.EOF,
}
"""The library's exceptions on an open WebSocket, and the two of Python that its parser keeps."""


def kind_of(error: BaseException) -> Kind:
    """The kind of a library exception; what no row knows is a protocol violation."""
    return next((KINDS[cls] for cls in type(error).__mro__ if cls in KINDS), Kind.PROTOCOL)
