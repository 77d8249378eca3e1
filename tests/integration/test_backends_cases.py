"""Bug reports of others, on the real servers that showed them: what is an error, a refusal, a message, a restart."""

import asyncio
import urllib.request
from contextlib import asynccontextmanager

import pytest
from support import harness
from support.backend_jobs import KEY, file, job, seen
from support.backend_servers import go_backend, needs_go, needs_node, node_backend, python_backend
from support.browsing import ARGUMENTS
from support.realservers import binary, stop, until

from exporter.report import explain
from exporter.result import Handshake, Initiator, Phase, Probe, Reason, Verdict

RPC = {
    "message": {"jsonrpc": "2.0", "method": "works", "id": "${nonce}"},
    "match": {"jsonrpc": "2.0", "id": "${nonce}"},
}
ANY_ERROR = {"error": {"error": {}}, "errors": [{"match": {"error": {"code": -32005}}, "reason": "rate_limited"}]}
ANY_ERROR["errors"].append({"match": {"error": {}}, "reason": "bad_reply"})


def open_job(url, profile, **changes):
    """A job whose target logs in with nothing."""
    target = {"name": "real", "url": url, "profile": "own", "interval": "20s", "timeout": "10s"}
    return harness.planned({**target, **changes}, profiles={"own": profile}).jobs[0]


def verdicts_and_cause(result):
    """Verdicts of connect, auth and send; where and why the deepest failed."""
    verdicts = "/".join(str(result.verdicts[probe].value) for probe in Probe)
    return verdicts, result.phase, result.reason


# An error is an error before it is a reply ------------------------------------------------------------------------


@needs_node
@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("works", ("pass/-/pass", None, None)),
        ("gone", ("pass/-/fail", Phase.REPLY, Reason.BAD_REPLY)),
        ("throws", ("pass/-/fail", Phase.REPLY, Reason.BAD_REPLY)),
        ("limited", ("pass/-/fail", Phase.REPLY, Reason.RATE_LIMITED)),
    ],
)
async def test_an_error_with_our_id_is_no_reply(method, expected, tmp_path):
    """JSON-RPC 2.0 section 5: the error of a call has the call's id, so it contains all that the reply contains."""
    profile = {"send": {**RPC, "message": {**RPC["message"], "method": method}}, **ANY_ERROR}
    async with node_backend("rpc", tmp_path) as url:
        assert verdicts_and_cause(await harness.Rig().run(open_job(url, profile))) == expected


@needs_node
async def test_a_field_that_must_be_there_is_asked_for(tmp_path):
    """`${any}` in `expect` is the check by hand: a result, whatever it holds."""
    asked = {**RPC, "expect": {"result": "${any}"}}
    async with node_backend("rpc", tmp_path) as url:
        assert verdicts_and_cause(await harness.Rig().run(open_job(url, {"send": asked})))[0] == "pass/-/pass"
        gone = {**asked, "message": {**RPC["message"], "method": "gone"}}
        assert verdicts_and_cause(await harness.Rig().run(open_job(url, {"send": gone}))) == (
            "pass/-/fail",
            Phase.REPLY,
            Reason.BAD_REPLY,
        )


LOGIN = {
    "message": {"jsonrpc": "2.0", "method": "auth.login", "params": {"token": "${token}"}, "id": "${nonce}"},
    "match": {"jsonrpc": "2.0", "id": "${nonce}"},
}
CALL = {**RPC, "message": {**RPC["message"], "method": "ping"}}
SORTED = {"error": {"error": {}}, "errors": [{"match": {"error": {"code": -32001}}, "reason": "auth_rejected"}]}


