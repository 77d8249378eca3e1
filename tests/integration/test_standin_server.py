"""The stand-in's handle: how it starts, remembers, is switched, and leaves nothing behind; what clients cannot do."""

import asyncio
import contextlib
import gc
import os
import random
import socket
import ssl
import stat
import time
from pathlib import Path

import aiohttp
import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import standin_clients as clients
from support import virtual_clock
from support.standin_clients import NONCE, Peer, story, until
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from exporter.standin import FAULTS, ConnectionRecord, StandIn, Timings

FINE = "101 > welcome > ping ack > close 1000 eof"
REFUSED = "101 > FACTORY_INIT_FAILED close 1011 Factory SSOT validation failed eof"


def bearer(standin, subject=clients.USER):
    return {"Authorization": f"Bearer {clients.token(standin.key, time.time(), subject)}"}


def authorization(standin, now):
    return [f"Authorization: Bearer {clients.token(standin.key, now)}"]


def quick(**options):
    return StandIn.start(timings=Timings.quick(), **options)


# The handle ---------------------------------------------------------------------------------------------------------


async def test_a_real_client_is_welcomed_over_plain_and_tls():
    """The `websockets` client, trusting `ca_file`, talks to both ports under the names of `url`."""
    async with quick() as standin:
        trust = ssl.create_default_context(cafile=standin.ca_file)
        for tls in (False, True):
            url, context = standin.url(tls=tls), trust if tls else None
            async with connect(url, additional_headers=bearer(standin), ssl=context) as client:
                assert "connection_established" in await client.recv()
                assert '"ping"' in await client.recv()
                await client.send('{"type":"nonce"}')
                assert '"received_type":"nonce"' in await client.recv()
        seen = await standin.wait_sessions(2)
        assert [(each.tls, each.how, each.close_received) for each in seen] == [
            (False, "close", 1000),
            (True, "close", 1000),
        ]


async def test_a_real_client_reads_the_error_frame_before_the_close():
    """The incident as the library shows it: the frame first, then 1011 with the reason."""
    async with quick() as standin:
        standin.set_fault("/ws", "slot_limit:limit=5")
        async with connect(standin.url(), additional_headers=bearer(standin)) as client:
            assert "maximum number of WebSocket managers (5)" in await client.recv()
            with pytest.raises(ConnectionClosedError) as closed:
                await client.recv()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1011, "Factory SSOT validation failed")
        standin.set_fault("/ws", "http:status=429,retry_after=7")
        with pytest.raises(InvalidStatus) as refused:
            await connect(standin.url())
        assert refused.value.response.headers["Retry-After"] == "7"


async def test_start_can_be_awaited_and_close_called_twice():
    """Both ways to start; the second close does nothing."""
    standin = await quick(tls_port=None)
    assert standin.url("/ws/a").endswith("/ws/a")
    with pytest.raises(ValueError, match="no TLS port"):
        standin.url(tls=True)
    with pytest.raises(ValueError, match="control_port"):
        _ = standin.control_url
    await standin.close()
    await standin.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", ""])
async def test_only_loopback_is_listened_on(host):
    """The error frames show parts of tokens: nobody else may ever ask for them."""
    with pytest.raises(ValueError, match="loopback only"):
        StandIn.start(host=host)


