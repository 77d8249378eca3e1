"""What a session keeps of a refusal or a loss: who made the answer, what came before it, when, and how the end came."""

import pytest
from support.certificates import client_context
from support.raw_server import (
    CHAT,
    END,
    MESSAGE,
    REPLY,
    RESET,
    WELCOME,
    after,
    both_loops,
    converse,
    frame,
    plays,
    serving,
    upgrade_with,
)
from support.tlsend import over_tls
from websockets.frames import Opcode

from exporter.result import Ending, ErrorKind, Software

NGINX_HEAD = b"HTTP/1.1 502 Bad Gateway\r\nServer: nginx/1.22.1\r\nContent-Length: 157\r\n\r\n"
NGINX_PAGE = b"<html><hr><center>nginx/1.22.1</center></html>"
PROMISED_LATER = 0.01
"""Seconds between a head and its body: less than the wait for it, in all but the busiest moments."""


async def facts_of(*steps, **wanted):
    async def script(peer):
        await peer.request()
        await plays(*steps)(peer)
        await peer.raw_to_the_end()

    async with serving(script) as server:
        facts = await converse(server, **wanted)
        await server.over()
    return facts


@both_loops
async def test_the_page_with_the_head_names_its_author():
    """The beginning of a refusal's body, which came with the head, shows that nginx itself answered."""
    facts = await facts_of(NGINX_HEAD + NGINX_PAGE)

    assert (facts.answered_by, facts.via, facts.fault.status) == (Software.NGINX, (), 502)


@both_loops
async def test_a_page_in_a_segment_of_its_own_is_awaited():
    """The body is awaited for a moment; a machine that is too late for it names no author, and nothing else changes."""
    facts = await facts_of(NGINX_HEAD, lambda _: after(PROMISED_LATER), NGINX_PAGE)

    assert facts.answered_by in (Software.NGINX, None)
    assert facts.fault.status == 502


@pytest.mark.parametrize(
    "head",
    [NGINX_HEAD, b"HTTP/1.1 502 x\r\nServer: nginx\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ids=["length", "chunked"],
)
async def test_a_body_that_never_comes_costs_a_moment(head):
    """A promised body that does not come leaves the author open, and the time of the refusal is that of its head."""
    facts = await facts_of(head)

    assert (facts.answered_by, facts.via) == (None, (Software.NGINX,))
    assert facts.refused_after == pytest.approx(sum(facts.phases.values()), abs=2.0)


async def test_a_101_says_who_serves():
    """The head of a good 101 names the server, and the proxies in front of it."""

    async def script(peer):
        good = await peer.request()
        peer.send(good[:-2] + b"Server: Python/3.11 websockets/17.4\r\nVia: 1.1 Caddy\r\n\r\n", b"\x81\x10")
        peer.send(b'{"type":"hello"}')
        await plays(MESSAGE, REPLY)(peer)

    async with serving(script) as server:
        facts = await converse(server)
        await server.over()

    assert (facts.answered_by, facts.via, facts.ending) == (Software.WEBSOCKETS, (Software.CADDY,), None)


async def test_an_interim_answer_is_kept():
    """A 103 before the refusal, or before nothing, is a fact of its own."""
    refused = await facts_of(b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 503 Later\r\n\r\n")
    silent = await facts_of(b"HTTP/1.1 103 Early Hints\r\n\r\n", timeout=0.3)
    none = await facts_of(b"HTTP/1.1 503 Later\r\n\r\n")

    assert (refused.interim_status, silent.interim_status, none.interim_status) == (103, 103, None)


HTTP_ANSWER = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
WELCOME_AND_PING = WELCOME + frame(Opcode.TEXT, b"x" * 200) + frame(Opcode.PING)
QUOTED_ANSWER = frame(Opcode.TEXT, b'{"type":"hello","is":"HTTP/1.1 500 no"}')


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ((upgrade_with(HTTP_ANSWER),), 500),
        ((upgrade_with(), HTTP_ANSWER), 500),
        ((upgrade_with(WELCOME_AND_PING + HTTP_ANSWER),), 500),
        ((upgrade_with(WELCOME), MESSAGE, HTTP_ANSWER.replace(b"500", b"401")), 401),
        ((upgrade_with(QUOTED_ANSWER), MESSAGE, frame(Opcode.TEXT, b"{}", rsv1=True)), None),
        ((upgrade_with(WELCOME), MESSAGE, b"HTTP/1.1 over and out" + bytes(90)), None),
    ],
    ids=["with the 101", "before the welcome", "behind frames", "before the reply", "in a message", "no status"],
)
async def test_an_http_answer_in_place_of_a_frame_is_told(steps, status):
    """A framework that answers the upgraded request a second time breaks the protocol with a status of its own."""
    async with serving(plays(*steps)) as server:
        facts = await converse(server)
        await server.over()

    assert (facts.fault.kind, facts.stream_status) == (ErrorKind.PROTOCOL, status)


@pytest.mark.parametrize(("end", "expected"), [(END, Ending.FIN), (RESET, Ending.RESET)])
@both_loops
async def test_the_end_of_the_transport_is_kept(end, expected):
    """FIN and RST are distinguished before the 101 and after it, and the loss has its moment."""
    before = await facts_of(end)
    async with serving(plays(upgrade_with(), MESSAGE, end)) as server:
        later = await converse(server, profile=CHAT.model_copy(update={"welcome": None}))

    assert (before.ending, later.ending) == (expected, expected)
    assert before.refused_after is not None
    assert later.refused_after >= sum(later.phases.values())


async def test_an_open_connection_has_no_ending():
    """A refusal whose server keeps the connection has none, nor has a silent server."""
    refused = await facts_of(b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n")
    silent = await facts_of(timeout=0.2)

    assert (refused.ending, silent.ending) == (None, None)


async def say_farewell(end):
    """An announced end (RFC 8446 section 6.1)."""
    await end.upgrade()
    end.peer.send(end.farewell())
    end.peer.end()


async def only_leave(end):
    """The FIN of a killed process."""
    await end.upgrade()
    end.peer.end()


@pytest.mark.parametrize(
    ("script", "expected"), [(say_farewell, Ending.CLOSE_NOTIFY), (only_leave, Ending.TLS_CUT)], ids=["farewell", "cut"]
)
async def test_a_tls_end_says_whether_it_was_announced(tmp_path, script, expected):
    """A close_notify before the FIN is an orderly end; without one the connection was cut."""
    async with serving(over_tls(tmp_path, script)) as server:
        facts = await converse(server, tls=client_context())

    assert facts.ending is expected
