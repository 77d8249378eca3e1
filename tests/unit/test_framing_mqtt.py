"""The framing mqtt: packets of MQTT 3.1.1."""

import pytest

from exporter.framing import Decoded, FramingError, codec_of

MQTT = codec_of("mqtt")

LOGIN = {"packet": "CONNECT", "client_id": "probe-1", "username": "probe", "password": "good"}
DEFAULTS = {"keep_alive": 30, "clean_session": True}
NOT_AGAIN = {"retain": False, "dup": False}


@pytest.mark.parametrize(
    ("data", "value"),
    [  # what mosquitto 2.0.11 was sent, and sent
        (b"\x10 \x00\x04MQTT\x04\xc2\x00\x1e\x00\x07probe-1\x00\x05probe\x00\x04good", {**LOGIN, **DEFAULTS}),
        (b" \x02\x00\x00", {"packet": "CONNACK", "return_code": 0, "session_present": False}),
        (b" \x02\x00\x05", {"packet": "CONNACK", "return_code": 5, "session_present": False}),
        (b"\x90\x03\x00\x01\x01", {"packet": "SUBACK", "id": 1, "return_codes": [1]}),
        (
            b"2\x13\x00\x08probe/n1\x00\x02nonce-1",
            {"packet": "PUBLISH", "topic": "probe/n1", "qos": 1, "id": 2, "payload": "nonce-1", **NOT_AGAIN},
        ),
        (b"@\x02\x00\x02", {"packet": "PUBACK", "id": 2}),
        (b"\xc0\x00", {"packet": "PINGREQ"}),
        (b"\xd0\x00", {"packet": "PINGRESP"}),
        (b"\xe0\x00", {"packet": "DISCONNECT"}),
    ],
)
def test_packets_of_a_real_session(data, value):
    """Each is the same in both directions."""
    assert MQTT.decode(data, 9) == Decoded([value], len(data))
    assert MQTT.encode(value) == data


def test_a_subscription_has_qos_0():
    """Another QoS is read and not kept: we ask for the simplest."""
    data = b"\x82\r\x00\x01\x00\x08probe/n1\x01"
    value = {"packet": "SUBSCRIBE", "id": 1, "topics": ["probe/n1"]}

    assert MQTT.decode(data, 1).values == [value]
    assert MQTT.encode(value) == data[:-1] + b"\0"


def test_defaults():
    """A login and a publication need no more than what they say."""
    assert MQTT.encode(LOGIN) == MQTT.encode({**LOGIN, **DEFAULTS})
    assert MQTT.encode({"packet": "PUBLISH", "topic": "a", "payload": "b"}) == b"0\x04\x00\x01ab"


@pytest.mark.parametrize("size", [0, 124, 125, 16_380, 16_381, 2_097_148, 2_097_149])
def test_lengths_at_their_borders(size):
    """A length has one to four bytes."""
    data = MQTT.encode({"packet": "PUBLISH", "topic": "a", "payload": "x" * size})

    assert (len(MQTT.decode(data, 1).values[0]["payload"]), MQTT.decode(data, 1).consumed) == (size, len(data))


def test_a_payload_that_is_no_text_is_shown_as_far_as_it_is_one():
    """Other clients publish bytes; their packets count."""
    assert MQTT.decode(b"0\x04\x00\x01a\xff", 1).values[0]["payload"] == "�"


