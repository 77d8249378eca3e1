"""One turn becomes one result: whatever our files, the ledger or the backend do, and nothing is left open."""

import asyncio
import base64
import logging
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support import harness, raw_server
from support.paths import TESTS

from exporter import __version__, files, probing, tokens
from exporter.files import KeyRing
from exporter.host import Clock
from exporter.probing import Prober, ProbeRequest
from exporter.resolver import Resolver
from exporter.result import (
    FactoryReason,
    Holdup,
    Impairment,
    Initiator,
    Phase,
    Probe,
    Reason,
    Result,
    SkipCause,
    Trigger,
    Verdict,
)
from exporter.standin import StandIn, Timings

KEY = b"a-key-of-at-least-thirty-two-bytes-x"
CHAT = raw_server.CHAT.model_dump(exclude_unset=True) | {"needs_token": True}
NOTHING = dict.fromkeys(Probe, Verdict.NONE)
PASSED = dict.fromkeys(Probe, Verdict.PASS)


@pytest.fixture
async def standin():
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as started:
        yield started
        assert not started.crashes


def the_job(standin, path="/ws", **changes):
    return harness.planned(harness.target(standin, path, **changes)).jobs[0]


def keyed(standin, folder, content, **jwt_settings):
    """A job whose key file lies in `folder`, and the file."""
    key_file = folder / "key"
    key_file.write_bytes(content)
    claims = {"claims": harness.CLAIMS} if "token_file" not in jwt_settings else {}
    auth = {"jwt": {"key_file": str(key_file), **claims, **jwt_settings}}
    return the_job(standin, auth=auth), key_file


def open_holds(prober):
    """What the ledger thinks is still going on: connections of users, tokens in flight."""
    book = prober.state.ledger._state
    flights = [run for guard in book.key_breakers.values() for run in guard.pending_tokens]
    return [hold.run for hold in book.all_leases() if hold.closed_at is None] + flights


def lines(caplog, level=logging.WARNING):
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


# What a result says -------------------------------------------------------------------------------------------------


async def test_a_healthy_session_is_told_whole(standin):
    """Verdicts, times to each verdict and of each phase, the close, and what only a live server can say of itself."""
    prober, job = harness.Rig(), the_job(standin)
    before = time.time()

    result = await prober.run(job)

    assert dict(result.verdicts) == PASSED
    assert 0 < result.durations[Probe.CONNECT] < result.durations[Probe.AUTH] < result.durations[Probe.SEND] < 1
    assert set(result.phases) == {
        Phase.RESOLVE, Phase.TCP, Phase.UPGRADE, Phase.ADMISSION, Phase.REPLY, Phase.CLOSE,
    }  # fmt: skip
    assert (result.close.code, result.close.initiator, result.close.phase) == (1000, Initiator.LOCAL, Phase.CLOSE)
    assert (result.phase, result.reason, result.factory_reason, result.impairment) == (None, None, None, None)
    assert (result.target, result.identity, result.depth) == ("staging", "pool-001", Probe.SEND)
    assert before <= result.started_at <= time.time()
    assert result.evidence.connection_id
    assert abs(result.evidence.clock_skew) < 1
    assert result.evidence.heartbeat_interval == 25.0
    assert result.evidence.max_message_size > 0
    assert result.evidence.address == "127.0.0.1"
    assert result.passed_over == {"ping": 1}, "the ping that comes with every welcome is no answer"


async def test_what_is_not_for_us_is_passed_over_and_counted_by_kind(standin):
    """Pings, notices and other people's acks before our reply never are our reply."""
    standin.set_fault("/ws", "noise:count=8")

    result = await harness.Rig().run(the_job(standin))

    assert dict(result.verdicts) == PASSED
    assert sum(result.passed_over.values()) >= 16
    assert len(result.passed_over) >= 4


async def test_every_session_has_a_name_of_its_own(standin):
    """Runs, connection ids and nonces never repeat."""
    prober, job = harness.Rig(), the_job(standin)

    results = [await prober.run(job) for _ in range(5)]

    assert len({result.run for result in results}) == 5
    assert len({result.evidence.connection_id for result in results}) == 5


