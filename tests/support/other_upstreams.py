"""Upstreams behind the proxies that speak something else than HTTP/1.1, or HTTP/2 beside it."""

from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from support import raw_server
from support.backend_servers import python_backend
from support.layer_servers import hypercorn

TLS_ALERT = b"\x15\x03\x03\x00\x02\x02\x46"
"""What a server of TLS says to a request without it: fatal, protocol_version."""


@asynccontextmanager
async def _hypercorn(folder):
    """Port of hypercorn with uvicorn's application: it speaks HTTP/1.1 and HTTP/2, without TLS too."""
    async with hypercorn("statuses_app:app").running(folder / "hypercorn") as server:
        yield urlsplit(server.url).port


@asynccontextmanager
async def _rfc8441(folder):
    """Port of a server that takes a WebSocket over HTTP/2, to the letter."""
    place = folder / "rfc8441"
    place.mkdir()
    async with python_backend("rfc8441_app", place) as url:
        yield urlsplit(url).port


async def _say_alert(peer):
    await peer.request()
    peer.send(TLS_ALERT)
    peer.end()


@asynccontextmanager
async def _tls(_folder):
    """Port of a server that speaks TLS alone."""
    async with raw_server.serving(_say_alert) as server:
        yield server.port


OTHERS = {"hypercorn": _hypercorn, "rfc8441": _rfc8441, "tls": _tls}
"""By the first part of a path, as `proxy_upstreams.REAL`."""
