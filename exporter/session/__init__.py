"""One WebSocket conversation, from `resolve` to `close`.

Rule 1: every wait belongs to a phase, and one deadline bounds them all; the close has a small budget of its own.
Rule 2: whatever the library, the network or the server does becomes a `SessionObservation`; only cancellation escapes,
after an orderly close, and an OSError of this machine.
Rule 3: received bytes are read before anything is judged. Rule 4: we close with 1000 and never originate a 1011.

`request` what a session needs · `before` the HTTP request before the upgrade · `http_request` how it is sent ·
`binding` what it is made of · `addresses` which one a session tries · `conversation` its phases · `upgrade` the opening
handshake · `messages` frames ↔ JSON values · `observer` what a watching command is shown · `transcript` the frames
without their content · `phase_timer` the times · `overdue` a wait longer than usual · `memory` what outlasts it ·
`error_kinds` the library's exceptions as kinds of errors · `held_session`, `holding` a session whose connection stays
open, and what happens on it meanwhile.
"""

from exporter.session.before import is_client_loaded, load_client
from exporter.session.binding import bind_before, sends_credential, sends_credential_before, session_secrets
from exporter.session.conversation import Session
from exporter.session.error_kinds import ERROR_KINDS, kind_of
from exporter.session.held_session import HeldSession
from exporter.session.holding import HoldRequest, HoldTerms, LineHold
from exporter.session.memory import TargetMemory
from exporter.session.messages import MAX_FRAMES
from exporter.session.observer import MessageObserver, SeenMessage
from exporter.session.overdue import Overdue, WaitRule
from exporter.session.request import HttpRequest, RequestBefore, SessionRequest
from exporter.session.upgrade import SILENT_LOGGER

__all__ = [
    "ERROR_KINDS",
    "MAX_FRAMES",
    "SILENT_LOGGER",
    "HeldSession",
    "HoldRequest",
    "HoldTerms",
    "HttpRequest",
    "LineHold",
    "MessageObserver",
    "Overdue",
    "RequestBefore",
    "SeenMessage",
    "Session",
    "SessionRequest",
    "TargetMemory",
    "WaitRule",
    "bind_before",
    "is_client_loaded",
    "kind_of",
    "load_client",
    "sends_credential",
    "sends_credential_before",
    "session_secrets",
]
