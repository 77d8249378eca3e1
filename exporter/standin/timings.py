"""The durations of the backend.

Rule 1: durations in seconds, and nothing else; the defaults are those of docs/backend-protocol.md#calibration.
"""

from dataclasses import asdict, dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class Timings:
    """Every duration of the backend, in seconds. The defaults: docs/backend-protocol.md#calibration."""

    cold_start: float = 0.0
    """Added to the first connection of a fresh process; about 1.0 on the backend, off here."""
    auth_pause: float = 0.1
    """Between the error frame of an auth refusal and its close."""
    services: float = 3.0
    """Waiting for missing services."""
    startup_wait: float = 30.0
    """Waiting for a start-up that does not complete."""
    registration: float = 0.1
    """The deliberate sleep before the welcome."""
    settle: float = 0.05
    """Between the welcome and the message loop."""
    error_pause: float = 0.1
    """After a handling error, doubling up to `error_pause_most`."""
    error_pause_most: float = 5.0
    agent_step: float = 0.1
    """Between two agent events."""
    heartbeat: float = 25.0
    """Between two application pings; the first comes with the welcome."""
    heartbeat_tolerance: float = 75.0
    """Beyond one `heartbeat`: without a pong for that long the application pings stop, and nothing else does."""
    test_heartbeat: float = 30.0
    """Idle time before a heartbeat frame of `/ws/test`."""
    keepalive: float = 20.0
    """Between two protocol pings."""
    keepalive_timeout: float = 20.0
    """Without a protocol pong for that long: 1011 `keepalive ping timeout`."""
    close_timeout: float = 10.0
    """What the WebSocket library allows the client for its part of the close."""
    request_timeout: float = 600.0
    """The platform's bound on a connection's life; it ends without a close frame."""
    slot_release: float = 300.0
    """Idle time after which the emergency clean-up takes a manager."""
    slot_idle: float = 1800.0
    """Idle time after which the background clean-up takes a manager."""
    slot_cleanup: float = 300.0
    """Between two background clean-ups."""
    breaker_open: float = 10.0
    """How long the auth breaker stays open."""
    login_breaker_open: float = 30.0
    """How long the endpoint's own login breaker stays open, on trees that have one."""
    verdict_cache: float = 300.0
    """How long a positive verdict on a token is remembered."""

    def scaled(self, factor: float) -> Self:
        """The same backend with every duration times `factor`."""
        return replace(self, **{name: seconds * factor for name, seconds in asdict(self).items()})

    @classmethod
    def quick(cls) -> Self:
        """For tests: the waits inside a session shrink to milliseconds and keep their order.

        Durations between sessions (slots, breaker, cache) and those that only a broken client meets (keepalive, close,
        request timeout) keep their values.
        """
        return cls(
            auth_pause=0.004,
            services=0.01,
            startup_wait=0.02,
            registration=0.004,
            settle=0.002,
            error_pause=0.001,
            error_pause_most=0.004,
            agent_step=0.001,
        )
