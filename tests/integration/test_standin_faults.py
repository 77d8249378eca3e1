"""The stand-in's faults, as they go over the wire: every one of the table, plain and TLS."""

import asyncio
import json

import pytest
import yaml
from support import standin_clients as clients
from support import virtual_clock
from support.paths import DATA
from support.standin_clients import Peer, story, until

from exporter.standin import FAULTS, StandIn, Timings, parse
from exporter.standin.fault_actions import FAULT_ACTIONS
from exporter.standin.faults import FaultStage
from exporter.standin.wire_fault_actions import CERTIFICATES, WIRE_FAULT_ACTIONS

FINE = "101 > welcome > ping ack > close 1000 eof"
NOISE = "ping service_info handshake_validation"
FACTORY = "101 > FACTORY_INIT_FAILED close 1011 Factory SSOT validation failed eof"
AUTH = "101 > VALIDATION_FAILED close 1008 SSOT Auth failed eof"
INTERNAL = "101 > close 1011 Internal error eof"
TEXT = "text... PING cont..."  # two fragments and the ping between them; the third is the word that follows

# spec: (the session over plain, the same over TLS if it differs). Words: `upgrade > admission > reply > close`.
WIRE = {
    "none": (FINE,),
    "refuse": ("refused",),
    "not_tls": (FINE, "tls:WRONG_VERSION_NUMBER"),
    "tls_expired": (FINE, "tls:CERTIFICATE_VERIFY_FAILED"),
    "tls_untrusted": (FINE, "tls:CERTIFICATE_VERIFY_FAILED"),
    "tls_wrong_host": (FINE, "tls:CERTIFICATE_VERIFY_FAILED"),
    "tls_client_required": (FINE, "tls:TLSV13_ALERT_CERTIFICATE_REQUIRED"),
    "slow_upgrade:delay=1": (FINE,),
    "fragments": (f"101 > {TEXT} welcome > {TEXT} ping {TEXT} ack > close 1000 eof",),
    "no_close_answer": ("101 > welcome > ping ack > silence",),
    "forged_token_accepted": (FINE,),
    "wrong_refusal": (FINE,),
    "slot_leak": (FINE,),
    "manager_leak": (FINE,),
    "bad_accept": (FINE,),
    "slow_services": ("101 > service_info welcome > ping ack > close 1000 eof",),
    "slow_welcome": (FINE,),
    "slow_reply": (FINE,),
    "noise:count=3": (f"101 > {NOISE} welcome > ping {NOISE} ack > close 1000 eof",),
    "huge_frame": ("101 > huge welcome > ping ack > close 1000 eof",),
    "huge_frame:at=reply": ("101 > welcome > ping huge ack > close 1000 eof",),
    "bad_utf8": ("101 > not_utf8 welcome > ping ack > close 1000 eof",),
    "bad_utf8:at=reply": ("101 > welcome > ping not_utf8 ack > close 1000 eof",),
    "bad_opcode": ("101 > illegal",),
    "bad_opcode:at=reply": ("101 > welcome > ping illegal",),
    "http": ("503",),
    "http:status=403": ("403",),
    "http:kind=redirect": ("302",),
    "http:kind=early_hints": (f"103 {FINE}",),
    "http:kind=early_hints,status=503": ("103 503",),
    "http:kind=unfinished,status=429": ("429",),
    "http:kind=http10": ("503",),
    "http:kind=noreason": ("503",),
    "random_bytes": ("101 > illegal",),
    "random_bytes:at=upgrade": ("garbage",),
    "random_bytes:at=reply": ("101 > welcome > ping illegal",),
    "auth_rejected": (AUTH,),
    "auth_unavailable": (AUTH,),
    "auth_rejected:code=AUTH_SERVICE_ERROR": ("101 > AUTH_SERVICE_ERROR close 1008 SSOT Auth failed eof",),
    "relabelled_auth": ("101 > VALIDATION_FAILED close 1011 SSOT Auth failed eof",),
    "relabelled_auth:frame=false": ("101 > close 1011 SSOT Auth failed eof",),
    "too_many": ("101 > close 1008 Too many concurrent connections (3/3) eof",),
    "rate_limit_close": ("101 > close 1008 Rate limit exceeded - retry after 30s eof",),
    "name_shape": ("101 > handshake_validation close 1011 Internal error eof",),
    "name_shape:shape=uuid": (FINE,),
    "slot_limit": (FACTORY,),
    f"slot_limit:user={clients.USER}": (FACTORY,),
    "slot_limit:user=somebody": (FINE,),
    "init_failed": (FACTORY,),
    "startup_incomplete:delay=5": ("101 > STARTUP_INCOMPLETE close 1011 Service startup incomplete eof",),
    "degraded": ("101 > degraded_mode silence > close 1000 eof",),
    "degraded:welcome=true": ("101 > degraded_mode welcome > ping ack > close 1000 eof",),
    "internal_error": (INTERNAL,),
    "internal_error:at=reply": ("101 > welcome > ping close 1011 Internal error eof",),
    "unavailable": ("101 > close 1013 Service temporarily unavailable eof",),
    "component": ("101 > close 1003 Factory: initialization failed eof",),
    "component:code=1002,text=who are you": ("101 > close 1002 Auth: who are you eof",),
    "component:code=1005": ("101 > close 1005 Database: initialization failed eof",),
    "component:code=1010,component=X,text=" + "y" * 60: ("101 > close 1010 X: " + "y" * 47 + " eof",),
    "recovery_frame": ("101 > connection_recovery silence > close 1000 eof",),
    "no_welcome": ("101 > silence > close 1000 eof",),
    "wrong_user": (FINE,),
    "wrong_environment": (FINE,),
    "repeated_connection_id": (FINE,),
    "frozen_time": (FINE,),
    "not_ready": (FINE,),
    "factory_disabled": (FINE,),
    "invalid_welcome": (FINE,),
    "invalid_welcome:missing=event": ("101 > system_message ping silence > close 1000 eof",),
    "malformed_json": ("101 > not_json ping silence > close 1000 eof",),
    "malformed_json:at=reply": ("101 > welcome > ping not_json silence > close 1000 eof",),
    "binary_welcome": ("101 > binary ping silence > close 1000 eof",),
    "zombie": ("101 > welcome > silence > close 1000 eof",),
    "deaf": ("101 > welcome > ping silence > close 1000 eof",),
    "frozen": (FINE,),
    "no_heartbeat": (FINE,),
    "cut": (FINE,),
    "silent": ("101 > silence > silence",),
    "silent:after=tcp": ("silence", "reset"),  # asyncio's client gives up its handshake by itself
    "silent:after=tls": ("silence",),
    "silent:after=welcome": ("101 > welcome > silence > silence",),
    "silent:after=send": ("101 > welcome > ping silence > silence",),
    "silent:after=close": ("101 > welcome > ping ack > silence",),
    "half_close": ("101 > eof",),
    "half_close:at=tcp": ("eof", "reset"),  # asyncio's word for an end in mid-handshake
    "half_close:at=upgrade": ("eof",),
    "half_close:at=reply": ("101 > welcome > ping eof",),
    "half_close:at=close": ("101 > welcome > ping ack > eof",),
    "abort": ("101 > reset",),
    "abort:at=tcp": ("reset",),
    "abort:at=upgrade": ("reset",),
    "abort:at=reply": ("101 > welcome > ping reset",),
    "abort:at=close": ("101 > welcome > ping ack > reset",),
    "close": ("101 > close 1011 eof",),
    "close:code=1000,reason=Graceful restart, at once": ("101 > close 1000 Graceful restart, at once eof",),
    "close:code=1005": ("101 > close 1005 eof",),
    "close:code=1006": ("101 > close 1006 eof",),
    "close:code=4001,at=welcome": ("101 > welcome > close 4001 eof",),
    "close:code=1012,at=reply": ("101 > welcome > ping close 1012 eof",),
    "close:code=1011,reason=late,at=close": ("101 > welcome > ping ack > close 1011 late eof",),
    "close:code=1011,reason=x,frame=SOMETHING_NEW": ("101 > SOMETHING_NEW close 1011 x eof",),
    "close:code=1000,at=reply,frame=FORMAT_ERROR": ("101 > welcome > ping FORMAT_ERROR close 1000 eof",),
}
CASES = [(spec, tls, expected[-1] if tls else expected[0]) for spec, expected in WIRE.items() for tls in (False, True)]