async def test_a_taken_port_is_an_error_that_leaves_nothing(tmp_path, monkeypatch):
    """OSError, and no folder, socket or task of the attempt stays."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with quick() as standin:
        port = int(standin.url().rpartition(":")[2].partition("/")[0])
        descriptors = _descriptors()
        with pytest.raises(OSError, match="in use"):
            await StandIn.start(tls_port=port)
        assert [standin.key_file.parent] == list(tmp_path.iterdir())
        assert _descriptors() == descriptors


async def test_files_are_private_and_go_with_the_stand_in():
    """Keys have mode 0600; the folder is gone after the close."""
    async with quick() as standin:
        assert standin.key_file.read_bytes() == standin.key
        assert len(standin.key) >= 64
        for path in (standin.key_file, standin.client_key_file):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert standin.ca_file.parent == standin.client_cert_file.parent == standin.key_file.parent
        folder = standin.key_file.parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(each.stat().st_mode) for each in folder.glob("server-*.pem")} == {0o600}
    assert not folder.exists()


async def test_every_stand_in_has_a_key_of_its_own():
    """A token of one is worth nothing at another."""
    async with quick(tls_port=None) as one, quick(tls_port=None) as two:
        assert one.key != two.key
        assert "VALIDATION_FAILED" in await story(one, headers=authorization(two, time.time()))


async def test_nothing_is_left_after_the_close():
    """No task, no descriptor, no folder, whatever state the connections were in."""
    tasks, descriptors = asyncio.all_tasks(), _descriptors()
    standin = await quick(control_port=0)
    folder = standin.key_file.parent
    async with aiohttp.ClientSession() as http:
        await (await http.get(f"{standin.control_url}/faults")).read()
    peers = [await Peer.connect(standin) for _ in range(6)]
    tls = await Peer.connect(standin, tls=True)
    for peer, path in zip([*peers[1:], tls], ("/ws", "/ws", "/ws/test", "/ws/isolated", "/ws/a", "/ws"), strict=True):
        await peer.upgrade(path, authorization(standin, time.time()))
    await until(peers[2], "welcome")
    peers[3].writer.transport.abort()
    await standin.close()
    assert standin.open_connections == 0
    assert len(standin.sessions) == 7
    for peer in [*peers, tls]:
        await peer.close()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks
    assert _descriptors() == descriptors
    assert not folder.exists()
    assert not standin.crashes


def _descriptors():
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_connections_that_were_accepted_but_not_begun_are_closed_too():
    """A close in the same turn as the accept."""
    standin = await quick()
    descriptors = _descriptors()
    port = int(standin.url().rpartition(":")[2].partition("/")[0])
    with contextlib.closing(socket.create_connection(("127.0.0.1", port))):
        while not standin.open_connections:
            await asyncio.sleep(0)
        await standin.close()
        assert standin.open_connections == 0
        assert not standin.crashes
    assert _descriptors() < descriptors


def test_it_runs_under_uvloop():
    """On the other loop too, plain, TLS and control."""

    async def main():
        async with quick(control_port=0) as standin, aiohttp.ClientSession() as http:
            now = time.time()
            assert await story(standin, now=now) == FINE
            assert await story(standin, tls=True, now=now) == FINE
            for spec, told in (("abort", "101 > reset"), ("half_close", "101 > eof"), ("refuse", "refused")):
                answer = await http.put(f"{standin.control_url}/faults", params={"path": "*"}, json=[spec])
                assert answer.status == 200
                assert await story(standin, now=now) == told
            standin.clear()
            assert await story(standin, now=now) == FINE
            assert not standin.crashes

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


# What it saw --------------------------------------------------------------------------------------------------------


def test_the_record_tells_the_truth_of_a_healthy_session():
    """Who, where, when by the clock given, who closed first, and with what."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall) as standin:
            assert await story(standin, "/ws/a", now=loop.wall()) == FINE
            return (await standin.wait_sessions(1))[0]

    seen = virtual_clock.run(main)
    assert isinstance(seen, ConnectionRecord)
    assert (seen.path, seen.user, seen.tls, seen.token_seen, seen.upgraded) == (
        "/ws/a",
        clients.USER,
        False,
        True,
        True,
    )
    assert (seen.close_received, seen.close_sent, seen.first_closer, seen.how) == (1000, 1000, "client", "close")
    assert (seen.answered, seen.faults) == (1, ())
    assert seen.upgraded_at == pytest.approx(0, abs=0.01)
    assert seen.welcomed_at == pytest.approx(0.1, abs=0.01)
    assert seen.replied_at == pytest.approx(0.15, abs=0.01)
    assert seen.accepted_at <= seen.upgraded_at < seen.welcomed_at < seen.replied_at <= seen.finished_at


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("slot_limit", (1000, 1011, "server", "close")),
        ("close:code=1005", (1000, 1005, "server", "close")),
        ("close:code=1008,at=close", (1000, 1008, "client", "close")),
        ("no_close_answer", (1000, None, "client", "eof")),
        ("silent:after=close", (1000, None, "client", "eof")),
        ("half_close", (None, None, None, "eof")),
        ("abort", (None, None, None, "aborted_by_us")),
        ("abort:at=close", (1000, None, "client", "aborted_by_us")),
        ("http", (None, None, None, "eof")),
    ],
)
def test_the_record_says_who_closed_first_and_how_it_ended(spec, expected):
    """Codes of close frames that passed, and nothing that was withheld."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall) as standin:
            standin.set_fault("/ws", spec)
            await story(standin, now=loop.wall())
            return (await standin.wait_sessions(1, 700))[0]

    seen = virtual_clock.run(main)
    assert (seen.close_received, seen.close_sent, seen.first_closer, seen.how) == expected
    assert seen.faults == (spec.partition(":")[0],)
    assert seen.upgraded is not (spec == "http")


@pytest.mark.parametrize("how", ["reset", "eof"])
async def test_a_client_that_just_goes_is_recorded_as_such(how):
    """Without a close frame: an end, or a reset."""
    async with quick() as standin:
        peer = await Peer.connect(standin)
        await peer.upgrade("/ws", authorization(standin, time.time()))
        await until(peer, "ping")
        sock = peer.writer.get_extra_info("socket")
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        peer.writer.transport.abort()
        (seen,) = await standin.wait_sessions(1)
        assert (seen.how, seen.close_received, seen.close_sent) == (how, None, None)


async def test_waiting_for_sessions_ends():
    """With the records, or with TimeoutError."""
    async with quick() as standin:
        with pytest.raises(TimeoutError):
            await standin.wait_sessions(1, 0.01)
        waiting = asyncio.ensure_future(standin.wait_sessions(2))
        await story(standin, now=time.time())
        await story(standin, now=time.time())
        assert len(await waiting) == standin.finished == 2


async def test_records_are_bounded(monkeypatch):
    """The oldest go; the count goes on."""
    monkeypatch.setattr("exporter.standin.server.MAX_REMEMBERED_CONNECTIONS", 3)
    async with quick() as standin:
        for _ in range(5):
            peer = await Peer.connect(standin)
            await peer.close()
        await standin.wait_sessions(5)
        assert (len(standin.sessions), standin.finished) == (3, 5)


def test_our_message_sent_into_a_refusal_does_not_cost_the_client_the_error_frame():
    """The stand-in reads on after its close, so that no reset destroys what the client has yet to read."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall) as standin:
            standin.set_fault("/ws", "slot_limit")
            peer = await Peer.connect(standin)
            await peer.upgrade("/ws", authorization(standin, loop.wall()))
            for _ in range(50):
                peer.send_json({"type": NONCE, "filling": "x" * 1000})
            await asyncio.sleep(1)
            peer.send_json({"type": NONCE})
            words = await until(peer)
            await peer.close()
            return words

    assert virtual_clock.run(main) == ["FACTORY_INIT_FAILED", "close 1011 Factory SSOT validation failed"]


