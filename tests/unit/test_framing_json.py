"""The framing json: values, what separates them, what ends them, and fields that hold JSON as text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.framing_values import JSON

from exporter.framing import Decoded, FramingError, codec_of

PUBLICATION = (  # Centrifugo 6.9.1
    b'{"push":{"channel":"probe-n-1","pub":{"data":{"nonce":"n-1"},"info":{"user":"probe"}}}}\n{"id":3,"publish":{}}'
)
ESTABLISHED = (  # soketi 1.6.1
    rb'{"event":"pusher:connection_established","data":"{\"socket_id\":\"4133711468.4277603682\",\"activity_timeout\":30}"}'
)


@given(JSON, st.sampled_from(["", "\x1e", "\r\n"]), st.sampled_from([[], ["data"], ["data", "data.x"], ["a.b", "a"]]))
def test_what_is_encoded_is_decoded(value, end, nested):
    """Every JSON value comes back, with any end and any nested fields."""
    codec = codec_of("json", end=end, nested=nested)
    data = codec.encode(value)

    assert codec.decode(data, 2) == Decoded([value], len(data))


@given(st.dictionaries(st.sampled_from("ab"), st.dictionaries(st.sampled_from("bc"), JSON)))
def test_nested_fields_come_back(value):
    """A field that is closed on encode is opened on decode, one in another too, and the value stays as it was."""
    codec, before = codec_of("json", nested=["a", "a.b"]), json.dumps(value)

    assert codec.decode(codec.encode(value), 2).values == [value]
    assert json.dumps(value) == before


@given(st.lists(JSON, min_size=1, max_size=4), st.integers(1, 5), st.sampled_from(["\n", "\x1e", " \x1e\r\n"]))
def test_a_message_holds_at_most_as_many_values_as_the_limit(values, limit, between):
    """Several values in a message are one each; those beyond the limit are not looked at."""
    data = "".join(json.dumps(value) + between for value in values).encode()

    assert codec_of("json", end="\x1e").decode(data, limit) == Decoded(values[:limit], len(data))


@pytest.mark.parametrize(
    ("options", "data", "values"),
    [
        ({}, PUBLICATION, [{"id": 3, "publish": {}}]),
        ({"end": "\x1e"}, b'{}\x1e{"type":6}\x1e', [{"type": 6}]),
        ({"nested": ["data"]}, ESTABLISHED, [{"socket_id": "4133711468.4277603682", "activity_timeout": 30}]),
        ({"nested": ["data"]}, b'{"data":"no JSON"}', ["no JSON"]),
        ({"nested": ["data"]}, b'{"data":{"code":4001}}', [{"code": 4001}]),
        ({"nested": ["data"]}, b'{"data":"1 2"}', ["1 2"]),
        ({"nested": ["data"]}, b'["data"]', [["data"]]),
        ({"opened": ["data"]}, ESTABLISHED, [{"socket_id": "4133711468.4277603682", "activity_timeout": 30}]),
        ({"opened": ["data"]}, b'{"data":{"code":4001}}', [{"code": 4001}]),
        ({"nested": ["data"], "opened": ["data.a"]}, rb'{"data":"{\"a\":\"[1]\"}"}', [{"a": [1]}]),
    ],
)
def test_real_messages(options, data, values):
    """Frames as Centrifugo, SignalR and soketi send them; what is no JSON as text is left alone."""
    last = codec_of("json", **options).decode(data, 10).values[-1]

    assert [last.get("data", last) if isinstance(last, dict) else last] == values


def test_a_nested_field_is_sent_as_text():
    """JSON within JSON, as ActionCable wants its identifier, and the end after it."""
    codec = codec_of("json", end="\x1e", nested=["identifier"])

    assert codec.encode({"identifier": {"channel": "X"}}) == b'{"identifier":"{\\"channel\\":\\"X\\"}"}\x1e'


def test_an_opened_field_is_sent_as_it_is_written():
    """A client of the Pusher protocol sends an object where its server sends JSON as text."""
    codec = codec_of("json", nested=["identifier"], opened=["data"])

    assert codec.encode({"data": {"channel": "X"}}) == b'{"data":{"channel":"X"}}'
    assert codec.encode({"identifier": {"a": 1}, "data": "1"}) == b'{"identifier":"{\\"a\\":1}","data":"1"}'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n",
        b"hello",
        b"{",
        b"1,2",
        b'{"a":1}x',
        b"1\x1e2",
        b"NaN",
        b"-Infinity",
        b"\xff",
        b"1" * 5000,
        b"[" * 99_999,
    ],
    ids=lambda data: repr(data[:9]),
)
def test_what_is_no_json_is_refused(data):
    """The error quotes nothing of the message, and has no cause that does."""
    with pytest.raises(FramingError) as refused:
        codec_of("json").decode(data, 10)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("value", [float("nan"), {"a": {1, 2}}, b"x", 10**5000], ids=["nan", "set", "bytes", "digits"])
def test_a_value_that_is_no_json_is_refused(value):
    """Neither NaN nor what only Python knows is sent."""
    with pytest.raises(FramingError):
        codec_of("json").encode(value)


def test_a_value_that_is_too_deep_is_refused():
    """Recursion has a limit, which is no crash."""
    value = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(FramingError):
        codec_of("json").encode(value)
    while value:  # a list this deep must not be freed in one piece
        value = value.pop()


@pytest.mark.parametrize("end", ["x", ",", " ", '"', "\x1ex"])
def test_an_end_that_json_may_hold_is_refused(end):
    """Only control characters end a value: JSON holds none unescaped."""
    with pytest.raises(FramingError, match="control characters"):
        codec_of("json", end=end)