@pytest.mark.parametrize(
    ("spec", "tls", "expected"), CASES, ids=[f"{s}-{'tls' if t else 'plain'}" for s, t, _ in CASES]
)
def test_a_fault_is_on_the_wire_what_the_table_says(spec, tls, expected):
    """A fault changes what a client meets exactly where it says, over plain and TLS, and leaves nothing open."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall) as standin:
            standin.set_fault("*", spec)
            told = await story(standin, tls=tls, now=loop.wall())
            if told != "refused":
                await standin.wait_sessions(1, 700)
            assert standin.open_connections == 0
            assert not standin.crashes
            return told

    told = virtual_clock.run(main)
    assert told == expected


def test_every_fault_has_a_row_and_an_act():
    """A fault without an expectation or without a deed is none."""
    assert {parse(spec).name for spec in WIRE} == set(FAULTS)
    listeners = {"none", "refuse", "tls_client_required", *CERTIFICATES}
    assert set(FAULT_ACTIONS) | set(WIRE_FAULT_ACTIONS) == set(FAULTS) - listeners
    for name, fault in FAULTS.items():
        stages = set(parse(name).stages) | {stage for param in fault.params for stage in param.stages.values()}
        by_wire = stages & {FaultStage.TCP, FaultStage.CLOSE}
        assert (not by_wire) or name in WIRE_FAULT_ACTIONS
        assert not (stages - {FaultStage.TCP, FaultStage.CLOSE, FaultStage.TLS}) or name in FAULT_ACTIONS


def test_the_expectations_of_the_exporter_can_be_set():
    """Every spec in the exporter's table of expectations parses."""
    text = (DATA / "faults.yml").read_text(encoding="utf-8")
    assert all(parse(row["fault"]).spec == row["fault"] for row in yaml.safe_load(text))


