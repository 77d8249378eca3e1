"""Ten thousand sessions of made-up profiles with servers that say anything: no error passes, no token goes thrice."""

import asyncio
import json
import os
import random
from dataclasses import dataclass

import pytest
from support import harness, raw_server

from exporter.config import ErrorRule, Profile, Step, Welcome
from exporter.result import Probe, Reason, Result

SEEDS, SESSIONS = range(int(os.environ.get("SEEDS", "2"))), 1_000
"""`SEEDS=10` for the ten thousand (`make soak`)."""
NONCE = raw_server.NONCE

ERRORS = [None, {"error": {}}, {"type": "error"}]
ROWS = [{"error": {"code": 1}}, {"error": {"code": 2}}, {"type": "error"}, {"type": "error", "id": NONCE}, {"code": 1}]
REASONS = [Reason.RATE_LIMITED, Reason.BAD_REPLY, Reason.SERVER_ERROR, Reason.AUTH_REJECTED]
MATCHES = [
    {"id": NONCE},
    {"type": "reply", "id": NONCE},
    {"type": "error", "id": NONCE},
    {"id": NONCE, "error": {}},
    {"id": NONCE, "error": {"code": 1}},
]
EXPECTS = [{}, {"ok": True}, {"ok": "${any}"}]


def contains(pattern, value):
    """The oracle's own reading of a pattern: objects contain, all else is equal, `${any}` is whatever is there."""
    if pattern == "${any}":
        return True
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            name in value and contains(inner, value[name]) for name, inner in pattern.items()
        )
    return type(pattern) is type(value) and pattern == value


def is_error(profile, match, message):
    """True if a rule of the profile calls the message an error, and what is waited for does not name that error."""
    rules = [rule for rule in (profile.error, *(row.match for row in profile.errors)) if rule is not None]
    met = [rule for rule in rules if contains(rule, message)]
    return bool(met) if not contains(match, message) else any(not contains(rule, match) for rule in met)


def decided(profile, step, messages):
    """What the first message that decides makes of a step, and how many were needed; None: none decides."""
    for number, message in enumerate(messages, 1):
        if is_error(profile, step.match, message):
            return False, number
        if contains(step.match, message):
            return contains(step.expect, message), number
    return None, len(messages)


def made_message(dice):
    """Something that a server may say: a reply, an error, both, neither."""
    fields = {
        "type": dice.choice(["reply", "reply", "error", "event", None]),
        "id": dice.choice([NONCE, NONCE, "another", None]),
        "error": dice.choice([None, None, {"code": 1}, {"code": 2}, {}]),
        "code": dice.choice([None, None, None, 1]),
        "ok": dice.choice([True, True, False, None]),
    }
    return {name: value for name, value in fields.items() if value is not None}


def made_profile(dice):
    """A profile with or without a welcome, a login by message, and rules for errors."""
    rows = dice.sample(ROWS, dice.randrange(len(ROWS)))
    return Profile(
        welcome=Welcome(match={"type": "hello"}) if dice.random() < 0.5 else None,
        auth=made_step(dice, {"token": "t"}) if dice.random() < 0.5 else None,
        send=made_step(dice, {"id": NONCE}),
        error=dice.choice(ERRORS),
        errors=[ErrorRule(match=row, reason=dice.choice(REASONS)) for row in rows],
    )


def made_step(dice, message):
    expect = dice.choice(EXPECTS)
    return Step(message=message, match=dice.choice(MATCHES), **({"expect": expect} if expect else {}))


def packed(dice, messages):
    """The messages as a server may write them: one or several in a frame, as text or bytes, in one segment or more."""
    frames, rest = [], list(messages)
    while rest:
        many = dice.choice([1, 1, 1, 2, 3])
        now, rest = rest[:many], rest[many:]
        opcode = dice.choice([raw_server.Opcode.TEXT, raw_server.Opcode.TEXT, raw_server.Opcode.BINARY])
        frames.append(raw_server.frame(opcode, b"\n".join(json.dumps(each).encode() for each in now)))
    return [b"".join(frames)] if dice.random() < 0.5 else frames


@dataclass
class Played:
    """What one session is to meet, and what it must make of it."""

    profile: Profile
    says: list
    passes: bool
    refused: bool


def made_session(dice):
    """A profile, what the server says in each step, and whether the last of them is a pass by the oracle."""
    profile, says, passes = made_profile(dice), [], True
    for step in (*profile.auth, *profile.send):
        messages = [made_message(dice) for _ in range(dice.randrange(5))]
        good, needed = decided(profile, step, messages)
        says.append(messages[:needed])
        if not good:
            return Played(profile, says, passes=False, refused=good is False)
    return Played(profile, says, passes=passes, refused=False)


