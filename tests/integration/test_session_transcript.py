"""The transcript of a session: what passed, frame by frame, without any of it."""

import json

import pytest
from support.raw_server import (
    ECHO_REPLY,
    END,
    MESSAGE,
    NONCE,
    REPLY,
    UPGRADE,
    WELCOME,
    after,
    close,
    converse,
    frame,
    leaves_nothing,
    plays,
    serving,
    text,
    upgrade_with,
)
from websockets.frames import Opcode

from exporter.profiles import FACTORY, MessageMatcher
from exporter.result import Direction, Phase, Probe, evidence_text
from exporter.result import Opcode as Word
from exporter.session.transcript import FRAMES_KEPT_AT_EACH_END, OPCODES

HOSTILE = "<script>alert(1)</script> Bearer eyJhbGciOiJIUzI1NiJ9.e30.x \x1b[31m \n::error::"


async def session(*steps, **wanted):
    """Facts of a session against a server of these steps."""
    async with serving(plays(*steps)) as server, leaves_nothing():
        facts = await converse(server, **wanted)
        await server.over()
    return facts


def lines(facts):
    """The transcript without moments and sizes: `in text welcome`."""
    return [
        " ".join(str(word) for word in (each.direction, each.opcode, each.kind, each.code) if word)
        for each in facts.transcript
    ]


CLEAN = ["out close 1000", "in close 1000"]


async def test_it_tells_a_whole_session():
    """Each frame, in both directions, in order, with the size of its payload and when it passed."""
    facts = await session(UPGRADE, WELCOME, MESSAGE, REPLY)

    assert lines(facts) == ["in text welcome", "out text send", "in text reply", *CLEAN]
    assert [each.size for each in facts.transcript] == [
        len(json.dumps({"type": "hello"})),
        len(json.dumps({"type": "echo", "id": NONCE}, separators=(",", ":"))),
        len(json.dumps(ECHO_REPLY)),
        2,
        2,
    ]
    moments = [each.at for each in facts.transcript]
    assert moments == sorted(moments)
    assert moments[0] == pytest.approx(facts.marks[Phase.ADMISSION], abs=1e-9)
    assert moments[2] == pytest.approx(facts.marks[Phase.REPLY], abs=1e-9)
    assert facts.frames_left_out == 0


async def test_it_names_what_is_passed_over_and_our_answers():
    """Noise by its kind, nonsense by what it is not, our answer to a ping of the application as ours."""
    noise = (
        text({"type": "ping"}),
        text({"type": "echo_reply", "id": "somebody else's", "ok": True}),
        text({"type": "event"}),
        frame(Opcode.TEXT, b"not json"),
        frame(Opcode.BINARY, b"\x93\x01"),
    )
    facts = await session(UPGRADE, WELCOME, MESSAGE, *noise, MESSAGE, REPLY)

    said = lines(facts)
    answer = said.pop(said.index("out text answer"))
    assert answer
    assert said[2:-3] == [
        "in text ping",
        "in text foreign_reply",
        "in text other",
        "in text not_json",
        "in binary binary",
    ]


async def test_control_frames_and_parts_of_a_message_have_lines_of_their_own():
    """A ping and our pong of the same size; fragments by their opcodes, and the last one says what the message was."""
    whole = json.dumps(ECHO_REPLY).encode()
    parts = frame(Opcode.TEXT, whole[:9], fin=False) + frame(Opcode.PING, b"1234") + frame(Opcode.CONT, whole[9:])
    facts = await session(UPGRADE, WELCOME, MESSAGE, parts)

    assert lines(facts)[2:] == ["in text", "in ping", "in continuation reply", "out pong", *CLEAN]
    assert [each.size for each in facts.transcript][2:6] == [9, 4, len(whole) - 9, 4]


async def test_an_error_frame_is_named_by_the_profiles_word():
    """Not the peer's text but the word of the rule that knows it; then its close, and our echo."""
    facts = await session(UPGRADE, text({"type": "error", "code": "full", "text": HOSTILE}), close(1011, "no room"))

    assert lines(facts) == ["in text error full", "in close 1011", "out close 1011"]
    assert [each.size for each in facts.transcript][1:] == [9, 9]


