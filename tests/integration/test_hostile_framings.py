"""A hostile server of each protocol: nearly right packets, noise and floods end as one named fault, in time."""

import asyncio
import gc
import tracemalloc

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.hostile_servers import accepted, flooding, hostile, survive
from support.raw_server import VALUES, converse, frame
from websockets.frames import Opcode

from exporter.catalog import CATALOG
from exporter.config import Profile, steps_of
from exporter.framing import FRAMINGS, FramingError
from exporter.profiles import fill
from exporter.result import Probe
from exporter.session import messages

FEW = settings(
    max_examples=25,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
FILLED = {**VALUES, "basic": "YTpi", "plain": "AGEAYg=="}
SCALARS = st.none() | st.booleans() | st.integers(-5, 300) | st.text(max_size=6)


def awaited(profile):
    """What the profile waits for or knows: the patterns of its welcome, steps, noise and errors, filled in."""
    patterns = [step.match for _, step in steps_of(profile)] + [rule.match for rule in profile.noise]
    patterns += [rule.match for rule in profile.errors] + ([profile.welcome.match] if profile.welcome else [])
    kept = {name: "1" for _, step in steps_of(profile) for name in step.keep}
    return [fill(pattern, {**FILLED, **kept}) for pattern in patterns if pattern is not None]


@st.composite
def packets(draw, profile):
    """Bytes of a WebSocket message: a packet of the protocol with a field changed, a byte changed, or cut, or noise."""
    codec = profile.framing.codec
    value = draw(st.sampled_from(awaited(profile)))
    if isinstance(value, dict) and value and draw(st.booleans()):
        value = {**value, draw(st.sampled_from(sorted(value))): draw(SCALARS)}
    try:
        data = bytearray(codec.encode(value))
    except FramingError:
        data = bytearray(draw(st.binary(max_size=40)))
    if data and draw(st.integers(0, 2)) == 0:
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    if draw(st.integers(0, 3)) == 0:
        del data[draw(st.integers(0, len(data))) :]
    return frame(draw(st.sampled_from([Opcode.TEXT, Opcode.BINARY])), bytes(data))


async def once_asked(peer, _):
    """Let the client speak first, if it does."""
    await peer.upgrade()


@pytest.mark.parametrize("name", sorted(CATALOG))
@FEW
@given(data=st.data())
def test_nothing_that_a_server_of_the_protocol_sends_breaks_a_session(name, data):
    """Facts of the closed lists come of it, and the deadline is kept (`converse` judges both)."""
    words = data.draw(st.lists(packets(CATALOG[name]), max_size=6))
    end = data.draw(st.sampled_from(["stay", "end", "reset"]))
    loop = data.draw(st.sampled_from([asyncio.new_event_loop, uvloop.new_event_loop]))

    survive(loop, hostile(once_asked, words, end), profile=CATALOG[name], depth=Probe.SEND)


SMALLEST = {
    "json": frame(Opcode.TEXT, b"1 " * 1_000),
    "text": frame(Opcode.TEXT),
    "xml": frame(Opcode.TEXT, b"<a/>"),
    "socketio": frame(Opcode.TEXT, b"6"),
    "stomp": frame(Opcode.TEXT, b"RECEIPT\n\n\0" * 100),
    "nats": frame(Opcode.BINARY, b"+OK\r\n" * 200),
    "mqtt": frame(Opcode.BINARY, b"\xd0\0" * 500),
}
"""Messages with the most values for their bytes."""

ENDLESS = {
    "stomp": frame(Opcode.TEXT, b"MESSAGE\n\n") + frame(Opcode.TEXT, b"x" * 500),
    "nats": frame(Opcode.BINARY, b"MSG a 1 60000000\r\n") + frame(Opcode.BINARY, b"x" * 500),
    "mqtt": frame(Opcode.BINARY, b"\x30\xff\xff\xff\x7f") + frame(Opcode.BINARY, b"x" * 500),
}
"""A packet that does not end, in many messages."""


def waiting(name):
    """A profile that waits for what never comes."""
    return Profile.model_validate(
        {"framing": name, "auth": {"match": "never" if name == "text" else {"never": 1}}, "max_message_size": 65_536}
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [*SMALLEST.items(), *ENDLESS.items()],
    ids=[*SMALLEST, *(f"{name}, endless" for name in ENDLESS)],
)
async def test_a_flood_of_the_protocol_ends_the_session(monkeypatch, name, words):
    """A server that sends packets as fast as it can is left at a bound or at the deadline, and takes no memory."""
    monkeypatch.setattr(messages, "MAX_FRAMES", 10_000)
    with flooding(accepted, words) as flood:
        gc.collect()
        tracemalloc.start()
        try:
            facts = await asyncio.create_task(
                converse(flood, profile=waiting(name), depth=Probe.AUTH, timeout=0.6, close_timeout=0.1, slack=60.0)
            )
            _, peak = tracemalloc.get_traced_memory()
            gc.collect()
            left, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert facts.fault.kind in ("too_big", "deadline")
    assert peak < 12_000_000
    assert left < 1_000_000


def test_each_framing_has_its_floods():
    """A new framing gets a row above."""
    assert set(SMALLEST) == set(FRAMINGS)
