"""One TCP or TLS connection: bytes with the moment they arrived, and what its certificates say.

Rule 1: knows no WebSocket. Rule 2: what the operating system or OpenSSL raises leaves as a `Fault`.

`link` the connection · `chain` the certificates from the server's own to a trusted one.
"""

from exporter.transport.connection import (
    ERRNOS,
    MAX_UNREAD_BYTES,
    MAX_UNSENT_BYTES,
    READ_BYTES,
    Clock,
    Connection,
    ReceivedBytes,
    broken_by,
    fault_of,
)

__all__ = [
    "ERRNOS",
    "MAX_UNREAD_BYTES",
    "MAX_UNSENT_BYTES",
    "READ_BYTES",
    "Clock",
    "Connection",
    "ReceivedBytes",
    "broken_by",
    "fault_of",
]
