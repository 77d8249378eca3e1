"""The upgrade: what is a refusal, what is no answer, what is a strange but good one."""

import asyncio
import time

import pytest
from support.raw_server import (
    CHAT,
    END,
    MESSAGE,
    REPLY,
    RESET,
    UPGRADE,
    WELCOME,
    both_loops,
    converse,
    ending,
    plays,
    serving,
    upgrade_with,
)

from exporter.result import ErrorKind, Handshake, Phase, Probe

GOOD = (None, (1000, "local", "close"))


def answering(*parts):
    """A server that reads the request, sends these bytes, and keeps the connection open."""

    async def script(peer):
        await peer.request()
        for part in parts:
            if isinstance(part, bytes):
                peer.send(part)
                await asyncio.sleep(0)
            else:
                part(peer)
        await peer.raw_to_the_end()

    return script


async def refusal(*parts, **wanted):
    """What a session makes of these bytes, at once: the connection stays open and the deadline is far."""
    started = time.monotonic()
    async with serving(answering(*parts)) as server:
        facts = await converse(server, timeout=20, **wanted)
        await server.over()
    assert time.monotonic() - started < 10
    assert facts.close is None
    assert set(facts.phases) == {Phase.RESOLVE, Phase.TCP}
    assert server.peer.frames == []
    return facts


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1000\r\n\r\n<html>", 503),
        (b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\nabc", 500),
        (b"HTTP/1.1 404 Not Found\r\n\r\nuntil the end, which does not come", 404),
        (b"HTTP/1.0 403 Forbidden\r\n\r\n", 403),
        (b"HTTP/1.1 403\r\n\r\n", 403),
        (b"HTTP/1.1 502 \r\nServer: x\r\n\r\n", 502),
        (b"HTTP/1.1 401 No\nServer: x\n\n", 401),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200),
        (b"HTTP/1.1 426 Upgrade Required\r\nTransfer-Encoding: gzip\r\nA: \xff\xfe\r\n\r\n", 426),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 503 Later\r\n\r\n", 503),
    ],
)
@both_loops
async def test_a_refusal_is_judged_when_its_head_is_complete(head, status):
    """The body of a refused upgrade is never awaited, whatever the version, the reason and the headers."""
    facts = await refusal(head)

    assert (facts.fault.kind, facts.fault.status, facts.fault.retry_after) == (ErrorKind.STATUS, status, None)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (b"Retry-After: 7", 7.0),
        (b"retry-after:\t600 ", 600.0),
        (b"Retry-After: Wed, 21 Oct 2026 07:28:00 GMT", None),
        (b"Date: Wed, 21 Oct 2026 07:27:30 GMT\r\nRetry-After: Wed, 21 Oct 2026 07:28:00 GMT", 30.0),
        (b"Date: Wed, 21 Oct 2026 07:29:30 GMT\r\nRetry-After: Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        (b"Retry-After: 7\r\nRetry-After: 9", None),
        (b"Retry-After: -1", None),
        (b"Retry-After: 99999999999", None),
        (b"X-Retry-After: 7", None),
        (b"A: b\r\n\r\nRetry-After: 7", None),
    ],
)
async def test_retry_after_is_read_from_the_head_only(header, seconds):
    """Seconds are read, or a date beside the answer's own; nonsense, another header or the body are not."""
    facts = await refusal(b"HTTP/1.1 429 Too Many Requests\r\n" + header + b"\r\n\r\n")

    assert (facts.fault.status, facts.fault.retry_after) == (429, seconds)


async def test_a_redirect_is_not_followed():
    """A redirect is a finding: the place it names is not connected to."""
    async with serving(plays(END)) as elsewhere:
        location = f"Location: ws://127.0.0.1:{elsewhere.port}/ws".encode()
        facts = await refusal(b"HTTP/1.1 307 Temporary Redirect\r\n" + location + b"\r\n\r\n")

        assert facts.fault.status == 307
        assert elsewhere.peers == []


@pytest.mark.parametrize(
    "words",
    [
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"S",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/2 200\r\n",
        b"HTTP/1.1 banana\r\n",
        b"HTTP/1.1 99 x\r\n",
        b"HTTP/1.1 1011 x\r\n",
        b"HTTP/1.1 600 x\r\n",
        b"HTTP/1.1 000 x\r\n",
        b"HTTP/1.1 103 x\r\n\r\ngarbage",
        b"\r\n\r\n",
        b"\x81\x02{}",
    ],
)
@both_loops
async def test_what_is_no_http_answer_is_judged_at_once(words):
    """Bytes that cannot become an answer's head are a bad handshake, without waiting for more of them."""
    assert (await refusal(words)).fault.kind is ErrorKind.UPGRADE


