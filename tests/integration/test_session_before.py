"""The request before the upgrade: what it sends, what becomes of its answer, and every way in which it can fail."""

import asyncio
import json
import ssl
import subprocess
import sys

import pytest
from support import harness, raw_server
from support.certificates import DAY, NOW, authority, server_context
from support.raw_server import leaves_nothing
from support.ticket_servers import (
    ECHO,
    PROFILE,
    TOKEN,
    TicketApp,
    answer,
    answering,
    hang,
    job,
    read_request,
    reset,
    serving,
)
from support.tlsend import over_tls, saying_why

from exporter.discovery import ShapeOptions, message_lines
from exporter.result import Direction, Phase, Probe, Reason, TlsVerify, Verdict

PASS = {Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.NONE, Probe.SEND: Verdict.PASS}
UPGRADED = [Phase.BEFORE, Phase.RESOLVE, Phase.TCP, Phase.UPGRADE, Phase.REPLY, Phase.CLOSE]


def changed(before=None, **changes):
    """The profile with other fields, and other fields of its `before`."""
    return {**PROFILE, "before": {**PROFILE["before"], **(before or {})}, **changes}


async def test_a_ticket_opens_the_websocket_once(tmp_path):
    """Each session gets a ticket of its own; its phase comes first and is timed; nothing of ours is left behind."""
    async with TicketApp().serving() as app:
        target, rig = job(app.port, tmp_path), harness.Rig()
        results = [await rig.run(target) for _ in range(2)]

    assert [result.verdicts for result in results] == [PASS, PASS]
    assert list(results[0].phases) == UPGRADED
    assert len(set(app.opened)) == 2
    assert app.asked[0][:2] == ("POST", "/ws-ticket")


async def test_the_request_says_what_the_profile_writes(tmp_path):
    """The token in its header, the user in the body; no cookie, no proxy, nothing compressed, the Host of the url."""
    async with TicketApp().serving() as app:
        await harness.Rig().run(job(app.port, tmp_path))

    (_, _, headers, body), (_, _, upgrade, _) = app.asked
    assert json.loads(body) == {"user": "user-one"}
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Host"] == f"127.0.0.1:{app.port}"
    assert headers["Content-Type"] == "application/json"
    assert headers["Accept-Encoding"] == "identity"
    assert "Cookie" not in headers
    assert "Authorization" not in upgrade, "the token goes before the upgrade, and not again"