# The contents of frames ---------------------------------------------------------------------------------------------


async def first(peer, kind):
    """The JSON of the first frame of that word."""
    while True:
        name, value = await peer.frame()
        assert name not in ("eof", "reset", "silence"), f"no {kind}"
        if name in ("text", "binary"):
            message = json.loads(value)
            if clients.word_of(message) == kind:
                return message


def session(spec, look, *, path="/ws", tls=False, subject=clients.USER, runs=1, pause=0.0, **options):
    """Set the fault, open sessions one after the other, and return what `look(peer)` saw in each."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall, **options) as standin:
            standin.set_fault(path, spec)
            found = []
            for _ in range(runs):
                peer = await Peer.connect(standin, tls=tls)
                authorization = f"Authorization: Bearer {clients.token(standin.key, loop.wall(), subject)}"
                assert await peer.upgrade(path, [authorization]) == "101"
                found.append(await look(peer))
                await peer.close()
                await asyncio.sleep(pause)
            return found if runs > 1 else found[0]

    return virtual_clock.run(main)


async def welcome(peer):
    return (await first(peer, "welcome"))["data"]


@pytest.mark.parametrize(
    ("spec", "field", "value"),
    [
        ("wrong_user", "user_id", "somebody-else"),
        ("wrong_user:user=x y", "user_id", "x y"),
        ("wrong_environment", "environment", "production"),
        ("not_ready", "connection_ready", False),
        ("not_ready:field=startup_complete", "startup_complete", False),
        ("factory_disabled", "factory_pattern_enabled", False),
        ("invalid_welcome", "connection_id", None),
        ("invalid_welcome:missing=server_time", "server_time", None),
        ("invalid_welcome:type=user_id", "user_id", [clients.USER]),
        ("invalid_welcome:type=wrong", "connection_ready", [True]),
        ("degraded:welcome=true", "startup_complete", False),
        ("none", "environment", "staging"),
    ],
)
def test_a_wrong_welcome_is_wrong_where_it_says(spec, field, value):
    """A fault of the welcome changes its one field and no other."""
    wrong, right = session(spec, welcome), session("none", welcome)
    assert wrong.get(field) == value
    if spec != "invalid_welcome:type=wrong":
        assert {name for name in right if wrong.get(name) != right[name]} <= {field, "server_time"}


def test_a_repeated_connection_id_is_the_same_in_every_welcome():
    """The fault gives the first id again; without it every id is new."""
    ids = [data["connection_id"] for data in session("repeated_connection_id", welcome, runs=3)]
    assert len(set(ids)) == 1
    assert len({data["connection_id"] for data in session("none", welcome, runs=3)}) == 3


def test_frozen_time_stands_still():
    """The server's time does not move on, although ours does."""
    assert len({data["server_time"] for data in session("frozen_time", welcome, runs=3, pause=2.5)}) == 1
    assert len({data["server_time"] for data in session("none", welcome, runs=3, pause=2.5)}) == 3


