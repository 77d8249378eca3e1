"""One conversation: messages, what is passed over, what names the cause. Upgrade, close, time: test_session_*."""

import asyncio
import contextlib
import importlib
import itertools
import json
import pkgutil
import socket
import time
import warnings

import pytest
import websockets
from support.raw_server import (
    AUTHED,
    ECHO_REPLY,
    END,
    MESSAGE,
    NONCE,
    REPLY,
    RESET,
    SUBJECT,
    UPGRADE,
    WELCOME,
    after,
    both_loops,
    busy,
    close,
    converse,
    ending,
    frame,
    judged,
    leaves_nothing,
    order,
    plays,
    serving,
    text,
    until,
)
from websockets import exceptions as ws
from websockets.asyncio.server import serve
from websockets.frames import Close, Opcode
from websockets.protocol import Protocol

from exporter.config import Profile, unreachable_rules
from exporter.profiles import BUILT_IN
from exporter.resolver import Resolver
from exporter.result import ErrorKind, FactoryReason, Initiator, Phase, Probe, ProbeError, Reason, Verdict
from exporter.session import ERROR_KINDS, MAX_FRAMES, SILENT_LOGGER, Session, kind_of

NORMAL = (None, (1000, "local", "close"))
PING = text({"type": "ping"})
FULL = text({"type": "error", "code": "full"})


async def session(*steps, **wanted):
    """Facts of a session against a server of these steps, and the server's view of the client."""
    async with serving(plays(*steps)) as server, leaves_nothing():
        facts = await converse(server, **wanted)
        await server.over()
    return facts, server.peer


# The way through --------------------------------------------------------------------------------------------------


@both_loops
async def test_a_session_answers_all_probes():
    """Welcome, our message, its reply, a close with 1000: every phase is timed, in order, and nothing stays behind."""
    facts, peer = await session(UPGRADE, WELCOME, MESSAGE, REPLY)

    assert ending(facts) == NORMAL
    order_of = [Phase.RESOLVE, Phase.TCP, Phase.UPGRADE, Phase.ADMISSION, Phase.REPLY, Phase.CLOSE]
    assert list(facts.phases) == order_of
    assert [facts.marks[phase] for phase in order_of] == sorted(facts.marks.values())
    assert (facts.address, facts.slot_taken, facts.certificate_end) == ("127.0.0.1", True, None)
    assert peer.messages == [{"type": "echo", "id": NONCE}]
    assert peer.codes == [1000]


@pytest.mark.parametrize(
    ("depth", "phases", "answers"),
    [
        (Probe.CONNECT, [], []),
        (Probe.AUTH, [Phase.ADMISSION, Phase.AUTH], [MESSAGE, text({"type": "auth_ok"})]),
        (Probe.SEND, [Phase.ADMISSION, Phase.AUTH, Phase.REPLY], [MESSAGE, text({"type": "auth_ok"}), MESSAGE, REPLY]),
    ],
)
async def test_a_session_goes_as_deep_as_it_is_told(depth, phases, answers):
    """The depth decides which phases there are, and what is sent; each depth closes with 1000."""
    facts, peer = await session(UPGRADE, WELCOME, *answers, profile=AUTHED, depth=depth)

    assert ending(facts) == NORMAL
    assert list(facts.phases) == [Phase.RESOLVE, Phase.TCP, Phase.UPGRADE, *phases, Phase.CLOSE]
    assert len(peer.messages) == answers.count(MESSAGE)
    assert peer.codes == [1000]


async def test_a_profile_without_welcome_begins_with_its_message():
    """The echo profile sends at once and waits for its nonce."""
    facts, _ = await session(UPGRADE, MESSAGE, text({"nonce": NONCE}), profile=BUILT_IN["echo"])

    assert ending(facts) == NORMAL
    assert Phase.ADMISSION not in facts.phases