PLACES = {
    "query": {"path": "/ws?ticket=${ticket}"},
    "path": {"path": "/ws/${ticket}"},
    "header": {"path": "/ws", "headers": {"X-Ticket": "${ticket}"}},
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_ticket_stands_in_query_path_or_header(place, tmp_path):
    """The same ticket opens the WebSocket wherever the backend reads it."""
    async with TicketApp().serving() as app:
        result = await harness.Rig().run(job(app.port, tmp_path, **PLACES[place]))

    assert result.verdicts == PASS
    assert len(app.opened) == 1


async def test_a_ticket_stands_in_messages_too(tmp_path):
    """What is kept before the upgrade is as what a step keeps, a number too."""
    profile = changed(
        send={"message": {"id": "${nonce}", "ticket": "${ticket}"}, "match": {"id": "${nonce}", "ticket": "${ticket}"}}
    )
    async with TicketApp(ticket=lambda: 4711).serving() as app:
        result = await harness.Rig().run(job(app.port, tmp_path, profile))

    assert result.verdicts == PASS
    assert json.loads(app.messages[0])["ticket"] == 4711


@pytest.mark.parametrize("ticket", ["a/b", "a b", "a?b=c", "a#b", "%2e%2e", "ä+ö&x=1", "${nonce}"])
async def test_a_ticket_is_one_value_of_the_url(ticket, tmp_path):
    """A value of the network adds no segment, parameter or fragment: it arrives as it was given."""
    async with TicketApp(ticket=lambda: ticket).serving() as app:
        for path in ("/ws?ticket=${ticket}", "/ws/${ticket}"):
            result = await harness.Rig().run(job(app.port, tmp_path, path=path))
            assert result.verdicts == PASS

    assert app.opened == [ticket, ticket]


async def test_a_session_that_only_connects_asks_with_the_token_too(tmp_path):
    """Without a ticket nothing opens, so depth connect needs the token and the identity."""
    async with TicketApp().serving() as app:
        target = job(app.port, tmp_path)
        result = await harness.Rig().run(target, depth=Probe.CONNECT)

    assert result.verdicts[Probe.CONNECT] is Verdict.PASS
    assert not target.tokenless
    assert target.session_cost("", Probe.CONNECT, "pool-001", result.trigger).key is not None


async def test_another_host_is_asked_only_as_origin(tmp_path):
    """`origin` gives the ticket, the target takes it; the target's own headers do not go to the origin."""
    async with TicketApp().serving() as auth, TicketApp().serving() as chat:
        chat._valid = auth._valid
        profile = changed({"origin": f"http://localhost:{auth.port}"})
        target = job(chat.port, tmp_path, profile, headers={"X-Gate": "of the target alone"})
        result = await harness.Rig().run(target)

    assert result.verdicts == PASS
    assert [path for _, path, _, _ in auth.asked] == ["/ws-ticket"]
    assert "X-Gate" not in auth.asked[0][2]
    assert auth.asked[0][2]["Host"] == f"localhost:{auth.port}"
    assert chat.asked[0][2]["X-Gate"] == "of the target alone"


LARGE = b'{"ticket": "x", "rest": "' + b"y" * 65_536 + b'"}'
GIVEN = b'{"ticket": "t"}'
REFUSALS = {
    "401": (answer("401 Unauthorized"), Reason.AUTH_REJECTED, 401),
    "403": (answer("403 Forbidden"), Reason.AUTH_REJECTED, 403),
    "404": (answer("404 Not Found"), Reason.HTTP_STATUS, 404),
    "302": (answer("302 Found", headers="Location: http://127.0.0.1:1/\r\n"), Reason.REDIRECT, 302),
    "429": (answer("429 Too Many Requests", headers="Retry-After: 7\r\n"), Reason.RATE_LIMITED, 429),
    "503 for a while": (answer("503 Unavailable", headers="Retry-After: 7\r\n"), Reason.RATE_LIMITED, 503),
    "503": (answer("503 Unavailable"), Reason.HTTP_STATUS, 503),
    "500": (answer("500 Internal Server Error", b"x" * 100_000), Reason.HTTP_STATUS, 500),
    "101": (answer("101 Switching Protocols"), Reason.HTTP_STATUS, 101),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", Reason.BAD_REPLY, 204),
    "html": (answer("200 OK", b"<html>login</html>"), Reason.BAD_REPLY, 200),
    "two values": (answer("200 OK", GIVEN + GIVEN), Reason.BAD_REPLY, 200),
    "no UTF-8": (answer("200 OK", b'{"ticket": "\xff"}'), Reason.BAD_REPLY, 200),
    "field missing": (answer("200 OK", b'{"Ticket": "t"}'), Reason.BAD_REPLY, 200),
    "null": (answer("200 OK", b'{"ticket": null}'), Reason.BAD_REPLY, 200),
    "true": (answer("200 OK", b'{"ticket": true}'), Reason.BAD_REPLY, 200),
    "object": (answer("200 OK", b'{"ticket": {"id": 1}}'), Reason.BAD_REPLY, 200),
    "empty": (answer("200 OK", b'{"ticket": ""}'), Reason.BAD_REPLY, 200),
    "long": (answer("200 OK", b'{"ticket": "%s"}' % (b"x" * 4097)), Reason.BAD_REPLY, 200),
    "line break": (answer("200 OK", rb'{"ticket": "a\r\nX: y"}'), Reason.BAD_REPLY, 200),
    "half a character": (answer("200 OK", rb'{"ticket": "\ud800"}'), Reason.BAD_REPLY, 200),
    "infinite": (answer("200 OK", b'{"ticket": 1e999}'), Reason.BAD_REPLY, 200),
    "deep": (answer("200 OK", b"[" * 60_000), Reason.BAD_REPLY, 200),
    "digits": (answer("200 OK", b'{"ticket": %s}' % (b"9" * 5000)), Reason.BAD_REPLY, 200),
    "too large": (answer("200 OK", LARGE), Reason.TOO_BIG, 200),
    "too large in chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n0\r\n\r\n" % (len(LARGE), LARGE),
        Reason.TOO_BIG,
        200,
    ),
    "cut": (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + GIVEN, Reason.RESET, None),
    "ended": (b"", Reason.RESET, None),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Reason.BAD_REPLY, None),
    "garbled length": (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n" + GIVEN, Reason.BAD_REPLY, None),
    "endless head": (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000, Reason.BAD_REPLY, None),
}
"""What the server answers, and the reason and the status of the result, written down before they were run."""