BAD_101 = {
    "wrong accept": lambda good: good.replace(b"Accept: ", b"Accept: x"),
    "no accept": lambda good: good.replace(b"Sec-WebSocket-Accept", b"X-Accept"),
    "two accepts": lambda good: good.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Accept: x\r\n\r\n"),
    "no upgrade": lambda good: good.replace(b"Upgrade: websocket", b"X-Upgrade: websocket"),
    "no connection": lambda good: good.replace(b"Connection: Upgrade", b"Connection: close"),
    "bad connection": lambda good: good.replace(b"Connection: Upgrade", b"Connection: ;;"),
    "extension": lambda good: good.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
    "subprotocol": lambda good: good.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
    "folded header": lambda good: good.replace(b"\r\n\r\n", b"\r\nA: b\r\n c\r\n\r\n"),
    "no colon": lambda good: good.replace(b"\r\n\r\n", b"\r\nnonsense\r\n\r\n"),
    "one of 60,000": lambda good: good.replace(b"\r\n", b"\r\nA :\r\n" + b"A:\n" * 60_000, 1),
}


BREACHES = {
    "wrong accept": Handshake.WRONG_ACCEPT,
    "no accept": Handshake.NO_ACCEPT,
    "two accepts": Handshake.WRONG_ACCEPT,
    "no upgrade": Handshake.NO_UPGRADE,
    "no connection": Handshake.NO_UPGRADE,
    "bad connection": Handshake.NO_UPGRADE,
    "extension": Handshake.EXTENSION,
    "subprotocol": Handshake.SUBPROTOCOL_NOT_OFFERED,
    "folded header": Handshake.BAD_HEADER,
    "no colon": Handshake.BAD_HEADER,
    "one of 60,000": Handshake.BAD_HEADER,
}


@pytest.mark.parametrize("name", BAD_101)
async def test_a_bad_101_is_a_bad_handshake(name):
    """A 101 that does not accept our upgrade as RFC 6455 section 4.1 wants it, or accepts what we did not ask for."""

    async def script(peer):
        peer.send(BAD_101[name](await peer.request()), WELCOME)
        await peer.raw_to_the_end()

    async with serving(script) as server:
        facts = await converse(server)
        await server.over()

    assert ending(facts) == (("upgrade", "upgrade"), None)
    assert facts.fault.detail is BREACHES[name]
    assert server.peer.ended is not None


STRANGE_101 = {
    "http 1.0": lambda good: good.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "no reason": lambda good: good.replace(b"101 Switching Protocols", b"101"),
    "empty reason": lambda good: good.replace(b"101 Switching Protocols", b"101 "),
    "bare line feeds": lambda good: good.replace(b"\r\n", b"\n"),
    "one bare line feed": lambda good: good.replace(b"\r\n\r\n", b"\r\nA: b\n\r\n"),
    "long line": lambda good: good.replace(b"\r\n\r\n", b"\r\nA: " + b"b" * 200_000 + b"\r\n\r\n"),
    "many headers": lambda good: good.replace(b"\r\n\r\n", b"\r\nA: b" * 2_000 + b"\r\n\r\n"),
    "60,000 headers": lambda good: good.replace(b"\r\n", b"\r\n" + b"A:\n" * 60_000, 1),
    "list of connections": lambda good: good.replace(b"Connection: Upgrade", b"Connection: keep-alive, upgrade"),
    "letters of latin-1": lambda good: good.replace(b"\r\n\r\n", b"\r\nServer: caf\xe9\r\n\r\n"),
    "empty header": lambda good: good.replace(b"\r\n\r\n", b"\r\nA:\r\n\r\n"),
}


@pytest.mark.parametrize("change", STRANGE_101.values(), ids=STRANGE_101.keys())
async def test_a_101_that_browsers_node_and_curl_take_is_taken(change):
    """A limit of our own parser is not the backend's fault."""

    async def script(peer):
        peer.send(change(await peer.request()), WELCOME)
        await plays(MESSAGE, REPLY)(peer)

    async with serving(script) as server:
        facts = await converse(server)
        await server.over()

    assert ending(facts) == GOOD


@pytest.mark.parametrize(
    ("offered", "chosen", "breach"),
    [
        (("jwt-auth", "jwt.abc"), "", Handshake.SUBPROTOCOL_NOT_CHOSEN),
        (("graphql-transport-ws",), "", Handshake.SUBPROTOCOL_NOT_CHOSEN),
        (("graphql-transport-ws",), "graphql-ws", Handshake.SUBPROTOCOL_NOT_OFFERED),
        (("a", "b"), "a, b", Handshake.SUBPROTOCOL_NOT_OFFERED),
        (("a", "b"), "A", Handshake.SUBPROTOCOL_NOT_OFFERED),
        (("a", "b"), "b", None),
        ((), "", None),
    ],
)
async def test_one_of_the_offered_subprotocols_must_be_chosen(offered, chosen, breach):
    """Browsers refuse a 101 that chooses none of the offered subprotocols, another, or several (WHATWG WebSockets)."""

    async def script(peer):
        await peer.request()
        peer.send(peer.switching(f"Sec-WebSocket-Protocol: {chosen}\r\n" if chosen else ""), WELCOME)
        await plays(MESSAGE, REPLY)(peer)

    async with serving(script) as server:
        facts = await converse(server, subprotocols=offered)
        await server.over()

    if breach is None:
        assert ending(facts) == GOOD
    else:
        assert ending(facts) == (("upgrade", "upgrade"), None)
        assert facts.fault.detail is breach