@pytest.mark.parametrize("ending_of_it", ["passes", "times out", "is cancelled"])
@both_loops
async def test_the_librarys_own_server_sees_1000(ending_of_it):
    """A server of the very library whose client would say 1011 sees 1000 from us, however a session goes."""
    seen = asyncio.get_running_loop().create_future()

    async def handler(connection):
        await connection.send('{"type": "hello"}')
        with contextlib.suppress(ws.ConnectionClosed):
            await connection.recv()
            if ending_of_it == "passes":
                await connection.send(json.dumps(ECHO_REPLY))
            await connection.wait_closed()
        seen.set_result(connection.protocol.close_rcvd)

    async with serve(handler, "127.0.0.1", 0, ping_interval=None) as server:
        asked = order(server.sockets[0].getsockname()[1], timeout=0.8 if ending_of_it == "times out" else 5)
        conversation = Session(asked, Resolver(), time.monotonic)
        session = asyncio.ensure_future(conversation.run())
        if ending_of_it == "is cancelled":
            await until(lambda: conversation._timer.phase is Phase.REPLY)
            session.cancel()
        await asyncio.wait([session])
        closed = await asyncio.wait_for(seen, 5)

    assert (closed.code, closed.reason) == (1000, "")
    assert session.cancelled() is (ending_of_it == "is cancelled")


# Messages ---------------------------------------------------------------------------------------------------------


def pieces(payload, *cuts, between=b""):
    """A text message in fragments, cut at these places, with other frames between them."""
    edges = [0, *cuts, len(payload)]
    parts = [payload[start:end] for start, end in itertools.pairwise(edges)]
    frames = [
        frame(Opcode.CONT if number else Opcode.TEXT, part, fin=number == len(parts) - 1)
        for number, part in enumerate(parts)
    ]
    return between.join(frames)


WIDE = json.dumps({**ECHO_REPLY, "text": "grüße 🐍"}, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "reply",
    [
        pieces(WIDE, 5),
        pieces(WIDE, *range(1, len(WIDE))),
        pieces(WIDE, len(WIDE) - 4, len(WIDE) - 3),
        pieces(WIDE, 5, 9, between=frame(Opcode.PING, b"are you there")),
        pieces(WIDE, 5, 9, between=frame(Opcode.PONG)),
        pieces(WIDE, 5, 5, 5, 5),
        pieces(WIDE, 0, len(WIDE)),
        frame(Opcode.TEXT, b" \n" + WIDE + b" "),
    ],
)
@both_loops
async def test_a_message_may_come_in_fragments(reply):
    """Fragments are joined, characters across their borders too, with control frames between them and empty ones."""
    facts, _ = await session(UPGRADE, WELCOME, MESSAGE, reply)

    assert ending(facts) == NORMAL


async def test_pings_are_answered():
    """A protocol ping gets its pong, with its payload, in any phase."""
    _, peer = await session(UPGRADE, frame(Opcode.PING, b"1"), WELCOME, MESSAGE, frame(Opcode.PING, b"2"), REPLY)

    assert [payload for opcode, payload in peer.frames if opcode == Opcode.PONG] == [b"1", b"2"]


async def test_what_is_not_ours_is_passed_over_and_counted_by_kind():
    """Only our reply counts: pings get their pong, other people's replies, noise, binary and nonsense are counted."""
    noise = (
        PING,
        text({"type": "echo_reply", "id": "somebody else's", "ok": True}),
        WELCOME,
        text({"type": "event"}),
        text([1, 2]),
        frame(Opcode.TEXT, b"not json"),
        frame(Opcode.TEXT, b"[" * 50_000),
        frame(Opcode.TEXT, b'{"n": ' + b"9" * 5_000 + b"}"),
        frame(Opcode.BINARY, b"\x93\x01\x02"),
        frame(Opcode.TEXT),
    )
    facts, peer = await session(UPGRADE, WELCOME, MESSAGE, *noise, MESSAGE, REPLY)

    assert ending(facts) == NORMAL
    assert facts.passed_over == {"ping": 1, "foreign_reply": 1, "welcome": 1, "other": 2, "not_json": 4, "binary": 1}
    assert peer.messages == [{"type": "echo", "id": NONCE}, {"type": "pong"}]


async def test_a_second_welcome_is_no_unknown_message():
    """A server that welcomes again, as NATS does after the login, sends no field that the profile does not know."""
    facts, _ = await session(UPGRADE, WELCOME, MESSAGE, WELCOME, REPLY)

    assert facts.passed_over == {"welcome": 1}
    assert facts.unknown_keys == ()


async def test_a_noise_rule_that_is_the_welcome_applies_to_the_second_one():
    """The first is the welcome; the config's warning says so."""
    rules = {
        "welcome": {"match": {"type": "hello"}},
        "noise": [{"kind": "again", "match": {"type": "hello"}}],
        "send": {"message": {"type": "echo", "id": "${nonce}"}, "match": {"id": "${nonce}"}},
    }
    profile = Profile.model_validate(rules)
    facts, _ = await session(UPGRADE, WELCOME, MESSAGE, WELCOME, REPLY, profile=profile)

    assert (ending(facts), facts.passed_over) == (NORMAL, {"again": 1})
    sentence = "applies to a second welcome alone: the first is taken by welcome.match"
    assert list(unreachable_rules(profile)) == [("noise[0]", sentence)]