async def test_a_session_that_only_connects_takes_no_slot_and_sends_no_token(standin):
    """The backend counts no manager and sees no token; the refusal it then sends is not counted."""
    prober, job = harness.Rig(), the_job(standin)

    result = await prober.run(job, depth=Probe.CONNECT)
    (seen,) = await standin.wait_sessions(1)

    assert {probe: verdict for probe, verdict in result.verdicts.items() if verdict is not Verdict.NONE} == {
        Probe.CONNECT: Verdict.PASS
    }
    assert (result.reason, result.impairment) == (None, None)
    assert (seen.token_seen, seen.user) == (False, None)
    assert standin.held(harness.POOL["pool-001"]) == 0
    assert prober.state.ledger.held_slots(job.users["pool-001"], time.time()) == 0


# Tokens -------------------------------------------------------------------------------------------------------------


async def chatting(peer):
    """A backend that lets everybody in and answers what it is sent."""
    await peer.request()
    offered = peer.headers.get("sec-websocket-protocol")
    chosen = f"Sec-WebSocket-Protocol: {offered.split(',')[0]}\r\n" if offered else ""
    peer.send(peer.switching(chosen), raw_server.WELCOME)
    message = await peer.message()
    peer.send(raw_server.text({"type": "echo_reply", "id": message["id"], "ok": True}))


def chat_job(server, folder, way="header", **jwt_settings):
    (folder / "key").write_bytes(KEY)
    source = jwt_settings or {"key_file": str(folder / "key"), "claims": {"iss": "we"}, "lifetime": "2m"}
    target = {
        "name": "chat", "url": f"ws://127.0.0.1:{server.port}/room?a=b", "profile": "chat", "interval": "3s",
        "timeout": "1s", "close_timeout": "300ms", "identities": {"one": "user-1"},
        "auth": {"jwt": source, "carry": way}, "headers": {"X-Team": "probing"},
    }  # fmt: skip
    return harness.planned(target, profiles={"chat": CHAT}).jobs[0]


def token_of(peer):
    """The token as this client carried it, wherever that was."""
    query = parse_qs(urlsplit(peer.line.split(" ")[1]).query)
    offered = [name.strip() for name in peer.headers.get("sec-websocket-protocol", "").split(",")]
    packed = [name.removeprefix("jwt.") for name in offered if name.startswith("jwt.")]
    found = [
        *(value.removeprefix("Bearer ") for value in [peer.headers.get("authorization")] if value),
        *query.get("token", []),
        *(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode() for text in packed),
    ]
    assert len(found) == 1, "a token travels one way"
    return found[0]


@pytest.mark.parametrize("way", ["header", "subprotocol", "query"])
async def test_each_session_carries_a_token_of_its_own(way, tmp_path):
    """Fresh each time, for our subject, back-dated; its id and the nonce are the run of our log line."""
    async with raw_server.serving(chatting) as server:
        prober, job = harness.Rig(), chat_job(server, tmp_path, way)
        results = [await prober.run(job, identity="one") for _ in range(3)]
        claims = [jwt.decode(token_of(peer), KEY, algorithms=["HS256"]) for peer in server.peers]

    assert all(dict(result.verdicts) == PASSED for result in results)
    assert len({result.run for result in results}) == 3
    assert [claim["jti"] for claim in claims] == [result.run for result in results]
    assert [peer.messages[-1]["id"] for peer in server.peers] == [result.run for result in results]
    assert {(claim["sub"], claim["iss"]) for claim in claims} == {("user-1", "we")}
    assert all(claim["iat"] <= time.time() - 4 and 0 < claim["exp"] - time.time() <= 120 for claim in claims)
    assert all("a=b" in peer.line for peer in server.peers)
    assert {peer.headers["user-agent"] for peer in server.peers} == {f"wsfe/{__version__} (WebSocket monitoring)"}
    assert {peer.headers["x-team"] for peer in server.peers} == {"probing"}


