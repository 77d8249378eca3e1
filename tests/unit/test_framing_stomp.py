"""The framing stomp: commands, headers, bodies, heartbeats."""

import pytest

from exporter.framing import FramingError, codec_of

STOMP = codec_of("stomp")

RECEIVED = [  # RabbitMQ 3.10.8
    (
        "CONNECTED\nserver:RabbitMQ/3.10.8\nsession:session-_DZ\nheart-beat:0,0\nversion:1.2\n\n\0\n",
        "CONNECTED",
        {"server": "RabbitMQ/3.10.8", "session": "session-_DZ", "heart-beat": "0,0", "version": "1.2"},
        "",
    ),
    ("RECEIPT\nreceipt-id:r-1\n\n\0\n", "RECEIPT", {"receipt-id": "r-1"}, ""),
    (
        "MESSAGE\nsubscription:s1\nmessage-id:T_s1@@session-_DZ@@1\nnonce:n-1\ncontent-length:5\n\nhello\0\n",
        "MESSAGE",
        {"subscription": "s1", "message-id": "T_s1@@session-_DZ@@1", "nonce": "n-1", "content-length": "5"},
        "hello",
    ),
    (
        "ERROR\nmessage:Bad CONNECT\ncontent-length:32\n\nAccess refused for user 'probe'\n\0\n",
        "ERROR",
        {"message": "Bad CONNECT", "content-length": "32"},
        "Access refused for user 'probe'\n",
    ),
]


@pytest.mark.parametrize(("text", "command", "headers", "body"), RECEIVED, ids=[row[1] for row in RECEIVED])
def test_frames_of_a_real_server(text, command, headers, body):
    """Headers and body, and the newline after the NUL is used up."""
    assert STOMP.decode(text.encode(), 9) == ([{"command": command, "headers": headers, "body": body}], len(text))


def test_a_login_as_rabbitmq_takes_it():
    """The headers in the author's order, no body, a NUL, and nothing that the author has not written."""
    value = {"command": "CONNECT", "headers": {"accept-version": "1.2", "host": "/", "login": "probe", "x": 1}}

    assert STOMP.encode(value) == b"CONNECT\naccept-version:1.2\nhost:/\nlogin:probe\nx:1\n\n\0"


HEARTBEAT = {"command": "EOL"}
RECEIPT = b"RECEIPT\nreceipt-id:1\n\n\0"


@pytest.mark.parametrize("data", [b"\n", b"\r\n", b"\n\r\n\n"])
def test_a_message_of_newlines_is_a_heartbeat(data):
    """One, however many they are: a flood of them is one value in each message."""
    assert STOMP.decode(data, 9) == ([HEARTBEAT], len(data))


@pytest.mark.parametrize("data", [b"", RECEIPT + b"\n", b"\n" + RECEIPT, RECEIPT + b"\n\n\r\n" + RECEIPT + b"\n"])
def test_newlines_beside_a_frame_give_no_value(data):
    """RabbitMQ writes one behind each frame: it is no heartbeat."""
    assert [value["command"] for value in STOMP.decode(data, 9).values] == ["RECEIPT"] * data.count(b"\0")


def test_no_heartbeat_is_given_beyond_the_limit():
    """As no frame is."""
    assert STOMP.decode(b"\n", 0) == ([], 1)


def test_a_heartbeat_that_is_sent_is_a_newline():
    """The end of a line, and no frame (STOMP 1.2, heart-beating)."""
    assert STOMP.encode(HEARTBEAT) == b"\n"
    with pytest.raises(FramingError):
        STOMP.decode(b"EOL\n\n\0", 9)