async def test_notices_before_the_welcome_are_kept():
    """The kinds of what was passed over during admission are facts: a notice may say why no welcome follows."""
    facts, _ = await session(UPGRADE, PING, WELCOME, PING, MESSAGE, REPLY)

    assert facts.notices == ("ping",)


@pytest.mark.parametrize(
    "value",
    [{"type": "echo_reply", "id": NONCE, "ok": 1}, {"type": "echo_reply", "id": NONCE}, {**ECHO_REPLY, "ok": None}],
)
async def test_our_reply_must_hold_what_is_expected(value):
    """A reply with our nonce and the wrong content is a wrong reply, not somebody else's."""
    facts, _ = await session(UPGRADE, WELCOME, MESSAGE, text(value))

    assert ending(facts) == (("reply", "wrong_reply"), (1000, "local", "close"))


@pytest.mark.parametrize(
    "value", ['{"type": "hello"', "null", "[]", '"hello"', "NaN", '{"type": ["hello"]}', "\ufeff{}"]
)
async def test_what_is_no_welcome_is_none(value):
    """A welcome that is not the profile's is passed over; the phase goes on until the real one."""
    facts, _ = await session(UPGRADE, frame(Opcode.TEXT, value.encode()), WELCOME, MESSAGE, REPLY)

    assert ending(facts) == NORMAL
    assert facts.welcome == {"type": "hello"}


@pytest.mark.parametrize(
    "flood",
    [frame(Opcode.PONG) * (MAX_FRAMES + 10), text({"a": "x" * 60_000}) * 20, frame(Opcode.PING) * (MAX_FRAMES + 10)],
    ids=["pongs", "messages", "pings"],
)
async def test_a_flood_is_too_big(flood):
    """More bytes or frames than any conversation has end the session with 1009, at once."""
    facts, _ = await session(UPGRADE, flood, timeout=20, close_timeout=0.1)

    assert ending(facts) == (("admission", "too_big"), (1009, "local", "admission"))
    assert facts.fault.detail == "flood"


# What names the cause ---------------------------------------------------------------------------------------------


async def test_an_error_frame_and_its_close_are_one_story():
    """After an error frame we wait for the close that belongs to it, a moment later too."""
    facts, _ = await session(UPGRADE, FULL, lambda _: after(0.1), close(1011, "Factory"))

    assert ending(facts) == (("admission", "refusal"), (1011, "remote", "admission"))
    assert facts.refusal == {"type": "error", "code": "full"}


async def test_an_error_frame_without_a_close_ends_the_session_too():
    """If no close follows within the close budget we close with 1000."""
    facts, peer = await session(UPGRADE, FULL, close_timeout=0.1)

    assert ending(facts) == (("admission", "refusal"), (1000, "local", "close"))
    assert peer.codes == [1000]


@pytest.mark.parametrize("end", [END, RESET])
@pytest.mark.parametrize("cause", [FULL + close(1011, "Factory"), PING + FULL + close(1011, "Factory")])
@both_loops
async def test_the_cause_is_read_though_our_send_failed(end, cause):
    """A full backend's refusal: error frame, 1011 and the end are there before we send; nothing of them is lost."""

    async def before_our_send(peer):
        peer.send(await peer.request(), WELCOME, cause)
        end(peer)
        busy(0.02)  # it is all in the client's kernel before the client's next step

    async with serving(before_our_send) as server, leaves_nothing():
        facts = await converse(server)
        await server.over()

    assert ending(facts) == (("reply", "refusal"), (1011, "remote", "reply"))
    assert facts.refusal == {"type": "error", "code": "full"}
    assert facts.close.text == "Factory"


@pytest.mark.parametrize("end", [END, RESET])
async def test_a_reset_while_we_wait_does_not_hide_the_cause(end):
    """The same during the wait for our reply: what arrived is read, then the end is met."""
    facts, _ = await session(UPGRADE, WELCOME, MESSAGE, FULL, close(1011), end)

    assert ending(facts) == (("reply", "refusal"), (1011, "remote", "reply"))


