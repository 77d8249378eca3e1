"""The framing nats: lines, and payloads that a line counts."""

import pytest

from exporter.framing import Decoded, FramingError, codec_of

NATS = codec_of("nats")


@pytest.mark.parametrize(
    ("data", "values"),
    [  # nats-server 2.15.3
        (
            b'INFO {"version":"2.15.3","headers":true} \r\n',
            [{"op": "INFO", "info": {"version": "2.15.3", "headers": True}}],
        ),
        (b'PONG\r\nINFO {"proto":1}\r\n', [{"op": "PONG"}, {"op": "INFO", "info": {"proto": 1}}]),
        (b"+OK\r\nPING\r\n", [{"op": "+OK"}, {"op": "PING"}]),
        (b"-ERR 'Authorization Violation'\r\n", [{"op": "-ERR", "message": "Authorization Violation"}]),
        (b"MSG probe.n1 1 3\r\nn-1\r\n", [{"op": "MSG", "subject": "probe.n1", "sid": "1", "payload": "n-1"}]),
        (
            b"MSG a 1 _INBOX.x 4\r\na\r\nb\r\n",
            [{"op": "MSG", "subject": "a", "sid": "1", "reply": "_INBOX.x", "payload": "a\r\nb"}],
        ),
        (b"MSG  a\t1   0\r\n\r\n", [{"op": "MSG", "subject": "a", "sid": "1", "payload": ""}]),
        (b"MSG a 1 1\r\n\xff\r\n", [{"op": "MSG", "subject": "a", "sid": "1", "payload": "�"}]),
        (
            b"HMSG a 1 12 15\r\nNATS/1.0\r\n\r\nabc\r\n",
            [{"op": "HMSG", "subject": "a", "sid": "1", "headers": "NATS/1.0\r\n\r\n", "payload": "abc"}],
        ),
        (
            b'CONNECT {"user": "probe"}\r\nSUB a q 1\r\nPUB a r 1\r\nx\r\n',
            [
                {"op": "CONNECT", "options": {"user": "probe"}},
                {"op": "SUB", "subject": "a", "queue": "q", "sid": "1"},
                {"op": "PUB", "subject": "a", "reply": "r", "payload": "x"},
            ],
        ),
    ],
)
def test_operations_of_a_real_server(data, values):
    """One or several in a message, and a payload may hold the end of a line."""
    assert NATS.decode(data, 9) == Decoded(values, len(data))


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ({"op": "CONNECT", "options": {"user": "a\r\n"}}, b'CONNECT {"user":"a\\r\\n"}\r\n'),
        ({"op": "SUB", "subject": "probe.n1", "sid": 1}, b"SUB probe.n1 1\r\n"),
        ({"op": "PUB", "subject": "probe.n1", "payload": "ü"}, b"PUB probe.n1 2\r\n\xc3\xbc\r\n"),
        ({"op": "PONG"}, b"PONG\r\n"),
    ],
)
def test_operations_that_are_sent(value, data):
    """A payload is counted in bytes, and JSON escapes what would end a line."""
    assert NATS.encode(value) == data


@pytest.mark.parametrize(
    "data",
    [
        b'{"nonce":"x"}',
        b"HTTP/1.1 400",
        b"ping\r\n",
        b"PINGX\r\n",
        b"PING x\r\n",
        b"PING\rx\r\n",
        b"\r\n",
        b"INFO\r\n",
        b"INFO []\r\n",
        b"INFO {} {}\r\n",
        b"INFO {\r\n",
        b"MSG\r\n",
        b"MSG 1\r\n",
        b"MSG a 1\r\n",
        b"MSG a 1 x\r\n",
        b"MSG a 1 -1\r\n",
        b"MSG a 1 9999999999\r\n",
        b"MSG a 1 r 1 1\r\n",
        b"MSG a 1 1\r\nabc",
        b"MSG \xff 1 0\r\n\r\n",
        b"HMSG a 1 5 3\r\nabc\r\n",
        b"SUB a\r\n",
        b"-ERR \xff\r\n",
        b"INFO " + b" " * 66_000,
    ],
    ids=lambda data: repr(data[:30]),
)
def test_what_can_never_become_an_operation_is_refused(data):
    """It is refused at once, not kept as the beginning of something."""
    with pytest.raises(FramingError):
        NATS.decode(data, 9)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("PING", "object"),
        ({}, "`op`"),
        ({"op": "PING\r\nPUB a 0"}, "`op`"),
        ({"op": "PING", "subject": "a"}, "`op`"),
        ({"op": "SUB", "subject": "a"}, "`sid`"),
        ({"op": "SUB", "subject": "a b", "sid": "1"}, "`subject` must not be empty, and must not hold white space"),
        ({"op": "SUB", "subject": "a\r\nPING", "sid": "1"}, "control"),
        ({"op": "SUB", "subject": "", "sid": "1"}, "`subject`"),
        ({"op": "SUB", "subject": "a", "sid": "1", "queue": "a\u2003b"}, "`queue`"),
        ({"op": "PUB", "subject": "a"}, "`payload`"),
        ({"op": "PUB", "subject": "a", "payload": 1}, "`payload`"),
        ({"op": "PUB", "subject": "a", "payload": "\ud800"}, "surrogate"),
        ({"op": "PUB", "subject": "a", "payload": "", "reply": "b\t"}, "control"),
        ({"op": "CONNECT", "options": "{}"}, "object"),
        ({"op": "CONNECT", "options": {"a": float("nan")}}, "JSON"),
        ({"op": "-ERR", "message": "a\r\nb"}, "control"),
    ],
)
def test_what_an_author_is_told(value, words):
    """The sentence names what is wrong; CR LF in a subject would be a second operation."""
    with pytest.raises(FramingError, match=words):
        NATS.encode(value)
