"""GET /probe: one session now, for a target of the config, in the shape of blackbox_exporter.

Rule 1: a request names a target and a probe and decides nothing else; no part of it reaches a URL, a header, a token or
a file. Rule 2: an invalid request is refused; the response quotes no text of the client.
"""

import gzip
import re
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import web

from exporter.web.negotiate import NegotiatedFormat, accepts_gzip, negotiate_format
from exporter.web.render import GZIP_LEVEL
from exporter.web.site import HttpReply, ProbeQuery, Site

SCRAPE_TIMEOUT: Final = "X-Prometheus-Scrape-Timeout-Seconds"
SECONDS: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
"""The format in which Prometheus writes the header (a Go float without exponent); no `inf`, `nan` or sign."""

PROBE_PARAMETERS: Final = ("target", "probe", "debug")
SWITCH: Final = {None: False, "false": False, "true": True}
EXAMPLE: Final = "/probe?target=NAME, with &probe=connect|auth|send and &debug=true if wanted"


class BadProbeRequestError(Exception):
    """The request is invalid; the text is a sentence with the mistake."""


def probe_handler(site: Site) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler of /probe for this site."""

    async def handle(request: web.Request) -> web.Response:
        choice = negotiate_format(",".join(request.headers.getall("Accept", [])))
        try:
            query = _parse_query(request, choice)
        except BadProbeRequestError as problem:
            return _text_response(HttpReply(HTTPStatus.BAD_REQUEST, f"{problem}\n"))
        reply = await site.probe(query)
        if query.debug or reply.status is not HTTPStatus.OK:
            return _text_response(reply)
        return _metrics_response(request, choice, reply)

    return handle


def _parse_query(request: web.Request, choice: NegotiatedFormat) -> ProbeQuery:
    """The query of the request; raises BadProbeRequestError."""
    unknown = [name for name in request.query if name not in PROBE_PARAMETERS]
    if unknown:
        raise BadProbeRequestError(f"unknown parameter; known are {', '.join(PROBE_PARAMETERS)}: ask for {EXAMPLE}")
    values = {name: _single(name, request.query.getall(name, [])) for name in PROBE_PARAMETERS}
    if not values["target"]:
        raise BadProbeRequestError(f"the parameter target is missing: ask for {EXAMPLE}")
    if values["debug"] not in SWITCH:
        raise BadProbeRequestError("the parameter debug must be true or false")
    timeout = _single(SCRAPE_TIMEOUT, request.headers.getall(SCRAPE_TIMEOUT, []))
    return ProbeQuery(values["target"], values["probe"] or "", _seconds(timeout), SWITCH[values["debug"]], choice.form)


def _single(name: str, values: Sequence[str]) -> str | None:
    if len(values) > 1:
        raise BadProbeRequestError(f"{name} is given more than once: give it once")
    return values[0] if values else None


def _seconds(text: str | None) -> float | None:
    """Seconds of the header, None without it; raises BadProbeRequestError rather than assume that there is no limit."""
    if text is None:
        return None
    if not SECONDS.fullmatch(text):
        raise BadProbeRequestError(f"{SCRAPE_TIMEOUT} must be seconds, such as 10 or 9.5")
    return float(text)


def _text_response(reply: HttpReply) -> web.Response:
    return web.Response(text=reply.text, status=reply.status, content_type=reply.kind, charset="utf-8")


def _metrics_response(request: web.Request, choice: NegotiatedFormat, reply: HttpReply) -> web.Response:
    """The reply in the negotiated format and encoding, as for `/metrics`."""
    headers = {"Content-Type": choice.content_type, "Vary": "Accept, Accept-Encoding"}
    body = reply.text.encode()
    if accepts_gzip(",".join(request.headers.getall("Accept-Encoding", []))):
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body, GZIP_LEVEL)
    return web.Response(body=body, headers=headers)
