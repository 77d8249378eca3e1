"""What faults do to the conversation, at their stage.

Rule 1: one function per fault, under the fault's own name in `ACTS`; a test compares them with the table.
Rule 2: an act that ends the conversation raises Ended; one that only adds or changes returns.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from http import HTTPStatus
from itertools import cycle, islice
from typing import Any, Final, NoReturn

from websockets.frames import CloseCode, Frame, Opcode

from exporter.standin import frames, http_answers
from exporter.standin.backend import AuthService, TokenVerdict, factory_refused
from exporter.standin.conversation import Conversation, encoded
from exporter.standin.faults import FaultStage
from exporter.standin.replies import Reply
from exporter.standin.server_connection import ConversationEndedError
from exporter.standin.wire_fault_actions import WIRE_ACTS

Values = Mapping[str, Any]
Act = Callable[[Conversation, Values, FaultStage], Awaitable[None]]

WRONG_ACCEPT: Final = "AAAAAAAAAAAAAAAAAAAAAAAAAAA="
STRANGER: Final = "somebody-else"
STATUS_OF: Final = {"redirect": 302, "early_hints": HTTPStatus.SWITCHING_PROTOCOLS}
INTERNAL_ERROR: Final = "Internal error"
COMPONENTS: Final = {
    1002: "Auth",
    1003: "Factory",
    1004: "Handler",
    1005: "Database",
    1006: "Dependencies",
    1007: "Redis",
    1008: "Supervisor",
    1009: "Bridge",
}
MAX_REASON_CHARACTERS: Final = 50
CONNECTION_ID_PATTERNS: Final = {
    "pool": re.compile(r"[a-z0-9-]*-user-\d+"),
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE),
    "digits": re.compile(r"\d{18,21}"),
}
BAD_TEXT: Final = Frame(Opcode.TEXT, b'{"type":"\xc3\x28\xff"}').serialize(mask=False)
RESERVED_OPCODE_FRAME: Final = b"\x83\x00"
"""A final frame of opcode 3, which RFC 6455 section 5.2 reserves."""


async def _on_wire(name: str, talk: Conversation, values: Values, stage: FaultStage) -> None:
    """A fault that only needs the wire, and ends the conversation."""
    WIRE_ACTS[name](talk.wire, values, stage)
    raise ConversationEndedError


# The upgrade --------------------------------------------------------------------------------------------------------


async def _slow_upgrade(_talk: Conversation, values: Values, _stage: FaultStage) -> None:
    await asyncio.sleep(values["delay"])


async def _bad_accept(talk: Conversation, _values: Values, _stage: FaultStage) -> None:
    talk.accept = WRONG_ACCEPT


async def _http(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    status = values["status"] or STATUS_OF.get(values["kind"], HTTPStatus.SERVICE_UNAVAILABLE)
    if values["kind"] == "early_hints" and status == HTTPStatus.SWITCHING_PROTOCOLS:
        talk.wire.write(http_answers.EARLY_HINTS)
        return
    talk.wire.write(http_answers.refusal(values, status, talk.wall()))
    talk.wire.deafened = True
    if values["kind"] == "unfinished":
        talk.wire.mute()
    talk.wire.finish()
    raise ConversationEndedError


async def _fragments(talk: Conversation, _values: Values, _stage: FaultStage) -> None:
    talk.wire.fragmented = True


# The token ----------------------------------------------------------------------------------------------------------


async def _forged_token_accepted(talk: Conversation, _values: Values, _stage: FaultStage) -> None:
    """As the bypass headers do (section 0.6)."""
    talk.knock = replace(talk.knock, headers={**talk.knock.headers, "x-e2e-test": "true"})


async def _auth_refused(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    await asyncio.sleep(values.get("delay", 0.0))
    verdict = TokenVerdict(text=values["text"], code=values["code"])
    talk.service = AuthService(lambda _token: verdict, breaker=values["breaker"])


async def _relabelled_auth(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    details = {"error_code": "VALIDATION_FAILED"}
    frame = frames.error("VALIDATION_FAILED", "token_rejected | Token validation failed", details, talk.wall())
    if values["frame"]:
        talk.send(frame)
        await asyncio.sleep(talk.pace.auth_pause)
    talk.refuse(None, CloseCode.INTERNAL_ERROR, "SSOT Auth failed")


# The factory --------------------------------------------------------------------------------------------------------


async def _too_many(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    limit = values["limit"]
    talk.refuse(None, CloseCode.POLICY_VIOLATION, f"Too many concurrent connections ({limit}/{limit})")


async def _rate_limit_close(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    talk.refuse(None, CloseCode.POLICY_VIOLATION, f"Rate limit exceeded - retry after {values['retry_after']}s")


async def _name_shape(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    if CONNECTION_ID_PATTERNS[values["shape"]].fullmatch(talk.user):
        talk.send(frames.handshake_validation(talk.wall()))
        talk.refuse(None, CloseCode.INTERNAL_ERROR, INTERNAL_ERROR)


async def _slot_limit(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    if values["user"] in ("", talk.user):
        limit = talk.backend.managers.limit if values["limit"] is None else values["limit"]
        _factory_refuses(talk, frames.slot_limit(talk.user, limit, talk.wall()))


async def _init_failed(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    _factory_refuses(talk, frames.factory_failed(values["text"], talk.wall()))


def _factory_refuses(talk: Conversation, frame: frames.Frame) -> NoReturn:
    refused = factory_refused(frame)
    talk.refuse(refused.frame, refused.code, refused.reason)


# Between the factory and the welcome --------------------------------------------------------------------------------


async def _slow_services(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    await asyncio.sleep(talk.pace.services if values["delay"] is None else values["delay"])
    talk.send(frames.service_info(talk.wall()))


async def _startup_incomplete(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    """With bypass headers the gate is skipped: missing services, then a welcome that admits it (section 9)."""
    if talk.knock.bypassed:
        talk.startup_complete = False
        await _slow_services(talk, {"delay": None}, FaultStage.STARTUP)
        return
    await asyncio.sleep(talk.pace.startup_wait if values["delay"] is None else values["delay"])
    talk.refuse(frames.startup_incomplete(talk.wall()), CloseCode.INTERNAL_ERROR, "Service startup incomplete")


async def _degraded(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    talk.send(frames.degraded(talk.wall()))
    talk.startup_complete = False
    if not values["welcome"]:
        talk.zombie()


async def _slow_welcome(_talk: Conversation, values: Values, _stage: FaultStage) -> None:
    await asyncio.sleep(values["delay"])


async def _internal_error(talk: Conversation, _values: Values, _stage: FaultStage) -> None:
    talk.refuse(None, CloseCode.INTERNAL_ERROR, INTERNAL_ERROR)


async def _unavailable(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    talk.refuse(None, CloseCode.TRY_AGAIN_LATER, values["text"])


async def _component(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    name = values["component"] or COMPONENTS.get(values["code"], "Other")
    talk.refuse(None, values["code"], f"{name}: {values['text']}"[:MAX_REASON_CHARACTERS])


async def _recovery_frame(talk: Conversation, _values: Values, _stage: FaultStage) -> None:
    talk.send(frames.recovery(talk.wall()))
    talk.zombie()


async def _zombie(talk: Conversation, _values: Values, _stage: FaultStage) -> None:
    """Also `no_welcome`, which is the same an act earlier."""
    talk.zombie()


# The welcome --------------------------------------------------------------------------------------------------------


def _data(talk: Conversation) -> dict[str, Any]:
    """The data of the welcome, unless another fault has taken the welcome's place."""
    return {} if talk.welcome is None else talk.welcome["data"]