@pytest.mark.parametrize(
    "data",
    [
        b'{"nonce":"x"}',
        b"HTTP/1.1 400",
        b"\x00\x00",
        b"\xf0\x00",
        b"\x21\x02\x00\x00",
        b"\x34\x05\x00\x01a\x00\x01",
        b"\x36",
        b"\x38\x03\x00\x01a",
        b"\xc0\xff\xff\xff\xff",
        b"\xc0\x01\x00",
        b"\x20\x03\x00\x87\x00",
        b"\x20\x02\x02\x00",
        b"\x20\x01\x00",
        b"\x30\x01\x00",
        b"\x30\x03\x00\x05a",
        b"\x30\x03\x00\x01\xff",
        b"\x30\x03\x00\x01\x00",
        b"\x40\x03\x00\x01\x00",
        b"\x82\x02\x00\x01",
        b"\x82\x05\x00\x01\x00\x01a",
        b"\x82\x06\x00\x01\x00\x01a\x03",
        b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x1e\x00\x00\x00",
        b"\x10\x10\x00\x04MQTT\x04\x06\x00\x1e\x00\x00\x00\x00\x00\x00",
        b"\x10\x0e\x00\x04MQTT\x04\x42\x00\x1e\x00\x00\x00\x00",
    ],
    ids=bytes.hex,
)
def test_what_can_never_become_a_packet_is_refused(data):
    """Other protocols, MQTT 5, QoS 2, wills, lengths that do not agree with what they count."""
    with pytest.raises(FramingError):
        MQTT.decode(data, 9)


PUBLISH = {"packet": "PUBLISH", "topic": "a", "payload": ""}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "object"),
        ({}, "`packet`"),
        ({"packet": "connect"}, "`packet`"),
        ({"packet": "CONNECT"}, "needs `client_id`"),
        ({**LOGIN, "will": {}}, "fields are `client_id`"),
        ({**LOGIN, "client_id": "", "clean_session": False}, "clean_session"),
        ({**LOGIN, "client_id": "a\0"}, "control"),
        ({**LOGIN, "client_id": None}, "`client_id`"),
        ({**LOGIN, "keep_alive": 65_536}, "`keep_alive`"),
        ({**LOGIN, "keep_alive": 1.5}, "`keep_alive`"),
        ({**LOGIN, "clean_session": 1}, "`clean_session`"),
        ({**LOGIN, "password": "x" * 65_536}, "65535 bytes"),
        ({"packet": "CONNECT", "client_id": "a", "password": "b"}, "needs `username`"),
        ({**PUBLISH, "topic": "a\r\nb"}, "control"),
        ({**PUBLISH, "topic": ""}, "`topic`"),
        ({**PUBLISH, "topic": "a/+"}, "`topic`"),
        ({**PUBLISH, "topic": "#"}, "`topic`"),
        ({**PUBLISH, "topic": "\ud800"}, "surrogate"),
        ({**PUBLISH, "qos": 2, "id": 1}, "`qos`"),
        ({**PUBLISH, "qos": 1}, "`id`"),
        ({**PUBLISH, "id": 1}, "`id`"),
        ({**PUBLISH, "dup": True}, "`dup`"),
        ({**PUBLISH, "qos": 1, "id": 0}, "`id`"),
        ({**PUBLISH, "payload": {}}, "`payload`"),
        ({"packet": "SUBSCRIBE", "id": 1, "topics": []}, "`topics`"),
        ({"packet": "SUBSCRIBE", "id": 1, "topics": [""]}, "`topics`"),
        ({"packet": "SUBSCRIBE", "id": 1, "topics": ["a\n"]}, "control"),
        ({"packet": "SUBSCRIBE", "id": 1, "topics": "a"}, "`topics`"),
        ({"packet": "SUBACK", "id": 1, "return_codes": [256]}, "`return_codes`"),
        ({"packet": "PINGREQ", "id": 1}, "fields"),
    ],
)
def test_what_an_author_is_told(value, words):
    """The sentence names the field that is wrong, and what it must be."""
    with pytest.raises(FramingError, match=words):
        MQTT.encode(value)


def test_a_topic_may_have_any_length():
    """The bytes that count a topic are no wildcards, though 35 and 43 are those of `#` and `+`."""
    for length in (35, 43):
        value = {**PUBLISH, "topic": "t" * length}
        assert MQTT.decode(MQTT.encode(value), 1).values[0]["topic"] == value["topic"]