@pytest.mark.parametrize(
    ("spec", "path", "text"),
    [
        ("slot_limit", "details.error_message", "maximum number of WebSocket managers (20)"),
        ("slot_limit:limit=5", "details.error_message", "maximum number of WebSocket managers (5)"),
        ("init_failed", "details.error_type", "FactoryInitializationError"),
        ("init_failed:text=no, not today", "details.error_message", "no, not today"),
    ],
)
def test_the_cause_of_a_factory_refusal_stands_in_the_error_frame(spec, path, text):
    """The close reason is the same for all; `details` differ (docs/backend-protocol.md#the-manager-factory)."""

    async def look(peer):
        return await first(peer, "FACTORY_INIT_FAILED")

    value = session(spec, look)
    for part in path.split("."):
        value = value[part]
    assert text in value
    assert ("maximum number" in json.dumps(session("init_failed", look))) is False


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("auth_rejected", "token_rejected"),
        ("auth_unavailable", "auth_service_unreachable"),
        ("auth_unavailable:text=validation_failed_circuitbreakertimeout", "validation_failed_circuitbreakertimeout"),
    ],
)
def test_the_text_of_an_auth_refusal_says_which_it_was(spec, text):
    """VALIDATION_FAILED covers a bad token and a dead auth service: the text is the difference."""

    async def look(peer):
        return await first(peer, "VALIDATION_FAILED")

    assert session(spec, look)["error_message"].startswith(text)


def test_fragments_join_to_the_welcome():
    """A fragmented message is whole when joined, with a protocol ping between the parts."""

    async def look(peer):
        return await until(peer, "welcome")

    assert session("fragments", look) == ["text...", "PING", "cont...", "welcome"]


def test_noise_holds_other_peoples_acks_and_never_ours():
    """No frame of the noise is a welcome, an error or an answer to us."""

    async def look(peer):
        await until(peer, "welcome")
        peer.send_json({"type": clients.NONCE})
        frames = []
        while True:
            kind, value = await peer.frame()
            frames.append(json.loads(value))
            if kind == "text" and frames[-1].get("received_type") == clients.NONCE:
                return frames

    frames = session("noise:count=40", look)
    assert len(frames) == 42  # the immediate ping, the noise, our ack
    assert {frame["type"] for frame in frames} >= {"ping", "system_message", "handshake_validation", "ack"}
    assert [frame["user_id"] for frame in frames if frame["type"] == "ack"][-1] == clients.USER
    assert clients.USER not in {frame["user_id"] for frame in frames[:-1] if frame["type"] == "ack"}