def playing(dice, played):
    """The server of one session: it closes as soon as it has said all it has to say."""

    async def script(peer):
        await peer.upgrade(raw_server.WELCOME if played.profile.welcome else b"")
        for messages in played.says:
            await peer.message()
            for part in packed(dice, messages):
                peer.send(part)
                await asyncio.sleep(0)
        if not played.passes:
            peer.close(dice.choice([1000, 1008, 1011, 4000]))

    return script


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_session_passes_on_what_the_profile_calls_an_error(seed):
    """The verdict on `send` is the oracle's, whatever arrives in one read, in one frame, before or with the close."""
    dice = random.Random(seed)
    passed = 0
    for number in range(SESSIONS):
        played = made_session(dice)
        async with raw_server.serving(playing(dice, played)) as server:
            facts = await raw_server.converse(
                server, profile=played.profile, timeout=30.0, close_timeout=10.0, slack=60.0
            )
        assert (facts.fault is None) == played.passes, (seed, number, played, facts.fault)
        passed += played.passes
    assert SESSIONS // 50 < passed < SESSIONS // 2


# Rejected tokens ----------------------------------------------------------------------------------------------------

SECRET = "wr0ng-s3cret"
ROUNDS, TRIES = 20, 6
CARRIERS = ["header", "subprotocol", "query", "message", {"header": "Cookie", "value": "access=${token}"}]
REFUSED = {"type": "error", "code": "token"}
ROW = {"errors": [{"match": REFUSED, "reason": "auth_rejected"}]}
CLOSED = {"closes": [{"code": 4401, "reason": "auth_rejected"}]}
BY_STATUS = {401: {}, 403: {"statuses": [{"status": 403, "reason": "auth_rejected"}]}}


def made_refusal(dice, carry):
    """A way in which a server says no to a token: what the profile must know of it, and what the server does."""
    if carry != "message" and dice.random() < 0.4:
        status = dice.choice(list(BY_STATUS))
        return BY_STATUS[status], f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()
    known, said = dice.choice(
        [(ROW, raw_server.text(REFUSED)), (CLOSED, b""), (ROW | CLOSED, raw_server.text(REFUSED))]
    )
    return known, said + raw_server.close(4401, "no")


def rejecting(refusal, tokens):
    """A server that refuses the one token that is sent to it, wherever it stands, and counts how often."""

    async def script(peer):
        good = await peer.request()
        upgrade = peer.line + json.dumps(peer.headers)
        if refusal.startswith(b"HTTP"):
            tokens.append(SECRET in upgrade)
            peer.send(refusal)
            peer.end()
            return
        offered = peer.headers.get("sec-websocket-protocol")
        peer.send(peer.switching(f"Sec-WebSocket-Protocol: {offered.split(',')[0]}\r\n") if offered else good)
        said = json.dumps(await peer.message())
        tokens.append(SECRET in upgrade or SECRET in said)
        peer.send(refusal)

    return script


def refused_target(dice, port, folder, carry, known):
    """A target of one or several identities whose token the server refuses."""
    asked = {"message": {"token": "${token}"} if carry == "message" else {"ask": 1}, "match": {"type": "in"}}
    send = {"message": {"id": "${nonce}"}, "match": {"type": "echo", "id": "${nonce}"}}
    logs_in = carry == "message" or dice.random() < 0.5
    profile = {"send": send, **({"auth": asked} if logs_in else {}), **known}
    secret = folder / "secret"
    secret.write_text(SECRET)
    target = {
        "name": "t", "url": f"ws://127.0.0.1:{port}/", "profile": "own",
        "interval": "20s", "timeout": "10s", "close_timeout": "300ms",
        "identities": {f"user-{number}": f"subject-{number}" for number in range(dice.choice([1, 2, 3]))},
        "auth": {"secret_file": str(secret), "carry": carry},
    }  # fmt: skip
    return harness.planned(target, profiles={"own": profile}).jobs[0]


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_rejected_token_is_sent_more_than_twice(seed, tmp_path):
    """Whatever carries it, whatever refuses it, at any depth and for any identity: two tries within `auth_retry`."""
    dice = random.Random(seed)
    for number in range(ROUNDS):
        carry, tokens = dice.choice(CARRIERS), []
        known, refusal = made_refusal(dice, carry)
        async with raw_server.serving(rejecting(refusal, tokens)) as server:
            made, prober = refused_target(dice, server.port, tmp_path, carry, known), harness.Rig()
            told = [
                await prober.run(made, depth=dice.choice([Probe.AUTH, Probe.SEND, Probe.SEND]), identity=identity)
                for identity in dice.choices(list(made.identities), k=TRIES)
            ]
        reasons = [result.reason for result in told if isinstance(result, Result) and result.depth is Probe.SEND]
        assert sum(tokens) <= 2, (seed, number, carry, known, refusal, reasons)
        assert not reasons or reasons[0] is Reason.AUTH_REJECTED, (seed, number, carry, known, refusal, told)
