"""Slow and hostile clients of the HTTP side, over raw sockets: each is bounded in time, number and bytes."""

import asyncio
import contextlib
import errno
import gc
import re
import socket

import pytest
from support import harness
from support.fake_site import Shown
from support.web_client import Client, ask, behind, client_context, lines, pair, turned_away, written

from exporter.web import connection, connection_manager

PATIENCE = 20.0
QUICK = 0.3
"""Seconds in place of a deadline."""


@pytest.fixture
async def server():
    made = await Shown().serve()
    yield made
    await made.close()


class Raw:
    """A socket that says what it is told and reads when it is asked."""

    def __init__(self, port, *, receive_buffer=None):
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setblocking(False)

    async def send(self, data):
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def all(self):
        """All that comes until the server ends the connection."""
        got = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while data := await asyncio.get_running_loop().sock_recv(self.sock, 65_536):
                    got += data
        return got.decode("latin-1")

    def close(self):
        self.sock.close()


@pytest.fixture
def raws():
    """Makes raw sockets, and closes them at the end."""
    with contextlib.ExitStack() as stack:

        def make(port, **settings):
            made = Raw(port, **settings)
            stack.callback(made.close)
            return made

        yield make


async def said(raw, request):
    await raw.send(request)
    return await raw.all()


# Time ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Sets deadlines of a connection."""
    monkeypatch.setattr(connection_manager, "SWEEP_SECONDS", 0.02)
    return lambda **seconds: [monkeypatch.setattr(connection, name, value) for name, value in seconds.items()]


async def drip(raw):
    """A byte now and then, for ever: what a slow client is."""
    while True:
        await raw.send(b"x")
        await asyncio.sleep(QUICK / 10)


