"""A token goes one way, and it is the way that the backend reads: on FastAPI, Channels and graphql-ws, as they are."""

import pytest
from support import harness, raw_server
from support.backend_jobs import ECHO, KEY, file, job, seen
from support.backend_servers import needs_node, node_backend, python_backend

from exporter.result import Impairment, Phase, Probe, Reason, Verdict

DJANGO_KEY = "a signing key of more than thirty-two bytes"
LOGIN = {"auth": {"message": {"token": "${token}"}, "match": {"type": "ok"}}, **ECHO}
LET_IN = {Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.PASS, Probe.SEND: Verdict.PASS}


async def verdicts(made, identity="pool-001"):
    """Connect and send of one session, with its result."""
    result = await harness.Rig().run(made, identity=identity)
    return (result.verdicts[Probe.CONNECT], result.verdicts[Probe.SEND]), result


BOTH = (Verdict.PASS, Verdict.PASS)


async def test_a_token_in_a_cookie(tmp_path):
    """The backend that reads the cookie lets us in; the same token in the Authorization header is not seen."""
    async with python_backend("fastapi_app", tmp_path) as url:
        jwt = {"jwt": {"key_file": file(tmp_path, KEY)}}
        cookie = {"header": "Cookie", "value": "access=${token}"}
        told, result = await verdicts(job(f"{url}/cookie", ECHO, {**jwt, "carry": cookie}))
        assert told == BOTH, result
        assert "cookie" in seen(url)["headers"]
        assert "authorization" not in seen(url)["headers"]
        told, _ = await verdicts(job(f"{url}/cookie", ECHO | {"carry": cookie}, jwt))
        assert told == BOTH
        told, refused = await verdicts(job(f"{url}/cookie", ECHO, jwt))
        assert told == (Verdict.FAIL, Verdict.FAIL)
        assert refused.http_status == 403


async def test_an_api_key_of_any_letters_in_a_header_of_its_own(tmp_path):
    """A key from a file with blanks and signs is what the backend compares, letter by letter."""
    async with python_backend("fastapi_app", tmp_path) as url:
        carry = {"header": "X-Api-Key"}
        right = {"secret_file": file(tmp_path, "p@ss word!\n"), "carry": carry}
        told, result = await verdicts(job(f"{url}/key", ECHO, right))
        assert told == BOTH, result
        told, _ = await verdicts(job(f"{url}/key", ECHO, {"secret_file": file(tmp_path, "p@ss word"), "carry": carry}))
        assert told == (Verdict.FAIL, Verdict.FAIL)


@pytest.mark.parametrize("carry", [{}, {"carry": "message"}], ids=["by default", "said"])
async def test_a_token_in_a_message_is_nowhere_else(carry, tmp_path):
    """The login has the token; the upgrade has no Authorization, no subprotocol and no query."""
    async with python_backend("fastapi_app", tmp_path) as url:
        auth = {"jwt": {"key_file": file(tmp_path, KEY)}, **carry}
        result = await harness.Rig().run(job(f"{url}/message", LOGIN, auth))
        assert dict(result.verdicts) == LET_IN, result
        told = seen(url)
    assert told["query"] == ""
    assert not {"authorization", "sec-websocket-protocol", "cookie"} & set(told["headers"])
    assert "sec-websocket-key" in told["headers"]


async def test_claims_that_are_objects(tmp_path):
    """The gateway's claims stand one level down, the user among them."""
    claims = {"https://gateway.example/claims": {"x-default-role": "user", "x-user-id": "${identity}"}}
    welcome = {"welcome": {"match": {"type": "hello"}, "subject": "user"}}
    async with python_backend("fastapi_app", tmp_path) as url:
        auth = {"jwt": {"key_file": file(tmp_path, KEY), "claims": claims}}
        result = await harness.Rig().run(job(f"{url}/nested", {**welcome, **ECHO}, auth))
        assert dict(result.verdicts) == LET_IN, result
        flat = {"jwt": {"key_file": file(tmp_path, KEY), "claims": {"role": "user"}}}
        told, _ = await verdicts(job(f"{url}/nested", {**welcome, **ECHO}, flat))
        assert told == (Verdict.FAIL, Verdict.FAIL)


async def test_a_shared_secret_of_twenty_bytes(tmp_path):
    """PyJWT of the backend accepts what we sign with its short secret; another short one is refused."""
    async with python_backend("fastapi_app", tmp_path) as url:
        told, result = await verdicts(job(f"{url}/ws", ECHO, {"jwt": {"key_file": file(tmp_path, KEY)}}))
        assert told == BOTH, result
        wrong = {"jwt": {"key_file": file(tmp_path, KEY[::-1], "wrong")}}
        told, _ = await verdicts(job(f"{url}/ws", ECHO, wrong))
        assert told == (Verdict.FAIL, Verdict.FAIL)
        assert (seen(url)["good"], seen(url)["bad"]) == (1, 1)


