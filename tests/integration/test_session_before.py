"""The request before the upgrade: what it sends, what becomes of its answer, and every way in which it can fail."""

import json
import subprocess
import sys

import pytest
from support import harness
from support.raw_server import leaves_nothing
from support.ticket_servers import ECHO, PROFILE, TOKEN, TicketApp, answer, answering, hang, job, reset, serving

from exporter.result import Phase, Probe, Reason, Verdict

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
        result = await harness.Rig().run(job(server.port, tmp_path, timeout="400ms"))

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