@pytest.mark.parametrize("answers", [False, True])
def test_a_client_that_does_not_go_is_left_after_the_close_timeout(answers):
    """Whether it owes the close frame or only the end of the connection."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall) as standin:
            standin.set_fault("/ws", "unavailable")
            peer = await Peer.connect(standin)
            await peer.upgrade("/ws", authorization(standin, loop.wall()))
            assert (await until(peer))[-1].startswith("close 1013")
            if answers:
                peer.send_close()
            words = await until(peer)
            assert words == ["eof"]
            when = loop.time()
            peer.reader._transport.pause_reading()
            (seen,) = await standin.wait_sessions(1, 100)
            await peer.close()
            return when, seen

    when, seen = virtual_clock.run(main)
    assert when == pytest.approx(0.1 if answers else 10.1, abs=0.01)
    assert seen.close_received == (1000 if answers else None)
    assert seen.finished_at <= when + 10.1


def test_every_time_it_tells_is_by_the_clock_it_was_given():
    """The Date of its answers and the server_time of its welcome."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall) as standin:
            peer = await Peer.connect(standin)
            await peer.upgrade("/ws", authorization(standin, loop.wall()))
            _, value = await peer.frame()
            await peer.close()
            return peer.head, value.decode()

    head, welcome = virtual_clock.run(main)
    assert "Date: Fri, 15 Jan 2027 08:00:00 GMT" in head
    assert '"server_time":"2027-01-15T08:00:00.1' in welcome


# The control endpoint -----------------------------------------------------------------------------------------------


@pytest.fixture
async def controlled():
    async with quick(control_port=0) as standin, aiohttp.ClientSession(standin.control_url) as http:
        yield standin, http


