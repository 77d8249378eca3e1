"""The built-in profiles that are written in Python: the factory's, and the least one."""

from collections.abc import Mapping
from typing import Any, Final

from exporter.config import (
    BackendLimits,
    BreakerSettings,
    CloseRule,
    ErrorRule,
    NoiseRule,
    Pattern,
    Profile,
    Step,
    Welcome,
    WelcomeCheck,
)
from exporter.result import FactoryReason, Reason


def _error(code: str, **outcome: Any) -> ErrorRule:
    return ErrorRule(match={"type": "error_message", "error_code": code}, **outcome)


def _refused(code: str, text: str, reason: Reason) -> ErrorRule:
    return ErrorRule(match={"type": "error_message", "error_code": code}, text={"error_message": text}, reason=reason)


def _notice(event: str) -> Pattern:
    return {"type": "system_message", "data": {"event": event}}


def _fallback(event: str) -> NoiseRule:
    """The services are missing and agents will not run, even if the welcome looks healthy."""
    match = {"type": "system_message", "data": {"event": event, "fallback_active": True}}
    return NoiseRule(kind="degraded", match=match, factory=FactoryReason.DEGRADED, fails_welcome=True)


# Sources: docs/backend-protocol.md#frames, docs/backend-protocol.md#how-connections-end,
# docs/backend-protocol.md#what-was-re-labelled, docs/backend-protocol.md#the-manager-factory.
FACTORY: Final = Profile(
    welcome=Welcome(
        match=_notice("connection_established"),
        required=[
            "data.connection_id",
            "data.user_id",
            "data.server_time",
            "data.connection_ready",
            "data.startup_complete",
            "data.factory_pattern_enabled",
        ],
        subject="data.user_id",
        environment="data.environment",
        connection_id="data.connection_id",
        server_time="data.server_time",
        heartbeat_interval="data.config.heartbeat_interval",
        max_message_size="data.config.max_message_size",
        checks=[
            WelcomeCheck(field="data.connection_ready", equals=True, factory=FactoryReason.NOT_READY),
            WelcomeCheck(field="data.startup_complete", equals=True, factory=FactoryReason.STARTUP_INCOMPLETE),
            WelcomeCheck(field="data.factory_pattern_enabled", equals=True, factory=FactoryReason.FACTORY_DISABLED),
        ],
    ),
    # An unknown type is answered by an `ack` that echoes it: 2-4 ms, no database, no model, nothing that starts an
    # agent (section 2, "Correlating a reply" (a)).
    send=[
        Step(
            message={"type": "ws_factory_exporter_${nonce}"},
            match={"type": "ack", "received_type": "ws_factory_exporter_${nonce}"},
            expect={"status": "acknowledged", "user_id": "${identity}"},
        )
    ],
    noise=[
        NoiseRule(kind="ping", match={"type": "ping"}, answer={"type": "pong"}),
        _fallback("service_info"),
        _fallback("service_status"),
        NoiseRule(kind="notice", match=_notice("service_info")),
        NoiseRule(kind="notice", match=_notice("service_status")),
        NoiseRule(kind="notice", match={"type": "handshake_validation"}),
        NoiseRule(kind="degraded", match=_notice("degraded_mode"), factory=FactoryReason.DEGRADED, fails_welcome=True),
        NoiseRule(kind="recovery", match=_notice("connection_recovery"), factory=FactoryReason.OTHER),
    ],
    error={"type": "error_message"},
    errors=[
        ErrorRule(
            match={"type": "error_message", "error_code": "FACTORY_INIT_FAILED"},
            text={"details.error_message": r"maximum number of WebSocket managers \((?P<limit>\d{1,6})\)"},
            factory=FactoryReason.SLOT_LIMIT,
            proves_auth=True,
        ),
        _error("FACTORY_INIT_FAILED", factory=FactoryReason.INIT_FAILED, proves_auth=True),
        _error("FACTORY_CRITICAL_FAILURE", factory=FactoryReason.INIT_FAILED, proves_auth=True),
        _error("STARTUP_INCOMPLETE", factory=FactoryReason.STARTUP_INCOMPLETE, proves_auth=True),
        _error("NO_TOKEN", reason=Reason.AUTH_REJECTED, no_token=True),
        _error("INVALID_FORMAT", reason=Reason.AUTH_REJECTED),
        _error("AUTH_ERROR", reason=Reason.AUTH_REJECTED),
        _refused("VALIDATION_FAILED", "auth_service_unreachable", Reason.AUTH_UNAVAILABLE),
        _refused("VALIDATION_FAILED", "validation_failed_circuitbreaker", Reason.AUTH_UNAVAILABLE),
        _refused("VALIDATION_FAILED", "inter_service_auth_failed", Reason.AUTH_UNAVAILABLE),
        _error("VALIDATION_FAILED", reason=Reason.AUTH_REJECTED),
        _error("AUTH_SERVICE_ERROR", reason=Reason.AUTH_UNAVAILABLE),
        _error("AUTH_CIRCUIT_BREAKER_OPEN", reason=Reason.AUTH_UNAVAILABLE),
        _error("UNEXPECTED_ERROR", reason=Reason.AUTH_UNAVAILABLE),
        _error("WEBSOCKET_AUTH_ERROR", reason=Reason.AUTH_UNAVAILABLE),
        _error("WEBSOCKET_AUTH_EXCEPTION", reason=Reason.AUTH_UNAVAILABLE),
        _error("INVALID_WEBSOCKET_STATE", reason=Reason.AUTH_UNAVAILABLE),
        _error("AUTH_RETRY_ERROR", reason=Reason.AUTH_UNAVAILABLE),
        _error("AUTH_RETRY_EXHAUSTED", reason=Reason.AUTH_UNAVAILABLE),
    ],
    closes=[
        # Whatever the code: 1008 at first, 1011 from 09-10 01:44, 1002 with the component codes of 09-10 00:37.
        CloseRule(text=r"^(SSOT )?Auth failed", reason=Reason.AUTH_REJECTED),
        CloseRule(text=r"^Auth(entication)?: ", reason=Reason.AUTH_REJECTED),
        CloseRule(text=r"^Authentication (failed|required)", reason=Reason.AUTH_REJECTED),
        CloseRule(code=4001, text=r"", reason=Reason.AUTH_REJECTED),
        CloseRule(code=4002, text=r"", reason=Reason.AUTH_UNAVAILABLE),
        CloseRule(
            text=r"^Too many concurrent connections \(\d{1,6}/(?P<limit>\d{1,6})\)", factory=FactoryReason.SLOT_LIMIT
        ),
        CloseRule(text=r"^Rate limit exceeded - retry after (?P<retry_after>\d{1,6})s", reason=Reason.RATE_LIMITED),
        CloseRule(text=r"^Factory: ", factory=FactoryReason.INIT_FAILED, proves_auth=True),
        CloseRule(text=r"^Factory SSOT validation failed", factory=FactoryReason.INIT_FAILED, proves_auth=True),
        CloseRule(text=r"^Critical factory failure", factory=FactoryReason.INIT_FAILED, proves_auth=True),
        CloseRule(text=r"^Service startup incomplete", factory=FactoryReason.STARTUP_INCOMPLETE, proves_auth=True),
    ],
    limits=BackendLimits.model_validate({"slots_per_identity": 20, "slot_release": "300s", "reserve": 1}),
    needs_token=True,
    connect_without_token=True,
    bypass_headers=["test", "e2e"],
    breaker=[
        # The breaker before the auth service, on every tree that was observed.
        BreakerSettings(counts=["rejected"], opens_at=3),
        # The endpoint's own, on trees from 2025-09-09 22:36 UTC.
        BreakerSettings(counts=["rejected", "no_token"], opens_at=5),
    ],
)

ECHO: Final = Profile(
    send=[Step(message={"nonce": "${nonce}"}, match={"nonce": "${nonce}"})],
)

BUILT_IN: Final[Mapping[str, Profile]] = {"factory": FACTORY, "echo": ECHO}
