"""The framing socketio: packets of Socket.IO in packets of Engine.IO."""

import pytest

from exporter.framing import Decoded, FramingError, codec_of

SOCKETIO = codec_of("socketio")

BOTH = [  # socket.io 4.8.4; the same text is encoded and decoded
    ('0{"sid":"3KItVaE9","pingInterval":25000}', {"type": "open", "data": {"sid": "3KItVaE9", "pingInterval": 25000}}),
    ("2", {"type": "ping"}),
    ("2probe", {"type": "ping", "data": "probe"}),
    ("3", {"type": "pong"}),
    ("5", {"type": "upgrade"}),
    ("6", {"type": "noop"}),
    ("1", {"type": "close"}),
    ("40", {"type": "connect", "namespace": "/"}),
    ('40{"sid":"JEk9fcbq"}', {"type": "connect", "namespace": "/", "data": {"sid": "JEk9fcbq"}}),
    ('40/admin,{"token":"good"}', {"type": "connect", "namespace": "/admin", "data": {"token": "good"}}),
    ("40/nosuch,", {"type": "connect", "namespace": "/nosuch"}),
    ("41/admin,", {"type": "disconnect", "namespace": "/admin"}),
    ('420["echo","n-1"]', {"type": "event", "namespace": "/", "id": 0, "data": ["echo", "n-1"]}),
    ('430["n-1"]', {"type": "ack", "namespace": "/", "id": 0, "data": ["n-1"]}),
    ('42["echo","n-2"]', {"type": "event", "namespace": "/", "data": ["echo", "n-2"]}),
    ('43/admin,7[{"n":"x"}]', {"type": "ack", "namespace": "/admin", "id": 7, "data": [{"n": "x"}]}),
    (
        '44/nosuch,{"message":"Invalid namespace"}',
        {"type": "connect_error", "namespace": "/nosuch", "data": {"message": "Invalid namespace"}},
    ),
    (
        '451-/admin,9["b",{"_placeholder":true,"num":0}]',
        {
            "type": "binary_event",
            "namespace": "/admin",
            "attachments": 1,
            "id": 9,
            "data": ["b", {"_placeholder": True, "num": 0}],
        },
    ),
    ("461-2[]", {"type": "binary_ack", "namespace": "/", "attachments": 1, "id": 2, "data": []}),
]


@pytest.mark.parametrize(("text", "value"), BOTH)
def test_packets_of_a_real_server(text, value):
    """Each is the same in both directions."""
    assert SOCKETIO.decode(text.encode(), 1) == Decoded([value], len(text))
    assert SOCKETIO.encode(value) == text.encode()


@pytest.mark.parametrize(("text", "namespace"), [("41/admin", "/admin"), ('42/a?b=c,["x"]', "/a?b=c"), ("41/,", "/")])
def test_other_forms_of_a_namespace(text, namespace):
    """A namespace may end the packet without a comma, have a query, or name the default one."""
    assert SOCKETIO.decode(text.encode(), 1).values[0]["namespace"] == namespace


def test_an_attachment_is_no_error():
    """Bytes that are no text belong to a binary event before them."""
    assert SOCKETIO.decode(b"\x00\xff\xfe", 1).values == [{"type": "attachment"}]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4",
        "7",
        "9x",
        "47",
        '{"a":1}',
        "HTTP/1.1 400 Bad Request",
        "0nonsense",
        "0{}{}",
        "2\r\n",
        "42",
        "42{}",
        "42[]",
        "42[null]",
        "42[1]x",
        "43[]",
        "43",
        "40[]",
        "41{}",
        "44",
        "44[]",
        "421-[1]",
        "45[1]",
        "46-[1]",
        "421234567890123456[1]",
        "42٣[1]",
        "42" + "[" * 5000,
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_packet_is_refused(text):
    """Other protocols, an HTTP answer in the WebSocket (EIO=3), and data that the type does not have."""
    with pytest.raises(FramingError):
        SOCKETIO.decode(text.encode(), 1)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("2", "object"),
        ({}, "`type`"),
        ({"type": "message"}, "`type`"),
        ({"type": []}, "`type`"),
        ({"type": "attachment"}, "`type`"),
        ({"type": "ping", "namespace": "/"}, "fields"),
        ({"type": "ping", "data": "a\nb"}, "control"),
        ({"type": "ping", "data": 1}, "text"),
        ({"type": "event"}, "needs `data`"),
        ({"type": "event", "data": []}, "list"),
        ({"type": "event", "data": {"a": 1}}, "list"),
        ({"type": "event", "data": ["a"], "id": -1}, "whole number"),
        ({"type": "event", "data": ["a"], "id": True}, "whole number"),
        ({"type": "event", "data": ["a"], "id": "1"}, "whole number"),
        ({"type": "event", "data": ["a"], "attachments": 1}, "fields"),
        ({"type": "event", "data": ["a", float("nan")]}, "JSON"),
        ({"type": "ack", "data": []}, "needs `id`"),
        ({"type": "connect", "id": 1}, "fields"),
        ({"type": "connect", "namespace": "admin"}, "begin with"),
        ({"type": "connect", "namespace": "/a,b"}, "comma"),
        ({"type": "connect", "namespace": "/a\n"}, "control"),
        ({"type": "connect", "namespace": "/\ud800"}, "surrogate"),
        ({"type": "connect", "data": "x"}, "object"),
        ({"type": "disconnect", "data": {}}, "fields"),
    ],
)
def test_what_an_author_is_told(value, words):
    """The sentence names the field that is wrong."""
    with pytest.raises(FramingError, match=words):
        SOCKETIO.encode(value)