def first(text):
    return STOMP.decode(text.encode(), 1).values[0]


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("MESSAGE\na:1\na:2\n\n\0", {"a": "1"}),
        ("MESSAGE\na\\cb:c\\n\\r\\\\n\n\n\0", {"a:b": "c\n\r\\n"}),
        ("MESSAGE\na:b:c\n\n\0", {"a": "b:c"}),
        ("MESSAGE\na:C\\temp\n\n\0", {"a": "C\\temp"}),
        ("CONNECTED\na:b\\nc\n\n\0", {"a": "b\\nc"}),
        ("MESSAGE\r\na:b\r\n\r\n\0", {"a": "b"}),
        ("MESSAGE\na: b \n\n\0", {"a": " b "}),
        ("MESSAGE\na:\n\n\0", {"a": ""}),
    ],
)
def test_headers(text, headers):
    """The first of repeated ones; escapes, though not in CONNECTED and not unknown ones; either end of a line."""
    assert first(text)["headers"] == headers


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("SEND\ncontent-length:3\n\na\0b\0", "a\0b"),
        ("SEND\ncontent-length:2\n\nü\0", "ü"),
        ("SEND\n\na\n\nb\0c\0", "a\n\nb"),
    ],
)
def test_bodies(text, body):
    """With a content-length, in bytes, a body may hold NUL; without one it ends at the first."""
    assert first(text)["body"] == body


def test_a_body_that_is_no_text_is_shown_as_far_as_it_is_one():
    """A broker may deliver bytes; their frame counts."""
    assert STOMP.decode(b"MESSAGE\n\n\xff\0", 1).values[0]["body"] == "�"


@pytest.mark.parametrize(
    "data",
    [
        b'{"nonce":"x"}',
        b"HTTP/1.1 400",
        b"connected\n\n\0",
        b"MESSAGES\n",
        b"MESSAGE x\n\n\0",
        b"MESSAGE\rx\n\n\0",
        b"MESSAGE\0",
        b"MESSAGE\na:b\n\0",
        b"MESSAGE\nno colon\n\n\0",
        b"MESSAGE\na:b\0c\n\n\0",
        b"MESSAGE\na:\xff\n\n\0",
        b"MESSAGE\ncontent-length:x\n\n\0",
        b"MESSAGE\ncontent-length:-1\n\n\0",
        b"MESSAGE\ncontent-length:9999999999\n\n\0",
        b"MESSAGE\ncontent-length:1\n\nabc\0",
        b"MESSAGE\na:" + b"b" * 66_000,
    ],
    ids=lambda data: repr(data[:30]),
)
def test_what_can_never_become_a_frame_is_refused(data):
    """It is refused at once, not kept as the beginning of something."""
    with pytest.raises(FramingError):
        STOMP.decode(data, 9)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("SEND", "object"),
        ({"headers": {}}, "`command`"),
        ({"command": "SEND\n"}, "`command`"),
        ({"command": "EOL", "body": ""}, "heartbeat"),
        ({"command": "SEND", "header": {}}, "`headers`"),
        ({"command": "SEND", "headers": []}, "`headers`"),
        ({"command": "SEND", "headers": {"a": None}}, "text"),
        ({"command": "SEND", "headers": {"a": True}}, "text"),
        ({"command": "SEND", "headers": {"a": "b\0"}}, "control"),
        ({"command": "SEND", "headers": {"a\x7f": "b"}}, "control"),
        ({"command": "SEND", "headers": {"": "b"}}, "name"),
        ({"command": "CONNECT", "headers": {"a": "b\nc:d"}}, "control"),
        ({"command": "CONNECT", "headers": {"a": "b\r"}}, "control"),
        ({"command": "CONNECT", "headers": {"a:b": "c"}}, "colon"),
        ({"command": "SEND", "headers": {"a": "\ud800"}}, "surrogate"),
        ({"command": "SEND", "body": "a\0b"}, "content-length"),
        ({"command": "SEND", "body": "ab", "headers": {"content-length": 3}}, "content-length"),
        ({"command": "SEND", "body": 1}, "`body`"),
    ],
)
def test_what_an_author_is_told(value, words):
    """The sentence names what is wrong; a line feed in a login would be a second header."""
    with pytest.raises(FramingError, match=words):
        STOMP.encode(value)


def test_a_line_feed_in_a_header_is_escaped():
    """Where STOMP 1.2 has escapes, what is filled in stays one header."""
    assert STOMP.encode({"command": "SEND", "headers": {"a:b": "c\r\nd\\"}}) == b"SEND\na\\cb:c\\r\\nd\\\\\n\n\0"
