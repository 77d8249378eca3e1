"""What a profile makes of recorded frames, and a profile as a user would write it."""

import base64
import json

import pytest

from exporter.catalog import CATALOG
from exporter.config import Profile, examine, load_yaml
from exporter.discovery import TranscriptError, profile_yaml, read_transcript, replay

CHAT = Profile.model_validate(
    {
        "welcome": {"match": {"type": "hello"}, "required": ["session"]},
        "auth": {
            "message": {"type": "login", "token": "${token}"},
            "match": {"type": "in"},
            "keep": {"sid": "session.id"},
        },
        "send": {
            "message": {"type": "say", "id": "${nonce}", "sid": "${sid}", "text": "probe ${nonce}"},
            "match": {"type": "said", "id": "${nonce}"},
            "expect": {"ok": True},
        },
        "bye": {"type": "bye"},
        "noise": [{"type": "presence"}, {"kind": "ping", "match": {"type": "ping"}, "answer": {"type": "pong"}}],
        "error": {"type": "error"},
        "errors": [
            {"match": {"code": "bad_token"}, "reason": "auth_rejected"},
            {
                "match": {"code": "full"},
                "text": {"why": r"of (?P<limit>\d{1,3})"},
                "factory": "slot_limit",
                "proves_auth": True,
            },
        ],
        "closes": [{"code": 4001, "reason": "auth_rejected"}],
    }
)
HELLO = {"type": "hello", "session": "s"}
LOGIN, IN = {"type": "login", "token": "t0ken"}, {"type": "in", "session": {"id": "s-1"}}
SAY = {"type": "say", "id": "n1", "sid": "s-1", "text": "probe n1"}


def server(value):
    return {"from": "server", "text": value if isinstance(value, str) else json.dumps(value)}


def client(value):
    return {"from": "client", "text": json.dumps(value)}


def roles(*frames, profile=CHAT):
    return [found.role for found in replay(profile, read_transcript(list(frames)))]


LET_IN = (server(HELLO), client(LOGIN), server(IN), client(SAY))


def test_each_frame_of_a_healthy_session_has_its_part():
    """Welcome, the messages of the client, noise with its answer, replies, and the close."""
    found = roles(
        *LET_IN[:2],
        server({"type": "presence"}),
        *LET_IN[2:],
        server({"type": "ping"}),
        client({"type": "pong"}),
        server({"type": "said", "id": "n1", "ok": True}),
        client({"type": "bye"}),
        {"from": "client", "close": 1000},
    )

    assert found == [
        "welcome",
        "the message of auth",
        "noise presence by noise.0",
        "reply to auth",
        "the message of send",
        "noise ping by noise.1, which is answered",
        "the answer to noise ping",
        "reply to send",
        "bye",
        "close of the client",
    ]


def test_an_empty_object_is_the_ping_of_centrifugo_and_no_other_message_is():
    """Nor is every message of the client an answer to it."""
    found = roles(
        client({"id": 1, "connect": {"token": "t0ken", "name": "ws-factory-exporter"}}),
        server({"id": 1, "connect": {"client": "c"}}),
        server({}),
        client({}),
        server({"something": 1}),
        client({"something": 1}),
        profile=CATALOG["centrifugo"],
    )

    assert found[:4] == [
        "the message of auth",
        "reply to auth",
        "noise ping by noise.0, which is answered",
        "the answer to noise ping",
    ]
    assert found[4].startswith("passed over as other: no rule matches")
    assert found[5] == "no message of this profile"


ENDS = {
    "error of a rule": (
        server({"type": "error", "code": "bad_token"}),
        "error, sorted by errors[0]: reason auth_rejected",
    ),
    "error with a number": (
        server({"type": "error", "code": "full", "why": "20 of 20"}),
        "error, sorted by errors[1]: factory slot_limit, which proves auth, limit 20",
    ),
    "error of no rule": (server({"type": "error", "code": "?"}), "error, which no rule of errors sorts"),
    "close of a rule": ({"close": 4001, "reason": "no"}, "close, sorted by closes[0]: reason auth_rejected"),
    "close of no rule": ({"close": 4002}, "close, which no rule of closes sorts"),
    "another session's reply": (
        server({"type": "said", "id": "n2", "ok": True}),
        "passed over as foreign_reply: no rule matches; send is awaited, where id has another value",
    ),
    "a reply that is not as expected": (
        server({"type": "said", "id": "n1", "ok": False}),
        "wrong reply to send: of expect, ok has another value",
    ),
    "a reply without its field": (
        server({"type": "said", "id": "n1"}),
        "wrong reply to send: of expect, ok is absent",
    ),
    "an unknown message": (
        server({"other": 1}),
        "passed over as other: no rule matches; send is awaited, where type is absent",
    ),
    "no object": (server([1]), "passed over as other: no rule matches; send is awaited, where the value is no object"),
    "no JSON": (server("hi"), "passed over as not_json: the framing json cannot read it"),
    "binary": ({"binary": "AAE="}, "passed over as binary: the framing json cannot read it"),
    "a second welcome": (server(HELLO), "passed over as welcome: a second one"),
    "a foreign message of the client": (client({"type": "x"}), "no message of this profile"),
}