@pytest.mark.parametrize(("algorithm", "alone"), [("RS256", True), ("ES256", False), ("HS256", False)])
async def test_a_slow_signature_is_made_in_a_thread(algorithm, alone, tmp_path, monkeypatch):
    """RSA takes half a millisecond, in which OpenSSL keeps nobody waiting who is elsewhere; the others are quick."""
    threads = []

    def minting(*made, **more):
        threads.append(threading.current_thread())
        return tokens.mint(*made, **more)

    monkeypatch.setattr(probing, "mint", minting)
    keys = {"RS256": rsa.generate_private_key(65537, 2048), "ES256": ec.generate_private_key(ec.SECP256R1())}
    async with raw_server.serving(chatting) as server:
        job = chat_job(server, tmp_path, key_file=str(tmp_path / "pem"), algorithm=algorithm, claims={"iss": "we"})
        pem = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / "pem").write_bytes(keys[algorithm].private_bytes(*pem) if algorithm in keys else KEY)
        result = await harness.Rig().run(job, identity="one")

    assert dict(result.verdicts) == PASSED
    assert [thread is threading.main_thread() for thread in threads] == [not alone]


@pytest.mark.parametrize(
    ("late", "distorted", "void"), [(0.0, False, False), (0.08, True, False), (0.9, True, True)], ids=str
)
async def test_how_late_the_loop_was_is_asked_for_the_time_of_the_session(late, distorted, void, tmp_path):
    """A silent server is a timeout, but not to a loop that was held for most of it: then nothing is proved."""
    asked = []

    def told(since):
        asked.append(since)
        return late

    async with raw_server.serving(raw_server.plays(raw_server.UPGRADE)) as server:
        one = harness.Rig()
        prober = Prober(one.state, KeyRing(), Resolver(), one.clock, lambda *_: None, max_loop_stall=told)
        job = chat_job(server, tmp_path)
        for cycle in range(20):  # a busy machine is late itself, and the session notices
            began = one.clock.monotonic()
            result = await prober.run(ProbeRequest(job, cycle, Trigger.SCHEDULE, Probe.SEND, "one"))
            if late or not result.distorted:
                break
            asked.clear()

    assert (result.distorted, result.void) == (distorted, void)
    assert (result.reason is None) is void
    assert all(began <= since <= began + 0.5 for since in asked)
    assert asked


@pytest.mark.parametrize("way", ["header", "subprotocol"])
async def test_the_backend_takes_a_token_by_each_way_it_knows(way, standin):
    """The stand-in, as the backend, lets in whoever carries a good token by header or subprotocol."""
    auth = {"jwt": {"key_file": str(standin.key_file), "claims": harness.CLAIMS}, "carry": way}

    result = await harness.Rig().run(the_job(standin, auth=auth))

    assert dict(result.verdicts) == PASSED


async def test_a_ready_token_is_read_again_when_its_file_changes(tmp_path):
    """Each session carries what the file holds now; without the file there is none, and that is our own failure."""
    token_file = tmp_path / "token"
    prober = harness.Rig()
    async with raw_server.serving(chatting) as server:
        job = chat_job(server, tmp_path, token_file=str(token_file))
        for content in ("first-token", "second-token"):
            token_file.write_text(content + "\n")
            await prober.run(job, identity="one")
        token_file.unlink()
        result = await prober.run(job, identity="one")
        carried = [token_of(peer) for peer in server.peers]

    assert carried == ["first-token", "second-token"]
    assert result.impairment is Impairment.TOKEN


# Our own failures ---------------------------------------------------------------------------------------------------


def gone(path):
    path.unlink()


def emptied(path):
    path.write_bytes(b"")


def a_folder(path):
    path.unlink()
    path.mkdir()


def back(path, content):
    if path.is_dir():
        path.rmdir()
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [gone, emptied, a_folder])
async def test_a_key_that_spoils_is_our_own_failure_until_it_is_back(spoil, standin, tmp_path, caplog):
    """No verdict, no connection, no slot; a warning names the file; the next session with the key back is healthy."""
    prober, (job, key_file) = harness.Rig(), keyed(standin, tmp_path, standin.key)
    healthy = await prober.run(job)
    spoil(key_file)
    impaired = await prober.run(job, identity="pool-002")
    back(key_file, standin.key)
    again = await prober.run(job, identity="pool-002")

    assert dict(healthy.verdicts) == dict(again.verdicts) == PASSED
    assert impaired.impairment is Impairment.TOKEN
    assert (impaired.verdicts, impaired.phase, impaired.reason) == (NOTHING, Phase.PREPARE, None)
    assert not impaired.failed
    assert len(await standin.wait_sessions(2)) == 2
    assert prober.state.ledger.held_slots(job.users["pool-002"], time.time()) == 1
    (line,) = lines(caplog)
    assert str(key_file) in line
    assert not any(record.exc_info for record in caplog.records)