@pytest.mark.parametrize("name", REFUSALS)
async def test_each_refusal_has_its_reason(name, tmp_path):
    """The failure is counted in the phase `before` and fails connect; no second request follows, no upgrade."""
    sent, reason, status = REFUSALS[name]
    async with serving(answering(sent)) as server, leaves_nothing():
        result = await harness.Rig().run(job(server.port, tmp_path))

    assert (result.phase, result.reason, result.http_status) == (Phase.BEFORE, reason, status)
    assert result.verdicts == {Probe.CONNECT: Verdict.FAIL, Probe.AUTH: Verdict.NONE, Probe.SEND: Verdict.FAIL}
    assert result.phases == {}
    assert len(server.peers) == 1
    assert result.retry_after == (7 if reason is Reason.RATE_LIMITED else None)


async def test_a_reset_is_one(tmp_path):
    """The server ends the connection by RST instead of answering."""
    async with serving(answering(reset, end=False)) as server:
        result = await harness.Rig().run(job(server.port, tmp_path))

    assert (result.phase, result.reason) == (Phase.BEFORE, Reason.RESET)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"], ids=["head", "body"])
async def test_a_slow_answer_is_a_timeout_of_the_session(sent, tmp_path):
    """The one deadline of the session bounds the request."""
    async with serving(answering(sent, hang, end=False)) as server, leaves_nothing():
        result = await harness.Rig().run(job(server.port, tmp_path, timeout="2s"))

    assert (result.phase, result.reason) == (Phase.BEFORE, Reason.TIMEOUT)


async def test_a_closed_port_is_refused(tmp_path):
    """Nothing listens: the next session tries the name's next address, as after a refused upgrade."""
    async with serving(hang) as server:
        port = server.port
    target, rig = job(port, tmp_path), harness.Rig()
    result = await rig.run(target)

    assert (result.phase, result.reason) == (Phase.BEFORE, Reason.REFUSED)
    assert result.evidence.address == "127.0.0.1"
    assert rig.prober._target_memory(target).addresses.failed == ("127.0.0.1",)


async def test_a_name_that_does_not_resolve(tmp_path):
    """The origin's name is looked up by the exporter's own resolver."""
    profile = changed({"origin": "http://nowhere.invalid"})
    result = await harness.Rig().run(job(1, tmp_path, profile))

    assert (result.phase, result.reason) == (Phase.BEFORE, Reason.DNS)


async def test_a_401_without_a_credential_rejects_none(tmp_path):
    """A request that held no credential is refused as such: no token rests for it."""
    before = {"request": "GET /list", "keep": {"ticket": "ticket"}}
    async with serving(answering(answer("401 Unauthorized"))) as server:
        result = await harness.Rig().run(job(server.port, tmp_path, {"before": before, **ECHO}, auth=None))

    assert (result.phase, result.reason, result.credential_sent) == (Phase.BEFORE, Reason.HTTP_STATUS, False)


async def test_the_profiles_statuses_sort_the_answer(tmp_path):
    """`statuses` say what a status means at this backend, as they do of the upgrade."""
    profile = changed(statuses=[{"status": 500, "reason": "auth_unavailable"}])
    async with serving(answering(answer("500 Internal Server Error"))) as server:
        result = await harness.Rig().run(job(server.port, tmp_path, profile))

    assert (result.phase, result.reason, result.rule) == (Phase.BEFORE, Reason.AUTH_UNAVAILABLE, "statuses[0]")


