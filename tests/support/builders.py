"""Facts as a session would hand them in, made by hand: for the tests of `classify`."""

from exporter.classify import ClassifyContext, WelcomeReplayDetector
from exporter.profiles import FACTORY, phases_of
from exporter.result import Close, Initiator, Phase, Probe, ProbeError, SessionObservation

USER = "staging-e2e-user-001"
STARTED = 1757372500.0
WELCOME = {
    "type": "system_message",
    "data": {
        "event": "connection_established",
        "connection_id": "ws_staging-_1757372500_9f3a2b1c",
        "user_id": USER,
        "server_time": "2025-09-08T23:01:40.300000+00:00",
        "connection_ready": True,
        "environment": "staging",
        "startup_complete": True,
        "config": {"heartbeat_interval": 25, "max_message_size": 8192},
        "factory_pattern_enabled": True,
    },
    "timestamp": 1757372500.3,
    "server_id": None,
    "correlation_id": None,
}
"""The welcome of docs/backend-protocol.md#frames."""


def frame(code, text="", error=""):
    """An error frame of the factory (docs/backend-protocol.md#frames)."""
    return {
        "type": "error_message",
        "error_code": code,
        "error_message": text,
        "details": {"error_message": error},
        "timestamp": 1757372500.5,
        "recovery_suggestions": None,
    }


LIMIT = frame("FACTORY_INIT_FAILED", error="the maximum number of WebSocket managers (5) has been reached")


def welcome(**changed):
    """The welcome with other fields in its `data`; `...` leaves one out."""
    data = {name: value for name, value in {**WELCOME["data"], **changed}.items() if value is not ...}
    return {**WELCOME, "data": data}


def remote(code, text="", phase=Phase.ADMISSION):
    """A close frame that the server sent first."""
    return Close(code, Initiator.REMOTE, phase, text)


def session(ended, kind=None, *, phase=None, status=None, retry_after=None, profile=FACTORY, **met):
    """A session that ended in a phase: whole, or by a fault of a kind; each phase before took 0.1 s."""
    order = phases_of(profile, tls=True)
    done = order[: order.index(ended) + (kind is None)] if ended in order else ()
    marks = {each: 0.1 * number for number, each in enumerate(done, 1)}
    fault = ProbeError(kind, status=status, retry_after=retry_after, phase=phase) if kind else None
    greeted = profile is FACTORY and Phase.REPLY in (ended, *done)
    met = {"welcome": WELCOME if greeted else None, **met}
    return SessionObservation(phases=dict.fromkeys(done, 0.1), marks=marks, ended=ended, fault=fault, **met)


def case(profile=FACTORY, depth=Probe.SEND, **known):
    """What it was sent to find out, with a memory of its own."""
    return ClassifyContext(
        profile, depth, **{"started_at": STARTED, "replay_detector": WelcomeReplayDetector(), "subject": USER, **known}
    )


def verdicts(judgement):
    """The verdicts of connect, auth and send: `pass/-/fail`."""
    return "/".join(judgement.verdicts[probe] for probe in Probe)