async def test_a_key_that_changes_is_used_from_the_next_session_on(standin, tmp_path):
    """A wrong key is the backend's to refuse; the right one is taken up without a restart."""
    prober, (job, key_file) = harness.Rig(), keyed(standin, tmp_path, KEY)
    refused = await prober.run(job)
    key_file.write_bytes(standin.key)
    passed = await prober.run(job)

    assert (refused.phase, refused.reason, refused.impairment) == (Phase.ADMISSION, Reason.AUTH_REJECTED, None)
    assert dict(passed.verdicts) == PASSED


async def test_a_ca_file_that_is_gone_is_our_own_failure(tmp_path, caplog, monkeypatch):
    """Without it nothing is proved of the backend: `internal`, and a warning that names the file."""
    monkeypatch.setattr(files, "MAX_UNCHECKED_SECONDS", 0.0)
    async with StandIn.start(timings=Timings.quick()) as standin:
        ca_file = tmp_path / "ca.pem"
        ca_file.write_bytes(standin.ca_file.read_bytes())
        trusting = harness.target(standin, tls=True) | {"tls": {"ca_file": str(ca_file)}}
        prober, job = harness.Rig(), harness.planned(trusting).jobs[0]
        healthy = await prober.run(job)
        ca_file.unlink()
        impaired = await prober.run(job)

    assert dict(healthy.verdicts) == PASSED
    assert (impaired.impairment, impaired.verdicts) == (Impairment.INTERNAL, NOTHING)
    assert str(ca_file) in lines(caplog)[0]
    assert open_holds(prober) == []


class SetClock(Clock):
    """A wall clock that can be set; `offset`: seconds that it is wrong by."""

    offset = 0.0

    def __init__(self):
        super().__init__(wall=lambda: time.time() + SetClock.offset)


@pytest.mark.parametrize("corrected", [True, False])
async def test_a_token_of_a_clock_that_is_set_meanwhile_proves_nothing(corrected, standin, caplog, monkeypatch):
    """Its rejection is our own failure and no token rests; if the clock stays wrong, it is a rejection as any other."""
    monkeypatch.setattr(SetClock, "offset", -3600.0)
    prober, job = harness.Rig(clock=SetClock()), the_job(standin)

    async def correct():
        await prober.opened.wait()
        if corrected:
            SetClock.offset = 0.0

    result, _ = await asyncio.gather(prober.run(job), correct())
    next_one = await prober.run(job)

    if corrected:
        assert (result.impairment, result.verdicts, result.reason) == (Impairment.CLOCK, NOTHING, None)
        assert lines(caplog) == [
            "no verdict: the wall clock stepped by 3600.0 s between the signature of the token and its rejection"
        ]
        assert dict(next_one.verdicts) == PASSED
    else:
        assert (result.impairment, result.reason) == (None, Reason.AUTH_REJECTED)
        assert next_one.depth is Probe.CONNECT, "the token rests"
    assert open_holds(prober) == []


async def test_a_bug_of_ours_is_internal_and_said_with_its_traceback(standin, monkeypatch, caplog):
    """An exception from below makes no outage; the slot is counted as taken, for it may have been."""

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("exporter.probing.classify", broken)
    prober, job = harness.Rig(), the_job(standin)

    result = await prober.run(job)

    assert (result.impairment, result.verdicts) == (Impairment.INTERNAL, NOTHING)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]
    assert prober.state.ledger.held_slots(job.users["pool-001"], time.time()) == 1
    assert open_holds(prober) == []
    assert prober.open == 0


EXHAUSTED = """
import asyncio, json, os, resource, sys
sys.path.insert(0, {tests!r})
from support import harness
from exporter.standin import StandIn, Timings

async def main():
    async with StandIn.start(timings=Timings.quick()) as standin:
        for file in (standin.key_file, standin.ca_file):
            os.utime(file, (0, 0))  # a file that has not changed for long is not opened again
        prober, job = harness.Rig(), harness.planned(harness.target(standin, tls={tls})).jobs[0]
        told = []
        async def each():
            result = await prober.run(job)
            told.append([result.impairment, result.reason, str(result.verdicts["send"])])
            await standin.wait_sessions(standin.finished + standin.open_connections)
        await each()
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        spare = []
        try:
            while True:
                spare.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        await each()
        for number in spare:
            os.close(number)
        await each()
        print(json.dumps(told))
asyncio.run(main())
"""


