"""HTML that is sent while it is made: the first piece at once, the others as they fill a chunk.

A browser paints what it has: the line on top is seen before the last of two hundred targets has been rendered.
"""

import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import web

from exporter.web.negotiate import gzip_welcome
from exporter.web.render import GZIP, LEVEL

CHUNK: Final = 16_384
"""Characters that are packed in one go: it takes 0.2 ms."""


async def send_html(request: web.Request, pieces: AsyncIterator[str]) -> web.StreamResponse:
    """Answer with the pieces, packed for who takes gzip; HEAD gets the headers only. Raises ConnectionError."""
    response = web.StreamResponse(headers={"Content-Type": "text/html; charset=utf-8", "Vary": "Accept-Encoding"})
    packed = gzip_welcome(",".join(request.headers.getall("Accept-Encoding", [])))
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    await response.prepare(request)
    with cut_off(request):
        if request.method == "GET":
            async for chunk in _packed(_chunks(pieces)) if packed else _chunks(pieces):
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


async def _chunks(pieces: AsyncIterator[str]) -> AsyncIterator[bytes]:
    waiting, size, enough = [], 0, 0
    async for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size > enough:
            yield "".join(waiting).encode()
            waiting, size, enough = [], 0, CHUNK
    yield "".join(waiting).encode()


async def _packed(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Each chunk so that it can be read before the next."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
    async for chunk in chunks:
        yield packer.compress(chunk) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()
