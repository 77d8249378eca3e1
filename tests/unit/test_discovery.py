"""A message as keys and types: what is shown of it, and what never is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import Profile
from exporter.discovery import ShapeOptions, close_line, message_lines, shape, words_of
from exporter.result import Direction

TOKEN = "tok_5f0c2b9a77e1d4"
UNSAFE = ShapeOptions(secrets=(TOKEN,), show_values=True)

SHAPES = {
    "fields and types": ({"type": "subscribe-all"}, '{"type": text(13)}'),
    "nested": ({"payload": {"data": {"echo": "n1"}}}, '{"payload": {"data": {"echo": text(2)}}}'),
    "scalars": ([1, 2.5, True, None, ""], "[number, number, boolean, null, text(0)]"),
    "a long list": ([0] * 9, "[number, number, number, number, number, … 4 more]"),
    "a word of the config": ({"type": "connection_ack"}, '{"type": "connection_ack"}'),
    "keys that may be data": ({"ann@example.com": 1, "12": 2, "k" * 30: 3}, "{key(15): number, key(2): number, "),
    "keys of the framings": ({"@to": "a", "#text": "b"}, '{"@to": text(1), "#text": text(1)}'),
    "text": ("hello", "text(5)"),
}


@pytest.mark.parametrize(("value", "line"), SHAPES.values(), ids=SHAPES)
def test_a_shape_has_fields_and_types(value, line):
    """Names of fields and words of the config are shown, every other value is its type."""
    assert shape(value, ShapeOptions(words=frozenset({"connection_ack"}))).startswith(line)


def test_a_shape_is_bounded():
    """Deep and wide values end in an ellipsis."""
    deep = wide = 0
    for _ in range(40):
        deep = [deep]
    wide = {f"f{number}": number for number in range(1000)}

    assert "[…]" in shape(deep)
    assert shape(wide).endswith("… 976 more}")


TEXTS = st.text(min_size=1, max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_a_shape_is_one_printable_line(value):
    """Whatever a backend sends, values shown or not, a line is one line without control characters."""
    for options in (ShapeOptions(), UNSAFE):
        assert shape(value, options).isprintable()


@given(VALUES, TEXTS)
def test_a_shape_does_not_depend_on_a_value(value, other):
    """Two texts of one length have one shape: nothing of the text is in it."""
    same_length = (other * 40)[:9]

    assert shape({"a": value, "b": "x" * 9}) == shape({"a": value, "b": same_length})


@pytest.mark.parametrize(
    "value",
    [
        TOKEN,
        f"Bearer {TOKEN}",
        TOKEN[3:],
        f"got {TOKEN[:10]}",
        {"nested": [TOKEN]},
        {TOKEN: 1},
        json.dumps({"a": TOKEN}),
    ],
    ids=str,
)
def test_a_secret_is_not_shown_with_the_values_either(value):
    """The token, a text that holds it, and a part of it of eight characters stay hidden."""
    line = shape(value, UNSAFE)

    assert not any(TOKEN[start : start + 8] in line for start in range(len(TOKEN) - 7))


def test_a_secret_hides_a_word_of_the_config_and_a_number():
    """A password that is a word of the profile, or all digits, is a secret all the same."""
    options = ShapeOptions(words=frozenset({"subscribe"}), secrets=("subscribe", "12345678"), show_values=True)

    assert shape(["subscribe", 12345678], options) == "[secret(9), number]"


def test_values_are_shown_on_request():
    """Texts are quoted as JSON has them, so that none can move the cursor."""
    assert shape({"say": "hi \x1b[31m\n"}, UNSAFE) == r'{"say": "hi \u001b[31m\n"}'


def test_lines_of_messages_and_closes():
    """Each value has its line with the direction; a message that is none, and a close reason, have their length."""
    assert message_lines(Direction.IN, b"", [{"a": 1}, 2]) == ['← {"a": number}', "← number"]
    assert message_lines(Direction.OUT, b"\x00\x01", None, is_text=False) == ["→ unreadable: binary(2 bytes)"]
    assert message_lines(Direction.IN, b"what", None) == ["← unreadable: text(4)"]
    assert message_lines(Direction.IN, b"\n", []) == ["← nothing but padding"]
    assert close_line(Direction.IN, 4403, b"Forbidden") == "← close 4403, reason text(9)"
    assert close_line(Direction.OUT, 1000, b"") == "→ close 1000"


def test_words_of_a_profile_are_those_of_its_patterns():
    """Texts of messages may be passwords that somebody wrote into the config: they are words only if asked for."""
    profile = Profile.model_validate(
        {
            "auth": {"message": {"password": "hunter2"}, "match": {"type": "in"}, "expect": {"as": "${identity}"}},
            "send": {"message": {"id": "${nonce}"}, "match": {"id": "${nonce}", "of": ["echo"]}},
            "noise": [{"kind": "ping", "match": {"type": "ping"}, "answer": {"type": "pong"}}],
            "errors": [{"match": {"type": "error"}, "reason": "server_error"}],
            "welcome": {"match": {"type": "hello"}},
        }
    )

    assert words_of(profile, messages=False) == {"in", "echo", "ping", "error", "hello"}
    assert words_of(profile, messages=True) == {"in", "echo", "ping", "error", "hello", "hunter2", "pong"}
