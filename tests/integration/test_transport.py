"""Bytes and the moment they arrived, over TCP; TLS stands in test_transport_tls."""

import asyncio
import contextlib
import errno
import socket
import struct
import threading
import time

import pytest
from support.raw_server import both_loops, busy, leaves_nothing, open_fds, read_all, until

from exporter.result import ErrorKind, ProbeError
from exporter.transport import (
    ERRNOS,
    MAX_UNREAD_BYTES,
    MAX_UNSENT_BYTES,
    READ_BYTES,
    Connection,
    error_from_broken_connection,
    error_from_connect,
)


@contextlib.contextmanager
def listening(host="127.0.0.1"):
    """A listening socket, and the `Address` to reach it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen(1)
        yield listener, (family, listener.getsockname())


@contextlib.asynccontextmanager
async def linked(**options):
    """A `Connection` and the plain blocking socket at its other end."""
    with listening() as (listener, address):
        link = await Connection.connect(address, time.monotonic, **options)
        peer, _ = listener.accept()
        with peer:
            try:
                yield link, peer
            finally:
                link.close()


def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


async def fault_from(awaitable):
    with pytest.raises(ProbeError) as caught:
        async with asyncio.timeout(60):
            await awaitable
    return caught.value


# Connecting -------------------------------------------------------------------------------------------------------


@both_loops
async def test_econnrefused_is_refused_and_leaks_no_descriptor():
    """A connect to a closed port raises `refused`, and no descriptor stays open."""
    with listening() as (listener, address):
        listener.close()
        async with leaves_nothing():
            fault = await fault_from(Connection.connect(address, time.monotonic))

    assert (fault.kind, fault.detail) == (ErrorKind.REFUSED, "ECONNREFUSED")


@both_loops
async def test_an_unanswered_connect_can_be_cancelled():
    """A connect that hangs ends with its deadline, and no descriptor stays open."""
    with listening() as (_, address), contextlib.ExitStack() as stack:
        for _ in range(4):  # the queue of the listener is full: what follows gets no answer
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address[1])
        async with leaves_nothing():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await Connection.connect(address, time.monotonic)


async def test_ipv4_and_ipv6_connect():
    """IPv4 and IPv6 addresses connect alike."""
    for host in ("127.0.0.1", "::1"):
        with listening(host) as (_, address):
            link = await Connection.connect(address, time.monotonic)
            link.close()


async def test_a_family_that_the_machine_does_not_have_is_unreachable():
    """An address of a family that the machine lacks raises `unreachable`."""
    fault = await fault_from(Connection.connect((socket.AF_APPLETALK, ("x", 1)), time.monotonic))

    assert fault.kind is ErrorKind.UNREACHABLE


@pytest.mark.parametrize("number", ERRNOS, ids=errno.errorcode.get)
def test_every_errno_of_a_connection_has_its_kind(number):
    """The detail of the error is the name of the errno, never the system's sentence."""
    fault = error_from_connect(OSError(number, "text of the system"))

    assert (fault.kind, fault.detail) == (ERRNOS[number], errno.errorcode[number])


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_emfile_and_enobufs_stay_an_oserror(monkeypatch, number):
    """A machine without descriptors or memory raises OSError: it is no outage of the backend."""

    def no_socket(*_):
        raise OSError(number, "x")

    with listening() as (_, address):
        monkeypatch.setattr(socket, "socket", no_socket)
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno says it
            await Connection.connect(address, time.monotonic)
        monkeypatch.undo()

    assert caught.value.errno == number


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ECONNRESET, ErrorKind.RESET),
        (errno.EHOSTUNREACH, ErrorKind.RESET),
        (errno.ENETUNREACH, ErrorKind.RESET),
        (errno.ETIMEDOUT, ErrorKind.DEADLINE),
        (errno.EBADF, ErrorKind.RESET),
    ],
)
def test_an_open_connection_that_fails_is_broken_whatever_the_errno(number, kind):
    """`refused` and `unreachable` are reasons of the TCP phase only: later the connection is broken."""
    assert error_from_broken_connection(OSError(number, "x")).kind is kind


