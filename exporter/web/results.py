"""GET /api/results: the last results that match the query, newest first, as JSON.

`{"results": […], "more": bool}`: each result as in the JSON of a check (`report.result_document`); `more`: whether
others match, beyond the limit. One response is made at a time and in slices, so that requests do not hold the loop.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import web

from exporter.host import cooperatively
from exporter.report import result_document
from exporter.result import Result
from exporter.web.filters import BadFilterError, ResultSource, parse_filter, select_results

RESULTS_CHUNK_BYTES: Final = 65_536
"""Bytes that are written at once."""


class ResultsEndpoint:
    """Answers requests; `source` is called for each."""

    def __init__(self, source: Callable[[], ResultSource]) -> None:
        self._source = source
        self._lock = asyncio.Lock()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send the results that match, or 400 with the mistake of the query; raises ConnectionError."""
        try:
            wanted = parse_filter(request.query.items(), source := self._source())
        except BadFilterError as problem:
            return web.Response(text=f"{problem}\n", status=HTTPStatus.BAD_REQUEST)
        async with self._lock:
            chunks = [
                chunk async for chunk in cooperatively(_chunks(*await select_results(wanted, source), source)) if chunk
            ]
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = sum(map(len, chunks))
        await response.prepare(request)
        if request.method == "GET":
            for chunk in chunks:
                await response.write(chunk)
        await response.write_eof()
        return response


def _chunks(results: Sequence[Result], more: bool, source: ResultSource) -> Iterator[bytes]:
    """The document in chunks; an empty one after a result, where a slice may end."""
    pieces, size = ['{"results": ['], 0
    for number, result in enumerate(results):
        text = json.dumps(result_document(result, source.context(result.target)), allow_nan=False)
        pieces.append(f",\n{text}" if number else text)
        size += len(text)
        if size < RESULTS_CHUNK_BYTES:
            yield b""
            continue
        yield "".join(pieces).encode()
        pieces, size = [], 0
    pieces.append(f'], "more": {json.dumps(more)}}}\n')
    yield "".join(pieces).encode()