@pytest.mark.parametrize("tls", [False, True], ids=["address", "name"])
def test_a_process_without_descriptors_reports_no_outage(tls):
    """With none left for a socket, sessions are `internal` impairments; with some again, they pass."""
    script = EXHAUSTED.format(tests=str(TESTS), tls=tls)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == str(
        [[None, None, "pass"], ["internal", None, "-"], [None, None, "pass"]]
    ).replace("'", '"').replace("None", "null")


# The ledger ---------------------------------------------------------------------------------------------------------

PATHS = (
    "none", "refuse", "http:status=502", "http:status=429", "http:kind=unfinished,status=503", "abort:at=upgrade",
    "abort:at=reply", "auth_rejected", "auth_unavailable", "slot_limit", "internal_error", "silent", "silent:after=tcp",
    "no_welcome", "zombie", "no_close_answer", "half_close", "huge_frame", "random_bytes", "wrong_user",
    "bad_accept",
)  # fmt: skip


@pytest.mark.parametrize("fault", PATHS)
async def test_the_ledger_is_settled_on_every_path(fault, standin):
    """Whatever happened: nobody's connection is open in the books, no token is in flight, no socket is left."""
    standin.set_fault("*", fault)
    prober, job = harness.Rig(), the_job(standin, timeout="300ms", close_timeout="100ms")

    result = await prober.run(job)

    assert isinstance(result, Result)
    assert open_holds(prober) == []
    assert prober.open == 0
    held = prober.state.ledger.held_slots(job.users["pool-001"], time.time())
    standin.clear()
    await standin.wait_sessions(standin.finished + standin.open_connections)
    assert held >= standin.held(harness.POOL["pool-001"]), "we count at least what the backend holds"


@pytest.mark.parametrize("fault", ["silent:after=tcp", "slow_upgrade:delay=0.2", "no_welcome", "deaf", "none"])
@pytest.mark.parametrize("turns", [1, 5, 20])
async def test_a_cancelled_session_is_settled_too(fault, turns, standin):
    """Cancelled in any phase it closes, counts its slot, and leaves nothing open."""
    standin.set_fault("*", fault)
    prober, job = harness.Rig(), the_job(standin, close_timeout="200ms")
    async with raw_server.leaves_nothing():
        task = asyncio.ensure_future(prober.run(job))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await standin.wait_sessions(standin.finished + standin.open_connections)

    assert task.cancelled() or fault == "none"
    assert open_holds(prober) == []
    assert prober.open == 0
    assert not any(seen.close_received == 1011 for seen in standin.sessions)


async def test_an_identity_has_one_connection_at_most(standin):
    """While one is open, its next turn is skipped as `overlap`; another identity is let through."""
    standin.set_fault("/ws", "slow_reply:delay=0.3")
    prober, job = harness.Rig(), the_job(standin)
    first = asyncio.ensure_future(prober.run(job))
    await prober.opened.wait()

    same = await prober.run(job)
    other = await prober.run(job, identity="pool-002")

    assert (same.cause, same.holdup) == (SkipCause.OVERLAP, Holdup.BUSY)
    assert dict(other.verdicts) == dict((await first).verdicts) == PASSED


async def test_who_is_patient_waits_for_the_identitys_other_connection(standin):
    """Its session begins when the other one is over, in this process or another; patience that ends is a skip."""
    standin.set_fault("/ws", "slow_reply:delay=0.3")
    prober, job = harness.Rig(), the_job(standin)
    first = asyncio.ensure_future(prober.run(job))
    await prober.opened.wait()

    hasty = await prober.run(job, patience=0.01)
    patient = await prober.run(job, patience=30.0)

    assert first.done(), "it began when the first was over"
    assert (hasty.cause, hasty.holdup) == (SkipCause.OVERLAP, Holdup.BUSY)
    assert dict(patient.verdicts) == PASSED