async def test_the_incident_is_judged_as_the_design_says():
    """Connect and auth pass, send fails in admission as the factory's slot limit: an error frame, then 1011."""
    facts, _ = await session(UPGRADE, FULL + close(1011, "Factory SSOT validation failed"))
    judgement = judged(facts, order(1))

    assert judgement.verdicts == {Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.PASS, Probe.SEND: Verdict.FAIL}
    assert (judgement.phase, judgement.reason) == (Phase.ADMISSION, Reason.FACTORY)
    assert judgement.factory_reason is FactoryReason.SLOT_LIMIT


async def test_an_error_frame_behind_the_deadline_is_found():
    """What lies unread when the deadline strikes is read before the session is judged."""

    def late(peer):
        peer.send(FULL, close(1011))
        busy(2.1)  # holds the client, too: the deadline is over before it can read

    facts, _ = await session(UPGRADE, lambda _: after(0.1), late, timeout=2.0)

    assert ending(facts) == (("admission", "refusal"), (1011, "remote", "admission"))
    assert facts.late > 0.15


async def test_an_error_frame_in_one_segment_with_the_welcome_is_no_noise():
    """A message that is noise by one rule and an error by another is an error, however it is cut into segments."""
    fatal = {"type": "notice", "level": "fatal"}
    profile = Profile.model_validate(
        {
            "welcome": {"match": {"type": "hello"}},
            "send": {"message": {"type": "echo", "id": "${nonce}"}, "match": {"type": "echo_reply", "id": "${nonce}"}},
            "noise": [{"type": "notice"}],
            "errors": [{"match": fatal, "reason": "auth_rejected"}],
        }
    )
    for steps in ([WELCOME + text(fatal)], [WELCOME, lambda _: after(0.02), text(fatal)]):
        facts, _ = await session(UPGRADE, *steps, close(1008), profile=profile)
        assert facts.refusal == fatal


async def test_what_comes_after_a_deadline_that_we_slept_through_is_not_looked_at():
    """A server that gives up on us while we are stopped says nothing of itself: the deadline stands."""

    def late(peer):
        busy(0.6)  # holds the client, too: nobody is there when the deadline strikes
        peer.send(FULL, close(1011))

    facts, _ = await session(UPGRADE, lambda _: after(0.1), late, timeout=0.5)

    assert facts.fault.kind is ErrorKind.DEADLINE
    assert (facts.refusal, facts.close.initiator) == (None, Initiator.LOCAL)
    assert 0.15 < facts.late < 3.0


# The library ------------------------------------------------------------------------------------------------------


class BrokenError(Exception):
    """A mistake in the library."""


@pytest.mark.parametrize("at", [Opcode.TEXT, Opcode.PING, Opcode.CLOSE])
async def test_a_broken_parser_never_makes_us_send_a_1011(monkeypatch, at):
    """The library answers its own mistakes with a 1011: it never goes out, and the session yields its facts at once."""
    receive = Protocol.recv_frame

    def recv_frame(self, received):
        receive(self, received)
        if received.opcode is at:
            raise BrokenError

    monkeypatch.setattr(Protocol, "recv_frame", recv_frame)
    started = time.monotonic()
    facts, peer = await session(UPGRADE, PING, frame(Opcode.PING), close(1001), close_timeout=5.0)

    assert time.monotonic() - started < 4
    assert facts.fault.kind in (ErrorKind.PROTOCOL, ErrorKind.CLOSED)
    assert 1011 not in peer.codes
    assert facts.close.code in (1001, 1006)


async def test_a_parser_that_breaks_between_a_close_and_its_answer_sends_no_1011(monkeypatch):
    """A 1011 is an echo only if the server's own code is 1011."""

    def recv_frame(self, received):
        self.close_rcvd = Close.parse(received.data)
        raise BrokenError

    monkeypatch.setattr(Protocol, "recv_frame", recv_frame)
    facts, peer = await session(UPGRADE, close(1001))

    assert ending(facts) == (("admission", "closed"), (1001, "remote", "admission"))
    assert peer.codes == []


async def test_a_parser_that_breaks_while_we_close_is_silent(monkeypatch):
    """The same after our own close, whose answer nobody can read then: the server has seen 1000 and nothing else."""

    async def answer_close(peer):
        while (await peer.frame())[0] != Opcode.CLOSE:
            pass
        monkeypatch.setattr(Protocol, "recv_frame", lambda *_: 1 / 0)
        peer.send(close(1011))
        peer.end()
        await peer.to_the_end(answer=False)

    facts, peer = await session(UPGRADE, WELCOME, MESSAGE, REPLY, answer_close)

    assert ending(facts) == (None, (1006, "none", "close"))
    assert peer.codes == [1000]