@pytest.mark.parametrize(
    "flood",
    [
        b"HTTP/1.1 101 x\r\n" + b"A: b\r\n" * 50_000,
        b"HTTP/1.1 " + b"2" * 300_000,
        b"HTTP/1.1 103 x\r\n\r\n" * 20_000,
    ],
    ids=["headers", "line", "1xx"],
)
@both_loops
async def test_an_endless_head_is_no_answer(flood):
    """Headers, a line or a row of 1xx without end are a bad handshake, long before the deadline."""
    facts = await refusal(flood)

    assert (facts.fault.kind, facts.fault.detail) == (ErrorKind.UPGRADE, Handshake.TOO_LARGE)


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 101 Switching Protocols\r\nUpgr"], ids=["nothing", "half a head"])
@pytest.mark.parametrize(("end", "kind"), [(END, "eof"), (RESET, "reset")])
async def test_an_end_before_the_answer_is_told_as_it_came(part, end, kind):
    """A connection that ends before a complete head is `eof` or `reset` in the upgrade."""

    async def script(peer):
        await peer.request()
        peer.send(part)
        end(peer)

    async with serving(script) as server:
        facts = await converse(server)

    assert ending(facts) == (("upgrade", kind), None)
    assert facts.slot_taken


# Good ones --------------------------------------------------------------------------------------------------------


async def in_one(peer, good):
    peer.send(good, WELCOME)


async def in_two(peer, good):
    peer.send(good)
    peer.send(WELCOME)


async def early_hints(peer, good):
    peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
    await asyncio.sleep(0)
    peer.send(good, WELCOME)


async def many_1xx(peer, good):
    peer.send(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102\r\nA: b\r\n\r\n", b"HTTP/1.1 103 x\r\n\r\n" * 20, good, WELCOME
    )


async def byte_by_byte(peer, good):
    for byte in b"HTTP/1.1 100 Continue\r\n\r\n" + good + WELCOME:
        peer.send(bytes([byte]))
        await asyncio.sleep(0)


async def cut_in_the_empty_line(peer, good):
    for part in (good[:-3], good[-3:-1], good[-1:] + WELCOME[:1], WELCOME[1:]):
        peer.send(part)
        await peer.writer.drain()
        await asyncio.sleep(0)


@pytest.mark.parametrize("way", [in_one, in_two, early_hints, many_1xx, byte_by_byte, cut_in_the_empty_line])
@both_loops
async def test_a_good_answer_may_come_in_any_pieces(way):
    """1xx before the 101, any segmentation, the first frames with the head: the session goes on and passes."""

    async def script(peer):
        await way(peer, await peer.request())
        await plays(MESSAGE, REPLY)(peer)

    async with serving(script) as server:
        facts = await converse(server)
        await server.over()

    assert ending(facts) == GOOD
    assert facts.welcome == {"type": "hello"}
    assert server.peer.codes == [1000]


async def test_the_request_says_what_the_order_says():
    """Path, query, headers and subprotocols travel as ordered; a header set twice is sent once; no extension."""
    async with serving(plays(UPGRADE)) as server:
        await converse(
            server,
            depth=Probe.CONNECT,
            resource="/ws?room=1&token=t",
            headers={"User-Agent": "default", "user-agent": "mine", "X-Tenant": "a"},
            subprotocols=("jwt-auth", "jwt.abc"),
        )

    peer = server.peer
    assert peer.line == "GET /ws?room=1&token=t HTTP/1.1"
    assert peer.headers["host"] == f"127.0.0.1:{server.port}"
    assert (peer.headers["user-agent"], peer.headers["x-tenant"]) == ("mine", "a")
    assert peer.headers["sec-websocket-protocol"] == "jwt-auth, jwt.abc"
    assert "sec-websocket-extensions" not in peer.headers
    assert [name for name in peer.names if name == "user-agent"] == ["user-agent"]


async def test_a_subprotocol_that_was_offered_may_be_chosen():
    """The server may take one of the offered subprotocols."""

    async def script(peer):
        await peer.request()
        peer.send(peer.switching("Sec-WebSocket-Protocol: jwt-auth\r\n"), WELCOME)
        await plays(MESSAGE, REPLY)(peer)

    async with serving(script) as server:
        facts = await converse(server, subprotocols=("jwt-auth", "jwt.abc"))

    assert ending(facts) == GOOD


async def test_proxies_of_the_environment_are_ignored(monkeypatch):
    """No proxy is used unless configured: the target itself is connected to, whatever the environment says."""
    async with (
        serving(plays(END)) as proxy,
        serving(plays(upgrade_with(WELCOME), MESSAGE, REPLY)) as server,
    ):
        for name in ("http_proxy", "https_proxy", "ws_proxy", "wss_proxy", "socks_proxy", "all_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        facts = await converse(server, profile=CHAT)

        assert ending(facts) == GOOD
        assert proxy.peers == []
