"""STOMP, NATS and MQTT: packets are not aligned with WebSocket messages (MQTT 3.1.1 section 6)."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.framing_values import BEGINNINGS, MUCH_WORK, VALUES

from exporter.framing import Decoded, FramingError, codec_of

STREAMS = ("stomp", "nats", "mqtt")
WHOLE = {
    "stomp": b"RECEIPT\nreceipt-id:r-1\n\n\0\n",
    "nats": b"MSG a 1 3\r\nabc\r\n",
    "mqtt": b"\x30\x06\x00\x01aabc",
}
BAD = {"stomp": b"HTTP/1.1 400", "nats": b'{"a":1}\r\n', "mqtt": b"\x00"}


def read(name, pieces):
    """All values of the pieces, and whether an error ended them; what a message leaves over begins the next one."""
    codec, values, rest = codec_of(name), [], b""
    for piece in pieces:
        rest += piece
        while rest:
            try:
                found, consumed = codec.decode(rest, 2)
            except FramingError:
                return values, "error"
            values += found
            rest = rest[consumed:]
            if not consumed:
                break
    return values, rest


@pytest.mark.parametrize("name", STREAMS)
@given(data=st.data())
def test_a_stream_may_be_split_anywhere(name, data):
    """Any borders between messages give the same values, the same rest or the same error."""
    noise = st.sampled_from([*MUCH_WORK[name], *BEGINNINGS[name], BAD[name], WHOLE[name]])
    stream = b"".join(data.draw(st.lists(VALUES[name].map(codec_of(name).encode) | noise, max_size=5)))
    borders = sorted({0, len(stream), *data.draw(st.lists(st.integers(0, len(stream)), max_size=9))})

    split = read(name, [stream[start:end] for start, end in pairwise(borders)])

    assert split == read(name, [stream])
    assert split == read(name, [stream[at : at + 1] for at in range(len(stream))])


@pytest.mark.parametrize("name", STREAMS)
def test_an_incomplete_packet_waits(name):
    """What is no packet yet gives no value, uses nothing, and is no error."""
    for end in range(1, len(WHOLE[name].rstrip(b"\n"))):
        assert codec_of(name).decode(WHOLE[name][:end], 9) == Decoded([], 0)


@pytest.mark.parametrize("name", STREAMS)
def test_values_beyond_the_limit_wait(name):
    """At the limit the rest is left, and gives the other values later."""
    codec, data = codec_of(name), WHOLE[name] * 5

    values, consumed = codec.decode(data, 2)
    others, _ = codec.decode(data[consumed:], 9)

    assert (len(values), len(others), consumed) == (2, 3, 2 * len(WHOLE[name]))


@pytest.mark.parametrize("name", STREAMS)
def test_packets_before_a_bad_one_count(name):
    """They are returned first; the bad one is left, and the next call raises."""
    codec, data = codec_of(name), WHOLE[name] + BAD[name]

    values, consumed = codec.decode(data, 9)

    assert (len(values), data[consumed:]) == (1, BAD[name])
    with pytest.raises(FramingError):
        codec.decode(data[consumed:], 9)