async def test_what_limits_the_rate_rests_alone(standin):
    """A 429 rests its path: neither the other paths of the port nor its other ports are held up by it."""
    prober = harness.Rig()
    limited, other = the_job(standin), the_job(standin, path="/ws/other")
    standin.set_fault("/ws", "http:status=429,retry_after=30")
    first = await prober.run(limited)

    again, other_result = await prober.run(limited, identity="pool-002"), await prober.run(other)

    assert first.reason is Reason.RATE_LIMITED
    assert (again.holdup, again.cause) == (Holdup.ENDPOINT, SkipCause.RATE)
    assert dict(other_result.verdicts) == PASSED


async def test_a_lower_limit_binds_at_once_and_is_said_once(standin, caplog):
    """The refusal's N is learned: budget N − reserve from now on, one warning with the figure, the identity rests."""
    prober = harness.Rig()
    job = the_job(standin, limits={"slots_per_identity": 20, "slot_release": "300s"}, interval="100s")
    request = job.session_cost("", Probe.SEND, "pool-001", Trigger.SCHEDULE)
    before = prober.state.ledger.slot_budget(request, time.time())
    standin.set_fault("/ws", "slot_limit:limit=5")

    first = await prober.run(job)
    second = await prober.run(job, identity="pool-002")
    resting = await prober.run(job)

    assert (first.factory_reason, first.slot_limit) == (FactoryReason.SLOT_LIMIT, 5)
    assert (before, prober.state.ledger.slot_budget(request, time.time())) == (19, 4)
    assert second.slot_limit == 5
    assert (resting.depth, resting.failed) == (Probe.CONNECT, False)
    assert [line.split(":")[0] for line in lines(caplog)] == [
        "the backend keeps fewer slots per user than configured", "the identity rests", "the identity rests",
    ]  # fmt: skip
    assert caplog.records[0].keys == {"target": "staging", "identity": "pool-001", "slot_limit": 5}


async def test_rests_are_said(standin, caplog):
    """A rejected token rests, a 429 rests its endpoint: each is one warning when it begins, and says until when."""
    prober, job = harness.Rig(), the_job(standin)
    standin.set_fault("/ws", "auth_rejected")
    await prober.run(job)
    standin.set_fault("/ws", "http:status=429")
    await prober.run(job)
    refused = await prober.run(job)

    assert [line.split(":")[0] for line in lines(caplog)] == [
        "the token was rejected and rests", "the endpoint limits the rate of connects",
    ]  # fmt: skip
    assert (refused.cause, refused.holdup) == (SkipCause.RATE, Holdup.ENDPOINT)
    assert caplog.records[-1].keys["until"] == f"{datetime.fromtimestamp(refused.until, UTC):%Y-%m-%dT%H:%M:%SZ}"


async def test_a_skip_says_why_to_those_who_want_to_know(standin, caplog):
    """At debug level the ledger's own words stand in the log."""
    caplog.set_level(logging.DEBUG, "exporter.probing")
    prober = harness.Rig()
    job = the_job(standin, limits={"slots_per_identity": 2, "slot_release": "300s"}, interval="400s")
    await prober.run(job)

    refused = await prober.run(job)

    assert (refused.cause, refused.holdup) == (SkipCause.BUDGET, Holdup.SLOTS)
    assert refused.until > time.time() + 200, "the slot is free when it is released"
    assert lines(caplog, logging.DEBUG) == ["skipped: 1 of 1 slots held"]


async def test_a_target_without_users_needs_neither_slot_nor_token():
    """The `echo` profile: no identity, no welcome; the nonce comes back."""

    async def echoing(peer):
        await peer.upgrade()
        peer.send(raw_server.text(await peer.message()))

    async with raw_server.serving(echoing) as server:
        mapping = {"name": "echo", "url": f"ws://127.0.0.1:{server.port}", "profile": "echo"}
        prober, job = harness.Rig(), harness.planned(mapping).jobs[0]
        result = await prober.run(job)

    assert result.identity is None
    assert {probe for probe, verdict in result.verdicts.items() if verdict is Verdict.PASS} == {
        Probe.CONNECT, Probe.SEND,
    }  # fmt: skip
    assert list(prober.state.ledger._state.all_leases()) == []
