"""One TCP or TLS connection: bytes with the moment they arrived, and what its certificates say.

Rule 1: this package knows no WebSocket. Rule 2: errors of the operating system and of OpenSSL become a `ProbeError`.

`connection` the connection · `chain` the certificates from the server's own to a trusted one.
"""

from exporter.transport.chain import certificate_verdict
from exporter.transport.connection import (
    ERRNOS,
    MAX_UNREAD_BYTES,
    MAX_UNSENT_BYTES,
    READ_BYTES,
    Clock,
    Connection,
    ReceivedBytes,
    error_from_broken_connection,
    error_from_connect,
)

__all__ = [
    "ERRNOS",
    "MAX_UNREAD_BYTES",
    "MAX_UNSENT_BYTES",
    "READ_BYTES",
    "Clock",
    "Connection",
    "ReceivedBytes",
    "certificate_verdict",
    "error_from_broken_connection",
    "error_from_connect",
]
