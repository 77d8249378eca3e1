"""Who made the answer to an upgrade: by its header fields and the first bytes of its body.

A backend may imitate any of this: an imitation changes the word, never more.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from exporter.result import PROXIES, Software

MAX_BODY_BYTES: Final = 1024
"""Bytes of a body that are looked at: the pages of proxies name them in less."""

MAX_MARK_FIELDS: Final = 16
MAX_MARK_CHARACTERS: Final = 1024
"""Of each header field: a head of 256 KiB may have tens of thousands, and the loop waits meanwhile."""

GATEWAY_STATUSES: Final = frozenset({502, 503, 504})
"""Statuses that a proxy answers by itself (RFC 9110 section 15.6), with a page that its configuration may replace."""


ORIGIN_STATUSES: Final = frozenset({*range(520, 528), 530})
"""Statuses of Cloudflare, by which it says what it met at the server behind it."""


class Answer(NamedTuple):
    """The answer to an upgrade.

    fields: header fields by lower-case name, as they came
    body: the bytes of the body that came with the head, or soon after
    """

    status: int
    fields: Mapping[str, Sequence[str]]
    body: bytes = b""


class Author(NamedTuple):
    """Who made an answer (None: it does not say), and the proxies that passed it on."""

    by: Software | None
    via: tuple[Software, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A header field by which a program names itself: its value begins with, or contains, a text in lower case."""

    software: Software
    header: str
    begins: str = ""
    contains: str = ""

    def fits(self, answer: Answer) -> bool:
        """True if the answer, in lower case, has such a field."""
        values = answer.fields.get(self.header, ())
        return any(value.startswith(self.begins) and self.contains in value for value in values)


MARKS: Final = (
    Mark(Software.NGINX, "server", "nginx"),
    Mark(Software.NGINX, "server", "openresty"),
    Mark(Software.APACHE, "server", "apache"),
    Mark(Software.CADDY, "server", "caddy"),
    Mark(Software.CADDY, "via", contains="caddy"),
    Mark(Software.ENVOY, "server", "envoy"),
    Mark(Software.ENVOY, "server", "istio-envoy"),
    Mark(Software.VARNISH, "server", "varnish"),
    Mark(Software.VARNISH, "x-varnish"),
    Mark(Software.VARNISH, "via", contains="varnish"),
    Mark(Software.SQUID, "server", "squid"),
    Mark(Software.SQUID, "x-squid-error"),
    Mark(Software.SQUID, "via", contains="(squid"),
    Mark(Software.LIGHTTPD, "server", "lighttpd"),
    Mark(Software.NGHTTPX, "server", "nghttpx"),
    Mark(Software.NGHTTPX, "via", contains="nghttpx"),
    Mark(Software.CLOUDFLARE, "server", "cloudflare"),
    Mark(Software.CLOUDFLARE, "cf-ray"),
    Mark(Software.CLOUDFRONT, "server", "cloudfront"),
    Mark(Software.CLOUDFRONT, "x-amz-cf-id"),
    Mark(Software.ALB, "server", "awselb/"),
    Mark(Software.GFE, "server", "google frontend"),
    Mark(Software.GFE, "via", contains="1.1 google"),
    Mark(Software.UVICORN, "server", "uvicorn"),
    Mark(Software.GUNICORN, "server", "gunicorn"),
    Mark(Software.HYPERCORN, "server", "hypercorn"),
    Mark(Software.DAPHNE, "server", "daphne"),
    Mark(Software.GRANIAN, "server", "granian"),
    Mark(Software.AIOHTTP, "server", contains=" aiohttp/"),
    Mark(Software.TORNADO, "server", "tornadoserver/"),
    Mark(Software.WEBSOCKETS, "server", contains=" websockets/"),
    Mark(Software.WERKZEUG, "server", "werkzeug/"),
    Mark(Software.ROBYN, "server", "robyn"),
    Mark(Software.JETTY, "server", "jetty("),
    Mark(Software.JAVA_WEBSOCKET, "server", contains="java-websocket"),
    Mark(Software.KESTREL, "server", "kestrel"),
    Mark(Software.COWBOY, "server", "cowboy"),
)
"""How programs name themselves. A proxy may put its name on answers of the backend too: `OWN_ANSWERS` tells."""