def test_huge_frames_have_the_size_they_are_asked_for():
    """A text message of exactly so many bytes."""

    async def look(peer):
        kind, value = await peer.frame()
        return kind, len(value)

    assert session("huge_frame:size=100000", look) == ("text", 100_000)
    assert session("huge_frame", look) == ("text", 2_097_152)


def test_slow_faults_take_their_time():
    """A delay is the one asked for, or the backend's own figure."""

    async def when(peer):
        await until(peer, "welcome")
        return peer.writer.transport._loop.time()

    assert session("slow_welcome:delay=0.3", when) == pytest.approx(0.4, abs=0.01)
    assert session("slow_services", when) == pytest.approx(3.1, abs=0.01)
    assert session("slow_services:delay=0.2s", when) == pytest.approx(0.3, abs=0.01)
    assert session("slow_upgrade:delay=2", when) == pytest.approx(2.1, abs=0.01)


@pytest.mark.parametrize(
    ("spec", "head", "body"),
    [
        ("http:kind=html,status=502", "HTTP/1.1 502 Bad Gateway", "<!doctype html>"),
        ("http:kind=http10,status=500", "HTTP/1.0 500 Internal Server Error", "500"),
        ("http:kind=noreason,status=503", "HTTP/1.1 503\r\n", "503"),
        ("http:kind=redirect,status=307,location=https://x.invalid/", "Location: https://x.invalid/", "307"),
        ("http:status=429,retry_after=7", "Retry-After: 7\r\n", "429"),
        ("http:status=418", "HTTP/1.1 418 I'm a Teapot", "418"),
        ("http:status=599", "HTTP/1.1 599 Unassigned", "599"),
    ],
)
def test_http_answers_have_the_head_and_body_asked_for(spec, head, body):
    """Status line, headers and body of a refused upgrade are those of its kind; the connection ends."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall) as standin:
            standin.set_fault("/ws", spec)
            peer = await Peer.connect(standin)
            await peer.upgrade()
            found = peer.head, await peer.body()
            await peer.close()
            return found

    answer, text = virtual_clock.run(main)
    assert head in answer
    assert text.startswith(body)


def test_an_unfinished_body_never_ends():
    """Fewer bytes come than Content-Length says, and the connection stays."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall) as standin:
            standin.set_fault("/ws", "http:kind=unfinished,status=503")
            peer = await Peer.connect(standin)
            assert await peer.upgrade() == "503"
            assert await peer.body() is None
            assert standin.open_connections == 1
            await peer.close()

    virtual_clock.run(main)


def test_a_client_certificate_opens_the_door_that_asks_for_one():
    """`tls_client_required` and `client_ca` let the stand-in's own client certificate in, and nobody without."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall) as standin:
            standin.set_fault("*", "tls_client_required")
            assert await story(standin, tls=True, client=True, now=loop.wall()) == FINE
            assert "CERTIFICATE_REQUIRED" in await story(standin, tls=True, now=loop.wall())
        async with StandIn.start(clock=loop.time, wall=loop.wall, client_ca=True) as standin:
            assert await story(standin, tls=True, client=True, now=loop.wall()) == FINE
            assert "CERTIFICATE_REQUIRED" in await story(standin, tls=True, now=loop.wall())

    virtual_clock.run(main)


def test_a_forged_token_is_let_in_only_under_the_fault():
    """`forged_token_accepted` lets a token of another key in as whoever it says it is."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall) as standin:
            forged = [f"Authorization: Bearer {clients.token(b'x' * 64, loop.wall(), 'mallory')}"]
            assert await story(standin, headers=forged) == AUTH
            standin.set_fault("/ws", "forged_token_accepted")
            assert await story(standin, headers=forged) == FINE
            assert [seen.user for seen in await standin.wait_sessions(2)] == [None, "mallory"]

    virtual_clock.run(main)


