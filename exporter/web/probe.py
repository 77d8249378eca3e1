"""GET /probe: one session now, for a target of the config, in the shape of blackbox_exporter.

Rule 1: a request names a target and a probe, and chooses nothing else: no part of it reaches a URL, a header, a token
or a file. Rule 2: what is not understood is refused, never guessed; no text of a client is said back to it.
"""

import gzip
import re
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import web

from exporter.web.negotiate import NegotiatedFormat, choose, gzip_welcome
from exporter.web.render import GZIP_LEVEL
from exporter.web.site import HttpReply, ProbeQuery, Site

SCRAPE_TIMEOUT: Final = "X-Prometheus-Scrape-Timeout-Seconds"
SECONDS: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
"""How Prometheus writes the header (a Go float without exponent); nothing that could be `inf`, `nan` or negative."""

PROBE_PARAMETERS: Final = ("target", "probe", "debug")
SWITCH: Final = {None: False, "false": False, "true": True}
EXAMPLE: Final = "/probe?target=NAME, with &probe=connect|auth|send and &debug=true if wanted"


class BadProbeRequestError(Exception):
    """A sentence: what is wrong with a request."""


def answering(site: Site) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler that asks this site."""

    async def answer(request: web.Request) -> web.Response:
        choice = choose(",".join(request.headers.getall("Accept", [])))
        try:
            question = _question(request, choice)
        except BadProbeRequestError as problem:
            return _text(HttpReply(HTTPStatus.BAD_REQUEST, f"{problem}\n"))
        said = await site.probe(question)
        return _text(said) if question.debug or said.status is not HTTPStatus.OK else _figures(request, choice, said)

    return answer


def _question(request: web.Request, choice: NegotiatedFormat) -> ProbeQuery:
    """What the request asks for; raises Misread."""
    unknown = [name for name in request.query if name not in PROBE_PARAMETERS]
    if unknown:
        raise BadProbeRequestError(f"unknown parameter; known are {', '.join(PROBE_PARAMETERS)}: ask for {EXAMPLE}")
    said = {name: _single(name, request.query.getall(name, [])) for name in PROBE_PARAMETERS}
    if not said["target"]:
        raise BadProbeRequestError(f"the parameter target is missing: ask for {EXAMPLE}")
    if said["debug"] not in SWITCH:
        raise BadProbeRequestError("the parameter debug must be true or false")
    timeout = _single(SCRAPE_TIMEOUT, request.headers.getall(SCRAPE_TIMEOUT, []))
    return ProbeQuery(said["target"], said["probe"] or "", _seconds(timeout), SWITCH[said["debug"]], choice.form)


def _single(name: str, values: Sequence[str]) -> str | None:
    if len(values) > 1:
        raise BadProbeRequestError(f"{name} is given more than once: give it once")
    return values[0] if values else None


def _seconds(text: str | None) -> float | None:
    """Seconds of the header; None if it is not there; raises Misread: infinity would be the wrong guess."""
    if text is None:
        return None
    if not SECONDS.fullmatch(text):
        raise BadProbeRequestError(f"{SCRAPE_TIMEOUT} must be seconds, such as 10 or 9.5")
    return float(text)


def _text(said: HttpReply) -> web.Response:
    return web.Response(text=said.text, status=said.status, content_type=said.kind, charset="utf-8")


def _figures(request: web.Request, choice: NegotiatedFormat, said: HttpReply) -> web.Response:
    """As `/metrics` would: of the form and packing that the client takes."""
    headers = {"Content-Type": choice.content_type, "Vary": "Accept, Accept-Encoding"}
    body = said.text.encode()
    if gzip_welcome(",".join(request.headers.getall("Accept-Encoding", []))):
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body, GZIP_LEVEL)
    return web.Response(body=body, headers=headers)
