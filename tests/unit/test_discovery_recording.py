"""A session's frames as a transcript: what is kept for `profiles try`, and what never is."""

import json

import pytest
from hypothesis import given
from support.framing_values import JSON

from exporter.config import Profile
from exporter.discovery import ShapeOptions, TranscriptRecorder, read_transcript, replay, words_of
from exporter.result import Direction

CHAT = Profile.model_validate(
    {
        "welcome": {"match": {"type": "hello", "stream:v": 1}},
        "send": {
            "message": {"type": "say", "channel": "probe-${nonce}", "id": "${number}"},
            "match": {"channel": "probe-${nonce}", "id": "${number}"},
            "expect": {"ok": True},
        },
        "errors": [{"match": {"code": 4001}, "reason": "auth_rejected"}],
        "closes": [{"code": 4001, "reason": "auth_rejected"}],
    }
)
IN, OUT = Direction.IN, Direction.OUT
TOKEN = "tok_5f0c2b9a77e1d4"
SESSION = [
    (IN, {"type": "hello", "stream:v": 1, "mail": "ann@example.com", "users": 17, "admin": True, "token": TOKEN}),
    (OUT, {"type": "say", "channel": "probe-abc", "id": 815}),
    (IN, {"type": "said", "channel": "probe-xyz", "id": 816, "ok": True, "ann@example.com": 1}),
    (IN, {"type": "said", "channel": "probe-abc", "id": 815, "ok": True}),
    (IN, {"code": 4001, "why": "bad"}),
]


def recorded(*messages, profile=CHAT, messages_too=True, show_values=False):
    """The transcript of messages (sender, value), as it is written."""
    view = ShapeOptions(words_of(profile, messages=messages_too), (), show_values)
    recorder = TranscriptRecorder(profile, view, messages=messages_too)
    for direction, value in messages:
        recorder.add_message(direction, [value], (TOKEN,))
    recorder.add_close(IN, 4001, b"ann is not let in")
    return json.loads(json.dumps(recorder.frames))


def roles(transcript, profile=CHAT):
    return [found.role for found in replay(profile, read_transcript(transcript))]


def as_text(*messages):
    """The same messages unmasked, as a person would write them down."""
    senders = {IN: "server", OUT: "client"}
    frames = [{"from": senders[direction], "text": json.dumps(value)} for direction, value in messages]
    return [*frames, {"close": 4001}]


def test_masked_frames_have_the_same_parts_as_the_frames_themselves():
    """The id still leads from the message to its reply; another one's reply is still another one's."""
    assert roles(recorded(*SESSION)) == roles(as_text(*SESSION))
    assert "reply to send" in roles(recorded(*SESSION))


def test_a_masked_transcript_holds_fields_and_the_profiles_words():
    """Equal values have equal masks, of the same type."""
    (hello, said, other, *_, close) = recorded(*SESSION)

    (welcome,) = hello["values"]
    assert welcome == {
        "type": "hello",
        "stream:v": 1,
        "mail": "text-1",
        "users": -2,
        "admin": True,
        "token": "text-3",
    }
    (message,), (reply,) = said["values"], other["values"]
    assert message == {"type": "say", "channel": "probe-text-4", "id": -5}
    assert reply["channel"] != message["channel"]
    assert close == {"from": "server", "close": 4001}


@pytest.mark.parametrize("show_values", [False, True])
def test_a_secret_is_in_no_transcript(show_values):
    """Neither the token nor a piece of it, as a value, a key, a part of a text, or a close reason."""
    value = {"a": TOKEN, TOKEN: 1, "b": f"Bearer {TOKEN}", "c": TOKEN[3:15], "channel": f"probe-{TOKEN}"}
    view = ShapeOptions(words_of(CHAT, messages=True), (), show_values)
    recorder = TranscriptRecorder(CHAT, view, messages=True)
    recorder.add_message(IN, [value], (TOKEN,))
    recorder.add_close(IN, 4001, f"bad {TOKEN}".encode(), (TOKEN,))
    written = json.dumps(recorder.frames)

    assert all(TOKEN[start : start + 8] not in written for start in range(len(TOKEN) - 7))
    assert '"channel": "probe-text-' in written


def test_values_are_there_on_request():
    """As the server sent them, with the close reason."""
    transcript = recorded(*SESSION, show_values=True)

    assert transcript[0]["values"][0]["mail"] == "ann@example.com"
    assert transcript[2]["values"] == [SESSION[2][1]]
    assert transcript[-1] == {"from": "server", "close": 4001, "reason": "ann is not let in"}


def test_words_of_a_message_of_the_config_are_masked():
    """It may hold a password that somebody wrote into it."""
    transcript = recorded((OUT, {"type": "say", "channel": "probe-abc", "id": 1}), messages_too=False)

    assert transcript[0]["values"] == [{"type": "text-1", "channel": "probe-text-2", "id": 1}]


@given(JSON)
def test_no_text_of_the_network_is_in_a_masked_transcript(value):
    """Whatever a server sends: its structure is kept, its texts and numbers are counts."""
    (message, _) = recorded((IN, value))

    def texts(part):
        if isinstance(part, dict | list):
            for inner in part.values() if isinstance(part, dict) else part:
                yield from texts(inner)
        elif isinstance(part, str):
            yield part

    allowed = words_of(CHAT, messages=True)
    assert all(text in allowed or text.partition("-")[0] in ("text", "probe") for text in texts(message["values"]))


def test_what_the_framing_cannot_read_and_what_is_too_deep_is_recorded_as_such():
    """A hostile server neither breaks the recorder nor grows it: a deep value ends, a long text is one mask."""
    recorder = TranscriptRecorder(CHAT, ShapeOptions(), messages=False)
    deep = value = []
    for _ in range(100):
        value.append([])
        value = value[0]
    recorder.add_message(IN, None)
    recorder.add_message(IN, [deep, "probe-" * 10_000])
    for _ in range(10_001):
        recorder.add_message(IN, [])

    assert recorder.frames[0] == {"from": "server", "values": None}
    assert json.dumps(recorder.frames[1]).count("[") == 41
    assert recorder.frames[1]["values"][1] == "text-1"
    assert len(recorder.frames) == 10_000
    assert roles(recorder.frames[:3])[0] == "passed over as not_json: the framing json cannot read it"
