"""A hostile server: whatever it sends, a session yields facts of the closed lists, in time and in bounded memory."""

import asyncio
import gc
import json
import struct
import time
import tracemalloc

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.certificates import client_context
from support.hostile_servers import accepted, begun, flooding, heads, hostile, survive
from support.raw_server import CHAT, NONCE, REPLY, WELCOME, both_loops, close, converse, frame, text
from support.raw_server import ECHO_REPLY as OUR_REPLY
from support.tlsend import over_tls, saying_why
from websockets.frames import Opcode

from exporter.classify import ClassifyContext, WelcomeReplayDetector, classify
from exporter.profiles import BUILT_IN
from exporter.result import Phase, Probe, SessionObservation
from exporter.session import messages

FEW = settings(
    max_examples=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
MANY = settings(FEW, max_examples=3_000, derandomize=False)

# What it sends ----------------------------------------------------------------------------------------------------

HTTPISH = st.sampled_from(
    [
        b"HTTP/1.1 ",
        b"101 ",
        b"103 x\r\n\r\n",
        b"503",
        b"\r\n",
        b"\r\n\r\n",
        b"Upgrade: websocket",
        b"Retry-After: ",
        b"9",
    ]
)
NOISE = st.lists(st.binary(max_size=40) | HTTPISH, max_size=6)

SCALARS = (
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(st.characters(), max_size=9)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
DEEP = st.sampled_from(
    ["[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900, "[" * 60_000, "9" * 5_000, "1e999", "-0"]
)

HELLO = {
    "connection_id": "ws_1",
    "user_id": "user-1",
    "server_time": "2025-09-08T23:01:00+00:00",
    "connection_ready": True,
    "environment": "staging",
    "startup_complete": True,
    "config": {"heartbeat_interval": 25, "max_message_size": 8192},
    "factory_pattern_enabled": True,
}


@st.composite
def objects(draw):
    """JSON texts that are nearly those of the profiles: a field replaced, removed or there twice, in any type."""
    base = draw(
        st.sampled_from(
            [
                {"type": "system_message", "data": {"event": "connection_established", **HELLO}},
                {"type": "error_message", "error_code": "FACTORY_INIT_FAILED", "details": {"error_message": "(5)"}},
                {"type": "ack", "received_type": f"ws_factory_exporter_{NONCE}", "status": "acknowledged"},
                {"type": "hello"},
                {"type": "error", "code": "full"},
                OUR_REPLY,
            ]
        )
    )
    place = base.get("data", base) if draw(st.booleans()) else base
    key = draw(st.sampled_from(sorted(place)))
    value = draw(VALUES.map(json.dumps) | DEEP)
    changed = [f"{json.dumps(name)}: {json.dumps(old)}" for name, old in place.items() if name != key]
    extra = [f"{json.dumps(key)}: {value}"] * draw(st.integers(0, 2))
    inner = "{" + ", ".join(draw(st.permutations([*changed, *extra]))) + "}"
    if place is base:
        return inner
    return json.dumps({**base, "data": "PLACE"}).replace('"PLACE"', inner)


@st.composite
def frames(draw):
    """Frames that are nearly right: any opcode and flags, JSON or noise in them, a byte changed or missing."""
    payload = draw(
        objects().map(str.encode) | VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30)
    )
    opcode = draw(st.sampled_from([1, 1, 1, 1, 2, 0, 8, 9, 10, 3, 15]))
    if opcode == Opcode.CLOSE:
        payload = struct.pack("!H", draw(st.integers(0, 65_535))) + payload[:130]
    whole = bytearray(frame(opcode, payload, fin=draw(st.integers(0, 5)) > 0, rsv1=draw(st.integers(0, 9)) == 0))
    if draw(st.integers(0, 5)) == 0:
        whole[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
    if draw(st.integers(0, 7)) == 0:
        del whole[draw(st.integers(0, len(whole))) :]
    return bytes(whole)


WORDS = NOISE | st.lists(frames(), max_size=6)
ENDS = st.sampled_from(["stay", "stay", "end", "half_close", "reset"])
LOOPS = st.sampled_from([asyncio.new_event_loop, uvloop.new_event_loop])

# When it sends it -------------------------------------------------------------------------------------------------


async def instead_of_the_101(peer, _):
    await peer.request()


async def with_the_101(peer, words):
    await peer.upgrade(*words)


async def instead_of_the_welcome(peer, _):
    await peer.upgrade()


async def instead_of_the_reply(peer, _):
    await peer.upgrade(WELCOME)
    await peer.message()


async def after_the_reply(peer, _):
    await peer.upgrade(WELCOME)
    await peer.message()
    peer.send(REPLY)


async def after_our_close(peer, _):
    await after_the_reply(peer, _)
    while (await peer.frame())[0] != Opcode.CLOSE:
        pass


async def at_once(_, __):
    pass


STEPS = [
    instead_of_the_101,
    with_the_101,
    instead_of_the_welcome,
    instead_of_the_reply,
    after_the_reply,
    after_our_close,
]


def plainly(step, *, words, end, new_loop, factory, depth):
    profile = BUILT_IN["factory"] if factory else CHAT
    survive(new_loop, hostile(step, words, end), profile=profile, depth=depth)


ANY = {
    "words": WORDS,
    "end": ENDS,
    "new_loop": LOOPS,
    "factory": st.booleans(),
    "depth": st.sampled_from([Probe.SEND, Probe.SEND, Probe.AUTH, Probe.CONNECT]),
}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
@FEW
@given(**ANY)
def test_nothing_that_a_server_sends_breaks_a_session(step, **drawn):
    """Noise and nearly right frames at every step, the connection kept, ended or reset: facts of the closed lists."""
    plainly(step, **drawn)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
@MANY
@given(**ANY)
def test_nothing_that_a_server_sends_breaks_a_session_for_long(step, **drawn):
    """The same with thousands of other examples each time."""
    plainly(step, **drawn)


@FEW
@given(words=NOISE, end=ENDS, new_loop=LOOPS)
def test_noise_instead_of_tls_breaks_nothing(words, end, new_loop):
    """Random bytes to a client that wants TLS: a fault, and none of a later phase."""
    facts = survive(new_loop, hostile(at_once, words, end), tls=client_context())

    assert facts.fault is not None
    assert facts.ended in (Phase.TCP, Phase.TLS)  # a busy machine may not even connect in so short a time


@FEW
@given(words=NOISE, end=ENDS, new_loop=LOOPS, sealed=st.booleans())
def test_noise_within_tls_breaks_nothing(tmp_path_factory, words, end, new_loop, sealed):
    """Random bytes after the TLS handshake, as records and instead of them."""

    async def script(end_of_tls):
        await end_of_tls.upgrade()
        for part in words:
            end_of_tls.peer.send(end_of_tls.sealed(part) if sealed and part else part)
        if end != "stay":
            getattr(end_of_tls.peer, end)()
        await end_of_tls.peer.raw_to_the_end()

    play = saying_why(over_tls(tmp_path_factory.mktemp("tls"), script))
    survive(new_loop, play, tls=client_context())


@settings(FEW, max_examples=150)
@given(words=st.lists(objects(), min_size=1, max_size=3), reply=objects())
def test_no_welcome_and_no_reply_breaks_the_judgement(words, reply):
    """Every field of welcome, error frame and reply in every type, deep, huge, not a number, twice: a judgement."""

    async def script(peer):
        await peer.upgrade(*(frame(Opcode.TEXT, word.encode()) for word in [*words, reply]))
        peer.send(close(1011))

    facts = survive(asyncio.new_event_loop, script, profile=BUILT_IN["factory"], timeout=5)

    assert facts.ended in (Phase.ADMISSION, Phase.REPLY, Phase.CLOSE)


# Memory -----------------------------------------------------------------------------------------------------------


def closing(client):
    """Serve the client well, until it closes."""
    accepted(client)
    client.sendall(WELCOME)
    client.recv(65_536)
    client.sendall(REPLY)
    client.recv(65_536)


PONG_BAIT = text({"type": "ping"})
FLOODS = {
    "1xx": (heads, b"HTTP/1.1 103 x\r\n\r\n" * 500, "upgrade"),
    "headers": (heads, b"A: b\r\n" * 1_000, "upgrade"),
    "pings": (accepted, frame(Opcode.PING, b"x" * 125) * 100, "admission"),
    "empty pings": (accepted, frame(Opcode.PING) * 5_000, "admission"),
    "empty fragments": (begun, frame(Opcode.CONT, fin=False) * 5_000, "admission"),
    "endless message": (begun, frame(Opcode.CONT, b"x" * 1_000, fin=False), "admission"),
    "application pings": (accepted, PONG_BAIT * 500, "admission"),
    "noise": (accepted, text({"type": "x", "a": [{}] * 15_000}), "admission"),
    "binary": (accepted, frame(Opcode.BINARY, b"x" * 60_000), "admission"),
    "after our close": (closing, frame(Opcode.PING, b"x" * 100) * 100, "close"),
    "messages after our close": (closing, frame(Opcode.TEXT, b"x" * 60_000), "close"),
}


@pytest.mark.parametrize(("beginning", "words", "phase"), FLOODS.values(), ids=FLOODS.keys())
@both_loops
async def test_a_flood_wins_no_time(beginning, words, phase):
    """A server that sends as fast as it can meets the bounds or the deadline, as `converse` has it."""
    for timeout in (0.4, 1.6, 6.4):  # a machine that is busy with other things may not reach the phase at first
        with flooding(beginning, words) as flood:
            facts = await converse(flood, timeout=timeout, close_timeout=0.1, slack=20.0)
        if str(facts.ended) == phase:
            break

    assert str(facts.ended) == phase


@pytest.mark.parametrize(("beginning", "words", "phase"), FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_finds_no_memory(monkeypatch, beginning, words, phase):
    """A server that sends as fast as it can for as long as it may costs a few megabytes at most, and leaves none.

    All is slower while it is traced: fewer frames are a flood, and time is not looked at. The session has a task of
    its own, as always: a task keeps what its last timeout interrupted.
    """
    monkeypatch.setattr(messages, "MAX_FRAMES", 10_000)
    with flooding(beginning, words) as flood:
        gc.collect()
        tracemalloc.start()
        try:
            facts = await asyncio.create_task(converse(flood, timeout=0.6, close_timeout=0.1, slack=60.0))
            _, peak = tracemalloc.get_traced_memory()
            gc.collect()
            left, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert str(facts.ended) == phase
    assert peak < 12_000_000
    assert left < 1_000_000


@pytest.mark.parametrize(
    "words", [frame(Opcode.PING) * 5_000, frame(Opcode.TEXT, b"x" * 60_000)], ids=["pings", "texts"]
)
async def test_a_flood_ends_the_close_budget_early(words):
    """A server that answers our close with a flood is left at once: the budget is for closing."""
    with flooding(closing, words) as flood:
        started = time.monotonic()
        facts = await converse(flood, close_timeout=20)

    assert time.monotonic() - started < 10
    assert facts.fault is None


def test_what_a_target_remembers_is_bounded():
    """Connection ids of a megabyte cost no megabytes: the ring of ids holds 4,096 of them."""
    memory, welcome = (
        WelcomeReplayDetector(),
        {"type": "system_message", "data": {"event": "connection_established", **HELLO}},
    )
    tracemalloc.start()
    try:
        for number in range(20):
            told = {**welcome, "data": {**welcome["data"], "connection_id": str(number) + "x" * 1_000_000}}
            facts = SessionObservation(phases={}, marks={}, ended=Phase.CLOSE, welcome=told)
            classify(facts, ClassifyContext(BUILT_IN["factory"], Probe.SEND, 0.0, memory))
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert left < 5_000_000