async def test_faults_are_switched_over_http(controlled):
    """PUT puts them on and in place of the old, DELETE takes them off, GET tells."""
    standin, http = controlled
    listed = await (await http.get("/faults")).json()
    assert [row["name"] for row in listed["table"]] == list(FAULTS)
    assert listed["active"] == {}
    answer = await http.put("/faults", params={"path": "/ws"}, json=["noise:count=1", "slot_limit:limit=5"])
    assert (await answer.json())["active"] == {"/ws": ["noise:count=1", "slot_limit:limit=5"]}
    assert await story(standin, now=time.time()) == REFUSED
    await http.put("/faults", params={"path": "/ws"}, json=["deaf"])
    assert standin.faults("/ws") == ("deaf",)
    await http.put("/faults", params={"path": "*"}, json=["refuse"])
    assert await story(standin, now=time.time()) == "refused"
    assert (await (await http.delete("/faults", params={"path": "*"})).json())["active"] == {"/ws": ["deaf"]}
    assert (await (await http.delete("/faults")).json())["active"] == {}
    assert await story(standin, now=time.time()) == FINE


async def test_sessions_and_forgetting_over_http(controlled):
    """What was seen, without a secret; a fresh process on request."""
    standin, http = controlled
    for _ in range(20):
        assert await story(standin, now=time.time()) == FINE
    assert await story(standin, now=time.time()) == REFUSED
    answer = await http.get("/sessions")
    text = await answer.text()
    assert len(await answer.json()) == 21
    assert (await answer.json())[0]["user"] == clients.USER
    assert standin.key.decode() not in text
    assert "Bearer" not in text
    assert (await http.post("/forget", params={"path": "/ws"})).status == 200
    assert await story(standin, now=time.time()) == FINE


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("PUT", "/faults", "[]", 400, "say which path"),
        ("PUT", "/faults?path=/ws", "nonsense", 400, "must be a JSON list of specs"),
        ("PUT", "/faults?path=/ws", '"zombie"', 400, "must be a JSON list of specs"),
        ("PUT", "/faults?path=/ws", "[1]", 400, "must be a JSON list of specs"),
        ("PUT", "/faults?path=/ws", "[" * 50_000, 400, "must be a JSON list of specs"),
        ("PUT", "/faults?path=/ws", '["nonsense"]', 400, "unknown fault 'nonsense'; known are"),
        ("PUT", "/faults?path=/ws", '["refuse"]', 400, 'set it on "*"'),
        ("PUT", "/faults?path=ws", '["zombie"]', 400, "is no path"),
        ("PUT", "/faults?path=/ws", '["' + "x" * 100_000 + '"]', 413, "Too Large"),
        ("DELETE", "/faults?path=ws", "", 400, "is no path"),
        ("POST", "/forget?live=maybe", "", 400, "live must be one of keep, restart, kill"),
        ("GET", "/nothing", "", 404, "known are GET, PUT and DELETE /faults"),
        ("POST", "/faults", "", 405, "known are GET, PUT and DELETE /faults"),
    ],
)
async def test_mistakes_are_sentences_and_change_nothing(controlled, method, path, body, *, status, sentence):
    """A 400 that says what was wrong."""
    standin, http = controlled
    standin.set_fault("/ws", "deaf")
    answer = await http.request(method, path, data=body)
    assert answer.status == status
    assert sentence in (await answer.json())["error"]
    assert standin.active() == {"/ws": ["deaf"]}


@pytest.mark.parametrize("tls", [False, True])
async def test_small_frames_are_not_held_back(tls):
    """Nagle's algorithm is off, as with the real server: else a second small frame waits 40 ms for the first's ACK."""
    async with quick() as standin:
        peer = await Peer.connect(standin, tls=tls)
        await peer.upgrade("/ws", authorization(standin, time.time()))
        (connection,) = standin._live
        assert connection.wire._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        await peer.close()


# Hostile clients ----------------------------------------------------------------------------------------------------


async def hostile(standin, pieces, *, upgrade, end):
    peer = await Peer.connect(standin)
    if upgrade:
        await peer.upgrade("/ws", authorization(standin, time.time()))
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            peer.writer.write(piece)
            await peer.writer.drain()
        if end == "eof":
            peer.writer.write_eof()
        if end == "abort":
            peer.writer.transport.abort()
    await peer.close()


FRAMES = st.builds(
    lambda head, length, body: bytes([head, 0x80 | length]) + body,
    st.integers(0, 255),
    st.integers(0, 127),
    st.binary(max_size=200),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.one_of(st.binary(max_size=300), FRAMES), max_size=8),
    upgrade=st.booleans(),
    end=st.sampled_from(["eof", "abort", "close"]),
)
def test_whatever_a_client_sends_is_survived(pieces, upgrade, end):
    """Any bytes, before or after the upgrade, however it leaves: no crash, no leftover, and the next one is served."""

    async def main():
        async with quick(tls_port=None) as standin:
            await hostile(standin, pieces, upgrade=upgrade, end=end)
            await standin.wait_sessions(1)
            assert await story(standin, now=time.time()) == FINE
            assert not standin.crashes

    asyncio.run(main())


