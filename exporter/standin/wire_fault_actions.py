"""What faults do to the wire, at once and without a wait. The same functions serve every stage.

Rule 1: one function per fault, under the fault's name in `WIRE_FAULT_ACTIONS`; it knows no backend.
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
    wire.ignores_input = stage is FaultStage.TCP


def _abort(wire: ServerConnection, _values: Values, stage: FaultStage) -> None:
    """At the TCP stage the reset comes with the first bytes, so that the client's connect has succeeded before."""
    if stage is FaultStage.TCP:
        wire.on_bytes = wire.abort
        wire.start_timer("abort", RESTART_DELAY_SECONDS, wire.abort)
    else:
        wire.abort()


def _half_close(wire: ServerConnection, _values: Values, _stage: FaultStage) -> None:
    wire.half_close()


def _not_tls(wire: ServerConnection, _values: Values, _stage: FaultStage) -> None:
    """Answer the ClientHello as a plain HTTP server does: as a bad request."""

    def answer() -> None:
        wire.on_bytes = None
        wire.ignores_input = True
        wire.write(http_answers.NOT_TLS)
        wire.finish()

    wire.disable_tls()
    wire.on_bytes = answer


def _close(wire: ServerConnection, values: Values, _stage: FaultStage) -> None:
    wire.close(values["code"], values["reason"])


def _no_close_answer(_wire: ServerConnection, _values: Values, _stage: FaultStage) -> None:
    """Do nothing: the connection sends no close answer while `on_close` is set."""


WIRE_FAULT_ACTIONS: Final[Mapping[str, Callable[[ServerConnection, Values, FaultStage], None]]] = {
    "silent": _silent,
    "abort": _abort,
    "half_close": _half_close,
    "not_tls": _not_tls,
    "close": _close,
    "no_close_answer": _no_close_answer,
}

CERTIFICATES: Final = {"tls_expired": "expired", "tls_untrusted": "untrusted", "tls_wrong_host": "wrong_host"}
"""The certificate that a fault of the TLS stage shows; `tls_client_required` asks for one instead."""
