"""Package `software`: who made an answer to an upgrade, and tables in which each row says when it was seen."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.result import PROXIES, Software
from exporter.software import (
    PROXY_BEHAVIOURS,
    SERVER_BEHAVIOURS,
    Answer,
    ProxyBehaviour,
    ServerBehaviour,
    find_author,
)

calm = settings(deadline=None, database=None)  # a busy machine is no finding

NGINX_PAGE = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<hr><center>nginx/1.22.1</center>\r\n"
ENVOY_TEXT = b"upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"

# What real programs answered: status, header fields, first bytes of the body, and who made it behind which proxies.
SEEN = {
    "nginx, port closed": (502, {"server": "nginx/1.22.1"}, NGINX_PAGE, "nginx", []),
    "nginx passes a 401 on": (401, {"server": "nginx/1.22.1"}, b"no", "backend", ["nginx"]),
    "nginx, a 502 with a page of its own": (502, {"server": "nginx/1.22.1"}, b"sorry", None, ["nginx"]),
    "HAProxy, port closed": (
        503,
        {"cache-control": "no-cache", "content-type": "text/html"},
        b"<html><body><h1>503 Service Unavailable</h1>",
        "haproxy",
        [],
    ),
    "Apache, port closed": (
        503,
        {"server": "Apache/2.4.71 (Debian)", "content-type": "text/html; charset=iso-8859-1", "date": "x"},
        b"<!DOCTYPE HTML PUBLIC",
        "apache",
        [],
    ),
    "Caddy, port closed": (502, {"server": "Caddy", "content-length": "0"}, b"", "caddy", []),
    "Caddy passes a 403 on": (403, {"via": "1.1 Caddy", "server": "uvicorn"}, b"", "uvicorn", ["caddy"]),
    "Envoy, port closed": (503, {"server": "envoy"}, ENVOY_TEXT, "envoy", []),
    "Envoy, no route": (404, {"server": "envoy", "connection": "close", "content-length": "0"}, b"", "envoy", []),
    "Envoy, an empty 403 passed on": (
        403,
        {"server": "envoy", "content-length": "0", "connection": "close"},
        b"",
        "backend",
        ["envoy"],
    ),
    "Envoy, long header": (431, {"server": "envoy"}, b"Request Header Fields Too Large", "envoy", []),
    "nginx passes Envoy's own answer on": (503, {"server": "nginx/1.22.1"}, ENVOY_TEXT, "envoy", ["nginx"]),
    "Envoy passes nginx's own answer on": (502, {"server": "envoy"}, NGINX_PAGE, "nginx", ["envoy"]),
    "nginx passes HAProxy's own answer on": (
        503,
        {"server": "nginx/1.22.1", "date": "x"},
        b"<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n",
        "haproxy",
        ["nginx"],
    ),
    "Sanic": (403, {"content-type": "text/plain; charset=utf-8"}, "⚠️ 403 — Forbidden\n".encode(), "sanic", []),
    "fastify": (
        404,
        {"content-type": "application/json; charset=utf-8"},
        b'{"message":"Route GET:/ not',
        "fastify",
        [],
    ),
    "Vert.x refuses with Traefik's words": (502, {"content-length": "11"}, b"Bad Gateway", None, []),
    "Java-WebSocket": (101, {"server": "TooTallNate Java-WebSocket"}, b"", "java-websocket", []),
    "Traefik, port closed": (502, {"date": "x", "content-length": "11"}, b"Bad Gateway", "traefik", []),
    "Traefik, no server is healthy": (
        503,
        {"content-type": "text/plain; charset=utf-8", "date": "x"},
        b"no available server\n",
        "traefik",
        [],
    ),
    "Traefik's own login": (401, {"www-authenticate": 'Basic realm="traefik"'}, b"401 Unauthorized\n", "traefik", []),
    "nginx's default page for errors": (
        502,
        {"server": "nginx/1.29.3"},
        b"<title>Error</title><p><em>Faithfully yours, nginx.</em></p>",
        "nginx",
        [],
    ),
    "Cloudflare, origin down": (521, {"server": "cloudflare", "cf-ray": "1-FRA"}, b"error code: 521", "cloudflare", []),
    "lighttpd, port closed": (
        503,
        {"server": "lighttpd/1.4.69", "content-type": "text/html"},
        b'<?xml version="1.0" encoding="iso-8859-1"?>\n<!DOCTYPE html PUBLIC',
        "lighttpd",
        [],
    ),
    "lighttpd names itself in a 401 that it passes on": (
        401,
        {"content-type": "application/json", "server": "lighttpd/1.4.69"},
        b"{}",
        "backend",
        ["lighttpd"],
    ),
    "Envoy passes a 503 on": (503, {"server": "envoy"}, b"starting", None, ["envoy"]),
    "Squid, peer dead": (502, {"server": "squid/5.7", "x-squid-error": "ERR_READ_ERROR 0"}, b"<!DOC", "squid", []),
    "nghttpx": (502, {"server": "nghttpx"}, b"<!DOCTYPE html>", "nghttpx", []),
    "nghttpx passes a 401 on": (401, {"server": "nghttpx", "via": "1.1 nghttpx"}, b"", "backend", ["nghttpx"]),
    "uvicorn": (500, {"server": "uvicorn"}, b"Internal Server Error", "uvicorn", []),
    "websockets": (426, {"server": "Python/3.11 websockets/17.4"}, b"Failed to open", "websockets", []),
    "aiohttp": (400, {"server": "Python/3.11 aiohttp/3.14.5"}, b"", "aiohttp", []),
    "a server that does not name itself": (403, {"content-length": "0"}, b"", None, []),
    "a 101 that nginx passes on": (101, {"server": "nginx/1.22.1"}, b"", None, ["nginx"]),
}


@pytest.mark.parametrize("name", SEEN)
def test_an_answer_has_its_author(name):
    """What real proxies and servers answered names who made it; without a sign no author is named."""
    status, fields, body, by, via = SEEN[name]

    author = find_author(Answer(status, {key: [value] for key, value in fields.items()}, body))

    assert (author.by, list(author.via)) == (by, via)


@calm
@given(
    st.integers(100, 599),
    st.dictionaries(st.sampled_from(["server", "via", "x-varnish", "x"]), st.lists(st.text(max_size=40)), max_size=4),
    st.binary(max_size=200),
)
def test_any_answer_gives_words_of_the_list(status, fields, body):
    """Whatever the network sends becomes words of the closed list; proxies alone are `via`."""
    author = find_author(Answer(status, fields, body))

    assert author.by is None or isinstance(author.by, Software)
    assert set(author.via) <= PROXIES
    assert author.by not in author.via


def row_name(row: ServerBehaviour | ProxyBehaviour) -> str:
    return f"{row.server if isinstance(row, ServerBehaviour) else row.proxy}, {row.event}"


@pytest.mark.parametrize("row", [*SERVER_BEHAVIOURS, *PROXY_BEHAVIOURS], ids=row_name)
def test_a_row_says_when_it_was_seen(row):
    """Each row names a version, the day of its run, or that there was none, and figures that a client can see."""
    assert re.search(r"\d", row.version)
    assert row.seen is None or re.fullmatch(r"20\d\d-\d\d-\d\d", row.seen)
    assert row.status is None or row.code is None, "a refused upgrade has no close code"
    assert row.after is None or 0 <= row.after[0] < row.after[1]


def test_proxies_and_servers_have_tables_of_their_own():
    """A program is a proxy or a server, and its rows stand in one table."""
    assert {row.proxy for row in PROXY_BEHAVIOURS} <= PROXIES
    assert not {row.server for row in SERVER_BEHAVIOURS} & PROXIES
