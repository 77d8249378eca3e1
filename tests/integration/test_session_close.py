"""How a session ends: the first close frame, who sent it, in which phase; and what the server sees of ours."""

import struct

import pytest
from support.raw_server import (
    AUTHED,
    END,
    HALF_CLOSE,
    MESSAGE,
    REPLY,
    RESET,
    UPGRADE,
    WELCOME,
    after,
    both_loops,
    close,
    converse,
    ending,
    frame,
    leaves_nothing,
    plays,
    serving,
    text,
    upgrade_with,
)
from websockets.frames import Opcode

from exporter.result import Phase, Probe

PASSED = (UPGRADE, WELCOME, MESSAGE, REPLY)
NORMAL = (None, (1000, "local", "close"))
UNANSWERED = (None, (1006, "none", "close"))


def answer_close(*parts, end=END):
    """Wait for the client's close frame, answer with these bytes, then end so.

    The answer takes longer than the round trip that the kernel has measured, even if the machine was late meanwhile:
    a close that comes sooner is the server's own.
    """

    async def step(peer):
        while (await peer.frame())[0] != Opcode.CLOSE:
            pass
        await after(0.01)
        peer.send(*parts)
        if end is not None:
            end(peer)
        await peer.to_the_end(answer=False)

    return step


def closed(code):
    """The close is the server's, in phase close."""
    return (None, (code, "remote", "close"))


async def session(*steps, **wanted):
    """Facts of a session against a server of these steps, and the server's view of the client."""
    async with serving(plays(*steps)) as server, leaves_nothing():
        facts = await converse(server, **wanted)
        await server.over()
    return facts, server.peer


@pytest.mark.parametrize(
    ("answer", "expected", "timed"),
    [
        (answer_close(close(1000)), NORMAL, True),
        (answer_close(close(1000), end=None), NORMAL, True),
        (answer_close(close(1000, "bye")), NORMAL, True),
        (answer_close(close(1011, "late")), NORMAL, True),
        (answer_close(close(1001)), NORMAL, True),
        (answer_close(close(4001)), NORMAL, True),
        (answer_close(frame(Opcode.CLOSE)), NORMAL, True),
        (answer_close(text({"type": "noise"}), close(1012)), NORMAL, True),
        (answer_close(frame(Opcode.PING, b"x"), close(1000)), NORMAL, True),
        (answer_close(), UNANSWERED, False),
        (answer_close(end=None), UNANSWERED, False),
        (answer_close(end=RESET), UNANSWERED, False),
        (answer_close(end=HALF_CLOSE), UNANSWERED, False),
        (answer_close(close(1006)), UNANSWERED, False),
        (answer_close(frame(Opcode.CLOSE, b"\x03")), UNANSWERED, False),
        (answer_close(b"\xff" * 20), UNANSWERED, False),
        (answer_close(frame(Opcode.TEXT, b"part", fin=False), close(1001)), NORMAL, True),
    ],
)
@both_loops
async def test_what_answers_our_close(answer, expected, timed):
    """Ours came first, whatever code the server answers with; no answer is 1006; an answer ends the close's time."""
    facts, peer = await session(*PASSED, answer, close_timeout=3.0 if timed else 0.2)

    assert ending(facts) == expected
    assert facts.ended is Phase.CLOSE
    assert (Phase.CLOSE in facts.phases) is timed
    assert peer.codes == [1000]


