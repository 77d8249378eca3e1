"""STOMP, NATS and MQTT: packets are not aligned with WebSocket messages (MQTT 3.1.1 section 6)."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.framing_values import BEGINNINGS, MUCH_WORK, VALUES

from exporter.framing import Decoded, FramingError, MessageReader, ReadMessage, codec_of

STREAMS = ("stomp", "nats", "mqtt")
WHOLE = {
    "stomp": b"RECEIPT\nreceipt-id:r-1\n\n\0\n",
    "nats": b"MSG a 1 3\r\nabc\r\n",
    "mqtt": b"\x30\x06\x00\x01aabc",
}
HEARTBEAT = {"command": "EOL"}
"""Of STOMP: it alone is made by the borders between messages, and means nothing but that something came."""
BAD = {"stomp": b"HTTP/1.1 400", "nats": b'{"a":1}\r\n', "mqtt": b"\x00"}


def read(name, pieces):
    """All values of the pieces, and whether something unreadable ended them, else how much waits for more."""
    reader, values = MessageReader(codec_of(name)), []
    for piece in pieces:
        found, is_readable = reader.read(piece, 1_000)
        values += [value for value in found if value != HEARTBEAT]
        if not is_readable:
            return values, "error"
    return values, reader.rest_size


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


@pytest.mark.parametrize("name", STREAMS)
def test_a_reader_goes_on_after_what_it_cannot_read(name):
    """The values before it are given with the message, what waited is dropped, and the next message begins anew."""
    reader = MessageReader(codec_of(name))

    before, after = reader.read(WHOLE[name] + BAD[name], 9), reader.read(WHOLE[name], 9)

    assert (len(before.values), before.is_readable) == (1, False)
    assert after == ReadMessage(before.values, is_readable=True)
    assert (reader.rest_size, reader.rest_messages) == (0, 0)


@pytest.mark.parametrize("name", STREAMS)
def test_a_reader_counts_the_messages_of_an_unfinished_packet(name):
    """The count begins anew with each packet, so that it bounds one packet and not a session."""
    reader, packet = MessageReader(codec_of(name)), WHOLE[name].removesuffix(b"\0\n") + b"\0" * (name == "stomp")
    counted = []
    for piece in (packet[:2], packet[2:4], packet[4:] + packet[:2], packet[2:]):
        reader.read(piece, 9)
        counted.append(reader.rest_messages)

    assert counted == [1, 2, 1, 0]