async def test_two_rejected_tokens_let_the_key_rest(tmp_path):
    """A token that is refused for a ticket is not sent a third time in a row."""
    async with serving(answering(answer("401 Unauthorized"))) as server:
        target, rig = job(server.port, tmp_path), harness.Rig()
        outcomes = [await rig.run(target) for _ in range(3)]

    assert [outcome.reason for outcome in outcomes[:2]] == [Reason.AUTH_REJECTED] * 2
    assert outcomes[2].cause == "resting"
    assert len(server.peers) == 2


async def test_a_ticket_that_is_refused_at_the_upgrade_is_a_rejected_credential(tmp_path):
    """The ticket stands for the token: a 401 to the upgrade rejects it."""
    async with TicketApp().serving() as app:
        result = await harness.Rig().run(job(app.port, tmp_path, path="/ws?other=${ticket}"))

    assert (result.phase, result.reason, result.credential_sent) == (Phase.UPGRADE, Reason.AUTH_REJECTED, True)


UNFIT = {
    "dot": ({"path": "/ws/${ticket}"}, b'{"ticket": ".."}'),
    "header": ({"path": "/ws", "headers": {"X-Ticket": "${ticket}"}}, '{"ticket": "ä"}'.encode()),
    "space": ({"path": "/ws", "headers": {"X-Ticket": "${ticket}"}}, b'{"ticket": " t"}'),
    "subprotocol": ({"path": "/ws", "profile": changed(subprotocols=["${ticket}"])}, b'{"ticket": "a,b"}'),
}


@pytest.mark.parametrize("name", UNFIT)
async def test_a_value_that_fits_nowhere_is_a_bad_reply(name, tmp_path):
    """What could change the request that it is filled into is refused in the phase that received it."""
    where, body = UNFIT[name]
    async with serving(answering(answer("200 OK", body))) as server:
        result = await harness.Rig().run(job(server.port, tmp_path, **{"profile": PROFILE, **where}))

    assert (result.phase, result.reason, len(server.peers)) == (Phase.BEFORE, Reason.BAD_REPLY, 1)


def test_a_session_without_it_loads_no_http_client():
    """What does not use the request pays nothing: aiohttp is not even imported."""
    code = "import sys, exporter.probing, exporter.session; print('aiohttp' in sys.modules)"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert completed.stdout.strip() == "False"


# TLS, the environment, hostile answers, what is shown -------------------------------------------------------------


def trusting(folder, **tls):
    """The settings of a target that trusts the tests' authority."""
    file = folder / "ca.pem"
    file.write_text(authority().pem.decode())
    return {"scheme": "wss", "tls": {"ca_file": str(file), **tls}}


async def test_the_request_goes_over_the_targets_tls(tmp_path):
    """The same authority, the same server name in SNI and certificate, the same address; both connections count."""
    names = []
    context = server_context(tmp_path, authority().issue("chat.example"))
    context.sni_callback = lambda _tls, name, _context: names.append(name)
    async with TicketApp().serving(tls=context) as app:
        settings = trusting(tmp_path, server_name="chat.example")
        result = await harness.Rig().run(job(app.port, tmp_path, **settings))

    assert result.verdicts == PASS
    assert names == ["chat.example"] * 2
    assert list(result.phases)[:4] == [Phase.BEFORE, Phase.RESOLVE, Phase.TCP, Phase.TLS]


async def test_an_origin_is_trusted_by_the_targets_authority_under_its_own_name(tmp_path):
    """`tls.ca_file` holds for both; `tls.server_name` is asked of the target alone."""
    names = []
    context = server_context(tmp_path, authority().issue("localhost"))
    context.sni_callback = lambda _tls, name, _context: names.append(name)
    async with serving(hang) as chat:
        closed_port = chat.port
    async with TicketApp().serving(tls=context) as auth:
        profile = changed({"origin": f"https://localhost:{auth.port}"})
        settings = trusting(tmp_path, server_name="chat.example")
        result = await harness.Rig().run(job(closed_port, tmp_path, profile, **settings))

    assert names == ["localhost"]
    assert (result.phase, result.reason) == (Phase.TCP, Reason.REFUSED)


