"""Headers of every response, even to what is not a valid request."""

from typing import Final

from exporter.web.page.document import CONTENT_SECURITY_POLICY

SERVER: Final = "ws-factory-exporter"
HEADERS: Final = {
    "Server": SERVER,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-store",
}