async def test_the_user_in_a_claim_of_its_own(tmp_path):
    """SimpleJWT reads `user_id`: each identity is let in as itself, and not as somebody else."""
    profile = {"welcome": {"match": {"type": "hello", "user_id": "${any}"}}, **ECHO}
    async with python_backend("channels_app", tmp_path) as url:
        claims = {"user_id": "${identity}", "token_type": "access"}
        auth = {"jwt": {"key_file": file(tmp_path, DJANGO_KEY), "claims": claims}}
        users = {"ann": "1", "ben": "2", "eve": "3"}
        made = job(f"{url}/late", profile, auth, identities=users)
        for alias in ("ann", "ben"):
            told, result = await verdicts(made, alias)
            assert told == BOTH, result
        told, _ = await verdicts(made, "eve")
        assert told == (Verdict.PASS, Verdict.FAIL)


@needs_node
async def test_graphql_without_a_token(tmp_path):
    """The subprotocol is offered without any token, and the connection is acknowledged."""
    profile = {
        "subprotocols": ["graphql-transport-ws"],
        "auth": {"message": {"type": "connection_init"}, "match": {"type": "connection_ack"}},
        "send": {
            "message": {"id": "${nonce}", "type": "subscribe", "payload": {"query": "{hello}"}},
            "match": {"id": "${nonce}", "type": "next"},
            "expect": {"payload": {"data": {"hello": "${any}"}}},
        },
    }
    async with node_backend("graphql", tmp_path) as url:
        made = harness.planned(
            {"name": "g", "url": f"{url}/graphql", "profile": "own"}, profiles={"own": profile}
        ).jobs[0]
        result = await harness.Rig().run(made)
        assert dict(result.verdicts) == LET_IN, result
        made = harness.planned(
            {"name": "g", "url": f"{url}/graphql", "profile": "own"},
            profiles={"own": {**profile, "subprotocols": []}},
        ).jobs[0]
        result = await harness.Rig().run(made)
        assert result.verdicts[Probe.SEND] is Verdict.FAIL
        assert result.close.code == 4406


async def test_a_secret_that_its_carrier_cannot_hold_is_our_own_failure(tmp_path, caplog):
    """Nothing is sent and nothing is blamed; the log names the file and what to do, and quotes nothing."""
    async with raw_server.serving(raw_server.plays()) as server:
        auth = {"secret_file": file(tmp_path, "pass;word"), "carry": {"header": "Cookie", "value": "s=${token}"}}
        result = await harness.Rig().run(job(f"ws://127.0.0.1:{server.port}/", ECHO, auth))
    assert (result.impairment, result.phase, result.reason) == (Impairment.TOKEN, Phase.PREPARE, None)
    assert f"{tmp_path}/secret has letters that a cookie cannot hold" in caplog.text
    assert "pass;word" not in caplog.text


async def test_an_expired_token_of_our_own_is_not_sent(tmp_path, caplog):
    """It is said where it stands and when it expired, and nobody is blamed for a refusal that never took place."""
    past = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3NTc0MDAwMDB9.c2ln"
    async with raw_server.serving(raw_server.plays()) as server:
        auth = {"jwt": {"token_file": file(tmp_path, past)}}
        result = await harness.Rig().run(job(f"ws://127.0.0.1:{server.port}/", ECHO, auth))
    assert (result.impairment, result.reason) == (Impairment.TOKEN, None)
    assert f"{tmp_path}/secret holds a token that expired at 2025-09-09 06:40:00 UTC" in caplog.text


async def test_a_token_refused_in_a_message_is_an_auth_failure(tmp_path):
    """The error frame and the close of a refused login are what the profile says they are."""
    errors = {"errors": [{"match": {"type": "error", "code": "bad_token"}, "reason": "auth_rejected"}]}
    async with python_backend("fastapi_app", tmp_path) as url:
        wrong = {"jwt": {"key_file": file(tmp_path, "another-secret-than-the-backends")}}
        result = await harness.Rig().run(job(f"{url}/message", {**LOGIN, **errors}, wrong))
    assert (result.phase, result.reason) == (Phase.AUTH, Reason.AUTH_REJECTED)
    assert result.verdicts[Probe.CONNECT] is Verdict.PASS


async def test_a_key_that_rests_goes_on_connecting_when_the_token_is_in_a_message(tmp_path):
    """After two refused logins no token is sent, and what needs none is asked all the same."""
    errors = {"errors": [{"match": {"type": "error", "code": "bad_token"}, "reason": "auth_rejected"}]}
    async with python_backend("fastapi_app", tmp_path) as url:
        wrong = {"jwt": {"key_file": file(tmp_path, "another-secret-than-the-backends")}}
        made, prober = job(f"{url}/message", {**LOGIN, **errors}, wrong), harness.Rig()
        refused = [await prober.run(made) for _ in range(2)]
        assert [result.reason for result in refused] == [Reason.AUTH_REJECTED] * 2
        resting = await prober.run(made)
        assert (resting.depth, resting.verdicts[Probe.CONNECT]) == (Probe.CONNECT, Verdict.PASS)
        assert seen(url)["bad"] == 2
