"""The backend's frames as JSON objects (docs/backend-protocol.md#frames).

Rule 1: shapes only: nothing here knows when a frame is sent. `now` is always unix seconds.
Rule 2: the error frames of a refused token leak what the real ones leak. That is wanted: it keeps tests for secrets
honest, and it is why the stand-in listens on loopback only.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

Frame = dict[str, Any]

MAX_MESSAGE_SIZE: Final = 8192
"""Bytes of a text message; a larger one is dropped without a word."""
ENVIRONMENT: Final = "staging"


def iso(now: float) -> str:
    """A moment as the backend writes it."""
    return datetime.fromtimestamp(now, UTC).isoformat()


def server_frame(kind: str, data: Mapping[str, Any], now: float) -> Frame:
    """The general shape; `correlation_id` is never filled."""
    return {"type": kind, "data": dict(data), "timestamp": now, "server_id": None, "correlation_id": None}


def system(data: Mapping[str, Any], now: float) -> Frame:
    """A `system_message`."""
    return server_frame("system_message", data, now)


def error(code: str, text: str, details: Mapping[str, Any], now: float) -> Frame:
    """An error frame: another shape than every other frame."""
    return {
        "type": "error_message",
        "error_code": code,
        "error_message": text,
        "details": dict(details),
        "timestamp": now,
        "recovery_suggestions": None,
    }


def welcome(user: str, connection_id: str, now: float, heartbeat: float, *, startup_complete: bool = True) -> Frame:
    """The frame that says the client is let in."""
    data = {
        "event": "connection_established",
        "connection_id": connection_id,
        "user_id": user,
        "server_time": iso(now),
        "connection_ready": True,
        "environment": ENVIRONMENT,
        "startup_complete": startup_complete,
        "config": {"heartbeat_interval": heartbeat, "max_message_size": MAX_MESSAGE_SIZE},
        "factory_pattern_enabled": True,
    }
    return system(data, now)


def ping(now: float) -> Frame:
    """The application ping."""
    return server_frame("ping", {"timestamp": now}, now)


def pong(user: str, now: float) -> Frame:
    """The reply to a client's ping; nothing of it is echoed."""
    return server_frame("pong", {"timestamp": now, "user_id": user}, now)


def ack(received: object, user: str, now: float) -> Frame:
    """The reply to any unknown type (flat)."""
    return {"type": "ack", "received_type": received, "timestamp": now, "user_id": user, "status": "acknowledged"}


def message_ack(message_id: object, now: float) -> Frame:
    """The reply to a chat message."""
    return system(
        {"content": "Message received", "original_message_id": message_id, "status": "acknowledged"},
        now,
    )


def service_info(now: float, event: str = "service_info", *, fallback: bool = True) -> Frame:
    """Says that something was missing at start-up; the readiness version calls the event `service_status`."""
    data = {
        "event": event,
        "message": "Some services are not available, fallback handlers are active",
        "environment": ENVIRONMENT,
        "missing_dependencies": ["agent_supervisor", "thread_service"],
        "fallback_active": fallback,
    }
    return system(data, now)


def degraded(now: float) -> Frame:
    """Readiness version: start-up did not complete, the backend goes on without."""
    return system({"event": "degraded_mode", "startup_wait_time": 5.0, "fallback_active": True}, now)


def recovery(now: float) -> Frame:
    """From 09-10 00:28: an unhandled error no longer closes."""
    return system({"event": "connection_recovery", "message": "Connection is being recovered"}, now)


def handshake_validation(now: float) -> Frame:
    """Readiness version: the handshake check, before or just after the welcome."""
    return {"type": "handshake_validation", "timestamp": now, "validation_id": f"test_{int(now * 1000)}"}


AGENT_EVENTS: Final = ("agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed")


def agent_event(kind: str, user: str, now: float) -> Frame:
    """One event of an agent's run (flat)."""
    return {"type": kind, "user_id": user, "agent_name": "fallback", "timestamp": now}


def format_error(now: float) -> Frame:
    """The reply to what is not JSON."""
    return error("FORMAT_ERROR", "Invalid JSON message format", {}, now)


def slot_limit(user: str, limit: int, now: float) -> Frame:
    """The refusal of the incident: the cause stands in `details.error_message` and nowhere else."""
    text = (
        f"User {user} has reached the maximum number of WebSocket managers ({limit}). "
        "Emergency cleanup attempted but limit still exceeded."
    )
    return factory_failed(text, now)


def factory_failed(text: str, now: float) -> Frame:
    """FACTORY_INIT_FAILED with its true cause."""
    details = {"error_type": "FactoryInitializationError", "error_message": text, "environment": ENVIRONMENT}
    return error("FACTORY_INIT_FAILED", "WebSocket factory initialization failed", details, now)


def startup_incomplete(now: float) -> Frame:
    """STARTUP_INCOMPLETE."""
    details = {"startup_complete": False, "environment": ENVIRONMENT}
    return error("STARTUP_INCOMPLETE", "Service startup is not complete", details, now)


def transport_welcome(now: float) -> Frame:
    """The first frame of `/ws/test`."""
    return {
        "type": "connection_established",
        "connection_id": f"test_{int(now)}",
        "server_time": iso(now),
        "message": "Test WebSocket connected",
    }


def stats(metrics: Frame, limit: int, users: Frame) -> Frame:
    """The answer of `GET /ws/stats`. `users`: user → managers; a client must take nothing of it for a label."""
    return {
        "websocket_manager": {
            "factory_metrics": metrics,
            "configuration": {"max_managers_per_user": limit, "connection_timeout_seconds": 1800},
            "current_state": {
                "active_managers": metrics["managers_active"],
                "users_with_managers": metrics["users_with_active_managers"],
                "isolation_keys": list(users),
            },
            "user_distribution": users,
        }
    }


def health(now: float) -> Frame:
    """The answer of `GET /health`."""
    return {"status": "healthy", "service": "netra-ai-platform", "version": "1.0.0", "timestamp": now}
