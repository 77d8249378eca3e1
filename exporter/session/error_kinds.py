"""The kind of each exception of the library.

Rule 1: there is a row for every class that an open WebSocket can raise, so that a new class in a release fails a test
and not a dashboard. The library never sees the handshake; `upgrade` judges that.
"""

from collections.abc import Mapping
from typing import Final

from websockets import exceptions as ws

from exporter.result import ErrorKind, Phase, ProbeError

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
"""The library's exceptions on an open WebSocket, and the two of Python that its parser stores."""


def kind_of(error: BaseException) -> ErrorKind:
    """Return the kind of a library exception; an unknown one is a protocol violation."""
    return next((ERROR_KINDS[cls] for cls in type(error).__mro__ if cls in ERROR_KINDS), ErrorKind.PROTOCOL)


def attribute_to_phase(error: ProbeError, phase: Phase) -> ProbeError:
    """Return the error of a phase: a TLS alert before the 101 belongs to the handshake, a later one is a reset.

    The error is a new one, because a traceback would keep the session and all it has read.
    """
    kind, failed_phase = error.kind, error.phase
    if kind in (ErrorKind.TLS, ErrorKind.CERTIFICATE) and phase is Phase.UPGRADE:
        failed_phase = Phase.TLS
    elif kind in (ErrorKind.TLS, ErrorKind.CERTIFICATE) and phase not in (Phase.BEFORE, Phase.TLS):
        kind = ErrorKind.RESET
    return ProbeError(
        kind,
        error.detail,
        status=error.status,
        retry_after=error.retry_after,
        phase=failed_phase,
        tls_verify=error.tls_verify,
    )
