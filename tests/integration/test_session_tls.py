"""Sessions over TLS: which phase answers for what, and what is told of the certificate."""

import ssl

import pytest
from support.certificates import DAY, NOW, authority, client_context, load, server_context
from support.raw_server import (
    END,
    MESSAGE,
    REPLY,
    UPGRADE,
    WELCOME,
    both_loops,
    close,
    converse,
    ending,
    judged,
    leaves_nothing,
    order,
    plays,
    serving,
    upgrade_with,
)
from support.tlsend import over_tls, saying_why

from exporter.result import CertificatePlace, ErrorKind, Phase, Reason

NORMAL = (None, (1000, "local", "close"))
BROKEN_RECORD = b"\x17\x03\x03\x00\x20" + b"\x00" * 32


@pytest.mark.parametrize("maximum", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@both_loops
async def test_a_session_over_tls_times_its_handshake(tmp_path, maximum):
    """The whole way over TLS: phase tls is there, the certificate's expiry is told, the server sees 1000."""
    until = NOW + 3 * DAY
    context = server_context(tmp_path, authority().issue("localhost", until=until), maximum=maximum)
    script = plays(upgrade_with(WELCOME), MESSAGE, REPLY)
    async with serving(script, tls=context) as server, leaves_nothing():
        facts = await converse(server, host="localhost", ip_protocol="ip4", tls=client_context())
        await server.over()

    assert ending(facts) == NORMAL
    assert list(facts.phases)[:4] == [Phase.RESOLVE, Phase.TCP, Phase.TLS, Phase.UPGRADE]
    assert facts.certificate_end == (until.timestamp(), CertificatePlace.LEAF)
    assert server.peer.codes == [1000]


@pytest.mark.parametrize(
    ("issuer", "name", "until"),
    [
        ("Test Authority", "127.0.0.1", NOW - DAY),
        ("Somebody", "127.0.0.1", None),
        ("Test Authority", "a.example", None),
    ],
    ids=["expired", "untrusted", "wrong host"],
)
@both_loops
async def test_a_bad_certificate_is_phase_tls(tmp_path, issuer, name, until):
    """Expired, untrusted, for another host: phase tls, kind certificate, and the server is asked nothing."""
    context = server_context(tmp_path, authority(issuer).issue(name, until=until))
    async with serving(plays(), tls=context) as server, leaves_nothing():
        facts = await converse(server, tls=client_context())

    assert ending(facts) == (("tls", "certificate"), None)
    assert set(facts.phases) == {Phase.RESOLVE, Phase.TCP}
    assert not facts.slot_taken


async def test_the_configured_server_name_is_what_counts(tmp_path):
    """With `server_name` the certificate is checked against it, whatever the url's host."""
    told = []
    context = server_context(tmp_path, authority().issue("inner.example"))
    context.sni_callback = lambda _, name, __: told.append(name)
    async with serving(plays(UPGRADE, WELCOME, MESSAGE, REPLY), tls=context) as server:
        facts = await converse(server, tls=client_context(), server_name="inner.example")

    assert ending(facts) == NORMAL
    assert told == ["inner.example"]


@both_loops
async def test_a_server_that_speaks_no_tls_is_phase_tls():
    """A plain server behind a wss url: phase tls, kind tls."""
    async with serving(plays(b"HTTP/1.1 400 Bad Request\r\n\r\n", END)) as server, leaves_nothing():
        facts = await converse(server, tls=client_context())

    assert ending(facts) == (("tls", "tls"), None)


async def test_a_plain_session_to_a_tls_server_is_a_bad_handshake(tmp_path):
    """The other way round: what a TLS server says to plain HTTP is no HTTP answer, or an end."""
    async with serving(saying_why(over_tls(tmp_path, plays()))) as server:
        facts = await converse(server)

    assert ending(facts)[0] in (("upgrade", "upgrade"), ("upgrade", "eof"), ("upgrade", "reset"))


@pytest.mark.parametrize("maximum", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@both_loops
async def test_a_missing_client_certificate_is_phase_tls_in_every_version(tmp_path, maximum):
    """TLS 1.3 refuses it only after the handshake (RFC 8446 section 4.4.2.4): still phase tls, and incomplete."""
    script = saying_why(over_tls(tmp_path, None, client_ca=authority(), maximum=maximum))
    async with serving(script) as server, leaves_nothing():
        facts = await converse(server, tls=client_context())

    assert ending(facts) == (("tls", "tls"), None)
    assert set(facts.phases) == {Phase.RESOLVE, Phase.TCP}
    assert judged(facts, order(1, tls=client_context())).reason is Reason.TLS_HANDSHAKE
    assert not facts.slot_taken


async def test_a_client_certificate_opens_the_door(tmp_path):
    """With the certificate that the server demands the session passes."""
    context = server_context(tmp_path, authority().issue("127.0.0.1"), client_ca=authority())
    ours = client_context()
    load(ours, tmp_path, authority().issue("client.example"))
    async with serving(plays(UPGRADE, WELCOME, MESSAGE, REPLY), tls=context) as server:
        facts = await converse(server, tls=ours)

    assert ending(facts) == NORMAL


async def greet_and_break(end):
    await end.upgrade(WELCOME)
    await end.plain()
    end.peer.send(BROKEN_RECORD)


async def break_at_once(end):
    await end.upgrade()
    end.peer.send(BROKEN_RECORD)


@pytest.mark.parametrize(("script", "phase"), [(break_at_once, "admission"), (greet_and_break, "reply")])
@both_loops
async def test_a_broken_record_later_on_is_a_broken_connection(tmp_path, script, phase):
    """After the 101 a TLS error is no handshake's any more: the connection is broken, in the phase we are in."""
    async with serving(over_tls(tmp_path, script)) as server, leaves_nothing():
        facts = await converse(server, tls=client_context())

    assert ending(facts) == ((phase, "reset"), (1006, "none", phase))
    assert Phase.TLS in facts.phases


async def refuse_and_leave(end):
    await end.upgrade(WELCOME, b'\x81\x10{"type":"error"}', close(1011))
    end.peer.send(end.farewell())
    end.peer.reset()


@both_loops
async def test_the_cause_behind_a_failed_send_is_read_over_tls(tmp_path):
    """Error frame, 1011, close_notify and a reset before our send: the error frame and the close are facts."""
    async with serving(over_tls(tmp_path, refuse_and_leave)) as server, leaves_nothing():
        facts = await converse(server, tls=client_context())

    assert facts.refusal == {"type": "error"}
    assert ending(facts) == (("reply", "refusal"), (1011, "remote", "reply"))


async def farewell_only(end):
    await end.upgrade()
    end.peer.send(end.farewell())


async def test_a_farewell_without_a_close_frame_is_1006(tmp_path):
    """A close_notify ends the stream though TCP stays open: `eof`, at once, and no close frame."""
    async with serving(over_tls(tmp_path, farewell_only)) as server, leaves_nothing():
        facts = await converse(server, tls=client_context())

    assert facts.fault.kind is ErrorKind.EOF
    assert ending(facts)[1] == (1006, "none", "admission")