async def _wrong_user(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    _data(talk)["user_id"] = values["user"]


async def _wrong_environment(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    _data(talk)["environment"] = values["environment"]


async def _repeated_connection_id(talk: Conversation, _values: Values, _stage: FaultStage) -> None:
    _data(talk)["connection_id"] = talk.backend.memory.setdefault("connection_id", talk.connection_id)


async def _frozen_time(talk: Conversation, _values: Values, _stage: FaultStage) -> None:
    _data(talk)["server_time"] = talk.backend.memory.setdefault("server_time", frames.iso(talk.wall()))


async def _not_ready(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    _data(talk)[values["field"]] = False


async def _factory_disabled(talk: Conversation, _values: Values, _stage: FaultStage) -> None:
    _data(talk)["factory_pattern_enabled"] = False


async def _invalid_welcome(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    data = _data(talk)
    wrong = [name for name in data if name != "event"] if values["type"] == "wrong" else [values["type"]]
    for name in wrong:
        if name in data:
            data[name] = [data[name]]
    data.pop(values["missing"] or ("" if values["type"] else "connection_id"), None)


async def _binary_welcome(talk: Conversation, _values: Values, _stage: FaultStage) -> None:
    if talk.welcome is not None:
        talk.wire.send_binary(encoded(talk.welcome))
        talk.welcome = None


async def _malformed_json(talk: Conversation, _values: Values, stage: FaultStage) -> None:
    talk.wire.send(b'{"type":"system_message","data":{"event":')
    _instead(talk, stage)


def _instead(talk: Conversation, stage: FaultStage) -> None:
    """What was sent stands in place of the welcome or the reply."""
    if stage is FaultStage.WELCOME:
        talk.welcome = None
    elif talk.answer is not None:
        talk.answer = Reply(talk.answer.kind)


# After it -----------------------------------------------------------------------------------------------------------


async def _deaf(talk: Conversation, _values: Values, _stage: FaultStage) -> None:
    talk.deaf = True


async def _slow_reply(_talk: Conversation, values: Values, _stage: FaultStage) -> None:
    await asyncio.sleep(values["delay"])


async def _close(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    frame = frames.error(values["frame"], values["text"], {}, talk.wall()) if values["frame"] else None
    talk.refuse(frame, values["code"], values["reason"])


# Noise and garbage --------------------------------------------------------------------------------------------------

NOISE: Final[tuple[Callable[[float], frames.Frame], ...]] = (
    frames.ping,
    partial(frames.service_info, fallback=False),
    frames.handshake_validation,
    partial(frames.ack, "somebody_elses_request", STRANGER),
    partial(frames.agent_event, "agent_started", STRANGER),
    partial(frames.message_ack, "somebody-elses-message"),
    partial(frames.agent_event, "agent_thinking", STRANGER),
    partial(frames.service_info, event="service_status", fallback=False),
)


async def _noise(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    for make in islice(cycle(NOISE), values["count"]):
        talk.send(make(talk.wall()))


async def _huge_frame(talk: Conversation, values: Values, _stage: FaultStage) -> None:
    talk.wire.write(_huge(values["size"]))


@lru_cache(maxsize=4)
def _huge(size: int) -> bytes:
    padding = b"x" * max(0, size - len(b'{"type":"huge","padding":""}'))
    return Frame(Opcode.TEXT, b'{"type":"huge","padding":"' + padding + b'"}').serialize(mask=False)


async def _bad_utf8(talk: Conversation, _values: Values, _stage: FaultStage) -> None:
    talk.wire.write(BAD_TEXT)


async def _bad_opcode(talk: Conversation, _values: Values, _stage: FaultStage) -> None:
    talk.wire.write(RESERVED_OPCODE_FRAME)


async def _random_bytes(talk: Conversation, values: Values, stage: FaultStage) -> None:
    """In place of the 101: lines that are no HTTP, then the end. Later: an opcode that does not exist, then more."""
    garbage = talk.rng.randbytes(values["size"])
    if stage is FaultStage.UPGRADE:
        talk.wire.write(b"\x00" + garbage + b"\r\n\r\n")
        talk.wire.deafened = True
        talk.wire.finish()
        raise ConversationEndedError
    talk.wire.write(RESERVED_OPCODE_FRAME[:1] + garbage)
    talk.zombie()


ACTS: Final[Mapping[str, Act]] = {
    "slow_upgrade": _slow_upgrade,
    "fragments": _fragments,
    "forged_token_accepted": _forged_token_accepted,
    "bad_accept": _bad_accept,
    "slow_services": _slow_services,
    "slow_welcome": _slow_welcome,
    "slow_reply": _slow_reply,
    "noise": _noise,
    "huge_frame": _huge_frame,
    "bad_utf8": _bad_utf8,
    "bad_opcode": _bad_opcode,
    "http": _http,
    "random_bytes": _random_bytes,
    "auth_rejected": _auth_refused,
    "auth_unavailable": _auth_refused,
    "relabelled_auth": _relabelled_auth,
    "too_many": _too_many,
    "rate_limit_close": _rate_limit_close,
    "name_shape": _name_shape,
    "slot_limit": _slot_limit,
    "init_failed": _init_failed,
    "startup_incomplete": _startup_incomplete,
    "degraded": _degraded,
    "internal_error": _internal_error,
    "unavailable": _unavailable,
    "component": _component,
    "recovery_frame": _recovery_frame,
    "no_welcome": _zombie,
    "wrong_user": _wrong_user,
    "wrong_environment": _wrong_environment,
    "repeated_connection_id": _repeated_connection_id,
    "frozen_time": _frozen_time,
    "not_ready": _not_ready,
    "factory_disabled": _factory_disabled,
    "invalid_welcome": _invalid_welcome,
    "malformed_json": _malformed_json,
    "binary_welcome": _binary_welcome,
    "zombie": _zombie,
    "deaf": _deaf,
    "close": _close,
    "silent": partial(_on_wire, "silent"),
    "half_close": partial(_on_wire, "half_close"),
    "abort": partial(_on_wire, "abort"),
}
