"""The backend's answer to a message (docs/backend-protocol.md#frames, docs/backend-protocol.md#no-reply-at-all).

Rule 1: pure: a message in, frames out. Rule 2: a known message without a reply gets no frame and is no error.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from exporter.standin import frames
from exporter.standin.frames import Frame


@dataclass(frozen=True, slots=True)
class Reply:
    """Frames to send, in order. `error`: counts as a handling error. `agent`: a pause follows each frame."""

    kind: str
    frames: list[Frame] = field(default_factory=list)
    error: bool = False
    agent: bool = False


CHATS: Final = ("message", "chat", "user_message", "user", "user_input")
STATUSES: Final = {
    "connect": "connected",
    "disconnect": "disconnect_acknowledged",
    "typing": "typing_acknowledged",
    "user_typing": "typing_acknowledged",
    "agent_typing": "typing_acknowledged",
    "typing_started": "typing_acknowledged",
    "typing_stopped": "typing_acknowledged",
    "agent_status": "agent_message_acknowledged",
    "agent_status_update": "agent_message_acknowledged",
    "agent_task": "agent_message_acknowledged",
}
UNANSWERED_TYPES: Final = ("pong", "agent_request", "broadcast")

ReplyFunction = Callable[[dict[str, Any], str, float], list[Frame]]


def _status(message: dict[str, Any], _user: str, now: float) -> list[Frame]:
    return [frames.system({"status": STATUSES[message["type"]], "timestamp": now}, now)]


def _json_rpc(message: dict[str, Any], _user: str, _now: float) -> list[Frame]:
    result = {"status": "processed", "method": message.get("method")}
    return [{"jsonrpc": "2.0", "result": result, "id": message.get("id")}]


REPLIES: Final[dict[str, ReplyFunction]] = {
    "ping": lambda _message, user, now: [frames.pong(user, now)],
    "heartbeat": lambda _message, _user, now: [
        frames.server_frame("heartbeat_ack", {"timestamp": now, "status": "healthy"}, now)
    ],
    "jsonrpc_request": _json_rpc,
    "start_agent": lambda _message, user, now: [frames.agent_event(kind, user, now) for kind in frames.AGENT_EVENTS],
    **dict.fromkeys(STATUSES, _status),
    **dict.fromkeys(CHATS, lambda message, _user, now: [frames.message_ack(message.get("message_id"), now)]),
    **dict.fromkeys(UNANSWERED_TYPES, lambda _message, _user, _now: []),
}
"""By type. Every other type, `auth` included, is unknown and gets the generic ack."""


def answer(message: str | None, user: str, now: float) -> Reply:
    """The answer to a text message of at most 8,192 bytes; None stands for a binary one."""
    if message is None:
        return Reply("binary", error=True)
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        return Reply("malformed", [frames.format_error(now)])
    if not isinstance(value, dict) or _wrongly_typed(value):
        return Reply("invalid", error=True)
    kind = value.get("type", "unknown")
    reply = REPLIES.get(kind) if isinstance(kind, str) else None
    if reply is None:
        return Reply("unknown", [frames.ack(kind, user, now)])
    return Reply(kind, reply(value, user, now), agent=kind == "start_agent")


def _wrongly_typed(value: dict[str, Any]) -> bool:
    """True if `timestamp` is no number (such as an ISO text) or `payload` no object."""
    timestamp, payload = value.get("timestamp"), value.get("payload")
    return not isinstance(timestamp, int | float | None) or not isinstance(payload, dict | None)


TRANSPORT_REPLIES: Final[dict[str, Callable[[dict[str, Any], float], Frame]]] = {
    "ping": lambda _message, now: {"type": "pong", "timestamp": frames.iso(now)},
    "echo": lambda message, now: {"type": "echo_response", "original": message, "timestamp": frames.iso(now)},
}


def transport_answer(message: str | None, now: float) -> Frame:
    """The answer of `/ws/test`."""
    try:
        value = json.loads(message or "")
    except (ValueError, RecursionError):
        return {"type": "error", "message": "Invalid JSON", "timestamp": frames.iso(now)}
    kind = value.get("type") if isinstance(value, dict) else None
    reply = TRANSPORT_REPLIES.get(kind) if isinstance(kind, str) else None
    return reply(value, now) if reply else {"type": "ack", "received_type": kind, "timestamp": frames.iso(now)}
