"""What faults do to the conversation, at their stage.

Rule 1: one function per fault, under the fault's name in `FAULT_ACTIONS`; a test compares the names with the table.
Rule 2: an action that ends the conversation raises ConversationEndedError; one that adds or changes something returns.
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
from exporter.standin.wire_fault_actions import WIRE_FAULT_ACTIONS

Values = Mapping[str, Any]
FaultAction = Callable[[Conversation, Values, FaultStage], Awaitable[None]]

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


async def _on_wire(name: str, conversation: Conversation, values: Values, stage: FaultStage) -> None:
    """Run a fault that needs only the wire, and end the conversation."""
    WIRE_FAULT_ACTIONS[name](conversation.wire, values, stage)
    raise ConversationEndedError


# The upgrade --------------------------------------------------------------------------------------------------------


async def _slow_upgrade(_conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    await asyncio.sleep(values["delay"])


async def _bad_accept(conversation: Conversation, _values: Values, _stage: FaultStage) -> None:
    conversation.accept = WRONG_ACCEPT


async def _http(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    status = values["status"] or STATUS_OF.get(values["kind"], HTTPStatus.SERVICE_UNAVAILABLE)
    if values["kind"] == "early_hints" and status == HTTPStatus.SWITCHING_PROTOCOLS:
        conversation.wire.write(http_answers.EARLY_HINTS)
        return
    conversation.wire.write(http_answers.refusal(values, status, conversation.wall()))
    conversation.wire.ignores_input = True
    if values["kind"] == "unfinished":
        conversation.wire.mute()
    conversation.wire.finish()
    raise ConversationEndedError


async def _fragments(conversation: Conversation, _values: Values, _stage: FaultStage) -> None:
    conversation.wire.fragmented = True


# The token ----------------------------------------------------------------------------------------------------------


async def _forged_token_accepted(conversation: Conversation, _values: Values, _stage: FaultStage) -> None:
    """Accept any token, as the bypass headers do."""
    conversation.upgrade = replace(conversation.upgrade, headers={**conversation.upgrade.headers, "x-e2e-test": "true"})


async def _auth_refused(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    await asyncio.sleep(values.get("delay", 0.0))
    verdict = TokenVerdict(text=values["text"], code=values["code"])
    conversation.service = AuthService(lambda _token: verdict, breaker=values["breaker"])


async def _wrong_refusal(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    """As where an exception of the token check is not caught: only what must be refused meets it."""
    if not conversation.backend.lets_in(conversation.upgrade.token(), conversation.wall()):
        conversation.refuse(None, values["code"], INTERNAL_ERROR)


async def _relabelled_auth(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    details = {"error_code": "VALIDATION_FAILED"}
    frame = frames.error("VALIDATION_FAILED", "token_rejected | Token validation failed", details, conversation.wall())
    if values["frame"]:
        conversation.send(frame)
        await asyncio.sleep(conversation.timings.auth_pause)
    conversation.refuse(None, CloseCode.INTERNAL_ERROR, "SSOT Auth failed")


# The factory --------------------------------------------------------------------------------------------------------


async def _too_many(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    limit = values["limit"]
    conversation.refuse(None, CloseCode.POLICY_VIOLATION, f"Too many concurrent connections ({limit}/{limit})")


async def _rate_limit_close(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    conversation.refuse(None, CloseCode.POLICY_VIOLATION, f"Rate limit exceeded - retry after {values['retry_after']}s")


async def _name_shape(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    if CONNECTION_ID_PATTERNS[values["shape"]].fullmatch(conversation.user):
        conversation.send(frames.handshake_validation(conversation.wall()))
        conversation.refuse(None, CloseCode.INTERNAL_ERROR, INTERNAL_ERROR)


async def _slot_limit(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    if values["user"] in ("", conversation.user):
        limit = conversation.backend.managers.limit if values["limit"] is None else values["limit"]
        _factory_refuses(conversation, frames.slot_limit(conversation.user, limit, conversation.wall()))


async def _slot_leak(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    memory, key = conversation.backend.memory, f"slot_leak {conversation.user}"
    connections = int(memory.get(key, "0")) + 1
    memory[key] = str(connections)
    if connections % max(1, values["every"]) == 0:
        conversation.backend.managers.leak(conversation.connection_id)


async def _manager_leak(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    conversation.backend.managers.leak_ownerless(values["managers"])


async def _init_failed(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    _factory_refuses(conversation, frames.factory_failed(values["text"], conversation.wall()))


def _factory_refuses(conversation: Conversation, frame: frames.Frame) -> NoReturn:
    refused = factory_refused(frame)
    conversation.refuse(refused.frame, refused.code, refused.reason)


# Between the factory and the welcome --------------------------------------------------------------------------------


async def _slow_services(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    await asyncio.sleep(conversation.timings.services if values["delay"] is None else values["delay"])
    conversation.send(frames.service_info(conversation.wall()))


async def _startup_incomplete(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    """With bypass headers the wait is skipped: missing services, then a welcome with `startup_complete: false`."""
    if conversation.upgrade.bypassed:
        conversation.startup_complete = False
        await _slow_services(conversation, {"delay": None}, FaultStage.STARTUP)
        return
    await asyncio.sleep(conversation.timings.startup_wait if values["delay"] is None else values["delay"])
    conversation.refuse(
        frames.startup_incomplete(conversation.wall()), CloseCode.INTERNAL_ERROR, "Service startup incomplete"
    )


async def _degraded(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    conversation.send(frames.degraded(conversation.wall()))
    conversation.startup_complete = False
    if not values["welcome"]:
        conversation.stop_handling()


async def _slow_welcome(_conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    await asyncio.sleep(values["delay"])


async def _internal_error(conversation: Conversation, _values: Values, _stage: FaultStage) -> None:
    conversation.refuse(None, CloseCode.INTERNAL_ERROR, INTERNAL_ERROR)


async def _unavailable(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    conversation.refuse(None, CloseCode.TRY_AGAIN_LATER, values["text"])


async def _component(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    name = values["component"] or COMPONENTS.get(values["code"], "Other")
    conversation.refuse(None, values["code"], f"{name}: {values['text']}"[:MAX_REASON_CHARACTERS])


async def _recovery_frame(conversation: Conversation, _values: Values, _stage: FaultStage) -> None:
    conversation.send(frames.recovery(conversation.wall()))
    conversation.stop_handling()


async def _no_welcome(conversation: Conversation, _values: Values, _stage: FaultStage) -> None:
    conversation.stop_handling()


# The welcome --------------------------------------------------------------------------------------------------------


def _data(conversation: Conversation) -> dict[str, Any]:
    """The data of the welcome; empty if another fault has replaced the welcome."""
    return {} if conversation.welcome is None else conversation.welcome["data"]


async def _wrong_user(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    _data(conversation)["user_id"] = values["user"]


async def _wrong_environment(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    _data(conversation)["environment"] = values["environment"]


async def _repeated_connection_id(conversation: Conversation, _values: Values, _stage: FaultStage) -> None:
    _data(conversation)["connection_id"] = conversation.backend.memory.setdefault(
        "connection_id", conversation.connection_id
    )


async def _frozen_time(conversation: Conversation, _values: Values, _stage: FaultStage) -> None:
    _data(conversation)["server_time"] = conversation.backend.memory.setdefault(
        "server_time", frames.iso(conversation.wall())
    )


async def _not_ready(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    _data(conversation)[values["field"]] = False


async def _factory_disabled(conversation: Conversation, _values: Values, _stage: FaultStage) -> None:
    _data(conversation)["factory_pattern_enabled"] = False


async def _invalid_welcome(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    data = _data(conversation)
    wrong = [name for name in data if name != "event"] if values["type"] == "wrong" else [values["type"]]
    for name in wrong:
        if name in data:
            data[name] = [data[name]]
    data.pop(values["missing"] or ("" if values["type"] else "connection_id"), None)


async def _binary_welcome(conversation: Conversation, _values: Values, _stage: FaultStage) -> None:
    if conversation.welcome is not None:
        conversation.wire.send_binary(encoded(conversation.welcome))
        conversation.welcome = None


async def _malformed_json(conversation: Conversation, _values: Values, stage: FaultStage) -> None:
    conversation.wire.send(b'{"type":"system_message","data":{"event":')
    _replace_message(conversation, stage)


def _replace_message(conversation: Conversation, stage: FaultStage) -> None:
    """Drop the welcome or the reply, because something else was sent in its place."""
    if stage is FaultStage.WELCOME:
        conversation.welcome = None
    elif conversation.answer is not None:
        conversation.answer = Reply(conversation.answer.kind)


# After the welcome -------------------------------------------------------------------------------------------------


def _later(conversation: Conversation, name: str, seconds: float, act: Callable[[], None]) -> None:
    """Act on the open connection, now or when that time is over."""
    if seconds:
        conversation.wire.start_timer(name, seconds, act)
    else:
        act()


async def _zombie(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    if not values["delay"]:
        conversation.stop_handling()
    conversation.wire.start_timer("zombie", values["delay"], conversation.stop_serving)


async def _deaf(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    _later(conversation, "deaf", values["delay"], conversation.ignore_messages)


async def _frozen(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    _later(conversation, "frozen", values["delay"], conversation.wire.mute)


async def _no_heartbeat(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    stop = partial(conversation.wire.cancel_timer, "heartbeat")
    _later(conversation, "no_heartbeat", values["delay"], stop)


async def _cut(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    wire = conversation.wire
    restart = partial(wire.start_timer, "cut", values["delay"], wire.finish)
    restart()
    wire.on_ping = restart if values["idle"] else None


async def _slow_reply(_conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    await asyncio.sleep(values["delay"])


async def _close(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    frame = frames.error(values["frame"], values["text"], {}, conversation.wall()) if values["frame"] else None
    conversation.refuse(frame, values["code"], values["reason"])


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


async def _noise(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    for make in islice(cycle(NOISE), values["count"]):
        conversation.send(make(conversation.wall()))


async def _huge_frame(conversation: Conversation, values: Values, _stage: FaultStage) -> None:
    conversation.wire.write(_huge(values["size"]))


@lru_cache(maxsize=4)
def _huge(size: int) -> bytes:
    padding = b"x" * max(0, size - len(b'{"type":"huge","padding":""}'))
    return Frame(Opcode.TEXT, b'{"type":"huge","padding":"' + padding + b'"}').serialize(mask=False)


async def _bad_utf8(conversation: Conversation, _values: Values, _stage: FaultStage) -> None:
    conversation.wire.write(BAD_TEXT)


async def _bad_opcode(conversation: Conversation, _values: Values, _stage: FaultStage) -> None:
    conversation.wire.write(RESERVED_OPCODE_FRAME)


async def _random_bytes(conversation: Conversation, values: Values, stage: FaultStage) -> None:
    """Instead of the 101: bytes that are no HTTP, then the end. Later: a reserved opcode, then more bytes."""
    garbage = conversation.rng.randbytes(values["size"])
    if stage is FaultStage.UPGRADE:
        conversation.wire.write(b"\x00" + garbage + b"\r\n\r\n")
        conversation.wire.ignores_input = True
        conversation.wire.finish()
        raise ConversationEndedError
    conversation.wire.write(RESERVED_OPCODE_FRAME[:1] + garbage)
    conversation.stop_handling()


FAULT_ACTIONS: Final[Mapping[str, FaultAction]] = {
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
    "wrong_refusal": _wrong_refusal,
    "relabelled_auth": _relabelled_auth,
    "too_many": _too_many,
    "rate_limit_close": _rate_limit_close,
    "name_shape": _name_shape,
    "slot_limit": _slot_limit,
    "slot_leak": _slot_leak,
    "manager_leak": _manager_leak,
    "init_failed": _init_failed,
    "startup_incomplete": _startup_incomplete,
    "degraded": _degraded,
    "internal_error": _internal_error,
    "unavailable": _unavailable,
    "component": _component,
    "recovery_frame": _recovery_frame,
    "no_welcome": _no_welcome,
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
    "frozen": _frozen,
    "no_heartbeat": _no_heartbeat,
    "cut": _cut,
    "close": _close,
    "silent": partial(_on_wire, "silent"),
    "half_close": partial(_on_wire, "half_close"),
    "abort": partial(_on_wire, "abort"),
}
