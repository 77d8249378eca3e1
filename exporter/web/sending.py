"""Sends HTML while it is being rendered; if rendering fails, the connection is aborted."""

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from exporter.web.negotiate import accepts_gzip
from exporter.web.page_cache import StreamedPage


async def send_html(request: web.Request, page: StreamedPage) -> web.StreamResponse:
    """Send the page, compressed if the client accepts gzip; HEAD gets the headers only. Raises ConnectionError."""
    response = web.StreamResponse(headers={"Content-Type": "text/html; charset=utf-8", "Vary": "Accept-Encoding"})
    packed = accepts_gzip(",".join(request.headers.getall("Accept-Encoding", [])))
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    await response.prepare(request)
    with abort_on_error(request):
        if request.method == "GET":
            async for chunk in page.read(packed=packed):
                await response.write(chunk)
        await response.write_eof()
    return response


@contextmanager
def abort_on_error(request: web.Request) -> Iterator[None]:
    """Abort the connection on an error: half a response must not look complete, nor be followed by a 500."""
    try:
        yield
    except Exception:
        if request.transport is not None:
            request.transport.abort()
        raise
