"""Headers that every answer bears, whatever was asked and whether it was a request at all."""

from typing import Final

from exporter.web.page.document import POLICY

SERVER: Final = "ws-factory-exporter"
HEADERS: Final = {
    "Server": SERVER,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
}