SIGNED_REFUSALS: Final = frozenset(
    {
        Software.HYPERCORN,
        Software.GRANIAN,
        Software.AIOHTTP,
        Software.WEBSOCKETS,
        Software.ROBYN,
        Software.TORNADO,
        Software.JETTY,
    }
)
"""Servers that name themselves in each refusal: one without a name is another program's, if no proxy took it off."""


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """How an answer looks that a proxy made itself, or a server that does not name itself otherwise.

    has: header fields by name, each with the beginning of its value in lower case
    lacks: names of header fields that are absent
    body: texts of which the body contains one; none: anything
    is_empty: whether there is no body, and none is promised
    last: name of the last header field: a proxy that fills the answer in writes its fields in an order of its own
    """

    software: Software
    source: str
    has: Mapping[str, str] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    body: tuple[bytes, ...] = ()
    is_empty: bool | None = None
    statuses: Container[int] | None = None
    last: str | None = None

    def fits(self, answer: Answer) -> bool:
        """True if the answer, in lower case, looks so."""
        return (
            (self.statuses is None or answer.status in self.statuses)
            and (not self.body or any(text in answer.body for text in self.body))
            and all(
                any(value.startswith(begin) for value in answer.fields.get(name, ()))
                for name, begin in self.has.items()
            )
            and not any(name in answer.fields for name in self.lacks)
            and (self.is_empty is None or self.is_empty is _is_empty(answer))
            and (self.last is None or tuple(answer.fields)[-1:] == (self.last,))
        )


def _is_empty(answer: Answer) -> bool:
    """Whether the answer has no body (RFC 9112 section 6.3); one that is promised may only be late."""
    promised = "transfer-encoding" in answer.fields or any(v != "0" for v in answer.fields.get("content-length", ()))
    return not answer.body and not promised


OWN_ANSWERS: Final = (
    OwnAnswer(Software.NGINX, "nginx 1.22.1", body=(b"<center>nginx",)),
    OwnAnswer(Software.NGINX, "openresty", body=(b"<center>openresty",)),
    OwnAnswer(
        Software.NGINX,
        "nginx 1.29, the 50x.html that its packages set as error_page",
        body=(b"Faithfully yours, nginx.", b"Faithfully yours, OpenResty."),
    ),
    OwnAnswer(
        Software.HAPROXY,
        "HAProxy 2.6.12",
        {"cache-control": "no-cache", "content-type": "text/html"},
        lacks=("server", "date"),
        body=(b"<html><body><h1>",),
    ),
    OwnAnswer(
        Software.HAPROXY,
        "HAProxy 2.6.12 behind another proxy",
        body=(
            b"No server is available to handle this request.",
            b"The server returned an invalid or incomplete response.",
            b"The server didn't respond in time.",
        ),
    ),
    OwnAnswer(
        Software.APACHE,
        "Apache httpd 2.4.71",
        {"server": "apache", "content-type": "text/html; charset=iso-8859-1"},
    ),
    OwnAnswer(Software.CADDY, "Caddy 2.11.7", {"server": "caddy"}, lacks=("via",), is_empty=True),
    OwnAnswer(
        Software.ENVOY,
        "Envoy 1.40.0",
        body=(
            b"upstream connect error or disconnect/reset before headers",
            b"upstream request timeout",
            b"no healthy upstream",
        ),
    ),
    OwnAnswer(Software.ENVOY, "Envoy 1.40.0", {"server": "envoy"}, is_empty=True, last="content-length"),
    OwnAnswer(
        Software.ENVOY, "Envoy 1.40.0", {"server": "envoy"}, body=(b"Request Header Fields Too Large",), statuses={431}
    ),
    OwnAnswer(
        Software.TRAEFIK,
        "Traefik 3.7.15",
        {"date": ""},  # Go's; Vert.x refuses with the same body, without a date
        lacks=("content-type",),
        body=(b"Bad Gateway", b"Gateway Timeout"),
        statuses=GATEWAY_STATUSES,
    ),
    OwnAnswer(Software.TRAEFIK, "Traefik 3.7.15", body=(b"no available server",), statuses={503}),
    OwnAnswer(Software.TRAEFIK, "Traefik 3.7.15", {"www-authenticate": 'basic realm="traefik"'}, statuses={401}),
    OwnAnswer(
        Software.CLOUDFLARE,
        "Cloudflare, from its documentation of 520 to 527 and 530",
        {"server": "cloudflare"},
        statuses=ORIGIN_STATUSES,
    ),
    OwnAnswer(Software.VARNISH, "Varnish 7.1.1", {"server": "varnish"}),
    OwnAnswer(Software.SQUID, "Squid 5.7", {"x-squid-error": ""}),
    OwnAnswer(
        Software.LIGHTTPD,
        "lighttpd 1.4.69, which puts its name on answers of a backend without one",
        {"content-type": "text/html"},
        body=(b'<?xml version="1.0" encoding="iso-8859-1"?>\n<!DOCTYPE html PUBLIC',),
    ),
    OwnAnswer(Software.NGHTTPX, "nghttpx 1.52.0", {"server": "nghttpx"}, lacks=("via",)),
    OwnAnswer(Software.ALB, "Elastic Load Balancing, from its documentation", {"server": "awselb/"}),
    OwnAnswer(Software.SANIC, "Sanic 25.12.1", {"content-type": "text/plain"}, body=("⚠️ ".encode(),)),
    OwnAnswer(
        Software.FASTIFY, "fastify 5.12.8", {"content-type": "application/json"}, body=(b'{"message":"Route GET:',)
    ),
)
"""First match. A proxy that replaces the backend's Server can be recognised by its page alone."""


