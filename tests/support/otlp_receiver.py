"""A receiver of OTLP that does what a test wants: accepts, refuses, answers never."""

import asyncio
import contextlib
import gzip

from aiohttp import web

from support import otlp
from support.realservers import PATIENCE


class Receiver:
    """What came so far: `bodies` unpacked, `headers` of each request. `answer(request)` makes the response."""

    def __init__(self):
        self.bodies, self.headers = [], []
        self.url = ""
        self.answer = self.accept
        self._news = asyncio.Event()

    async def accept(self, _request):
        return web.Response()

    async def never(self, _request):
        await asyncio.Event().wait()

    def status(self, status, **headers):
        """Answer with this status from now on."""

        async def answer(_request):
            return web.Response(status=status, headers=headers)

        self.answer = answer

    async def handle(self, request):
        self.bodies.append(gzip.decompress(await request.read()))
        self.headers.append(request.headers)
        self._news.set()
        return await self.answer(request)

    async def until(self, condition):
        """Wait until the condition holds for the samples of the last message."""
        async with asyncio.timeout(PATIENCE):
            while not (self.bodies and condition(otlp.samples(self.bodies[-1]))):
                self._news.clear()
                await self._news.wait()

    async def more(self, count=1):
        """Wait until so many more messages have come."""
        wanted = len(self.bodies) + count
        await self.until(lambda _: len(self.bodies) >= wanted)


@contextlib.asynccontextmanager
async def receiving():
    """A receiver on a port of loopback."""
    receiver = Receiver()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = site._server.sockets[0].getsockname()
    receiver.url = f"http://{host}:{port}/v1/metrics"
    try:
        yield receiver
    finally:
        await runner.cleanup()
