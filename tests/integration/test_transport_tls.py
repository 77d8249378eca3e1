"""Bytes and the moment they arrived, over TLS (RFC 8446)."""

import asyncio
import contextlib
import socket
import ssl
import time
from dataclasses import dataclass

import pytest
from support.certificates import DAY, NOW, Authority, authority, client_context, load, self_signed, server_context
from support.raw_server import both_loops, busy, leaves_nothing, read_all, serving
from support.tlsend import over_tls, saying_why

from exporter.result import CertificateEnd, CertificatePlace, ErrorKind, ProbeError, TlsVerify
from exporter.transport import Connection

V1_2, V1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


async def nothing(_):
    pass


@contextlib.asynccontextmanager
async def link_to(server, *, context=None, name="localhost"):
    """A `Connection` to a server, hands shaken unless `context` is False."""
    link = await Connection.connect((socket.AF_INET, ("127.0.0.1", server.port)), time.monotonic)
    try:
        if context is not False:
            async with asyncio.timeout(60):
                await link.start_tls(context or client_context(), name)
        yield link
    finally:
        link.close()


async def refused(server, **options):
    """The fault that the handshake ends with."""
    with pytest.raises(ProbeError) as caught:
        async with link_to(server, **options):
            pass
    return caught.value


# The handshake ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("maximum", [V1_2, V1_3])
@both_loops
async def test_tls_handshake_and_certificate_end(tmp_path, maximum):
    """Bytes go both ways, and the certificate's end is the one it was issued with."""
    until = NOW + 3 * DAY
    context = server_context(tmp_path, authority().issue("localhost", until=until), maximum=maximum)

    async def echo(peer):
        peer.send(await peer.reader.readexactly(5))

    async with serving(echo, tls=context) as server, link_to(server) as link:
        link.write(b"hello")
        assert (await link.read()).data == b"hello"
        assert link.certificate_end == CertificateEnd(until.timestamp(), CertificatePlace.LEAF)


async def test_without_tls_there_is_no_certificate_end():
    """A plain connection has no certificate end."""
    async with serving(nothing) as server, link_to(server, context=False) as link:
        assert link.certificate_end is None


@dataclass(frozen=True)
class Shown:
    """A chain that a server shows, and the name that is expected."""

    pem: bytes
    name: str = "localhost"


SOON, LATER = NOW + 3 * DAY, NOW + 20 * DAY
OVER = NOW - DAY


def chain(*, until=LATER, above=SOON, published=False, sent=True, more=b"", **leaf):
    """A certificate and, if it is `sent`, the one between it and the trusted root; then `more` that nobody needs."""
    between = authority().authority("Intermediate", until=above)
    own = between.issue("localhost", until=until, published=published, **leaf)
    return Shown(own + (between.pem if sent else b"") + more)


def direct(*names, name="localhost", issuer="Test Authority", **leaf):
    """A certificate that the root itself has issued."""
    return Shown(authority(issuer).issue(*(names or ("localhost",)), **leaf), name)


OTHER_ROOT = Authority("Somebody Else")
REFUSED = {
    "expired": (direct(until=OVER), TlsVerify.EXPIRED),
    "an intermediate expired": (chain(above=OVER), TlsVerify.EXPIRED),
    "not yet valid": (direct(since=NOW + DAY), TlsVerify.NOT_YET_VALID),
    "another name": (direct("other.example"), TlsVerify.WRONG_NAME),
    "another address": (direct("127.0.0.2", name="127.0.0.1"), TlsVerify.WRONG_NAME),
    "a name where an address is expected": (direct("localhost", name="127.0.0.1"), TlsVerify.WRONG_NAME),
    "unknown issuer": (Shown(OTHER_ROOT.issue("localhost")), TlsVerify.UNKNOWN_ISSUER),
    "unknown root, sent along": (Shown(OTHER_ROOT.issue("localhost") + OTHER_ROOT.pem), TlsVerify.UNKNOWN_ISSUER),
    "self-signed": (Shown(self_signed("localhost")), TlsVerify.SELF_SIGNED),
    "incomplete chain": (chain(sent=False, published=True), TlsVerify.INCOMPLETE_CHAIN),
    "an issuer that is named nowhere": (chain(sent=False), TlsVerify.UNKNOWN_ISSUER),
    "for clients only": (direct(usage="client"), TlsVerify.WRONG_PURPOSE),
    "too weak a key": (direct(kind="weak"), TlsVerify.WEAK),
}