OFFERS = {
    "own server": (None, {}, True),
    "another host": ("localhost", {}, False),
    "another host that may have it": ("localhost", {"client_certificate": True}, True),
    "the same host": ("127.0.0.1", {}, True),
}
"""Where the request goes, what `before` says, and whether the target's client certificate is offered there."""


@pytest.mark.parametrize(("host", "before", "offered"), OFFERS.values(), ids=OFFERS)
async def test_another_host_is_not_offered_the_client_certificate(host, before, offered, tmp_path):
    """It would learn who connects to the target; the config can say that it may."""
    (tmp_path / "ours.pem").write_bytes(authority().issue("probe.example", usage="client"))
    context, seen = server_context(tmp_path, authority().issue("localhost", "127.0.0.1")), []
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=authority().pem.decode())

    async def script(peer):
        await read_request(peer)
        seen.append(peer.writer.get_extra_info("peercert"))
        peer.send(answer("404 Not Found"))
        peer.end()

    async with serving(script, tls=context) as server:
        origin = {} if host is None else {"origin": f"https://{host}:{server.port}"}
        file = str(tmp_path / "ours.pem")
        settings = trusting(tmp_path, cert_file=file, key_file=file)
        result = await harness.Rig().run(job(server.port, tmp_path, changed({**origin, **before}), **settings))

    assert (result.phase, result.http_status) == (Phase.BEFORE, 404)
    assert [bool(certificate) for certificate in seen] == [offered]


CERTIFICATES = {
    "expired": ("Test Authority", "127.0.0.1", NOW - DAY, TlsVerify.EXPIRED),
    "untrusted": ("Somebody", "127.0.0.1", None, TlsVerify.UNKNOWN_ISSUER),
    "wrong name": ("Test Authority", "a.example", None, TlsVerify.WRONG_NAME),
}


@pytest.mark.parametrize("name", CERTIFICATES)
async def test_a_bad_certificate_is_told_by_its_reason(name, tmp_path):
    """The token is not sent to a server whose certificate is refused."""
    issuer, host, until, verdict = CERTIFICATES[name]
    context = server_context(tmp_path, authority(issuer).issue(host, until=until or NOW + DAY))
    async with serving(hang, tls=context) as server, leaves_nothing():
        result = await harness.Rig().run(job(server.port, tmp_path, **trusting(tmp_path)))

    assert (result.phase, result.reason) == (Phase.BEFORE, Reason.TLS_CERTIFICATE)
    assert result.tls_verify is verdict


async def test_a_port_without_tls_fails_the_handshake(tmp_path):
    """Bytes that are no TLS are phase before, reason tls_handshake."""

    async def plain(peer):
        await peer.reader.read(1)
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.end()

    async with serving(plain) as server:
        result = await harness.Rig().run(job(server.port, tmp_path, **trusting(tmp_path)))

    assert (result.phase, result.reason) == (Phase.BEFORE, Reason.TLS_HANDSHAKE)