ADMISSION = (("admission", "closed"), "admission")
REPLYING = (("reply", "closed"), "reply")


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999])
async def test_the_servers_close_is_recorded_and_echoed(code):
    """Every code that may travel is the server's, before the welcome; we echo it, a 1011 too, and send nothing else."""
    facts, peer = await session(UPGRADE, close(code, "because"))

    assert ending(facts) == (("admission", "closed"), (code, "remote", "admission"))
    assert facts.close.text == "because"
    assert "because" not in repr(facts)
    assert peer.codes == [code]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([upgrade_with(close(1011))], (("admission", "closed"), (1011, "remote", "admission"))),
        ([UPGRADE, close(1011)], (("admission", "closed"), (1011, "remote", "admission"))),
        ([UPGRADE, frame(Opcode.CLOSE)], (("admission", "closed"), (1005, "remote", "admission"))),
        ([upgrade_with(WELCOME, close(1011))], (("reply", "closed"), (1011, "remote", "reply"))),
        ([UPGRADE, WELCOME + close(1011)], (("reply", "closed"), (1011, "remote", "reply"))),
        ([UPGRADE, WELCOME, close(1011)], (("reply", "closed"), (1011, "remote", "reply"))),
        ([UPGRADE, WELCOME, MESSAGE, close(1011)], (("reply", "closed"), (1011, "remote", "reply"))),
        ([UPGRADE, WELCOME, MESSAGE, REPLY + close(1011)], closed(1011)),
        ([UPGRADE, WELCOME, MESSAGE, REPLY, close(1011)], closed(1011)),
        ([UPGRADE, WELCOME, MESSAGE, REPLY + close(1000)], closed(1000)),
    ],
)
@both_loops
async def test_segments_do_not_change_the_phase_of_a_close(steps, expected):
    """A close belongs to the phase that it ended, whether it came with the message before it or after it."""
    facts, peer = await session(*steps)

    assert ending(facts) == expected
    assert set(peer.codes) <= {1000, 1005, 1011}


async def test_an_auth_message_has_a_phase_of_its_own():
    """A close while we wait for the answer to the auth message is in phase auth."""
    facts, peer = await session(UPGRADE, WELCOME, MESSAGE, close(4001), profile=AUTHED)

    assert ending(facts) == (("auth", "closed"), (4001, "remote", "auth"))
    assert peer.messages == [{"type": "auth", "token": "t0ken"}]


@pytest.mark.parametrize("code", [1000, 1001, 1011])
async def test_closes_that_cross(code):
    """Both sides close before they have seen the other's: a code that differs from ours is the server's."""

    async def cross(peer):
        peer.close(code)
        await after(0.02)

    facts, peer = await session(UPGRADE, WELCOME, MESSAGE, REPLY, cross)

    assert facts.fault is None
    assert (facts.close.code, facts.close.phase) == (code, Phase.CLOSE)
    assert len(peer.codes) == 1
    assert set(peer.codes) <= {1000, code}


@pytest.mark.parametrize(("end", "kind"), [(END, "eof"), (HALF_CLOSE, "eof"), (RESET, "reset")])
@pytest.mark.parametrize(
    ("steps", "phase"),
    [((UPGRADE,), "admission"), ((UPGRADE, WELCOME), "reply"), ((UPGRADE, WELCOME, MESSAGE), "reply")],
)
@both_loops
async def test_an_end_without_a_close_frame_is_1006(steps, phase, end, kind):
    """No close frame at all: 1006 and nobody's, in the phase that the end came in."""
    facts, peer = await session(*steps, end)

    assert ending(facts) == ((phase, kind), (1006, "none", phase))
    assert peer.codes == []


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535])
async def test_a_code_that_may_not_travel_is_a_violation(code):
    """A close frame with a code that RFC 6455 section 7.4 forbids is answered with 1002, and that is the close."""
    facts, peer = await session(UPGRADE, frame(Opcode.CLOSE, struct.pack("!H", code)))

    assert ending(facts) == (("admission", "protocol"), (1002, "local", "admission"))
    assert peer.codes == [1002]