@pytest.mark.parametrize("way", ["", "?at_once=1"], ids=["close follows", "at once"])
async def test_a_refused_login_is_one_however_its_close_comes(way, tmp_path):
    """The refusal has the id of the login, and its close with 4401 comes 20 ms later or in the same segment."""
    async with python_backend("jsonrpc_app", tmp_path) as url:
        profile = {"auth": LOGIN, "send": CALL, **SORTED}
        for _ in range(5):
            result = await harness.Rig().run(
                job(f"{url}/rpc{way}", profile, {"secret_file": file(tmp_path, "wrong")}), identity="pool-001"
            )
            assert verdicts_and_cause(result) == ("pass/fail/fail", Phase.AUTH, Reason.AUTH_REJECTED)
            assert (result.close.code, result.close.initiator) == (4401, Initiator.REMOTE)
        right = job(f"{url}/rpc", profile, {"secret_file": file(tmp_path, "tok_7d21ac9e4b", "right")})
        assert verdicts_and_cause(await harness.Rig().run(right, identity="pool-001"))[0] == "pass/pass/pass"


# Subprotocols -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected", "wrong"),
    [
        ("forgets", ("fail/-/fail", Phase.UPGRADE, Reason.BAD_HANDSHAKE), Handshake.SUBPROTOCOL_NOT_CHOSEN),
        ("invents", ("fail/-/fail", Phase.UPGRADE, Reason.BAD_HANDSHAKE), Handshake.SUBPROTOCOL_NOT_OFFERED),
        ("chooses", ("pass/-/pass", None, None), None),
    ],
)
@pytest.mark.parametrize("by", ["token", "profile"])
async def test_an_offered_subprotocol_must_be_chosen(path, expected, wrong, by, tmp_path):
    """Browsers fail a connection whose server chooses none of what was offered, or what was not."""
    echo = {"message": {"id": "${nonce}"}, "match": {"type": "echo", "id": "${nonce}"}}
    async with python_backend("fastapi_app", tmp_path) as url:
        if by == "token":
            jwt = {"jwt": {"key_file": file(tmp_path, KEY)}, "carry": "subprotocol"}
            made, identity = job(f"{url}/{path}", {"send": echo}, jwt), "pool-001"
        else:
            made, identity = open_job(f"{url}/{path}", {"send": echo, "subprotocols": ["chat.v1"]}), None
        result = await harness.Rig().run(made, identity=identity)
    assert (verdicts_and_cause(result), result.handshake) == (expected, wrong)


@needs_node
async def test_a_graphql_server_gets_its_subprotocol_without_a_token(tmp_path):
    """graphql-ws closes with 4406 without its subprotocol; offered by the profile, its hello is answered."""
    profile = {
        "auth": {"message": {"type": "connection_init"}, "match": {"type": "connection_ack"}},
        "send": {
            "message": {"type": "subscribe", "id": "${nonce}", "payload": {"query": "{ hello }"}},
            "match": {"type": "next", "id": "${nonce}"},
            "expect": {"payload": {"data": {"hello": "${any}"}}},
        },
    }
    async with node_backend("graphql", tmp_path) as url:
        without = await harness.Rig().run(open_job(f"{url}/graphql", profile))
        assert (without.verdicts[Probe.SEND], without.close.code) == (Verdict.FAIL, 4406)
        offered = {**profile, "subprotocols": ["graphql-transport-ws"]}
        assert verdicts_and_cause(await harness.Rig().run(open_job(f"{url}/graphql", offered)))[0] == "pass/pass/pass"


# Refusals over HTTP -----------------------------------------------------------------------------------------------

ECHO = {"send": {"message": {"id": "${nonce}"}, "match": {"type": "echo", "id": "${nonce}"}}}
REFUSED_LATE = ("pass/-/fail", Phase.REPLY, Reason.AUTH_REJECTED)
UPGRADE_REFUSED = ("fail/-/fail", Phase.UPGRADE, Reason.AUTH_REJECTED)


