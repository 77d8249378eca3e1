"""HTML that is sent while it is made: what a client gets is whole, or is cut off."""

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from exporter.web.negotiate import gzip_welcome
from exporter.web.page_cache import StreamedPage


async def send_html(request: web.Request, sheet: StreamedPage) -> web.StreamResponse:
    """Answer with the page, packed for who takes gzip; HEAD gets the headers only. Raises ConnectionError."""
    response = web.StreamResponse(headers={"Content-Type": "text/html; charset=utf-8", "Vary": "Accept-Encoding"})
    packed = gzip_welcome(",".join(request.headers.getall("Accept-Encoding", [])))
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    await response.prepare(request)
    with cut_off(request):
        if request.method == "GET":
            async for chunk in sheet.read(packed=packed):
                await response.write(chunk)
        await response.write_eof()
    return response


@contextmanager
def cut_off(request: web.Request) -> Iterator[None]:
    """End the connection if what is being sent breaks: half of it must not look whole, nor be followed by a 500."""
    try:
        yield
    except Exception:
        if request.transport is not None:
            request.transport.abort()
        raise
