"""What is true of every framing: when it is loaded, what comes back, what may be raised, and how much work it is."""

import subprocess
import sys
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.framing_values import BEGINNINGS, MUCH_WORK, VALUES

from exporter.framing import FRAMINGS, Codec, Decoded, FramingError, codec_of

STREAMS = ("stomp", "nats", "mqtt")
"""Framings whose packets may span WebSocket messages."""


@pytest.mark.parametrize(
    ("use", "modules"),
    [
        ("import exporter.framing", ["codec", "reader"]),
        ("import exporter.framing; exporter.framing.codec_of('json')", ["codec", "json_values", "reader"]),
        ("import exporter.session", ["codec", "reader"]),
    ],
)
def test_a_framing_is_loaded_when_it_is_used(use, modules):
    """The package alone loads no framing, and a profile of JSON loads JSON alone, without xmltodict."""
    show = "; import sys; print(*sorted(n for n in sys.modules if n.startswith(('exporter.framing.', 'xmltodict'))))"

    loaded = subprocess.run([sys.executable, "-c", use + show], capture_output=True, text=True, check=True).stdout

    assert loaded.split() == [f"exporter.framing.{module}" for module in modules]


def test_every_framing_has_a_codec():
    """The list is closed, and each name leads to a codec."""
    assert FRAMINGS == ("json", "text", "xml", "socketio", "stomp", "nats", "mqtt")
    assert all(isinstance(codec_of(name), Codec) for name in FRAMINGS)


@pytest.mark.parametrize(
    ("name", "options", "words"), [("carrier-pigeon", {}, "json, text"), ("xml", {"end": "\x1e"}, "belong to")]
)
def test_an_unknown_framing_or_option_is_refused(name, options, words):
    """The error names the framings that exist, or the one that has the option."""
    with pytest.raises(FramingError, match=words):
        codec_of(name, **options)


@pytest.mark.parametrize("name", FRAMINGS)
@given(data=st.data())
def test_what_is_encoded_is_decoded(name, data):
    """Every value that the framing can hold comes back as it was, from all of the bytes."""
    value, codec = data.draw(VALUES[name]), codec_of(name)
    encoded = codec.encode(value)

    assert codec.decode(encoded, 9) == Decoded([value], len(encoded))
    assert codec.decode(encoded, 0).values == []


@pytest.mark.parametrize("name", FRAMINGS)
@given(data=st.data())
def test_any_bytes_give_values_or_a_framing_error(name, data):
    """No bytes raise anything else, give more values than the limit, or use more bytes than there are."""
    pieces = st.lists(st.binary(max_size=9) | st.sampled_from(MUCH_WORK[name] + BEGINNINGS.get(name, [])), max_size=9)
    received, limit = b"".join(data.draw(pieces)), data.draw(st.integers(0, 5))

    try:
        values, consumed = codec_of(name).decode(received, limit)
    except FramingError:
        return

    assert len(values) <= limit
    assert 0 <= consumed <= len(received)
    assert name in STREAMS or consumed == len(received)


@pytest.mark.parametrize("name", FRAMINGS)
@given(
    value=VALUES["json"]
    | st.builds(lambda key, part: {key: part}, st.sampled_from(["op", "packet", "type"]), VALUES["json"])
)
def test_any_value_is_encoded_or_refused(name, value):
    """An author's message of any shape gives bytes or a FramingError, never a crash."""
    try:
        encoded = codec_of(name).encode(value)
    except FramingError:
        return
    assert isinstance(encoded, bytes)


def events(codec, data):
    """How many calls Python makes while it decodes."""
    count = 0

    def see(_, event, __):
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(see)
    try:
        codec.decode(data, 1_000_000)
    except FramingError:
        pass
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", FRAMINGS)
def test_the_work_is_linear(name):
    """64 KiB of nonsense take about four times as many calls as 16 KiB, and end within the time limit of the test.

    Sixteen times would be quadratic; five leaves room for what the garbage collector calls.
    """
    codec = codec_of(name)
    for beginning, piece in product([b"", *BEGINNINGS.get(name, [])], MUCH_WORK[name]):
        small, large = (events(codec, (beginning + piece * size)[:size]) for size in (16_384, 65_536))

        assert large <= 5 * small + 1000, (beginning, piece)


class CopyCountingBytes(bytes):
    """Bytes that count how many of them are copied."""

    copied = 0

    def __getitem__(self, key):
        part = super().__getitem__(key)
        self.copied += len(part) if isinstance(part, bytes) else 1
        return part


@pytest.mark.parametrize("name", STREAMS)
def test_no_byte_is_copied_again_and_again(name):
    """However small the packets are, the copies are a few times the bytes: no rest is sliced off after each packet."""
    for beginning, piece in product([b"", *BEGINNINGS[name]], MUCH_WORK[name]):
        data = CopyCountingBytes(beginning + piece * (65_536 // len(piece)))
        try:
            codec_of(name).decode(data, 1_000_000)
        except FramingError:
            continue

        assert data.copied <= 10 * len(data), (beginning, piece)