@pytest.mark.parametrize(
    ("path", "changes", "expected", "sent"),
    [
        ("denied/401", {}, UPGRADE_REFUSED, 2),
        ("ws", {"statuses": [{"status": 403, "reason": "auth_rejected"}]}, UPGRADE_REFUSED, 2),
        ("ws", {}, ("fail/-/fail", Phase.UPGRADE, Reason.HTTP_STATUS), 6),
        ("denied/401", {"auth_by": "upgrade"}, ("fail/fail/fail", Phase.UPGRADE, Reason.AUTH_REJECTED), 2),
        ("late", {"closes": [{"code": 4401, "reason": "auth_rejected"}]}, REFUSED_LATE, 2),
    ],
)
async def test_no_rejected_token_is_sent_more_than_twice(path, changes, expected, sent, tmp_path):
    """The breaker counts a refusal whatever carries it: HTTP 401, a status of the profile, a close after the accept."""
    async with python_backend("fastapi_app", tmp_path) as url:
        made = job(f"{url}/{path}", {**ECHO, **changes}, {"jwt": {"key_file": file(tmp_path, "another secret")}})
        prober = harness.Rig()
        first = await prober.run(made, identity="pool-001")
        assert verdicts_and_cause(first) == expected
        assert first.http_status == {"denied/401": 401, "ws": 403, "late": None}[path]
        for _ in range(5):
            await prober.run(made, identity="pool-001")
        assert seen(url)["bad"] == sent


async def test_a_401_without_a_token_is_a_status(tmp_path):
    """Nobody refused a token that was not sent."""
    async with python_backend("fastapi_app", tmp_path) as url:
        result = await harness.Rig().run(open_job(f"{url}/denied/401", ECHO))
    assert verdicts_and_cause(result) == ("fail/-/fail", Phase.UPGRADE, Reason.HTTP_STATUS)
    assert result.credential_sent is False


async def test_a_token_that_was_kept_back_is_not_missed(tmp_path):
    """A session that only connects sends no token: a 401 to it says nothing of those that send one."""
    async with python_backend("fastapi_app", tmp_path) as url:
        profile = {**ECHO, "connect_without_token": True}
        made = job(f"{url}/denied/401", profile, {"jwt": {"key_file": file(tmp_path, KEY)}})
        prober = harness.Rig()
        connect = await prober.run(made, depth=Probe.CONNECT, identity="pool-001")
        assert verdicts_and_cause(connect) == ("-/-/-", None, None)
        assert "kept its token back" in explain(connect).sentence
        assert verdicts_and_cause(await prober.run(made, identity="pool-001"))[0] == "pass/-/pass"


async def test_an_upgrade_with_a_token_may_be_the_login(tmp_path):
    """`auth_by: upgrade`: who is let in with a token has passed auth."""
    async with python_backend("fastapi_app", tmp_path) as url:
        made = job(f"{url}/denied/401", {**ECHO, "auth_by": "upgrade"}, {"jwt": {"key_file": file(tmp_path, KEY)}})
        assert verdicts_and_cause(await harness.Rig().run(made, identity="pool-001"))[0] == "pass/pass/pass"


@pytest.mark.parametrize("status", [429, 503])
async def test_a_status_with_a_time_to_wait_is_a_limit(status, tmp_path):
    """A 503 that says when to come again is a limit like a 429."""
    async with python_backend("fastapi_app", tmp_path) as url:
        result = await harness.Rig().run(open_job(f"{url}/limited/{status}", ECHO))
    assert verdicts_and_cause(result) == ("fail/-/fail", Phase.UPGRADE, Reason.RATE_LIMITED)
    assert result.retry_after == 120


# Messages ---------------------------------------------------------------------------------------------------------

ECHOED = {"send": {"message": {"id": "${nonce}"}, "match": {"id": "${nonce}"}}}


@needs_go
@pytest.mark.parametrize("path", ["busy", "quiet"])
async def test_several_json_values_of_one_frame_are_messages_in_turn(path, tmp_path):
    """The write pump of gorilla's chat example puts what has queued up into one message, a line each."""
    async with go_backend(tmp_path) as url:
        result = await harness.Rig().run(open_job(f"{url}/{path}", ECHOED))
    assert verdicts_and_cause(result)[0] == "pass/-/pass"
    assert dict(result.passed_over) == ({"other": 3} if path == "busy" else {})


