"""A hostile server that refuses the upgrade and imitates programs: its head decides, and none of its words stays."""

import asyncio
import time

import pytest
from support.raw_server import both_loops, converse, serving

from exporter.result import PROXIES, ErrorKind, Software
from exporter.session import conversation

TOKEN = b"eyJhbGciOiJIUzI1NiJ9.c2VjcmV0LXBheWxvYWQ.c2VjcmV0LXNpZ25hdHVyZQ"
PAGE = b"<center>nginx</center>No server is available to handle this request.upstream request timeout"

ANSWERS = {
    "a token in every mark": (
        b"HTTP/1.1 502 "
        + TOKEN
        + b"\r\nServer: nginx/"
        + TOKEN
        + b"\r\nVia: 1.1 Caddy "
        + TOKEN
        + b"\r\nX-Varnish: "
        + TOKEN
        + b"\r\nContent-Length: 900\r\n\r\n"
        + TOKEN
        + PAGE
        + TOKEN
    ),
    "every program at once": b"HTTP/1.1 503 x\r\n"
    + b"".join(b"Server: %s\r\nVia: %s\r\n" % ((word.encode(), word.encode())) for word in Software)
    + b"Content-Length: 9\r\n\r\n"
    + PAGE,
    "ten thousand fields": b"HTTP/1.1 503 x\r\n" + b"Server: nginx\r\nVia: x\r\n" * 10_000 + b"\r\n",
    "bytes that are no text": b"HTTP/1.1 500 x\r\nServer: \xff\xfe\xc3\x28\r\nVia: \xf0\x9f\r\n\r\n\xff\xfe\xf0\x9f",
    "a body without end": b"HTTP/1.1 502 x\r\nServer: nginx\r\nTransfer-Encoding: chunked\r\n\r\n" + PAGE * 20_000,
    "a body that never comes": b"HTTP/1.1 502 x\r\nServer: Caddy\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "a length that is none": b"HTTP/1.1 502 x\r\nServer: Caddy\r\nContent-Length: \xb2\r\nContent-Length: -1\r\n\r\n",
}


def saying(answer):
    """A server that answers so and keeps the connection."""

    async def script(peer):
        await peer.request()
        peer.send(answer)
        await peer.raw_to_the_end()

    return script


@pytest.mark.parametrize("name", ANSWERS)
@both_loops
async def test_an_imitation_changes_the_word_and_never_more(name):
    """The status is the head's; who answered is a word of the list; no token, header or body stands in the facts."""
    async with serving(saying(ANSWERS[name])) as server:
        facts = await converse(server, timeout=20)

    assert (facts.fault.kind, facts.fault.status) == (ErrorKind.STATUS, int(ANSWERS[name][9:12]))
    assert facts.answered_by is None or type(facts.answered_by) is Software
    assert set(facts.via) <= PROXIES
    for secret in (TOKEN.decode(), "handle this request", "\xff", "9" * 20):
        assert secret not in repr(facts)


async def test_a_body_that_drips_is_left_after_its_first_bytes():
    """One byte is enough to see that there is a body; the server has not sent its second when the session is over."""

    async def script(peer):
        await peer.request()
        peer.send(b"HTTP/1.1 502 x\r\nContent-Length: 100000\r\n\r\n")
        await asyncio.sleep(0)
        peer.send(b"<")
        await peer.raw_to_the_end()

    async with serving(script) as server:
        facts = await converse(server, timeout=20)
        await server.over()

    assert (facts.fault.status, facts.answered_by) == (502, None)


async def test_the_refusals_time_is_that_of_its_head(monkeypatch):
    """The wait for a body that never comes is counted neither in the verdict's time nor against the deadline."""
    assert conversation.MAX_BODY_WAIT_SECONDS <= 0.05
    monkeypatch.setattr(conversation, "MAX_BODY_WAIT_SECONDS", 0.5)
    started = time.monotonic()
    async with serving(saying(ANSWERS["a body that never comes"])) as server:
        facts = await converse(server, timeout=20)
    elapsed = time.monotonic() - started

    assert elapsed - facts.refused_after >= 0.45
    assert facts.late < 0.45