@pytest.mark.parametrize("maximum", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_missing_client_certificate_is_a_failed_handshake(maximum, tmp_path):
    """TLS 1.3 refuses it after the handshake: the alert comes where the answer was awaited."""
    script = saying_why(over_tls(tmp_path, None, client_ca=authority(), maximum=maximum))
    async with serving(script) as server, leaves_nothing():
        result = await harness.Rig().run(job(server.port, tmp_path, **trusting(tmp_path)))

    assert (result.phase, result.reason) == (Phase.BEFORE, Reason.TLS_HANDSHAKE)


async def test_proxies_of_the_environment_and_cookies_are_not_used(tmp_path, monkeypatch):
    """The request goes straight to its server, and what that sets is not sent back."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    seen = []

    async def script(peer):
        seen.append(await read_request(peer))
        if len(seen) % 2:
            peer.send(answer("200 OK", GIVEN, "Set-Cookie: session=1; Path=/\r\n"))
        else:
            peer.send(answer("404 Not Found"))
        peer.end()

    async with serving(script) as server:
        target, rig = job(server.port, tmp_path), harness.Rig()
        results = [await rig.run(target) for _ in range(2)]

    assert [result.phase for result in results] == [Phase.UPGRADE] * 2
    assert not any("cookie" in head.lower() for head in seen)
    assert seen[0].startswith("POST /ws-ticket HTTP/1.1\r\n")


FLOODS = {
    "interim heads": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 400,
    "body": b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 16_384,
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 2_000,
}
"""Answers that never end."""


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_ends_with_the_session(name, tmp_path):
    """What a server sends without end is bounded by 64 KiB of body, or by the deadline."""
    part = FLOODS[name]

    async def script(peer):
        await read_request(peer)
        rest = part.split(b"\r\n\r\n", 1)[1] if name != "interim heads" else part
        peer.send(part)
        while not peer.writer.is_closing():
            peer.send(rest)
            await peer.writer.drain()
            await asyncio.sleep(0)

    async with serving(script) as server, leaves_nothing():
        result = await harness.Rig().run(job(server.port, tmp_path, timeout="1s"))

    assert result.phase is Phase.BEFORE or result.void
    assert result.void or result.reason is (Reason.TIMEOUT if name == "interim heads" else Reason.TOO_BIG)


async def test_an_observer_sees_the_answer_as_a_message(tmp_path):
    """`check --show-frames` shows the shape of the answer, and knows the ticket as a secret from then on."""
    seen = []
    async with TicketApp(ticket=lambda: "one-time-ticket").serving() as app:
        rig = harness.Rig()
        rig.prober._observer = seen.append
        await rig.run(job(app.port, tmp_path))

    assert seen[0].direction is Direction.IN
    assert seen[0].values == ({"ticket": "one-time-ticket", "expires_in": 30},)
    assert all("one-time-ticket" in one.secrets for one in seen)
    shown = [
        message_lines(one.direction, one.data, one.values, ShapeOptions(frozenset(), one.secrets, True)) for one in seen
    ]
    assert shown[0] == ['← {"ticket": secret(15), "expires_in": 30}']
    assert "one-time-ticket" not in repr(shown)


HALF_FIT = {
    "another is absent": b'{"ticket": "one-time-ticket"}',
    "a list": b'{"ticket": ["one-time-ticket"], "page": 1}',
    "a line break": rb'{"ticket": "one-time-ticket\n", "page": 1}',
    "no JSON": b'{"ticket": "one-time-ticket",}',
    "half a character": rb'{"ticket": "one-time-ticket\ud800", "page": 1}',
}


@pytest.mark.parametrize("name", HALF_FIT)
async def test_a_ticket_of_an_answer_that_fails_is_a_secret_too(name, tmp_path):
    """It was never used, so it still opens a session: `check --show-frames` must not print it."""
    seen = []
    profile = changed({"keep": {"ticket": "ticket", "page": "page"}})
    async with serving(answering(answer("200 OK", HALF_FIT[name]))) as server:
        rig = harness.Rig()
        rig.prober._observer = seen.append
        result = await rig.run(job(server.port, tmp_path, profile))

    (one,) = seen
    options = ShapeOptions(frozenset(), one.secrets, True)
    shown = message_lines(one.direction, one.data, one.values, options)
    assert result.reason is Reason.BAD_REPLY
    assert "secret(" in shown[0]
    assert "one-time" not in repr(shown)


@pytest.mark.parametrize(
    ("ticket", "named", "is_shown"), [("t", "t", False), ("ticket-1", "c:ticket-1", False), ("7", "c-7", True)]
)
async def test_a_ticket_that_comes_back_as_a_connection_id_is_not_kept(ticket, named, is_shown, tmp_path):
    """A server may name the connection by the ticket, or by more than that: the result has no id then."""
    welcome = {"match": {"type": "hello"}, "connection_id": "id"}

    async def script(peer):
        if not (await asyncio.wait_for(peer.reader.read(4), 5)).startswith(b"GET "):
            await read_request(peer)
            peer.send(answer("200 OK", json.dumps({"ticket": ticket}).encode()))
            peer.end()
            return
        await peer.upgrade(raw_server.text({"type": "hello", "id": named}))

    async with serving(script) as server:
        target = job(server.port, tmp_path, {"before": PROFILE["before"], "welcome": welcome})
        result = await harness.Rig().run(target, depth=Probe.AUTH)

    assert result.verdicts[Probe.AUTH] is Verdict.PASS
    assert result.evidence.connection_id == (named if is_shown else None)