# Reading ----------------------------------------------------------------------------------------------------------


@both_loops
async def test_bytes_and_the_end_of_the_stream_arrive_in_order():
    """The bytes of the peer are read in order, then its end of stream, again at each further read."""
    async with linked() as (link, peer):
        peer.sendall(b"one")
        assert (await link.read()).data == b"one"
        peer.sendall(b"two")
        peer.close()

        assert await read_all(link) == (b"two", None)
        assert (await link.read()).data == b""


@both_loops
async def test_a_reset_is_raised_after_the_last_byte():
    """Bytes that arrived before a reset are read first; then each read raises."""
    async with linked() as (link, peer):
        peer.sendall(b"the cause")
        reset(peer)

        assert await read_all(link) == (b"the cause", ErrorKind.RESET)
        assert (await fault_from(link.read())).kind is ErrorKind.RESET


@both_loops
async def test_failed_sends_discard_no_received_bytes():
    """After the peer has closed, each write fails, and all bytes that it sent before are still read."""
    async with linked() as (link, peer):
        peer.sendall(b"error frame, close frame")
        reset(peer)
        for _ in range(3):
            link.write(b"our message")
            await asyncio.sleep(0)

        assert (await read_all(link))[0] == b"error frame, close frame"
        link.write(b"and after it")


async def test_a_cancelled_read_loses_no_bytes():
    """A cancelled read leaves the bytes to the next."""
    async with linked() as (link, peer):
        reading = asyncio.ensure_future(link.read())
        await asyncio.sleep(0)
        peer.sendall(b"data")
        link._on_readable()  # it has come, and the reader is about to be woken
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

        assert (await link.read()).data == b"data"


async def test_read_now_never_waits():
    """`read_now` returns what has arrived, in order, then None; at the end of the stream, no bytes."""
    async with linked() as (link, peer):
        assert link.read_now() is None
        peer.sendall(b"x" * READ_BYTES + b"y")
        await until(lambda: link.read_now() is None or True)
        parts = [link.read_now()]
        while parts[-1] is not None:
            parts.append(link.read_now())
        peer.close()
        await until(lambda: link.read_now() is not None)

        assert link.read_now().data == b""


async def test_read_now_does_not_raise():
    """On a broken connection `read_now` returns the bytes before the break, then None."""
    async with linked() as (link, peer):
        peer.sendall(b"the cause")
        reset(peer)
        got = []
        await until(lambda: got.append(link.read_now()) or link._read_error is not None)

        assert b"".join(part.data for part in got if part) == b"the cause"
        assert link.read_now() is None


@both_loops
async def test_unread_bytes_are_bounded():
    """Unread bytes are buffered up to `MAX_UNREAD_BYTES`; TCP holds the rest back."""
    async with linked() as (link, peer):
        peer.setblocking(False)
        reading = asyncio.ensure_future(link.read())
        stuck = 0
        while stuck < 20:
            try:
                peer.send(b"x" * 65_536)
                stuck = 0
            except BlockingIOError:
                stuck += 1
            await asyncio.sleep(0)

        assert link._buffered_bytes <= MAX_UNREAD_BYTES + READ_BYTES
        assert (await reading).data


@both_loops
async def test_a_backlog_does_not_block_the_loop():
    """Reading a backlog yields to the loop at each chunk, so that deadlines fire on time."""
    turns = 0

    def turn():
        nonlocal turns
        turns += 1
        handle[0] = asyncio.get_running_loop().call_soon(turn)

    async with linked() as (link, peer):
        peer.setblocking(False)
        while link._buffered_bytes <= MAX_UNREAD_BYTES:
            with contextlib.suppress(BlockingIOError):
                peer.send(b"x" * READ_BYTES)
            link._on_readable()
        chunks = len(link._read_buffer)
        handle = [asyncio.get_running_loop().call_soon(turn)]
        for _ in range(chunks):
            await link.read()
        handle[0].cancel()

    assert chunks > 10
    assert turns >= chunks - 1


# Writing ----------------------------------------------------------------------------------------------------------