def every_exception():
    """Every exception class of the library, those that are loaded lazily and those of its legacy part too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in pkgutil.walk_packages(websockets.__path__, "websockets."):
            if "__main__" not in module.name and "trio" not in module.name:
                importlib.import_module(module.name)
        named = [getattr(ws, name) for name in [*ws.__all__, *vars(ws)] if not name.startswith("__")]
        lazy = [getattr(ws, name) for name in ("AbortHandshake", "InvalidStatusCode", "RedirectHandshake")]
    found = {thing for thing in [*named, *lazy] if isinstance(thing, type) and issubclass(thing, BaseException)}
    waiting = [ws.WebSocketException]
    while waiting:
        cls = waiting.pop()
        found.add(cls)
        waiting += cls.__subclasses__()
    return found


def test_every_exception_of_the_library_has_its_kind():
    """No class of an open WebSocket is missing: those of the current API by name, the legacy ones by their base."""
    classes = every_exception()
    current = {cls for cls in classes if "legacy" not in cls.__module__ and cls.__module__.startswith("websockets.")}

    assert len(current) >= 30
    opened = {cls for cls in current if not issubclass(cls, (ws.InvalidHandshake, ws.InvalidURI, ws.InvalidProxy))}
    assert opened - set(ERROR_KINDS) == set()
    assert {cls.__name__ for cls in classes if not any(base in ERROR_KINDS for base in cls.__mro__)} == set()
    assert set(ERROR_KINDS) - current == {UnicodeDecodeError, EOFError}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ws.PayloadTooBig(2, 1), ErrorKind.TOO_BIG),
        (ws.ProtocolError("x"), ErrorKind.PROTOCOL),
        (ws.ConnectionClosedOK(None, None), ErrorKind.CLOSED),
        (EOFError(), ErrorKind.EOF),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), ErrorKind.PROTOCOL),
        (RuntimeError(), ErrorKind.PROTOCOL),
    ],
)
def test_an_exception_is_what_its_class_says(error, kind):
    """The nearest class in the table decides; what is unknown is a violation of the protocol."""
    assert kind_of(error) is kind


async def test_the_librarys_logger_never_speaks(caplog):
    """At debug level the library would print tokens and frames: not one line of it is written."""
    caplog.set_level("DEBUG")
    await session(UPGRADE, WELCOME, MESSAGE, REPLY, headers={"Authorization": "Bearer s3cret"})

    assert SILENT_LOGGER.disabled
    assert not [record for record in caplog.records if "websockets" in record.name or "s3cret" in record.getMessage()]


# Our own trouble --------------------------------------------------------------------------------------------------


async def test_our_own_trouble_is_no_fact(monkeypatch):
    """Without a descriptor to spare the session raises: nobody's outage is made of it."""

    def no_socket(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socket", no_socket)
    with pytest.raises(OSError, match="Too many"):
        await converse(type("Server", (), {"port": 1}))


async def test_a_refused_connection_names_its_phase():
    """Nobody listens: phase tcp, and only what was completed is timed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        facts = await converse(type("Server", (), {"port": free.getsockname()[1]}))

    assert ending(facts) == (("tcp", "refused"), None)
    assert set(facts.phases) == {Phase.RESOLVE}
    assert not facts.slot_taken


async def test_a_name_that_does_not_resolve_names_its_phase():
    """A DNS fault is in phase resolve, and nothing is timed."""
    facts = await converse(type("Server", (), {"port": 1}), host="a..b")

    assert ending(facts) == (("resolve", "dns"), None)
    assert facts.phases == {}
    assert facts.address is None


def test_a_fault_shows_no_text_of_the_network():
    """What a fault says of itself are words of ours."""
    assert str(ProbeError(ErrorKind.UPGRADE, "endless head")) == "upgrade endless head"


async def test_the_subject_may_be_part_of_a_message():
    """`${identity}` is the subject's place in a message, as `${nonce}` is the nonce's."""
    profile = Profile.model_validate(
        {"send": {"message": {"who": "${identity}", "n": "${nonce}"}, "match": {"n": "${nonce}"}}}
    )
    facts, peer = await session(UPGRADE, MESSAGE, text({"n": NONCE}), profile=profile)

    assert ending(facts) == NORMAL
    assert peer.messages == [{"who": SUBJECT, "n": NONCE}]