@pytest.mark.parametrize("begun", [b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "], ids=repr)
async def test_a_head_that_never_ends_is_not_waited_for(begun, quick, server, raws):
    """A byte at a time: the connection ends, however lively it looks; so does one that is silent from the start."""
    quick(REQUEST_HEAD_TIMEOUT_SECONDS=QUICK)
    silent, slow = raws(server.port), raws(server.port)
    await slow.send(begun)
    dripping = asyncio.create_task(drip(slow))
    assert await slow.all() == ""
    assert await silent.all() == ""
    dripping.cancel()
    await asyncio.gather(dripping, return_exceptions=True)


async def test_a_second_head_has_no_more_time_than_the_first(quick, server, raws):
    """Between requests a client may be silent for long; once it has begun one it may not."""
    raw = raws(server.port)
    await raw.send(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        assert (await asyncio.get_running_loop().sock_recv(raw.sock, 4096)).startswith(b"HTTP/1.1 200")
    quick(REQUEST_HEAD_TIMEOUT_SECONDS=QUICK)
    await raw.send(b"GET /-/re")
    assert await raw.all() == ""


async def test_a_pipelined_head_that_does_not_end_is_not_waited_for(quick, server, raws):
    """What follows a request and is no request yet has to end in time as well."""
    quick(REQUEST_HEAD_TIMEOUT_SECONDS=QUICK)
    raw = raws(server.port)
    await raw.send(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\nGET /-/re")
    dripping = asyncio.create_task(drip(raw))
    assert (await raw.all()).count("HTTP/1.1 200") == 1
    dripping.cancel()
    await asyncio.gather(dripping, return_exceptions=True)


async def test_an_idle_connection_is_closed(quick, server, raws):
    """An idle connection ends after its time, and not before another request within it."""
    quick(KEEPALIVE_TIMEOUT_SECONDS=QUICK)
    raw = raws(server.port)
    assert (await said(raw, b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n")).startswith("HTTP/1.1 200")


class Long:
    """A page that does not fit into any buffer on its way."""

    def samples(self, _):
        yield from ("# a comment that is not the same every time\n" * 1000 for _ in range(1500))

    def process_metrics(self, _):
        return ""


async def test_a_client_that_does_not_read_its_response_is_disconnected(quick, raws):
    """It asks for a long page and reads nothing: the connection ends, and with it what was kept for it."""
    quick(UNREAD_TIMEOUT_SECONDS=QUICK)
    server = await Shown().serve(Long())
    raw = raws(server.port, receive_buffer=4096)
    await raw.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: identity\r\n\r\n")
    await harness.until(lambda: len(server._connections) == 1, PATIENCE)
    await harness.until(lambda: len(server._connections) == 0, PATIENCE)
    assert len(await raw.all()) < 60_000_000
    await server.close()


async def test_a_handshake_that_does_not_end_is_not_waited_for(quick, tmp_path, monkeypatch, raws):
    """TLS that is never begun, or begun by nonsense: the connection ends without a line in the log."""
    quick(REQUEST_HEAD_TIMEOUT_SECONDS=QUICK)
    async with behind(written(tmp_path, tls_server_config=pair(tmp_path)), monkeypatch) as server:
        with lines() as told:
            for begun in (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"):
                assert await said(raws(server.port), begun) in ("", ALERT)
            assert len(server._connections) == 0
        assert told.all() == ""


ALERT = "\x15\x03\x01\x00\x02\x02F"
"""What OpenSSL answers to plain HTTP: a fatal alert, protocol version."""


# Number -------------------------------------------------------------------------------------------------------------


async def test_the_number_of_connections_is_limited(monkeypatch, server, raws):
    """For a new one the oldest that never asked goes; who has been served well stays to the last."""
    monkeypatch.setattr(connection_manager, "MAX_CONNECTIONS", 8)
    scraper = await Client.to(server.port)
    assert (await scraper.ask()).status == 200
    idle = [raws(server.port) for _ in range(30)]
    assert (await ask(server.port)).status == 200
    assert len(server._connections) <= 8
    assert await idle[0].all() == ""
    assert (await scraper.ask()).status == 200
    await scraper.close()


async def test_a_served_idle_connection_is_evicted_when_all_are_served(monkeypatch, server):
    """Idle ones that were served go as well, the longest silent first, if nobody else is there."""
    monkeypatch.setattr(connection_manager, "MAX_CONNECTIONS", 4)
    clients = [await Client.to(server.port) for _ in range(4)]
    for client in clients:
        assert (await client.ask()).status == 200
    assert (await clients[0].ask()).status == 200
    assert (await ask(server.port)).status == 200
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await clients[1].ask()
    assert (await clients[0].ask()).status == 200
    for client in clients:
        await client.close()


async def test_a_connection_that_waits_for_its_response_is_not_evicted(monkeypatch):
    """If all are being answered, a new one is turned away, and they get their answers."""
    monkeypatch.setattr(connection_manager, "MAX_CONNECTIONS", 3)
    shown = Shown()
    free = asyncio.Event()
    entered = asyncio.Semaphore(0)

    async def check(*_):
        entered.release()
        await free.wait()
        return shown.ready()

    shown.check = check
    server = await shown.serve()
    waiting = [asyncio.create_task(ask(server.port, "/api/check", method="POST")) for _ in range(3)]
    for _ in range(3):
        async with asyncio.timeout(PATIENCE):
            await entered.acquire()
    assert await turned_away(server.port)
    free.set()
    assert [answer.status for answer in await asyncio.gather(*waiting)] == [200] * 3
    await server.close()


async def test_connections_in_their_handshake_are_counted(tmp_path, monkeypatch, raws):
    """A flood of handshakes that are never begun takes no more places than there are, and shuts nobody out."""
    monkeypatch.setattr(connection_manager, "MAX_CONNECTIONS", 8)
    async with behind(written(tmp_path, tls_server_config=pair(tmp_path)), monkeypatch) as server:
        flood = [raws(server.port) for _ in range(30)]
        assert (await ask(server.port, tls=client_context())).status == 200
        assert len(server._connections) <= 8
        assert await flood[0].all() == ""


async def test_a_machine_without_descriptors_is_waited_for(monkeypatch, server, raws):
    """Accepting goes on once there are some again; for the next one, one that can be spared goes."""
    real, failures = socket.socket.accept, [OSError(errno.EMFILE, "no descriptors"), ConnectionAbortedError()]

    def accept(listener):
        if failures:
            raise failures.pop(0)
        return real(listener)

    idle = raws(server.port)
    await harness.until(lambda: len(server._connections) == 1, PATIENCE)
    monkeypatch.setattr(socket.socket, "accept", accept)
    assert (await ask(server.port)).status == 200
    assert (await ask(server.port)).status == 200
    assert not failures
    assert await idle.all() == ""


async def test_nothing_is_left_of_closed_connections(server, raws):
    """Half a request, none, a whole one, and off: no connection and no task stays."""
    tasks = len(asyncio.all_tasks())
    for begun in (
        b"",
        b"GET /",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
    ):
        raw = raws(server.port)
        await raw.send(begun)
        raw.close()
    await harness.until(lambda: not len(server._connections) and len(asyncio.all_tasks()) <= tasks, PATIENCE)


# Bytes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 9_000 + b"\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", "400"),
        (b"GET / HTTP/1.1\r\n" + b"X-Header: " + b"a" * 70_000, "4"),
        (b"GET / HTTP/1.1\r\n" + (b"X: " + b"a" * 8_000 + b"\r\n") * 100, "431"),
    ],
    ids=["line", "field", "fields", "endless field", "all together"],
)
async def test_a_request_head_has_a_maximum_size(request_, status, server, raws):
    """A line, a field, all of them: too long is refused, and the connection ends."""
    answer = await said(raws(server.port), request_)
    assert answer.startswith((f"HTTP/1.1 {status}", f"HTTP/1.0 {status}"))
    assert "aaaa" not in answer


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 1073741824", b"Content-Length: 65537\r\nExpect: 100-continue"],
)
async def test_a_body_that_is_announced_too_large_is_not_read(head, server, raws):
    """413 before it is sent, whatever the path, and the connection ends."""
    raw = raws(server.port)
    answer = await said(raw, b"POST /api/check HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
    assert "HTTP/1.1 413" in answer


async def test_a_body_without_end_is_not_read(server, raws):
    """Chunk after chunk: answered or not, the connection ends after so many bytes."""
    raw = raws(server.port)
    await raw.send(b"POST /api/check HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    sending = asyncio.create_task(raw.send((b"1000\r\n" + b"a" * 4096 + b"\r\n") * 5000))
    assert set(re.findall(r"HTTP/1\.1 (\d+)", await raw.all())) <= {"200", "431"}
    await sending


async def test_a_slow_body_does_not_hold_its_connection(quick, server, raws):
    """Nobody wants it: what has not come a moment after the answer is not waited for, whatever there is time for."""
    quick(BODY_DRAIN_SECONDS=QUICK, REQUEST_HEAD_TIMEOUT_SECONDS=3600.0, KEEPALIVE_TIMEOUT_SECONDS=3600.0)
    raw = raws(server.port)
    async with asyncio.timeout(PATIENCE / 2.5):  # aiohttp's own time for it is 10 s
        answer = await said(raw, b"POST /api/check HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na")
    assert answer.startswith("HTTP/1.1 200")


async def test_a_packed_body_is_not_unpacked(server, raws):
    """What says it is gzip may be anything: nobody looks."""
    head = b"POST /api/check HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n"
    answer = await said(raws(server.port), head + b"Connection: close\r\n\r\nabcd")
    assert answer.startswith("HTTP/1.1 200")


# Tricks -------------------------------------------------------------------------------------------------------------

REFUSED = {
    "//": 404,
    "//metrics": 404,
    "/../metrics": 404,
    "/./metrics": 404,
    "/metrics/": 404,
    "/metrics/..": 404,
    "/%2e%2e/metrics": 404,
    "/metrics%00": 404,
    "/%00": 404,
    "/metrics%2f": 404,
    "/metrics;a=b": 404,
    "/..%5c..%5cetc%5cpasswd": 404,
    "/api/../-/healthy": 404,
    "/%": 404,
    "/%zz": 404,
    "/metrics#x": 404,
}


@pytest.mark.parametrize("path", REFUSED)
async def test_no_path_trick_leads_anywhere(path, server, raws):
    """Dots, slashes, zeros, in clear and escaped: not found, in plain words, with our headers."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    answer = await said(raws(server.port), request)
    status = int(answer.split()[1])
    assert status == REFUSED[path] or (status == 200 and path.startswith("/metrics")), answer[:200]
    assert "ws-factory-exporter" in answer
    assert "/etc" not in answer


@pytest.mark.parametrize(
    "request_",
    [
        b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT localhost:22 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET\r\n\r\n",
        b"\r\n\r\n\r\n\x00\x00\x00",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    ],
    ids=lambda request: repr(request[:24]),
)
async def test_a_malformed_request_is_refused_without_an_echo(request_, quick, server, raws):
    """Any 4xx or a plain end, in our words only: no version of ours, no text of the client, no line in the log."""
    quick(REQUEST_HEAD_TIMEOUT_SECONDS=QUICK, KEEPALIVE_TIMEOUT_SECONDS=QUICK)
    with lines() as told:
        answer = await said(raws(server.port), request_)
    assert answer == "" or re.match(r"HTTP/1\.[01] 4\d\d ", answer), answer[:200]
    assert "aiohttp" not in answer
    assert "Python" not in answer
    assert told.all() == ""
    assert (await ask(server.port)).status == 200


async def test_many_requests_at_once_are_answered_in_their_order(server, raws):
    """Pipelining beyond what is queued: as many answers as requests, each its own."""
    raw = raws(server.port)
    pairs = b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" * 100
    end = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await said(raw, pairs + end)
    assert re.findall(r"HTTP/1\.1 (\d+)", answer) == ["200", "404"] * 100 + ["200"]


async def test_an_upgrade_is_not_offered(server, raws):
    """A WebSocket to the exporter is a plain request; what follows it is no frame."""
    head = (
        b"GET /-/ready HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n"
    )
    raw = raws(server.port)
    answer = await said(raw, head + b"\x81\x05hello\r\n\r\n")
    assert answer.startswith("HTTP/1.1 200")
    assert "101" not in answer


async def test_a_flood_of_junk_leaves_the_rest_undisturbed(server, raws):
    """While many shout at once, who asks properly is answered, and all that they took is given back."""

    async def shout(number):
        for _ in range(5):
            raw = raws(server.port)
            await raw.send(b"GET /x HTTP/1.1\r\nX: " + b"a" * (number * 300) + b"\r\n\r\n" + b"\x00" * 100)
            await asyncio.sleep(0)
            raw.close()

    shouting = [asyncio.create_task(shout(number)) for number in range(40)]
    answers = [await ask(server.port, "/metrics") for _ in range(10)]
    await asyncio.gather(*shouting)
    assert {answer.status for answer in answers} == {200}
    await harness.until(lambda: len(server._connections) == 0, PATIENCE)


@pytest.mark.parametrize("line", ["GET /.env", "DELETE /metrics"])
async def test_a_refusal_leaves_little_for_the_garbage_collector(server, raws, line):
    """A thousand refusals a second must not make a heap that takes half a second to collect: 45 objects before."""
    raw, times = raws(server.port), 100
    request = f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    gc.collect()
    gc.disable()
    try:
        for number in range(times):
            await raw.send(request)
            if not number:
                gc.collect()
        await raw.send(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answers = await raw.all()
        left = gc.collect()
    finally:
        gc.enable()
    assert answers.count("HTTP/1.1 40") == times + 1
    assert left / times < 10