@pytest.mark.parametrize(("frame", "role"), ENDS.values(), ids=ENDS)
def test_each_kind_of_frame_has_its_role_and_its_rule(frame, role):
    """An error and a close have the path and the outcome of their rule; what is passed over has the reason why."""
    assert roles(*LET_IN, frame)[-1] == role


def test_a_welcome_that_lacks_a_field_says_so():
    """The session would end there."""
    assert roles(server({"type": "hello"})) == ["welcome, but session is absent"]


def test_a_kept_value_must_be_in_the_next_message():
    """A message with another session's value is none of the profile."""
    assert roles(*LET_IN[:3], client({**SAY, "sid": "s-2"}))[-1] == "no message of this profile"


def test_a_transcript_without_the_clients_frames_is_read_too():
    """The nonce is unknown then: any text may be it."""
    assert roles(server(HELLO), server(IN), server({"type": "said", "id": "zz", "ok": True}))[-1] == "reply to send"


def test_an_error_with_the_id_of_the_reply_is_an_error():
    """JSON-RPC 2.0 section 5."""
    rpc = Profile.model_validate(
        {
            "send": {"message": {"id": "${number}", "method": "ping"}, "match": {"id": "${number}"}},
            "error": {"error": {}},
        }
    )
    frames = client({"id": 7, "method": "ping"}), server({"id": 7, "error": {"code": -1}})

    assert roles(*frames, profile=rpc) == ["the message of send", "error, which no rule of errors sorts"]


def test_a_packet_may_span_two_frames():
    """The first half holds no value yet; NATS and MQTT are not aligned with frames."""
    nats = Profile.model_validate({"framing": "nats", "welcome": {"match": {"op": "INFO"}}})
    halves = [{"binary": base64.b64encode(part).decode()} for part in (b'INFO {"a"', b":1}\r\n")]

    assert roles(*halves, profile=nats) == ["holds no complete value yet", "welcome"]


def test_what_stands_behind_a_read_packet_is_read_as_by_a_session():
    """The packet counts, and what follows it in the frame is passed over in the same frame, not in the next one."""
    nats = Profile.model_validate({"framing": "nats", "auth": {"message": {"op": "PING"}, "match": {"op": "PONG"}}})
    frames = read_transcript([server("PONG\r\nNONSENSE\r\n"), server("PONG\r\n")])

    roles = [(found.number, found.role) for found in replay(nats, frames)]

    assert [number for number, _ in roles] == [1, 1, 2]
    assert roles[1][1] == "passed over as not_nats: the framing nats cannot read what follows"


def test_no_value_of_a_frame_is_in_a_finding():
    """A transcript may be private: its findings can be shown to others."""
    secret = "s3cret-value"
    frames = [server({"type": secret, "id": secret}), server(secret), {"close": 4000, "reason": secret}, client(secret)]

    assert secret not in str(replay(CHAT, read_transcript(frames)))


WRONG = {
    "no list": ({}, "must be a JSON list of frames"),
    "no object": (["x"], "frame 1: must be an object"),
    "unknown field": ([{"form": "server", "text": ""}], "frame 1: has a field that is none of from, text, binary"),
    "unknown sender": ([server(""), {"from": "proxy", "text": ""}], "frame 2: from must be server or client"),
    "a sender that is no text": ([{"from": [], "text": ""}], "frame 1: from must be server or client"),
    "two contents": ([{"text": "", "close": 1000}], "frame 1: needs exactly one of text, binary, values, close"),
    "no content": ([{"from": "server"}], "frame 1: needs exactly one of text, binary, values, close"),
    "no base64": ([{"binary": "?"}], "frame 1: binary must be base64"),
    "no text": ([{"text": 7}], "frame 1: text must be text"),
    "no UTF-8": ([{"text": "\ud800"}], "frame 1: text must be UTF-8"),
    "no code": ([{"close": "1000"}], "frame 1: close must be a code from 1000 to 4999"),
    "a reason without a close": ([{"text": "", "reason": "x"}], "frame 1: text must be text, and reason belongs"),
    "values that are no list": ([{"values": {}}], "frame 1: values must be a list or null"),
    "too many": ([server("")] * 10_001, "must hold at most 10000 frames"),
}


@pytest.mark.parametrize(("raw", "sentence"), WRONG.values(), ids=WRONG)
def test_a_wrong_transcript_names_the_frame_and_the_field(raw, sentence):
    """And quotes nothing of it."""
    with pytest.raises(TranscriptError, match=f"^{sentence}"):
        read_transcript(raw)


@pytest.mark.parametrize("name", [*CATALOG])
def test_a_written_profile_is_the_profile(name):
    """What is shown can be copied into a config, and means the same there."""
    text = profile_yaml(CATALOG[name], "mine")
    target = {"name": "t", "url": "ws://127.0.0.1/", "profile": "echo"}
    examined = examine({**load_yaml(text.encode()), "targets": [target]}, CATALOG)

    assert examined.problems == ()
    assert examined.sound.config.profiles["mine"] == CATALOG[name]


def test_a_profile_is_written_as_a_user_would():
    """Durations with their unit, one step without a list, a rule's match before what it says."""
    text = profile_yaml(CHAT.model_copy(update={"limits": CATALOG["factory"].limits}), "chat")

    assert "slot_release: 300s" in text
    assert "- match: {code: bad_token}\n      reason: auth_rejected" in text
    assert "send:\n      message:" in text
