"""The library's exceptions as kinds of faults.

Rule 1: a row for every class, so that a new one in a release fails a test and not a dashboard.
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