@pytest.mark.parametrize(("shown", "verify"), REFUSED.values(), ids=REFUSED)
@both_loops
async def test_a_refused_certificate_has_its_tls_verify(tmp_path, shown, verify):
    """A refused certificate raises `certificate` with the reason of the closed list."""
    ours = client_context()
    ours.set_ciphers("DEFAULT:@SECLEVEL=2")
    async with serving(nothing, tls=server_context(tmp_path, shown.pem)) as server, leaves_nothing():
        fault = await refused(server, context=ours, name=shown.name)

    assert (fault.kind, fault.detail, fault.tls_verify) == (ErrorKind.CERTIFICATE, "certificate_verify_failed", verify)


@both_loops
async def test_only_an_authority_is_missing_where_only_an_intermediate_is_trusted(tmp_path):
    """A `ca_file` that holds an intermediate without the root above it."""
    between = authority().authority("Intermediate", until=SOON)
    async with serving(nothing, tls=server_context(tmp_path, between.issue("localhost"))) as server:
        fault = await refused(server, context=client_context(between))

    assert fault.tls_verify is TlsVerify.UNKNOWN_ISSUER


CROSS_SIGNED = Authority("Old Root").cross_sign(authority(), until=OVER)
"""The trusted root's key once more, signed by a root that nobody trusts, and long over."""

ENDS = {
    "the server's own": (chain(until=SOON, above=LATER), SOON, CertificatePlace.LEAF),
    "an intermediate": (chain(), SOON, CertificatePlace.INTERMEDIATE),
    "the root": (chain(until=NOW + 40 * DAY, above=NOW + 50 * DAY), NOW + 30 * DAY, CertificatePlace.ROOT),
    "not what is sent beside the chain": (chain(more=CROSS_SIGNED), SOON, CertificatePlace.INTERMEDIATE),
    "not an old intermediate sent first": (
        Shown(
            (between := authority().authority("Renewed", until=SOON)).issue("localhost", until=LATER)
            + between.again(until=OVER)
            + between.pem
        ),
        SOON,
        CertificatePlace.INTERMEDIATE,
    ),
}


@pytest.mark.parametrize(("shown", "until", "place"), ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("maximum", [V1_2, V1_3])
async def test_certificate_end_is_the_earliest_of_the_verified_chain(tmp_path, shown, until, place, maximum):
    """Clients connect until the first certificate of the verified chain ends, whichever it is."""
    context = server_context(tmp_path, shown.pem, maximum=maximum)
    async with serving(nothing, tls=context) as server, link_to(server) as link:
        assert link.certificate_end == CertificateEnd(until.timestamp(), place)


async def test_an_expired_certificate_still_has_its_end(tmp_path):
    """The end of an expired intermediate is known after the refusal."""
    context = server_context(tmp_path, chain(above=OVER).pem)
    async with serving(nothing, tls=context) as server:
        link = await Connection.connect((socket.AF_INET, ("127.0.0.1", server.port)), time.monotonic)
        with pytest.raises(ProbeError):
            await link.start_tls(client_context(), "localhost")
        link.close()

    assert link.certificate_end == CertificateEnd(OVER.timestamp(), CertificatePlace.INTERMEDIATE)


async def test_an_ip_address_is_checked_against_the_certificate(tmp_path):
    """A URL with an IP address is checked against the addresses of the certificate."""
    context = server_context(tmp_path, authority().issue("127.0.0.1"))
    async with serving(nothing, tls=context) as server, link_to(server, name="127.0.0.1") as link:
        assert link.certificate_end is not None


async def test_server_name_is_sent_as_sni_and_checked(tmp_path):
    """`server_name` is what is sent (SNI, RFC 6066) and what the certificate is checked against."""
    told = []
    context = server_context(tmp_path, authority().issue("inner.example"))
    context.sni_callback = lambda _, name, __: told.append(name)
    async with serving(nothing, tls=context) as server, link_to(server, name="inner.example"):
        assert told == ["inner.example"]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorKind.TLS),
        (b"\x00" * 64, ErrorKind.TLS),
        (b"\x15\x03\x01\x00\x02\x02\x28", ErrorKind.TLS),
        (b"", ErrorKind.EOF),
        (b"\x16\x03", ErrorKind.EOF),
    ],
    ids=["http", "zeros", "alert", "nothing", "half a record"],
)
@both_loops
async def test_bytes_that_are_no_tls_are_a_tls_error(words, kind):
    """Other bytes than TLS, or an alert, raise `tls`; an end of stream in the handshake raises `eof`."""

    async def answer(peer):
        await peer.reader.read(4096)
        peer.send(words)
        peer.writer.close()

    async with serving(answer) as server, leaves_nothing():
        assert (await refused(server, context=client_context())).kind is kind