def test_a_share_meets_that_fraction_and_the_seed_says_whom():
    """Two runs of one seed meet the same connections; the fraction is about the one asked for."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall, seed=7, slots=10_000) as standin:
            standin.set_fault("/ws", "slot_limit:share=0.3", "close:code=1012,at=close,share=0.2")
            told = [await story(standin, now=loop.wall()) for _ in range(100)]
            return [("FACTORY" in each, "1012" in each) for each in told]

    one, two = virtual_clock.run(main), virtual_clock.run(main)
    assert one == two
    assert 15 < sum(refused for refused, _ in one) < 45
    assert 3 < sum(late for _, late in one) < 35


def test_faults_of_one_path_leave_the_others_alone():
    """Each path has its own faults; `*` reaches all; `/websocket` is `/ws`."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall) as standin:
            standin.set_fault("/ws/a", "internal_error")
            standin.set_fault("/websocket", "unavailable")
            told = {path: await story(standin, path, now=loop.wall()) for path in ("/ws", "/ws/a", "/ws/b")}
            standin.set_fault("*", "no_close_answer")
            told["*"] = await story(standin, "/ws/b", now=loop.wall())
            standin.clear("/ws/a")
            told["cleared"] = await story(standin, "/ws/a", now=loop.wall())
            standin.clear()
            told["all"] = await story(standin, "/ws/b", now=loop.wall())
            return told

    told = virtual_clock.run(main)
    assert told["/ws"] == "101 > close 1013 Service temporarily unavailable eof"
    assert told["/ws/a"] == INTERNAL
    assert told["/ws/b"] == FINE
    assert told["*"] == told["cleared"] == "101 > welcome > ping ack > silence"
    assert told["all"] == FINE


def test_several_faults_act_together():
    """Noise comes first, whatever the order it was set in, then the close."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall) as standin:
            standin.set_fault("/ws", "close:code=1012,at=reply", "noise:count=1", "slow_upgrade:delay=0.1")
            return await story(standin, now=loop.wall())

    assert virtual_clock.run(main) == "101 > ping welcome > ping ping close 1012 eof"


def test_a_registered_path_is_a_backend_and_loses_nothing_when_cleared():
    """Setting a fault on any path makes it one; clearing the fault leaves it there."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall) as standin:
            assert await story(standin, "/socket", now=loop.wall()) == "403"
            standin.set_fault("/socket", "unavailable")
            assert "1013" in await story(standin, "/socket", now=loop.wall())
            standin.clear("/socket")
            assert await story(standin, "/socket", now=loop.wall()) == FINE

    virtual_clock.run(main)


def test_auth_faults_can_count_in_the_breaker():
    """With `breaker=true` three refusals open the breaker, as the backend's do; without, the text never changes."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall) as standin:
            texts = {}
            for flag in ("true", "false"):
                standin.forget()
                standin.set_fault("/ws", f"auth_rejected:breaker={flag}")
                texts[flag] = [await _refusal_text(standin, loop) for _ in range(5)]
            return texts

    texts = virtual_clock.run(main)
    assert texts["false"] == ["token_rejected"] * 5
    assert texts["true"] == ["token_rejected"] * 3 + ["auth_service_unreachable"] * 2


async def _refusal_text(standin, loop):
    peer = await Peer.connect(standin)
    await peer.upgrade("/ws", [f"Authorization: Bearer {clients.token(standin.key, loop.wall())}"])
    text = (await first(peer, "VALIDATION_FAILED"))["error_message"].split()[0]
    await peer.close()
    return text


def test_refusing_stops_and_starts_on_the_same_port():
    """`refuse` refuses connections on both ports; cleared, the same ports answer again."""

    async def main(loop):
        async with StandIn.start(clock=loop.time, wall=loop.wall, timings=Timings.quick()) as standin:
            before = standin.url(), standin.url(tls=True)
            for _ in range(3):
                standin.set_fault("*", "refuse")
                assert await story(standin, now=loop.wall()) == "refused"
                assert await story(standin, tls=True, now=loop.wall()) == "refused"
                standin.clear("*")
                assert await story(standin, now=loop.wall()) == FINE
                assert await story(standin, tls=True, now=loop.wall()) == FINE
            assert before == (standin.url(), standin.url(tls=True))

    virtual_clock.run(main)
