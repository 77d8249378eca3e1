"""Steps of a login and of a probe: sent, awaited, kept for later messages; and the last message before our close."""

import pytest
from support.raw_server import (
    MESSAGE,
    NONCE,
    SUBJECT,
    UPGRADE,
    close,
    converse,
    ending,
    frame,
    leaves_nothing,
    plays,
    serving,
    text,
)
from websockets.frames import Opcode

from exporter.config import Profile, needs_token, profile_problems
from exporter.config.profile_checks import needs_identity
from exporter.profiles import MessageMatcher, SessionMessages
from exporter.result import Phase, Probe

CHALLENGED = Profile.model_validate(
    {
        "auth": [
            {"message": {"hello": "${identity}"}, "match": {"challenge": "${any}"}, "keep": {"challenge": "challenge"}},
            {"message": {"answer": "${challenge}", "again": "<${challenge}>", "token": "${token}"}},
            {"match": {"in": True}, "keep": {"session": "session.id"}},
        ],
        "send": [
            {"message": {"join": "room-${nonce}"}},
            {"message": {"say": "${nonce}", "session": "${session}"}, "match": {"said": "${nonce}"}},
        ],
        "bye": {"leave": "${session}"},
        "error": {"error": "${any}"},
        "max_message_size": 65_536,
    }
)
LET_IN = (UPGRADE, MESSAGE, text({"challenge": 7}), MESSAGE, text({"in": True, "session": {"id": "s-1"}}))
SAID = (MESSAGE, MESSAGE, text({"said": NONCE}))


async def session(*steps, profile=CHALLENGED, **wanted):
    async with serving(plays(*steps)) as server, leaves_nothing():
        facts = await converse(server, profile=profile, **wanted)
        await server.over()
    return facts, server.peer


async def test_steps_are_taken_in_turn_and_kept_values_go_into_later_messages():
    """A kept number stays a number where it is a whole value, and is text within a text; the phases stay one each."""
    facts, peer = await session(*LET_IN, *SAID)

    assert ending(facts) == (None, (1000, "local", "close"))
    assert peer.messages == [
        {"hello": SUBJECT},
        {"answer": 7, "again": "<7>", "token": "t0ken"},
        {"join": f"room-{NONCE}"},
        {"say": NONCE, "session": "s-1"},
        {"leave": "s-1"},
    ]
    assert list(facts.phases) == [Phase.RESOLVE, Phase.TCP, Phase.UPGRADE, Phase.AUTH, Phase.REPLY, Phase.CLOSE]


async def test_the_last_message_goes_before_our_close_frame():
    """Brokers log a client as lost that closes without it."""
    _, peer = await session(*LET_IN, *SAID)

    assert [opcode for opcode, _ in peer.frames][-2:] == [Opcode.TEXT, Opcode.CLOSE]


async def test_a_session_that_has_said_nothing_says_no_bye():
    """A session that only connects sends no message at all."""
    _, peer = await session(UPGRADE, depth=Probe.CONNECT)

    assert peer.messages == []
    assert peer.codes == [1000]


@pytest.mark.parametrize(
    "challenge",
    [None, {}, [1], True, "x" * 1001, "a\r\nb", "a\x00b"],
    ids=["null", "object", "list", "boolean", "long", "line break", "NUL"],
)
async def test_what_cannot_be_sent_back_is_a_bad_reply(challenge):
    """A server's value is kept if it is a number or a short text without control characters; else nothing is sent."""
    facts, peer = await session(UPGRADE, MESSAGE, text({"challenge": challenge}))

    assert ending(facts)[0] == ("auth", "wrong_reply")
    assert [message for message in peer.messages if "answer" in message] == []


async def test_an_error_in_a_later_step_is_the_probes():
    """A refusal of the second message of the login fails the login, in its phase."""
    facts, _ = await session(*LET_IN[:4], text({"error": "no"}), close(1000))

    assert ending(facts)[0] == ("auth", "refusal")


async def test_kept_text_is_nowhere_in_the_observation():
    """What a server had us keep is in no part of what the session reports."""
    facts, _ = await session(*LET_IN, *SAID)

    assert "s-1" not in repr(facts)


OPTIONAL = Profile.model_validate(
    {
        "needs_token": False,
        "auth": {
            "message": {"hello": {"user": "${identity}", "secret": "${token}", "sasl": ["PLAIN", "${plain}"]}},
            "match": {"in": True},
        },
    }
)


async def test_a_target_without_a_token_leaves_out_what_would_hold_it():
    """A login that need not prove anything is one profile for servers with users and without."""
    anonymous = SessionMessages(MessageMatcher(OPTIONAL), {"nonce": NONCE})
    facts, peer = await session(
        UPGRADE, MESSAGE, text({"in": True}), profile=OPTIONAL, session_messages=anonymous, depth=Probe.AUTH
    )

    assert ending(facts) == (None, (1000, "local", "close"))
    assert peer.messages == [{"hello": {"sasl": ["PLAIN"]}}]


