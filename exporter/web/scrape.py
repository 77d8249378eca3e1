"""GET /metrics, in the negotiated format and encoding."""

from aiohttp import web

from exporter.web.negotiate import accepts_gzip, negotiate_format
from exporter.web.render import PackedPage, PageRenderer
from exporter.web.site import Site


class ScrapeEndpoint:
    """Answers scrapes; `close` it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._renderer = PageRenderer(site.metric_source)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send the metrics; a HEAD request gets the headers only."""
        choice = negotiate_format(",".join(request.headers.getall("Accept", [])))
        page = await self._renderer.page(choice.form)
        response = web.StreamResponse(headers={"Content-Type": choice.content_type, "Vary": "Accept, Accept-Encoding"})
        packed = accepts_gzip(",".join(request.headers.getall("Accept-Encoding", [])))
        response.content_length = page.packed_size if packed else page.size
        if packed:
            response.headers["Content-Encoding"] = "gzip"
        await response.prepare(request)
        if request.method == "GET":
            await self._send(page, response, packed=packed)
            self._site.record_scrape(page.read_at)
        return response

    async def close(self) -> None:
        """Wait for pages in the making and end the thread."""
        await self._renderer.close()

    async def _send(self, page: PackedPage, response: web.StreamResponse, *, packed: bool) -> None:
        """Send a page; raises ConnectionError if the client disconnects."""
        if packed:
            for chunk in page.packed:
                await response.write(chunk)
        else:
            async for chunk in self._renderer.unpack(page):
                await response.write(chunk)
        await response.write_eof()