async def test_json_in_binary_frames_is_a_message(tmp_path):
    """FastAPI's `send_json(mode="binary")`: hello and reply come as bytes."""
    async with python_backend("fastapi_app", tmp_path) as url:
        result = await harness.Rig().run(open_job(f"{url}/binary", {"welcome": {"match": {"type": "hello"}}, **ECHO}))
    assert verdicts_and_cause(result)[0] == "pass/pass/pass"


async def test_messages_may_be_arrays(tmp_path):
    """OCPP-J speaks arrays: the call is one, and so is its result."""
    profile = {
        "subprotocols": ["ocpp1.6"],
        "send": {
            "message": [2, "${nonce}", "Heartbeat", {}],
            "match": [3, "${nonce}", "${any}"],
            "expect": [3, "${nonce}", {"currentTime": "${any}"}],
        },
    }
    async with python_backend("ocpp_app", tmp_path) as url:
        result = await harness.Rig().run(open_job(f"{url}/CP_1", profile))
    assert verdicts_and_cause(result)[0] == "pass/-/pass", result


# Restarts, and what is remembered ---------------------------------------------------------------------------------

HELLO = {"welcome": {"match": {"type": "hello"}}, **ECHO}
WITH_FACTORY = {"welcome": {"match": {"type": "hello"}, "connection_id": "connection_id"}, **ECHO}


@pytest.mark.parametrize("code", [1001, 1012, 1013])
@pytest.mark.parametrize("profile", [HELLO, WITH_FACTORY], ids=["no factory", "factory"])
async def test_a_close_of_a_server_that_stops_is_no_refusal(code, profile, tmp_path):
    """Uvicorn closes with 1012 when it is stopped: a restart says nothing about login or factory."""
    async with python_backend("fastapi_app", tmp_path) as url:
        result = await harness.Rig().run(open_job(f"{url}/closes/{code}", profile))
    assert verdicts_and_cause(result) == ("pass/-/fail", Phase.ADMISSION, Reason.CLOSED)
    assert (result.factory_reason, result.close.code) == (None, code)


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1000, Reason.CLOSED), (1008, Reason.CLOSED), (1011, Reason.SERVER_ERROR), (4000, Reason.CLOSED)],
)
async def test_a_backend_without_a_factory_has_none_that_fails(code, reason, tmp_path):
    """A welcome that is only waited for tells of no factory: a close before it is a close."""
    async with python_backend("fastapi_app", tmp_path) as url:
        result = await harness.Rig().run(open_job(f"{url}/closes/{code}", HELLO))
    assert verdicts_and_cause(result) == ("pass/fail/fail", Phase.ADMISSION, reason)
    assert result.factory_reason is None


def again(url):
    """The backend's numbers begin again."""
    with urllib.request.urlopen(url.replace("ws", "http", 1) + "/begins-again"):
        pass


async def test_numbers_that_begin_again_are_a_restart(tmp_path):
    """Ids that count the connections of a process: after a restart each comes once more, and no session fails."""
    prober, results = harness.Rig(), []
    async with python_backend("fastapi_app", tmp_path) as url:
        made = open_job(f"{url}/numbered", WITH_FACTORY)
        for _ in range(3):
            again(url)
            results += [await prober.run(made) for _ in range(6)]
    assert {verdicts_and_cause(result)[0] for result in results} == {"pass/pass/pass"}


