"""GET /api/results: what the last sessions brought, newest first, as JSON; the query says which.

`{"results": […], "more": bool}`: each result as in the JSON of a check (`report.result_document`). `more`: others fit,
beyond the limit. One answer is made at a time and in slices, so that nobody can hold the loop by asking often.
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
from exporter.web.filters import BadFilterError, ResultSource, asked, found

RESULTS_CHUNK_BYTES: Final = 65_536
"""Bytes that are written in one go."""


class ResultsEndpoint:
    """Answers; `recent` is asked at each request."""

    def __init__(self, recent: Callable[[], ResultSource]) -> None:
        self._recent = recent
        self._alone = asyncio.Lock()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The results that the query asks for, or 400 with what is wrong with it; raises ConnectionError."""
        try:
            wanted = asked(request.query.items(), recent := self._recent())
        except BadFilterError as problem:
            return web.Response(text=f"{problem}\n", status=HTTPStatus.BAD_REQUEST)
        async with self._alone:
            chunks = [chunk async for chunk in cooperatively(_chunks(*await found(wanted, recent), recent)) if chunk]
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = sum(map(len, chunks))
        await response.prepare(request)
        if request.method == "GET":
            for chunk in chunks:
                await response.write(chunk)
        await response.write_eof()
        return response


def _chunks(results: Sequence[Result], more: bool, recent: ResultSource) -> Iterator[bytes]:
    """The document in pieces; an empty one now and then, since a slice may end there."""
    pieces, size = ['{"results": ['], 0
    for number, result in enumerate(results):
        text = json.dumps(result_document(result, recent.context(result.target)), allow_nan=False)
        pieces.append(f",\n{text}" if number else text)
        size += len(text)
        if size < RESULTS_CHUNK_BYTES:
            yield b""
            continue
        yield "".join(pieces).encode()
        pieces, size = [], 0
    pieces.append(f'], "more": {json.dumps(more)}}}\n')
    yield "".join(pieces).encode()