_MARKS_OF_HEADER: Final[Mapping[str, Sequence[Mark]]] = {
    header: [mark for mark in MARKS if mark.header == header] for header in {mark.header for mark in MARKS}
}
"""The rows by header: every session asks, and most answers have one such field."""


_TEXT_HEADERS: Final = frozenset(
    {
        "content-length",
        *(mark.header for mark in MARKS if mark.begins or mark.contains),
        *(name for row in OWN_ANSWERS for name, begin in row.has.items() if begin),
    }
)
"""Header fields of which a table looks at the text, and not only whether they are there."""


MARKING_HEADERS: Final = _TEXT_HEADERS | {
    *_MARKS_OF_HEADER,
    *(name for row in OWN_ANSWERS for name in (*row.has, *row.lacks)),
}
"""Names of the header fields by which the author is found."""


def find_author(answer: Answer) -> Author:
    """Return who made the answer, and the proxies that passed it on.

    A 101 is never a proxy's own. An answer that names proxies only is a backend's, but for the statuses that a proxy
    answers by itself: there its page may have been replaced, and the author is unknown.
    """
    return _author(answer.status, tuple(_beginnings(answer.fields)), answer.body)


def _beginnings(fields: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Header fields in lower case, with the beginnings of the texts that tables look at."""
    for name, values in fields.items():
        texts = values[:MAX_MARK_FIELDS] if name in _TEXT_HEADERS else ()
        yield name, tuple([text[:MAX_MARK_CHARACTERS].lower() for text in texts] or [""])


MAX_ANSWERS: Final = 64
"""Different answers that are remembered: in an outage the same page comes again and again."""


@lru_cache(MAX_ANSWERS)
def _author(status: int, fields: tuple[tuple[str, tuple[str, ...]], ...], body: bytes) -> Author:
    answer = Answer(status, dict(fields), body)
    named = dict.fromkeys(
        mark.software for name in answer.fields for mark in _MARKS_OF_HEADER.get(name, ()) if mark.fits(answer)
    )
    is_open = status == 101  # noqa: PLR2004 - Switching Protocols
    own = None if is_open else next((row.software for row in OWN_ANSWERS if row.fits(answer)), None)
    via = tuple(software for software in named if software in PROXIES and software is not own)
    if own is not None:
        return Author(own, via)
    server = next((software for software in named if software not in PROXIES), None)
    is_backend = via and not is_open and status not in GATEWAY_STATUSES
    return Author(server or (Software.BACKEND if is_backend else None), via)
