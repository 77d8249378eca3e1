"""What faults do to the wire: at once, without a wait. The same verbs serve every stage.

Rule 1: one function per fault, under the fault's own name in `WIRE_ACTS`; it knows no backend.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from exporter.standin import http_answers
from exporter.standin.faults import FaultStage
from exporter.standin.server_connection import ServerConnection

Values = Mapping[str, Any]
RESTART_DELAY_SECONDS: Final = 0.1
"""Seconds after which a connection of a silent client is reset."""


def _silent(wire: ServerConnection, _values: Values, stage: FaultStage) -> None:
    wire.mute()
    wire.deafened = stage is FaultStage.TCP


def _abort(wire: ServerConnection, _values: Values, stage: FaultStage) -> None:
    """At the TCP stage: on the first bytes, so that no client meets the reset before its connect is done."""
    if stage is FaultStage.TCP:
        wire.on_bytes = wire.abort
        wire.later("abort", RESTART_DELAY_SECONDS, wire.abort)
    else:
        wire.abort()


def _half_close(wire: ServerConnection, _values: Values, _stage: FaultStage) -> None:
    wire.half_close()


def _not_tls(wire: ServerConnection, _values: Values, _stage: FaultStage) -> None:
    """A plain HTTP server: it takes the ClientHello for a bad request."""

    def answer() -> None:
        wire.on_bytes = None
        wire.deafened = True
        wire.write(http_answers.NOT_TLS)
        wire.finish()

    wire.plain()
    wire.on_bytes = answer


def _close(wire: ServerConnection, values: Values, _stage: FaultStage) -> None:
    wire.close(values["code"], values["reason"])


def _no_close_answer(_wire: ServerConnection, _values: Values, _stage: FaultStage) -> None:
    """The answer is withheld by the wire itself as soon as anything stands in its place."""


WIRE_ACTS: Final[Mapping[str, Callable[[ServerConnection, Values, FaultStage], None]]] = {
    "silent": _silent,
    "abort": _abort,
    "half_close": _half_close,
    "not_tls": _not_tls,
    "close": _close,
    "no_close_answer": _no_close_answer,
}

CERTIFICATES: Final = {"tls_expired": "expired", "tls_untrusted": "untrusted", "tls_wrong_host": "wrong_host"}
"""The certificate that a fault of the TLS stage shows; `tls_client_required` asks for one instead."""