VIOLATIONS = {
    "unknown opcode": (b"\x83\x00", 1002, "protocol"),
    "masked": (b"\x81\x80\x00\x00\x00\x00", 1002, "protocol"),
    "reserved bit": (frame(Opcode.TEXT, b"{}", rsv1=True), 1002, "protocol"),
    "unexpected continuation": (frame(Opcode.CONT, b"{}"), 1002, "protocol"),
    "message within a message": (frame(Opcode.TEXT, b"{", fin=False) + frame(Opcode.TEXT, b"}"), 1002, "protocol"),
    "fragmented ping": (frame(Opcode.PING, fin=False), 1002, "protocol"),
    "long ping": (frame(Opcode.PING, b"x" * 126), 1002, "protocol"),
    "close of one byte": (frame(Opcode.CLOSE, b"\x03"), 1002, "protocol"),
    "text not UTF-8": (frame(Opcode.TEXT, b'{"a": "\xff"}'), 1007, "protocol"),
    "text cut in a character": (frame(Opcode.TEXT, "é".encode()[:1]), 1007, "protocol"),
    "surrogate in UTF-8": (frame(Opcode.TEXT, b'"\xed\xa0\x80"'), 1007, "protocol"),
    "close reason not UTF-8": (frame(Opcode.CLOSE, b"\x03\xe8\xff"), 1007, "protocol"),
    "too long": (frame(Opcode.TEXT, b"x" * 65_537), 1009, "too_big"),
    "too long by its header": (b"\x81\x7f\x7f" + b"\xff" * 7, 1009, "too_big"),
    "too long in parts": (
        frame(Opcode.TEXT, b"x" * 65_000, fin=False) + frame(Opcode.CONT, b"x" * 600),
        1009,
        "too_big",
    ),
    "too many fragments": (frame(Opcode.TEXT, fin=False) + frame(Opcode.CONT, fin=False) * 2_000, 1009, "too_big"),
}


@pytest.mark.parametrize(("words", "code", "kind"), VIOLATIONS.values(), ids=VIOLATIONS.keys())
@pytest.mark.parametrize(("steps", "phase"), [((UPGRADE,), "admission"), ((UPGRADE, WELCOME, MESSAGE), "reply")])
async def test_a_violation_is_answered_with_its_code(words, code, kind, steps, phase):
    """What breaks RFC 6455 is told by the close code made for it, sent by us, in the phase it came in."""
    facts, peer = await session(*steps, words)

    assert ending(facts) == ((phase, kind), (code, "local", phase))
    assert peer.codes == [code]


@pytest.mark.parametrize("words", [words for words, _, _ in VIOLATIONS.values()], ids=VIOLATIONS.keys())
async def test_what_comes_after_the_proof_cannot_undo_it(words):
    """A violation in the segment of the reply, or behind it, does not fail the probe, and its close is a known one."""
    for steps in ([REPLY + words], [REPLY, words]):
        facts, _ = await session(UPGRADE, WELCOME, MESSAGE, *steps)

        assert facts.fault is None


@pytest.mark.parametrize("words", [words for words, _, _ in VIOLATIONS.values()], ids=VIOLATIONS.keys())
async def test_a_session_that_came_for_the_upgrade_judges_nothing_after_it(words):
    """Frames behind the 101, good or bad, in its segment or not, cannot fail a connect-deep session."""
    for steps in ([upgrade_with(words)], [UPGRADE, words], [upgrade_with(text({"type": "error"}), words)]):
        facts, _ = await session(*steps, depth=Probe.CONNECT)

        assert facts.fault is None
        assert facts.close.phase is Phase.CLOSE


@pytest.mark.parametrize("steps", [[upgrade_with(close(1008, "no token"))], [UPGRADE, close(1008, "no token")]])
async def test_a_refusal_behind_the_upgrade_is_the_close_of_a_connect_deep_session(steps):
    """A server that refuses us after the upgrade passes connect; its close frame is recorded, in phase close."""
    facts, _ = await session(*steps, depth=Probe.CONNECT)

    assert ending(facts) == closed(1008)


async def test_a_close_in_the_middle_of_a_message_is_the_servers():
    """A close frame between fragments is still the first close frame of the session."""
    facts, _ = await session(UPGRADE, frame(Opcode.TEXT, b'{"type":', fin=False) + close(1012))

    assert ending(facts) == (("admission", "closed"), (1012, "remote", "admission"))


async def test_what_follows_a_violation_is_not_looked_at():
    """RFC 6455 section 7.1.7: after invalid UTF-8 not even our reply in the same segment counts."""
    facts, peer = await session(UPGRADE, WELCOME, MESSAGE, frame(Opcode.TEXT, b"\xff") + REPLY)

    assert ending(facts) == (("reply", "protocol"), (1007, "local", "reply"))
    assert peer.codes == [1007]