async def test_garbage_on_the_tls_port_is_survived():
    """Random bytes in place of a ClientHello, and a client that goes in mid-handshake."""
    async with quick() as standin:
        port = int(standin.url(tls=True).rpartition(":")[2].partition("/")[0])
        rng = random.Random(1)
        for size in (0, 1, 5, 500, 70_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(rng.randbytes(size))
            writer.write_eof()
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
        await standin.wait_sessions(5)
        assert await story(standin, tls=True, now=time.time()) == FINE
        assert not standin.crashes


def test_a_client_that_breaks_tls_in_mid_admission_is_survived():
    """Bytes that are no TLS while the welcome is being prepared: an alert, and nothing is written after our own end."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall) as standin:
            peer = await Peer.connect(standin, tls=True)
            await peer.upgrade("/ws", authorization(standin, loop.wall()))
            peer.reader._transport.pause_reading()
            os.write(peer.writer.get_extra_info("socket").fileno(), b"x" * 100)
            await asyncio.sleep(1)
            assert standin.open_connections == 1
            peer.writer.transport.abort()
            (seen,) = await standin.wait_sessions(1)
            assert not standin.crashes
            return seen

    assert virtual_clock.run(main).upgraded


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", "400"),
        ("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n", "426"),
        ("POST /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", "405"),
        ("GET /ws HTTP/1.0\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", "505"),
        ("GET /ws HTTP/2.0\r\n", "eof"),
        ("nonsense\r\n", "eof"),
        ("GET /ws HTTP/1.1\r\nX: " + "x" * 10_000 + "\r\n", "431"),
        ("GET /ws HTTP/1.1\r\nContent-Length: 5\r\n", "eof"),
    ],
)
async def test_a_malformed_request_gets_the_librarys_answer(head, expected):
    """And never a 101."""
    async with quick(tls_port=None) as standin:
        peer = await Peer.connect(standin)
        peer.writer.write(head.encode() + b"\r\n")
        assert await peer.status() == expected
        await peer.close()
        assert not standin.crashes


async def test_a_flood_that_reads_nothing_is_held_back():
    """A client that asks without end and never reads is stopped by its own full buffers, not by our memory."""
    async with quick(tls_port=None) as standin:
        peer = await Peer.connect(standin)
        await peer.upgrade("/ws", authorization(standin, time.time()))
        peer.reader._transport.pause_reading()
        text = b'{"type":"' + b"x" * 4000 + b'"}'
        flood = 250 * (b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text)
        sent, most = 0, 64 * 2**20
        with contextlib.suppress(TimeoutError):
            while sent < most:
                peer.writer.write(flood)
                await asyncio.wait_for(peer.writer.drain(), 0.5)
                sent += len(flood)
        assert sent < most
        peer.writer.transport.abort()
        await standin.wait_sessions(1)
        assert not standin.crashes


async def test_paths_that_clients_bring_into_being_are_bounded(monkeypatch):
    """Beyond the bound a new name is an unknown path; the known ones go on."""
    monkeypatch.setattr("exporter.standin.server_state.MAX_PATHS", 3)
    async with quick(tls_port=None) as standin:
        told = [await story(standin, f"/ws/p{number}", now=time.time()) for number in range(5)]
        assert told == [FINE] * 3 + ["403"] * 2
        assert await story(standin, "/ws/p1", now=time.time()) == FINE
        assert await story(standin, "/ws", now=time.time()) == FINE


# Cost -----------------------------------------------------------------------------------------------------------------


async def test_hundreds_of_sessions_at_once_cost_little():
    """Three hundred concurrent sessions are all healthy, and each costs both sides together a few milliseconds."""
    async with StandIn.start(timings=Timings.quick(), tls_port=None, slots=1000) as standin:
        now = time.time()
        begun = time.process_time()
        told = await asyncio.gather(*(story(standin, now=now) for _ in range(300)))
        spent = (time.process_time() - begun) / 300
        assert told == [FINE] * 300
        await standin.wait_sessions(300)
        assert {(seen.how, seen.close_received) for seen in standin.sessions} == {("close", 1000)}
        assert spent < 0.02
        assert not standin.crashes