async def test_a_reset_during_the_handshake_is_a_reset():
    """A connection broken in the middle of the handshake is kind `reset`."""

    async def break_off(peer):
        await peer.reader.read(4096)
        peer.reset()

    async with serving(break_off) as server:
        assert (await refused(server, context=client_context())).kind is ErrorKind.RESET


async def test_no_common_tls_version_is_a_tls_error(tmp_path):
    """A server without a common TLS version raises `tls`."""
    ours = client_context()
    ours.minimum_version = V1_3

    async with serving(saying_why(over_tls(tmp_path, nothing, maximum=V1_2))) as server:
        assert (await refused(server, context=ours)).kind is ErrorKind.TLS


@both_loops
async def test_a_stalled_tls_handshake_can_be_cancelled():
    """A server that sends nothing stalls a handshake only until its deadline."""
    async with serving(nothing) as server, leaves_nothing():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), link_to(server, context=client_context()):
                pass


# Client certificates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("maximum", [V1_2, V1_3])
async def test_a_client_certificate_is_sent_and_accepted(tmp_path, maximum):
    """A server that demands a client certificate gets ours."""
    context = server_context(tmp_path, authority().issue("localhost"), client_ca=authority(), maximum=maximum)
    ours = client_context()
    load(ours, tmp_path, authority().issue("client.example"))

    async def greet(peer):
        name = dict(part[0] for part in peer.writer.get_extra_info("peercert")["subject"])
        peer.send(name["commonName"].encode())

    async with serving(greet, tls=context) as server, link_to(server, context=ours) as link:
        assert (await link.read()).data == b"client.example"


@both_loops
async def test_tls_1_3_refuses_a_missing_client_certificate_only_after_the_handshake(tmp_path):
    """The handshake passes; the alert is what the first read meets (RFC 8446 section 4.4.2.4), as kind `tls`."""
    script = saying_why(over_tls(tmp_path, nothing, client_ca=authority()))

    async with serving(script) as server, link_to(server) as link:
        link.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await read_all(link) == (b"", ErrorKind.TLS)


async def test_tls_1_2_refuses_a_missing_client_certificate_in_the_handshake(tmp_path):
    """With the older version the handshake itself fails, as kind `tls`: it is not the server's certificate."""
    script = saying_why(over_tls(tmp_path, nothing, client_ca=authority(), maximum=V1_2))

    async with serving(script) as server:
        assert (await refused(server)).kind is ErrorKind.TLS


async def test_a_client_certificate_of_the_wrong_authority_is_refused(tmp_path):
    """A certificate that the server does not trust is a TLS alert of the server's."""
    script = saying_why(over_tls(tmp_path, nothing, client_ca=Authority("Another")))
    ours = client_context()
    load(ours, tmp_path, authority().issue("client.example"))

    async with serving(script) as server, link_to(server, context=ours) as link:
        assert await read_all(link) == (b"", ErrorKind.TLS)


# Records and segments ---------------------------------------------------------------------------------------------


@both_loops
async def test_data_in_the_segment_that_ends_the_handshake_is_read(tmp_path):
    """With TLS 1.2 the server speaks last: what it says in that very segment is the first thing read."""
    script = over_tls(tmp_path, nothing, then=b"first words", maximum=V1_2)

    async with serving(script) as server, link_to(server) as link, asyncio.timeout(60):
        assert (await link.read()).data == b"first words"


async def test_data_after_the_handshake_stays_in_order(tmp_path):
    """What came with the handshake's end is read before what came later, though both wait already."""

    async def more(end):
        end.peer.send(end.sealed(b"second"))
        end.peer.send(end.farewell())
        end.peer.writer.close()

    script = over_tls(tmp_path, more, then=b"first ", maximum=V1_2)

    async with serving(script) as server, link_to(server) as link:
        busy(0.02)
        assert await read_all(link) == (b"first second", None)