@pytest.mark.parametrize(("needs", "wanted"), [(None, True), (True, True), (False, False)])
def test_a_profile_says_whether_its_token_may_be_absent(needs, wanted):
    """Without a word, a message that holds the token needs one."""
    profile = OPTIONAL.model_copy(update={"needs_token": needs})

    assert needs_token(profile) is wanted
    assert needs_identity(profile) is wanted


NATS = Profile.model_validate(
    {
        "framing": "nats",
        "auth": {"message": {"op": "PING"}, "match": {"op": "PONG"}},
        "send": [
            {"message": {"op": "SUB", "subject": "probe.${nonce}", "sid": "1"}},
            {
                "message": {"op": "PUB", "subject": "probe.${nonce}", "payload": "${nonce}"},
                "match": {"op": "MSG", "payload": "${nonce}"},
            },
        ],
        "max_message_size": 65_536,
    }
)


def binary(data):
    return frame(Opcode.BINARY, data)


async def next_frames(peer, number=1):
    for _ in range(number):
        await peer.frame()


async def test_another_framing_is_spoken_in_its_own_frames():
    """Messages go out as the framing writes them, and a packet may arrive in two WebSocket messages."""
    told = f"MSG probe.{NONCE} 1 {len(NONCE)}\r\n{NONCE}\r\n".encode()
    facts, peer = await session(
        UPGRADE,
        next_frames,
        binary(b"PONG\r\n"),
        lambda peer: next_frames(peer, 2),
        binary(told[:9]),
        binary(told[9:]),
        profile=NATS,
    )

    assert ending(facts) == (None, (1000, "local", "close"))
    assert [payload for opcode, payload in peer.frames if opcode == Opcode.BINARY] == [
        b"PING\r\n",
        f"SUB probe.{NONCE} 1\r\n".encode(),
        f"PUB probe.{NONCE} {len(NONCE)}\r\n{NONCE}\r\n".encode(),
    ]


async def test_what_the_framing_cannot_read_is_counted_under_its_name():
    """JSON at a profile of another framing is no message, and the count says of which framing it is none."""
    facts, _ = await session(
        UPGRADE, next_frames, text({"a": 1}), text({"b": 1}), close(1000), profile=NATS, timeout=2.0
    )

    assert facts.passed_over == {"not_nats": 2}


async def test_packets_before_an_unreadable_one_are_read():
    """Of several packets in a message, those before a bad one count, and the bad one is counted at once."""
    facts, _ = await session(
        UPGRADE,
        next_frames,
        binary(b"PONG\r\nNONSENSE\r\n"),
        lambda peer: next_frames(peer, 2),
        close(1000),
        profile=NATS,
    )

    assert facts.passed_over == {"binary": 1}
    assert Phase.AUTH in facts.phases


async def test_a_packet_in_very_many_messages_is_too_big():
    """A server that never ends a packet fills no memory and takes no time: the session ends."""
    facts, _ = await session(UPGRADE, next_frames, binary(b"MSG a 1 60000\r\n"), *[binary(b"x")] * 1100, profile=NATS)

    assert ending(facts)[0] == ("auth", "too_big")


async def test_text_that_is_no_utf_8_is_a_violation_in_any_framing():
    """RFC 6455 section 8.1."""
    facts, _ = await session(UPGRADE, next_frames, frame(Opcode.TEXT, b"PONG\xff\r\n"), profile=NATS)

    assert ending(facts)[0] == ("auth", "protocol")


PING_STEP = {"message": {"op": "PING"}, "match": {"op": "PONG"}}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"send": [{"message": {"a": "${nonce}"}}]}, "send.match"),
        ({"send": [{"message": {"a": 1}}, {"message": {"b": 1}, "match": {"c": "${nonce}"}}]}, "send[1].message"),
        ({"send": [{"message": {"a": "${nonce}"}, "match": {"b": 1}}, {"match": {"c": 1}}]}, "send[1].match"),
        (
            {"auth": [{"match": {"a": 1}, "keep": {"x": "a"}}, {"match": {"b": 1}, "keep": {"x": "b"}}]},
            "auth[1].keep.x",
        ),
        ({"auth": {"message": {"a": "${x}"}, "match": {"a": 1}, "keep": {"x": "a"}}}, "auth.message"),
        ({"framing": "nats", "auth": {"message": {"op": "SUB"}, "match": {"op": "PONG"}}}, "auth.message"),
        ({"framing": "nats", "auth": PING_STEP, "bye": {"op": "SUB"}}, "bye"),
        ({"framing": "stomp", "noise": [{"kind": "x", "match": {"a": 1}, "answer": {"a": 1}}]}, "noise[0].answer"),
    ],
)
def test_steps_that_cannot_work_are_a_mistake_in_the_file(fields, path):
    """Each is reported once, under the path of the field to mend."""
    assert [found for found, _ in profile_problems(Profile.model_validate(fields))] == [path]