@both_loops
async def test_a_write_beyond_the_send_buffer_is_sent_later():
    """A message beyond the kernel's buffer arrives whole and in order once the peer reads."""
    message = bytes(range(256)) * 3_000
    async with linked() as (link, peer):
        peer.setblocking(False)
        link._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10_000)
        link.write(message)
        link.write(b"the end")
        got = bytearray()
        assert link._unsent

        def all_there():
            with contextlib.suppress(BlockingIOError):
                got.extend(peer.recv(1_000_000))
            return len(got) >= len(message) + 7

        await until(all_there, 10)

    assert bytes(got) == message + b"the end"


async def test_unsent_bytes_are_bounded():
    """Unsent bytes are buffered up to `MAX_UNSENT_BYTES`; beyond that, the peer gets no more."""
    async with linked() as (link, _):
        for _ in range(2_000):
            link.write(b"x" * READ_BYTES)

        assert 0 < len(link._unsent) <= MAX_UNSENT_BYTES + READ_BYTES


# Stamps -----------------------------------------------------------------------------------------------------------


def tell_from_a_thread(peer, data=b"x"):
    """Send from another thread 20 ms from now; a list that gets the moment when it was sent."""
    sent = []

    def work():
        threading.Event().wait(0.02)
        peer.sendall(data)
        sent.append(time.monotonic())

    thread = threading.Thread(target=work)
    thread.start()
    return thread, sent


async def stamped(**options):
    """How long after its sending a byte is stamped that came while the loop was held, for 70 ms more."""
    async with linked(**options) as (link, peer):
        reading = asyncio.ensure_future(link.read())
        await asyncio.sleep(0)
        thread, sent = tell_from_a_thread(peer)
        while not sent:
            busy(0.001)
        busy(0.07)
        received = await reading
        thread.join()
    return received.at - sent[0]


@both_loops
async def test_received_bytes_carry_the_kernels_stamp():
    """Bytes that arrive while the loop is blocked are stamped within 10 ms, not 70 ms late."""
    await stamped()  # the kernel begins to stamp a moment after the first socket of the machine asks for it
    late = [await stamped() for _ in range(3)]

    assert -0.02 < min(late, key=abs) < 0.01


async def test_an_old_stamp_is_bounded_by_the_loop_stall():
    """Bytes that waited in the kernel behind a lost segment are no read delay of ours."""
    async with linked(max_loop_stall=lambda: 0.03) as (link, peer):
        reading = asyncio.ensure_future(link.read())
        await asyncio.sleep(0)
        thread, sent = tell_from_a_thread(peer)
        while not sent:
            busy(0.001)
        busy(0.2)
        received = await reading
        thread.join()

    assert received.at - sent[0] > 0.1
    assert link.read_delay <= 0.03


async def test_without_kernel_stamps_bytes_carry_the_loops_time():
    """On a loop whose clock is not the machine's, bytes carry the moment of the callback."""
    assert await stamped(kernel_stamps=False) > 0.04


@pytest.mark.parametrize("step", [-3600.0, 3600.0, -1.0])
async def test_a_step_of_the_wall_clock_is_no_stamp(monkeypatch, step):
    """A kernel stamp from the future or the far past is ignored."""
    wall = time.time
    async with linked() as (link, peer):
        peer.sendall(b"x")
        monkeypatch.setattr(time, "time", lambda: wall() + step)
        before = time.monotonic()
        received = await link.read()

    assert before - 0.01 <= received.at <= time.monotonic()


# Closing ----------------------------------------------------------------------------------------------------------


@both_loops
async def test_close_is_idempotent_and_leaks_no_descriptor():
    """After `close` no descriptor is open, even with bytes unread and unsent; a second `close` does nothing."""
    before = open_fds()
    async with linked() as (link, peer):
        peer.sendall(b"unread")
        link.write(b"x" * 20_000_000)
        link.close()
        link.close()
    await until(lambda: open_fds() <= before)

    assert link.closed


@both_loops
async def test_descriptors_may_be_reused_at_once():
    """A closed connection's descriptor works for the next connection that gets it."""
    for number in range(50):
        async with linked() as (link, peer):
            peer.sendall(b"%d" % number)
            assert (await link.read()).data == b"%d" % number