async def test_an_error_frame_that_no_rule_knows_has_no_word():
    """What the peer calls its error is its own text."""
    facts = await session(UPGRADE, text({"type": "error", "code": HOSTILE}), close(1011))

    assert lines(facts)[0] == "in text error"


async def test_a_wrong_reply_is_told_from_a_good_one():
    """A reply to us with the wrong content is named so."""
    facts = await session(UPGRADE, WELCOME, MESSAGE, text({**ECHO_REPLY, "ok": False}))

    assert lines(facts)[2] == "in text wrong_reply"


async def test_a_close_without_a_code_is_1005():
    """RFC 6455 section 7.1.5; our echo is as empty as it was."""
    facts = await session(UPGRADE, frame(Opcode.CLOSE))

    assert lines(facts) == ["in close 1005", "out close 1005"]
    assert [each.size for each in facts.transcript] == [0, 0]


async def test_what_nobody_looked_at_has_no_kind():
    """What comes while we close is told as it came: it changed nothing."""
    facts = await session(UPGRADE, WELCOME, MESSAGE, REPLY, lambda peer: peer.frame(), text({"a": 1}), close(1000), END)

    assert lines(facts)[3:] == ["out close 1000", "in text", "in close 1000"]


async def test_frames_in_one_segment_with_the_upgrade_are_told():
    """A session that came for the upgrade alone has a transcript too."""
    facts = await session(upgrade_with(WELCOME), depth=Probe.CONNECT)

    assert lines(facts) == ["in text", *CLEAN]


async def test_no_upgrade_no_transcript():
    """It is of frames: a refusal in HTTP has none."""

    async def refuse(peer):
        await peer.request()
        peer.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

    facts = await session(refuse)

    assert facts.transcript == ()


async def test_a_long_session_keeps_both_ends():
    """The first and the last frames stand, and how many there were in between."""
    facts = await session(UPGRADE, frame(Opcode.PONG) * 500, WELCOME, MESSAGE, REPLY)

    said = lines(facts)
    assert len(said) == 2 * FRAMES_KEPT_AT_EACH_END
    assert said[:FRAMES_KEPT_AT_EACH_END] == ["in pong"] * FRAMES_KEPT_AT_EACH_END
    assert said[-5:] == ["in text welcome", "out text send", "in text reply", *CLEAN]
    assert len(said) + facts.frames_left_out == 505


async def test_a_frame_of_ours_that_never_went_out_is_not_told():
    """A close frame of the library's own that we hold back is no frame."""
    facts = await session(UPGRADE, lambda _: after(0.05), frame(3, b"?"))

    assert [line for line in lines(facts) if "1011" in line] == []
    assert lines(facts) == ["out close 1002"]


async def test_no_text_of_the_peer_is_in_it():
    """Types, reasons, payloads: whatever the peer writes, only words of ours and of the profile are told."""
    facts = await session(
        UPGRADE,
        text({"type": HOSTILE, HOSTILE: HOSTILE}),
        frame(Opcode.PING, b"Bearer eyJhbGciOi"),
        frame(Opcode.TEXT, HOSTILE.encode()),
        frame(Opcode.BINARY, HOSTILE.encode()),
        text({"type": "error", "code": HOSTILE}),
        close(4999, "Bearer eyJhbGciOi"),
    )

    words = {"ping", "pong", "other", "not_json", "binary", "error", None}
    assert {each.kind for each in facts.transcript} <= words
    assert {each.code for each in facts.transcript} == {None, "4999"}
    assert all(isinstance(each.direction, Direction) and isinstance(each.opcode, Word) for each in facts.transcript)


@pytest.mark.parametrize("rule", FACTORY.errors, ids=lambda rule: str(rule.match))
def test_every_refusal_of_the_factory_has_its_word(rule):
    """The word of a rule is what the backend calls the error, and fit to be shown."""
    texts = {"details": {"error_message": "maximum number of WebSocket managers (5)"}}

    word = MessageMatcher(FACTORY).error_word({**texts, **rule.match, "error_message": " ".join(rule.text.values())})

    assert word == rule.match["error_code"] == evidence_text(word)


def test_every_opcode_of_the_library_has_a_word():
    """A frame type that a release adds would fail here."""
    assert {int(opcode) for opcode in Opcode} == set(OPCODES)
    assert len(set(OPCODES.values())) == len(Word)
