"""One WebSocket conversation, from `resolve` to `close`.

Rule 1: every wait stands in a phase, and one deadline bounds them all; closing has a small budget of its own.
Rule 2: whatever the library, the operating system or the server does leaves as `Facts`; only cancellation escapes,
and after an orderly close.
Rule 3: what was received is read before anything is judged. Rule 4: we close with 1000 and never originate a 1011.

`order` what a session needs · `conversation` its phases · `upgrade` the opening handshake · `messages` frames ↔ JSON
objects · `transcript` what passed, without any of it · `track` the times · `kinds` the library's exceptions as kinds of
faults.
"""

from exporter.session.conversation import Session
from exporter.session.error_kinds import ERROR_KINDS, kind_of
from exporter.session.messages import MAX_FRAMES
from exporter.session.request import SessionRequest
from exporter.session.upgrade import SILENT_LOGGER

__all__ = ["ERROR_KINDS", "MAX_FRAMES", "SILENT_LOGGER", "Session", "SessionRequest", "kind_of"]