async def test_a_whole_number_is_an_id(tmp_path):
    """User 1 is the subject "1"; the 19 digits of a connection id are shown as they are."""
    welcome = {"match": {"type": "hello"}, "connection_id": "connectionID", "subject": "user_id"}
    profile = {"welcome": welcome, **ECHO}
    async with python_backend("fastapi_app", tmp_path) as url:
        auth = {"jwt": {"key_file": file(tmp_path, KEY)}}
        made = job(f"{url}/whole-numbers", profile, auth, identities={"one": "1", "two": "2"})
        first = await harness.Rig().run(made, identity="one")
        assert verdicts_and_cause(first)[0] == "pass/pass/pass"
        assert first.evidence.connection_id.startswith("170000000000000000")
        other = await harness.Rig().run(made, identity="two")
        assert str(other.factory_reason) == "user_mismatch"


@needs_go
async def test_a_goodbye_is_no_restart(tmp_path):
    """coder/websocket says goodbye with 1001 after its work: the session has all it came for."""
    async with go_backend(tmp_path) as url:
        result = await harness.Rig().run(open_job(f"{url}/goodbye", ECHOED))
    assert verdicts_and_cause(result)[0] == "pass/-/pass"


# What other clients take --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [8_100, 9_000, 60_000])
async def test_a_large_101_is_taken(size, tmp_path):
    """A cookie of 60 kB in the 101: Chromium and node open it, and so do we."""
    async with python_backend("fastapi_app", tmp_path) as url:
        assert (
            verdicts_and_cause(await harness.Rig().run(open_job(f"{url}/cookie-of/{size}", ECHO)))[0] == "pass/-/pass"
        )


# A close of ours that gets no answer ------------------------------------------------------------------------------


ECHO_SEND = {"send": {"message": {"echo": "${nonce}"}, "match": {"echo": "${nonce}"}}}


@needs_node
@pytest.mark.parametrize(
    ("path", "verdicts", "said"),
    [
        ("after", "pass/-/pass", "our close got no answer (1006)"),
        ("before", "pass/-/fail", "our message got NO REPLY, and then our close got no answer either"),
    ],
)
async def test_a_handler_that_threw_and_left_its_connection_open_is_seen_by_the_close(path, verdicts, said, tmp_path):
    """Its process lives and takes new connections; RFC 6455 section 5.5.1 asks it to answer our close."""
    async with node_backend("throws", tmp_path) as url:
        short = {"timeout": "2s", "close_timeout": "1s"}
        result = await harness.Rig().run(open_job(f"{url}/{path}", ECHO_SEND, **short))

    close = result.close
    assert verdicts_and_cause(result)[0] == verdicts
    assert (close.code, close.initiator, close.phase) == (1006, Initiator.NONE, Phase.CLOSE)
    assert said in explain(result).sentence


# Chromium as a server: its DevTools -------------------------------------------------------------------------------


@asynccontextmanager
async def devtools(folder):
    """Chromium with its DevTools on a port of its own; the URL of the browser's WebSocket."""
    flags = (*ARGUMENTS, "--headless", "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank")
    process = await asyncio.create_subprocess_exec(
        binary("chromium", "chromium"), *flags, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    port = folder / "DevToolsActivePort"  # two lines: the port, the path

    async def both():
        words = port.read_text().split() if port.exists() else []
        return words if len(words) == 2 else None

    try:
        number, path = await until(both, 60.0)
        yield f"ws://127.0.0.1:{number}{path}"
    finally:
        await stop(process)


@pytest.mark.parametrize(
    ("number", "expected"),
    [("${number}", ("pass/-/pass", None, None)), ("${nonce}", ("pass/-/fail", Phase.REPLY, Reason.TIMEOUT))],
)
async def test_a_server_that_wants_whole_numbers_gets_one(number, expected, tmp_path):
    """Chromium's DevTools answer an `id` that is text with an error that has no `id` at all."""
    asked = {
        "message": {"id": number, "method": "Browser.getVersion"},
        "match": {"id": number},
        "expect": {"result": {"product": "${any}"}},
    }
    async with devtools(tmp_path) as url:
        result = await harness.Rig().run(open_job(url, {"send": asked}, timeout="3s"))

    assert verdicts_and_cause(result) == expected
    assert result.passed_over == ({} if expected[1] is None else {"other": 1})