@both_loops
async def test_close_notify_ends_the_stream(tmp_path):
    """After close_notify no read waits, whether it came alone or behind data."""

    async def say_and_stay(end):
        end.peer.send(end.sealed(b"last words"), end.farewell())

    async with serving(over_tls(tmp_path, say_and_stay)) as server, link_to(server) as link:
        assert await read_all(link) == (b"last words", None)
        assert (await link.read()).data == b""


@both_loops
async def test_an_alert_behind_data_is_raised_after_the_data(tmp_path):
    """Data before a broken record is read first; then the read raises at once."""

    async def say_and_break(end):
        end.peer.send(end.sealed(b"last words"), b"\x17\x03\x03\x00\x20" + b"\x00" * 32)

    async with serving(over_tls(tmp_path, say_and_break)) as server, link_to(server) as link:
        assert await read_all(link) == (b"last words", ErrorKind.TLS)
        with pytest.raises(ProbeError):
            await link.read()


async def test_a_connection_without_close_notify_is_at_its_end(tmp_path):
    """A server that drops the connection without close_notify is at the end of the stream, as many are."""

    async def say_and_drop(end):
        end.peer.send(end.sealed(b"last words"))
        end.peer.writer.close()

    async with serving(over_tls(tmp_path, say_and_drop)) as server, link_to(server) as link:
        assert await read_all(link) == (b"last words", None)


async def test_a_record_may_come_byte_by_byte(tmp_path):
    """A record is whole when its last byte has come."""

    async def drip(end):
        for byte in end.sealed(b"slowly") + end.farewell():
            end.peer.send(bytes([byte]))
            await asyncio.sleep(0)

    async with serving(over_tls(tmp_path, drip)) as server, link_to(server) as link:
        assert await read_all(link) == (b"slowly", None)


async def test_read_now_joins_the_parts_of_a_record(tmp_path):
    """`read_now` reads on while it has only a part of a record, and never waits."""
    ready, rest = asyncio.Event(), asyncio.Event()

    async def in_parts(end):
        sealed = end.sealed(b"x" * 16_000) + end.sealed(b"the cause")
        end.peer.send(sealed[:20])
        await end.peer.writer.drain()
        ready.set()
        await rest.wait()
        end.peer.send(sealed[20:])
        await end.peer.writer.drain()
        ready.set()

    async with serving(over_tls(tmp_path, in_parts)) as server, link_to(server) as link:
        assert link.read_now() is None  # our side of the handshake goes out with the first read or write
        await ready.wait()
        assert link.read_now() is None
        ready.clear()
        rest.set()
        await ready.wait()
        got = b""
        async with asyncio.timeout(60):
            while not got.endswith(b"the cause"):
                part = link.read_now()
                got += part.data if part else b""
                await asyncio.sleep(0)

    assert got == b"x" * 16_000 + b"the cause"


@both_loops
async def test_a_megabyte_passes_tls_in_both_directions(tmp_path):
    """A megabyte arrives whole over TLS in either direction."""
    big = bytes(range(256)) * 4_096

    async def echo(end):
        got = bytearray()
        while len(got) < len(big):
            got += await end.plain()
        end.peer.send(end.sealed(bytes(got)))
        end.peer.send(end.farewell())

    async with serving(over_tls(tmp_path, echo)) as server, link_to(server) as link:
        link.write(big)
        assert await read_all(link) == (big, None)


async def test_close_sends_close_notify(tmp_path):
    """`close` sends close_notify, so that the server sees an end of stream and no truncation."""
    ends = asyncio.get_running_loop().create_future()

    async def listen(end):
        try:
            ends.set_result(await end.plain())
        except ssl.SSLError as error:
            ends.set_result(type(error))

    async with serving(over_tls(tmp_path, listen)) as server:
        async with link_to(server):
            pass
        assert await asyncio.wait_for(ends, 5) in (b"", ssl.SSLZeroReturnError)


@both_loops
async def test_a_tls_record_carries_the_stamp_of_its_last_byte(tmp_path):
    """A record that arrives while the loop is blocked carries its arrival time, over TLS too."""
    told, late = asyncio.Event(), []

    async def speak(end):
        for _ in range(4):
            await end.plain()
            sent = time.monotonic()
            end.peer.send(end.sealed(b"x"))
            busy(0.05)
            late.append(sent)
        told.set()

    async with serving(over_tls(tmp_path, speak)) as server, link_to(server) as link, asyncio.timeout(60):
        for number in range(4):
            link.write(b"speak")
            received = await link.read()
            late[number] = received.at - late[number]
        await told.wait()

    assert min(late) < 0.02
