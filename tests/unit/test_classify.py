"""Package `classify`: facts become verdicts and reasons. What it says of a welcome: test_classify_welcome.py."""

import itertools

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import LIMIT, WELCOME, case, frame, remote, session, verdicts, welcome
from support.paths import DATA

from exporter.classify import (
    DISTORTION_SECONDS,
    FALLBACK_REASONS,
    LEGAL_FAILURES,
    MIN_STALL_SECONDS,
    PHASES_OF_PROBE,
    REASON_OF_ERROR,
    STALL_FRACTION,
    classify,
    close_label,
    failing_phases,
    legal_closes,
    reported_close,
)
from exporter.config import RULE_REASONS, CloseRule, ErrorRule, NoiseRule, Profile, Step, Welcome
from exporter.profiles import ECHO, FACTORY, phases_of, probes_of
from exporter.result import (
    Close,
    ErrorKind,
    FactoryReason,
    Initiator,
    Phase,
    Probe,
    ProbeError,
    Reason,
    SessionObservation,
    Software,
    Verdict,
)

calm = settings(deadline=None, database=None)  # a busy machine is no finding

CHAT = Profile(
    welcome=Welcome(match={"type": "hello"}, required=["id"]),
    auth=Step(message={"token": "${token}"}, match={"type": "in"}),
    send=Step(message={"echo": "${nonce}"}, match={"echo": "${nonce}"}),
    error={"type": "error"},
    errors=[ErrorRule(match={"type": "error", "why": "token"}, reason=Reason.AUTH_REJECTED)],
    noise=[NoiseRule(kind="sorry", match={"type": "sorry"}, factory=FactoryReason.DEGRADED, fails_welcome=True)],
)

OTHERS = welcome(user_id="staging-e2e-user-002")

PASS, FAIL, NONE = Verdict.PASS, Verdict.FAIL, Verdict.NONE


def admitted(*seen, **met):
    """What became of auth, and why, when admission ended in a close (or with no close at all)."""
    judgement = classify(session(Phase.ADMISSION, *seen, **met), case())
    assert judgement.verdicts[Probe.CONNECT] is PASS
    assert judgement.verdicts[Probe.SEND] is FAIL
    assert judgement.phase is Phase.ADMISSION
    return judgement.verdicts[Probe.AUTH], judgement.reason, judgement.factory_reason


# The table of docs/design.md#classification --------------------------------------------------------------------------

ADMISSION = {
    "auth refused, by its frame": (
        session(Phase.ADMISSION, ErrorKind.REFUSAL, refusal=frame("VALIDATION_FAILED"), close=remote(1008)),
        ("pass/fail/fail", Reason.AUTH_REJECTED, None),
    ),
    "auth refused, by its reason text": (
        session(Phase.ADMISSION, ErrorKind.CLOSED, close=remote(1011, "SSOT Auth failed")),
        ("pass/fail/fail", Reason.AUTH_REJECTED, None),
    ),
    "auth not available": (
        session(Phase.ADMISSION, ErrorKind.REFUSAL, refusal=frame("VALIDATION_FAILED", "auth_service_unreachable")),
        ("pass/fail/fail", Reason.AUTH_UNAVAILABLE, None),
    ),
    "the factory refused": (
        session(Phase.ADMISSION, ErrorKind.REFUSAL, refusal=frame("FACTORY_INIT_FAILED"), close=remote(1011)),
        ("pass/pass/fail", Reason.FACTORY, FactoryReason.INIT_FAILED),
    ),
    "no slot left": (
        session(
            Phase.ADMISSION, ErrorKind.REFUSAL, refusal=LIMIT, close=remote(1011, "Factory SSOT validation failed")
        ),
        ("pass/pass/fail", Reason.FACTORY, FactoryReason.SLOT_LIMIT),
    ),
    "start-up incomplete": (
        session(Phase.ADMISSION, ErrorKind.REFUSAL, refusal=frame("STARTUP_INCOMPLETE"), close=remote(1011)),
        ("pass/pass/fail", Reason.FACTORY, FactoryReason.STARTUP_INCOMPLETE),
    ),
    "bare 1011": (
        session(Phase.ADMISSION, ErrorKind.CLOSED, close=remote(1011, "Internal error")),
        ("pass/-/fail", Reason.FACTORY, FactoryReason.INTERNAL_ERROR),
    ),
    "1000 before the welcome": (
        session(Phase.ADMISSION, ErrorKind.CLOSED, close=remote(1000, "Graceful restart")),
        ("pass/-/fail", Reason.FACTORY, FactoryReason.OTHER),
    ),
    "recovery notice, then nothing": (
        session(Phase.ADMISSION, ErrorKind.DEADLINE, notices=("ping", "recovery")),
        ("pass/-/fail", Reason.FACTORY, FactoryReason.OTHER),
    ),
    "degraded notice, then nothing": (
        session(Phase.ADMISSION, ErrorKind.DEADLINE, notices=("notice", "degraded")),
        ("pass/-/fail", Reason.FACTORY, FactoryReason.DEGRADED),
    ),
    "silence": (
        session(Phase.ADMISSION, ErrorKind.DEADLINE),
        ("pass/fail/fail", Reason.TIMEOUT, None),
    ),
    "pings and service notices, then silence": (
        session(Phase.ADMISSION, ErrorKind.DEADLINE, notices=("ping", "notice")),
        ("pass/fail/fail", Reason.TIMEOUT, None),
    ),
    "welcome for another user": (
        session(Phase.CLOSE, welcome=OTHERS),
        ("pass/fail/fail", Reason.FACTORY, FactoryReason.USER_MISMATCH),
    ),
    "welcome wrong in another way, the reply came": (
        session(Phase.CLOSE, welcome=welcome(connection_ready=False)),
        ("pass/pass/fail", Reason.FACTORY, FactoryReason.NOT_READY),
    ),
    "welcome wrong in another way, no reply": (
        session(Phase.REPLY, ErrorKind.DEADLINE, welcome=welcome(user_id=None)),
        ("pass/pass/fail", Reason.FACTORY, FactoryReason.INVALID_WELCOME),
    ),
}


@pytest.mark.parametrize("row", ADMISSION)
def test_what_is_met_during_admission_is_sorted_by_the_table(row):
    """Each row has verdicts of auth and send, in phase admission, and a reason (docs/design.md#classification)."""
    facts, (verdict, reason, factory) = ADMISSION[row]
    judgement = classify(facts, case())

    assert (verdicts(judgement), judgement.reason, judgement.factory_reason) == (verdict, reason, factory)
    assert judgement.phase is Phase.ADMISSION


def test_the_incident_of_the_seed_is_told_as_it_was():
    """Connected, authenticated, and refused for want of a slot: N is read although 1011 names another cause."""
    close = remote(1011, "Factory SSOT validation failed")
    judgement = classify(session(Phase.ADMISSION, ErrorKind.REFUSAL, refusal=LIMIT, close=close), case())

    assert verdicts(judgement) == "pass/pass/fail"
    assert (judgement.phase, judgement.reason) == (Phase.ADMISSION, Reason.FACTORY)
    assert (judgement.factory_reason, judgement.slot_limit) == (FactoryReason.SLOT_LIMIT, 5)


# docs/backend-protocol.md#how-connections-end: close code, reason text, error frame before it → auth, reason, factory.
REFUSED = (FAIL, Reason.AUTH_REJECTED, None)
UNAVAILABLE = (FAIL, Reason.AUTH_UNAVAILABLE, None)
INIT_FAILED = (PASS, Reason.FACTORY, FactoryReason.INIT_FAILED)
STARTUP = (PASS, Reason.FACTORY, FactoryReason.STARTUP_INCOMPLETE)
INTERNAL = (NONE, Reason.FACTORY, FactoryReason.INTERNAL_ERROR)
OTHER = (NONE, Reason.FACTORY, FactoryReason.OTHER)
RESTART = (NONE, Reason.CLOSED, None)
REFUSALS = [
    (1008, "SSOT Auth failed", frame("NO_TOKEN"), REFUSED),
    (1008, "SSOT Auth failed", frame("INVALID_FORMAT"), REFUSED),
    (1008, "SSOT Auth failed", frame("VALIDATION_FAILED", "token_rejected by the auth service"), REFUSED),
    (1008, "SSOT Auth failed", frame("VALIDATION_FAILED", "auth_service_unreachable"), UNAVAILABLE),
    (1008, "SSOT Auth failed", frame("VALIDATION_FAILED", "validation_failed_circuitbreakertimeout"), UNAVAILABLE),
    (1008, "SSOT Auth failed", frame("VALIDATION_FAILED", "inter_service_auth_failed"), UNAVAILABLE),
    (1008, "SSOT Auth failed", frame("AUTH_SERVICE_ERROR"), UNAVAILABLE),
    (1008, "SSOT Auth failed", frame("UNEXPECTED_ERROR"), UNAVAILABLE),
    (1008, "SSOT Auth failed", frame("WEBSOCKET_AUTH_ERROR"), UNAVAILABLE),
    (1008, "SSOT Auth failed", frame("WEBSOCKET_AUTH_EXCEPTION"), UNAVAILABLE),
    (1008, "SSOT Auth failed", frame("INVALID_WEBSOCKET_STATE"), UNAVAILABLE),
    (1008, "SSOT Auth failed", None, REFUSED),
    (1008, "Auth failed", frame("AUTH_ERROR"), REFUSED),
    (1008, "Auth failed", None, REFUSED),
    (1008, "Authentication failed", None, REFUSED),
    (1008, "Authentication required", None, REFUSED),
    (4001, "Authentication failed", None, REFUSED),
    (4002, "Authentication system error", None, UNAVAILABLE),
    (1011, "Factory SSOT validation failed", LIMIT, (PASS, Reason.FACTORY, FactoryReason.SLOT_LIMIT)),
    (1011, "Factory SSOT validation failed", frame("FACTORY_INIT_FAILED"), INIT_FAILED),
    (1011, "Factory SSOT validation failed", None, INIT_FAILED),
    (1011, "Service startup incomplete", frame("STARTUP_INCOMPLETE"), STARTUP),
    (1011, "Service startup incomplete", None, STARTUP),
    (1011, "Critical factory failure", frame("FACTORY_CRITICAL_FAILURE"), INIT_FAILED),
    (1011, "Critical factory failure", None, INIT_FAILED),
    (1011, "Internal error", None, INTERNAL),
    (1011, "Internal error", frame("SOMETHING_NEW"), INTERNAL),
    (1011, "keepalive ping timeout", None, INTERNAL),
    (1011, "Service unavailable", None, INTERNAL),
    (1011, "", None, INTERNAL),
    (1008, "Origin not allowed", None, OTHER),
    (1009, "", None, OTHER),
    (1001, "", None, RESTART),
    (1012, "", None, RESTART),
    (1005, "", None, OTHER),
    # What changed on 2025-09-10: the same refusals under other codes.
    (1000, "Graceful restart", None, OTHER),
    (1000, "Connection establishment failed - graceful retry", None, OTHER),
    (1013, "Service temporarily unavailable", None, RESTART),
    (1013, "Service temporarily unavailable - retry in 30 seconds", None, RESTART),
    (1013, "Service temporarily unavailable", frame("SOMETHING_NEW"), OTHER),
    (1002, "Auth: token refused", None, REFUSED),
    (1003, "Factory: no manager", None, INIT_FAILED),
    (1007, "Redis: down", None, OTHER),
    (1008, "Supervisor: missing", None, OTHER),
    (1009, "Bridge: broken", None, OTHER),
    (1010, "Unknown: whatever", None, OTHER),
    (1011, "SSOT Auth failed", None, REFUSED),
    (1011, "SSOT Auth failed", frame("NO_TOKEN"), REFUSED),
    (1011, "SSOT Auth failed", frame("AUTH_SERVICE_ERROR"), UNAVAILABLE),
    (1008, "Too many concurrent connections (4/3)", None, (NONE, Reason.FACTORY, FactoryReason.SLOT_LIMIT)),
    (1008, "Rate limit exceeded - retry after 30s", None, (FAIL, Reason.RATE_LIMITED, None)),
]


@pytest.mark.parametrize(("code", "text", "refusal", "meaning"), REFUSALS)
def test_every_refusal_on_record_has_its_reason(code, text, refusal, meaning):
    """Each way in which the backend is known to refuse, relabelled or not, is counted under its own reason."""
    kind = ErrorKind.CLOSED if refusal is None else ErrorKind.REFUSAL

    assert admitted(kind, close=remote(code, text), refusal=refusal) == meaning


# Without those that say nothing: a bare close, and 4002, whose cause is the code itself.
TELLING = [row[1:] for row in REFUSALS if row[0] != 4002 and row[3] not in (INTERNAL, OTHER, RESTART)]


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1011, 1012, 1013, 3000, 4000])
@pytest.mark.parametrize(("text", "refusal", "meaning"), TELLING)
def test_no_code_changes_what_frame_and_text_say(code, text, refusal, meaning):
    """A refusal that says its cause means the same under any code: it has been relabelled before."""
    assert admitted(ErrorKind.CLOSED, close=remote(code, text), refusal=refusal) == meaning


@pytest.mark.parametrize(
    ("refusal", "text", "meaning"),
    [
        (frame("NO_TOKEN"), "Factory SSOT validation failed", REFUSED),
        (frame("FACTORY_INIT_FAILED"), "SSOT Auth failed", INIT_FAILED),
        (frame("AUTH_SERVICE_ERROR"), "Rate limit exceeded - retry after 30s", UNAVAILABLE),
        (frame("SOMETHING_NEW"), "SSOT Auth failed", UNAVAILABLE),
        ({"type": "error_message"}, "Service startup incomplete", STARTUP),
    ],
)
def test_the_error_frame_is_asked_before_the_close(refusal, text, meaning):
    """Where frame and close contradict each other the frame is right; one that no rule knows leaves it to the close."""
    assert admitted(ErrorKind.REFUSAL, close=remote(1011, text), refusal=refusal) == meaning


@pytest.mark.parametrize(
    "kind",
    [ErrorKind.EOF, ErrorKind.RESET, ErrorKind.DEADLINE, ErrorKind.PROTOCOL, ErrorKind.TOO_BIG, ErrorKind.CLOSED],
)
def test_the_error_frame_counts_however_the_session_ended(kind):
    """A drained error frame names the cause even if what came after it was a broken connection or an illegal close."""
    assert admitted(kind, refusal=frame("FACTORY_INIT_FAILED")) == INIT_FAILED
    assert admitted(kind, refusal=frame("SOMETHING_NEW")) == OTHER


@pytest.mark.parametrize(
    "close",
    [
        None,
        remote(1011, "SSOT Auth failed", phase=Phase.CLOSE),
        Close(1011, Initiator.LOCAL, Phase.ADMISSION),
        Close(1000, Initiator.LOCAL, Phase.CLOSE),
        Close(1006, Initiator.NONE, Phase.ADMISSION),
    ],
)
def test_only_a_close_of_the_server_can_be_a_cause(close):
    """What the server answers to our close, and what we send ourselves, refused nobody."""
    assert admitted(ErrorKind.REFUSAL, refusal=frame("SOMETHING_NEW"), close=close) == OTHER
    assert admitted(ErrorKind.DEADLINE, close=close) == (FAIL, Reason.TIMEOUT, None)


SLOTS = "Too many concurrent connections (4/3)"
RATE = "Rate limit exceeded - retry after 30s"


@pytest.mark.parametrize(
    ("facts", "limit", "retry_after"),
    [
        (session(Phase.ADMISSION, ErrorKind.REFUSAL, refusal=LIMIT, close=remote(1011)), 5, None),
        (session(Phase.ADMISSION, ErrorKind.CLOSED, close=remote(1008, SLOTS)), 3, None),
        (session(Phase.ADMISSION, ErrorKind.CLOSED, close=remote(1008, RATE)), None, 30),
        (session(Phase.REPLY, ErrorKind.CLOSED, close=remote(1008, SLOTS, Phase.REPLY)), 3, None),
        (session(Phase.REPLY, ErrorKind.CLOSED, close=remote(1008, RATE, Phase.REPLY)), None, 30),
        (session(Phase.UPGRADE, ErrorKind.STATUS, status=429, retry_after=7.0), None, 7),
        (session(Phase.UPGRADE, ErrorKind.STATUS, status=429), None, None),
        (session(Phase.UPGRADE, ErrorKind.STATUS, status=503, retry_after=10.0), None, 10),
        (session(Phase.ADMISSION, ErrorKind.CLOSED, close=remote(1011)), None, None),
    ],
)
def test_figures_of_a_refusal_are_handed_on(facts, limit, retry_after):
    """The slots a backend allows are told wherever it says so; seconds to stay away only when it limits our rate."""
    judgement = classify(facts, case())

    assert (judgement.slot_limit, judgement.retry_after) == (limit, retry_after)
    assert retry_after is None or judgement.reason is Reason.RATE_LIMITED


# Before and after admission ---------------------------------------------------------------------------------------

USUAL = [
    (ErrorKind.DNS, Phase.RESOLVE, Reason.DNS),
    (ErrorKind.REFUSED, Phase.TCP, Reason.REFUSED),
    (ErrorKind.UNREACHABLE, Phase.TCP, Reason.UNREACHABLE),
    (ErrorKind.CERTIFICATE, Phase.TLS, Reason.TLS_CERTIFICATE),
    (ErrorKind.TLS, Phase.TLS, Reason.TLS_HANDSHAKE),
    (ErrorKind.UPGRADE, Phase.UPGRADE, Reason.BAD_HANDSHAKE),
    (ErrorKind.WRONG_REPLY, Phase.REPLY, Reason.BAD_REPLY),
    (ErrorKind.REFUSAL, Phase.REPLY, Reason.BAD_REPLY),
    (ErrorKind.CLOSED, Phase.REPLY, Reason.CLOSED),
    *((ErrorKind.DEADLINE, phase, Reason.TIMEOUT) for phase in LEGAL_FAILURES),
    *(
        (kind, phase, Reason.RESET)
        for kind in (ErrorKind.RESET, ErrorKind.EOF)
        for phase in LEGAL_FAILURES
        if phase != "resolve"
    ),
    *((ErrorKind.PROTOCOL, phase, Reason.PROTOCOL_ERROR) for phase in (Phase.ADMISSION, Phase.AUTH, Phase.REPLY)),
    *((ErrorKind.TOO_BIG, phase, Reason.TOO_BIG) for phase in (Phase.ADMISSION, Phase.AUTH, Phase.REPLY)),
    # Seldom, but seen: a router's word on an open connection, and rubbish where HTTP was due.
    *(
        (ErrorKind.UNREACHABLE, phase, Reason.RESET)
        for phase in (Phase.TLS, Phase.UPGRADE, Phase.ADMISSION, Phase.REPLY)
    ),
    *((ErrorKind.TLS, phase, Reason.RESET) for phase in (Phase.UPGRADE, Phase.ADMISSION, Phase.REPLY)),
    (ErrorKind.RESET, Phase.RESOLVE, Reason.DNS),
    (ErrorKind.PROTOCOL, Phase.UPGRADE, Reason.BAD_HANDSHAKE),
    (ErrorKind.TOO_BIG, Phase.UPGRADE, Reason.BAD_HANDSHAKE),
    (ErrorKind.STATUS, Phase.REPLY, Reason.PROTOCOL_ERROR),
]


@pytest.mark.parametrize(("kind", "phase", "reason"), USUAL)
def test_a_fault_has_the_name_its_phase_can_have(kind, phase, reason):
    """A kind of fault is called by its name, and where the phase cannot have that, by what it amounts to there."""
    judgement = classify(session(phase, kind, profile=CHAT, welcome=None), case(CHAT))

    assert (judgement.phase, judgement.reason) == (phase, reason)
    assert judgement.factory_reason is None


@pytest.mark.parametrize(
    ("status", "reason"),
    [(status, Reason.HTTP_STATUS) for status in (200, 204, 400, 401, 403, 404, 426, 500, 502, 503, 504, 999, None)]
    + [(status, Reason.REDIRECT) for status in (300, 301, 302, 303, 307, 308, 399)]
    + [(429, Reason.RATE_LIMITED)],
)
def test_a_refused_upgrade_is_told_by_its_status(status, reason):
    """A redirect is a finding of its own, a 429 is the rate limit, every other status is a status."""
    judgement = classify(session(Phase.UPGRADE, ErrorKind.STATUS, status=status), case())

    assert (verdicts(judgement), judgement.phase, judgement.reason) == ("fail/fail/fail", Phase.UPGRADE, reason)


def test_a_fault_may_be_answered_for_by_an_earlier_phase():
    """A certificate of ours that is refused only after the handshake is a failure of tls (RFC 8446 section 4.4.2.4)."""
    judgement = classify(session(Phase.UPGRADE, ErrorKind.TLS, phase=Phase.TLS), case())

    assert (judgement.phase, judgement.reason) == (Phase.TLS, Reason.TLS_HANDSHAKE)
    assert verdicts(judgement) == "fail/fail/fail"


REPLY = [
    (ErrorKind.CLOSED, {"close": remote(1011, "Internal error", Phase.REPLY)}, Reason.SERVER_ERROR, None),
    (ErrorKind.CLOSED, {"close": remote(1011, "Internal error")}, Reason.SERVER_ERROR, None),
    (ErrorKind.CLOSED, {"close": remote(1000, "Graceful restart", Phase.REPLY)}, Reason.CLOSED, None),
    (ErrorKind.CLOSED, {"close": remote(1012, "", Phase.REPLY)}, Reason.CLOSED, None),
    (ErrorKind.CLOSED, {"close": remote(4001, "", Phase.REPLY)}, Reason.CLOSED, None),
    (ErrorKind.CLOSED, {"close": remote(1008, "SSOT Auth failed", Phase.REPLY)}, Reason.CLOSED, None),
    (ErrorKind.CLOSED, {"close": remote(1008, RATE, Phase.REPLY)}, Reason.RATE_LIMITED, None),
    (ErrorKind.CLOSED, {"close": remote(1003, "Factory: x", Phase.REPLY)}, Reason.CLOSED, FactoryReason.INIT_FAILED),
    (
        ErrorKind.REFUSAL,
        {"refusal": frame("FORMAT_ERROR"), "close": remote(1011, "", Phase.REPLY)},
        Reason.BAD_REPLY,
        None,
    ),
    (
        ErrorKind.CLOSED,
        {"refusal": frame("FORMAT_ERROR"), "close": remote(1011, "", Phase.REPLY)},
        Reason.BAD_REPLY,
        None,
    ),
    (ErrorKind.REFUSAL, {"refusal": frame("NO_TOKEN")}, Reason.BAD_REPLY, None),
    (ErrorKind.REFUSAL, {"refusal": frame("SOMETHING_NEW")}, Reason.BAD_REPLY, None),
    (ErrorKind.WRONG_REPLY, {}, Reason.BAD_REPLY, None),
    (ErrorKind.DEADLINE, {}, Reason.TIMEOUT, None),
    (ErrorKind.DEADLINE, {"notices": ("recovery",)}, Reason.TIMEOUT, None),
    (ErrorKind.EOF, {}, Reason.RESET, None),
]


@pytest.mark.parametrize(("kind", "met", "reason", "factory"), REPLY)
def test_what_is_met_during_the_reply_fails_send_alone(kind, met, reason, factory):
    """After the welcome only send fails, in phase reply: by the frame, else the close, else the fault."""
    judgement = classify(session(Phase.REPLY, kind, **met), case())

    assert verdicts(judgement) == "pass/pass/fail"
    assert (judgement.phase, judgement.reason, judgement.factory_reason) == (Phase.REPLY, reason, factory)


PLAIN = Profile.model_validate({"send": {"message": {"id": "${nonce}"}, "match": {"id": "${nonce}"}}})
GREETING = Profile.model_validate({"welcome": {"match": {"type": "hi"}}})


@pytest.mark.parametrize(
    ("named", "configured", "waited", "reason"),
    [
        (Software.HYPERCORN, None, 3.1, Reason.CLOSED),
        (None, Software.HYPERCORN, 3.1, Reason.CLOSED),
        (Software.BACKEND, Software.HYPERCORN, 3.1, Reason.CLOSED),
        (Software.HYPERCORN, None, 0.1, Reason.SERVER_ERROR),
        (Software.HYPERCORN, None, 5.0, Reason.SERVER_ERROR),
        (Software.UVICORN, Software.HYPERCORN, 3.1, Reason.SERVER_ERROR),
        (None, None, 3.1, Reason.SERVER_ERROR),
    ],
)
@pytest.mark.parametrize("asked", [(PLAIN, Phase.REPLY), (GREETING, Phase.ADMISSION)])
def test_a_1011_after_the_servers_own_wait_is_its_stop(named, configured, waited, reason, asked):
    """A stop of hypercorn is a 1011 seconds later: it is known by its name or by the config."""
    profile, phase = asked
    after = sum(session(phase, ErrorKind.CLOSED, profile=profile).phases.values()) + waited
    met = {"close": remote(1011, "", phase), "answered_by": named, "refused_after": after}
    judgement = classify(session(phase, ErrorKind.CLOSED, profile=profile, **met), case(profile, server=configured))

    assert (judgement.phase, judgement.reason) == (phase, reason)


@pytest.mark.parametrize("depth", Probe)
@pytest.mark.parametrize(
    "close",
    [
        None,
        Close(1000, Initiator.LOCAL, Phase.CLOSE),
        remote(1011, "Internal error", Phase.CLOSE),
        remote(1008, "SSOT Auth failed", Phase.CLOSE),
        Close(1006, Initiator.NONE, Phase.CLOSE),
    ],
)
def test_no_close_fails_a_session_that_got_what_it_came_for(depth, close):
    """How a whole session closes, or that it does not, changes no verdict."""
    judgement = classify(session(Phase.CLOSE, close=close), case(depth=depth))

    assert set(judgement.verdicts.values()) == {PASS} | ({NONE} if depth is not Probe.SEND else set())
    assert (judgement.phase, judgement.reason, judgement.factory_reason) == (None, None, None)


@pytest.mark.parametrize("kind", [None, *ErrorKind])
def test_a_connect_deep_session_expects_its_refusal(kind):
    """Without a token the upgrade is all we came for: the NO_TOKEN frame and its 1008 are nobody's failure."""
    close = remote(1008, "SSOT Auth failed", Phase.CLOSE)
    done = session(Phase.UPGRADE).phases
    facts = SessionObservation(
        done, done, Phase.CLOSE, ProbeError(kind) if kind else None, close, refusal=frame("NO_TOKEN")
    )
    judgement = classify(facts, case(depth=Probe.CONNECT))

    assert verdicts(judgement) == "pass/-/-"
    assert (judgement.phase, judgement.reason, judgement.factory_reason) == (None, None, None)


# Every combination ------------------------------------------------------------------------------------------------

CLOSES = [
    None,
    Close(1009, Initiator.LOCAL, Phase.ADMISSION),
    remote(1000),
    remote(1011),
    remote(1008, RATE),
    remote(1003, "Factory: x", Phase.REPLY),
    remote(1011, "SSOT Auth failed", Phase.CLOSE),
]
BACKENDS = {
    "factory": (FACTORY, [None, WELCOME, OTHERS, {}], [None, LIMIT, frame("NO_TOKEN"), frame("SOMETHING_NEW")]),
    "echo": (ECHO, [None, {}], [None, {"type": "error"}]),
    "chat": (CHAT, [None, {"id": 1}, {}], [None, {"type": "error", "why": "token"}, {"type": "error"}]),
    "factory, no send": (FACTORY.model_copy(update={"send": None}), [None, WELCOME, OTHERS, {}], [None, LIMIT]),
    "chat, no send": (CHAT.model_copy(update={"send": None}), [None, {"id": 1}, {}], [None, {"type": "error"}]),
    "greeting": (Profile(welcome=Welcome(match={"type": "hello"})), [None, {}], [None]),
    "greeting of a factory": (Profile(welcome=Welcome(match={"type": "hello"}, required=["id"])), [None, {}], [None]),
}
NOTICES = [(), ("recovery",), ("degraded", "sorry")]


def combinations(kind, backend):
    """Every session that could be handed in, and many that could not."""
    profile, welcomes, frames = BACKENDS[backend]
    fault = ProbeError(kind, status=429, retry_after=7.0) if kind else None
    order = phases_of(profile, tls=True)
    for ended, proved in itertools.product((Phase.PREPARE, *order), (True, False)):
        done = dict.fromkeys(order[: order.index(ended) + proved] if ended in order else (), 0.1)
        for met in itertools.product(CLOSES, welcomes, frames, NOTICES):
            yield SessionObservation(done, done, ended, fault, *met)


def stopped(facts):
    """Whether the session ended by a fault of the backend before it had all it came for."""
    return facts.fault is not None and (facts.fault.phase or facts.ended) in LEGAL_FAILURES


def contradictions(judgement, asked, reach, *, wrong=False):
    """What is wrong with a judgement, whatever it was made of; `wrong`: a session as deep as any met a fault."""
    given, where, why = judgement.verdicts, judgement.phase, judgement.reason
    failed = [probe for probe in Probe if given[probe] is FAIL]
    return {
        "a verdict that was not asked for": any(given[probe] is not NONE for probe in Probe if probe not in asked),
        "failed without phase and reason": len({bool(failed), where is not None, why is not None}) > 1,
        "a cause that no probe answers for": wrong and not failed and not judgement.void,
        "not legal": bool(failed) and why not in LEGAL_FAILURES[where],
        "failed beyond its own phase": any(where not in reach[probe] for probe in failed),
        "passed deeper than it failed": any(
            given[deep] is PASS for probe in failed for deep in asked if deep.rank > probe.rank
        ),
        "factory without its reason": why is Reason.FACTORY and judgement.factory_reason is None,
        "seconds to stay away for nothing": judgement.retry_after is not None
        and why not in (Reason.RATE_LIMITED, None),
    }


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [None, *ErrorKind])
def test_no_combination_of_facts_is_beyond_the_tables(kind, backend):
    """Whatever a session met, its judgement is made of legal words, contradicts itself nowhere, and is given."""
    profile = BACKENDS[backend][0]
    asked = {depth: [probe for probe in probes_of(profile) if probe.rank <= depth.rank] for depth in Probe}
    reach = {probe: failing_phases(probe, profile, tls=True) for probe in Probe}
    for facts, depth in itertools.product(combinations(kind, backend), Probe):
        judgement = classify(facts, case(profile, depth))
        deep = depth.rank >= probes_of(profile)[-1].rank
        met = deep and (stopped(facts) or judgement.factory_reason is not None)
        wrong = contradictions(judgement, asked[depth], reach, wrong=met)

        assert not any(wrong.values()), (wrong, facts, depth)


LATE = DISTORTION_SECONDS + 0.001


@pytest.mark.parametrize(
    ("kind", "late", "timeout", "distorted", "void"),
    [
        (ErrorKind.DEADLINE, 0.0, 10.0, False, False),
        (ErrorKind.DEADLINE, DISTORTION_SECONDS, 10.0, False, False),
        (ErrorKind.DEADLINE, LATE, 10.0, True, False),
        (ErrorKind.DEADLINE, 10 * STALL_FRACTION + 0.001, 10.0, True, True),
        (ErrorKind.DEADLINE, LATE, 0.5, True, False),
        (ErrorKind.DEADLINE, MIN_STALL_SECONDS + 0.001, 0.5, True, True),
        (ErrorKind.DEADLINE, 30.0, 10.0, True, True),
        (ErrorKind.RESET, 30.0, 10.0, True, False),
        (ErrorKind.CLOSED, 30.0, 10.0, True, False),
        (None, 30.0, 10.0, True, False),
    ],
)
def test_a_deadline_that_we_slept_through_proves_nothing(kind, late, timeout, distorted, void):
    """Late by more than a share of its timeout, a missed deadline is nobody's; all else counts, its durations not."""
    ended = Phase.ADMISSION if kind else Phase.CLOSE
    met = {"welcome": None if kind else WELCOME}
    by_session = classify(session(ended, kind, late=late, **met), case(timeout=timeout))
    by_loop = classify(session(ended, kind, **met), case(timeout=timeout, max_loop_stall=late))

    for judged in (by_session, by_loop):
        assert (judged.distorted, judged.void) == (distorted, void)
        assert (set(judged.verdicts.values()) == {Verdict.NONE}) is void
        assert (judged.reason is None) is (void or kind is None)
        assert judged.factory_reason is None or not void


def test_a_case_does_not_show_its_subject():
    """The subject of an identity stands in no repr: the alias is for showing."""
    assert "staging-e2e-user" not in repr(case())


def test_a_judgement_stands():
    """A judgement is frozen, and so is the case it was made for."""
    for value, name in ((classify(session(Phase.CLOSE), case()), "reason"), (case(), "depth")):
        with pytest.raises(AttributeError):
            setattr(value, name, None)


def test_nothing_passes_for_want_of_a_fault():
    """A session in which nothing happened proves nothing: a pass needs the completed phase that is its evidence."""
    nothing = SessionObservation({}, {}, Phase.PREPARE)

    assert verdicts(classify(nothing, case())) == "-/-/-"
    assert verdicts(classify(session(Phase.UPGRADE), case())) == "pass/-/-"
    assert verdicts(classify(session(Phase.ADMISSION), case())) == "pass/pass/-"
    assert verdicts(classify(session(Phase.REPLY), case())) == "pass/pass/pass"


# The tables -------------------------------------------------------------------------------------------------------


def test_every_kind_has_a_reason_and_every_reason_a_place():
    """No kind is without a name, no reason is without a phase that can have it, no phase without its last resort."""
    assert set(REASON_OF_ERROR) == set(ErrorKind)
    assert set().union(*LEGAL_FAILURES.values()) == set(Reason)
    assert set(LEGAL_FAILURES) == set(FALLBACK_REASONS) == set(Phase) - {Phase.PREPARE, Phase.CLOSE}
    assert all(FALLBACK_REASONS[phase] in legal for phase, legal in LEGAL_FAILURES.items())


def test_a_rule_can_name_what_every_phase_after_the_101_can_have():
    """A reason of `errors` and `closes` has a series and a cause of outages in whichever phase its rule matches."""
    assert LEGAL_FAILURES[Phase.ADMISSION] - {Reason.FACTORY} == set(RULE_REASONS)
    assert LEGAL_FAILURES[Phase.AUTH] == LEGAL_FAILURES[Phase.REPLY] == set(RULE_REASONS)


def test_probes_own_phases_and_fail_up_to_their_last():
    """Each phase belongs to one probe, and a deeper probe fails wherever a shallower one does."""
    assert sum((PHASES_OF_PROBE[probe] for probe in Probe), ()) == tuple(LEGAL_FAILURES)
    assert failing_phases(Probe.CONNECT, FACTORY, tls=False) == (Phase.RESOLVE, Phase.TCP, Phase.UPGRADE)
    assert failing_phases(Probe.AUTH, FACTORY, tls=True)[-1] is Phase.ADMISSION
    assert failing_phases(Probe.SEND, FACTORY, tls=True)[-2:] == (Phase.ADMISSION, Phase.REPLY)
    assert failing_phases(Probe.SEND, ECHO, tls=False)[-2:] == (Phase.UPGRADE, Phase.REPLY)
    assert failing_phases(Probe.AUTH, CHAT, tls=True)[-2:] == (Phase.ADMISSION, Phase.AUTH)


@pytest.mark.parametrize(
    ("code", "label"),
    [(code, str(code)) for code in (1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014)]
    + [(3000, "3xxx"), (3999, "3xxx"), (4000, "4xxx"), (4001, "4001"), (4002, "4002"), (4999, "4xxx")]
    + [(1004, "1002"), (1015, "1002"), (2999, "1002"), (0, "1002"), (5000, "1002"), (65535, "1002")],
)
def test_close_codes_have_bounded_labels(code, label):
    """Registered codes and the profile's own are labels as they are; ranges and what no frame carries are folded."""
    assert close_label(code, FACTORY) == label


@pytest.mark.parametrize("profile", [FACTORY, ECHO, CHAT, Profile()])
def test_every_close_that_can_be_is_primed_once(profile):
    """Whoever closes, in whatever phase, the labels are among the legal ones; none is named twice; no 1011 is ours."""
    legal = list(legal_closes(profile, tls=True))
    phases = [phase for phase in phases_of(profile, tls=True) if phase in ("admission", "auth", "reply", "close")]

    assert len(legal) == len(set(legal))
    assert {phase for phase, _, _ in legal} == set(phases)
    for phase in phases:
        assert (phase, "1006", Initiator.NONE) in legal
        for code in (*range(1000, 1006), *range(1007, 5001)):
            assert (phase, close_label(code, profile), Initiator.REMOTE) in legal
    assert ("close", "1000", Initiator.LOCAL) in legal
    assert {code for _, code, initiator in legal if initiator is Initiator.LOCAL} <= {"1000", "1002", "1007", "1009"}


def test_the_close_is_told_without_the_text_of_the_peer():
    """A result carries code, initiator and phase; the server's words stay behind."""
    refused = session(Phase.ADMISSION, ErrorKind.CLOSED, close=remote(1008, "Bearer secret"))

    assert reported_close(refused, Probe.SEND, FACTORY) == remote(1008)
    assert reported_close(session(Phase.UPGRADE, ErrorKind.EOF), Probe.SEND, FACTORY) is None


TOKENS_ALWAYS = FACTORY.model_copy(update={"connect_without_token": False})


@pytest.mark.parametrize(
    ("depth", "profile", "close", "expected"),
    [
        (Probe.CONNECT, FACTORY, remote(1008, "SSOT Auth failed", Phase.CLOSE), "1000 local close"),
        (Probe.CONNECT, FACTORY, remote(1011, "SSOT Auth failed", Phase.CLOSE), "1000 local close"),
        (Probe.CONNECT, FACTORY, remote(1011, "Internal error", Phase.CLOSE), "1011 remote close"),
        (Probe.CONNECT, FACTORY, Close(1006, Initiator.NONE, Phase.CLOSE), "1006 none close"),
        (Probe.CONNECT, ECHO, remote(1008, "SSOT Auth failed", Phase.CLOSE), "1008 remote close"),
        (Probe.CONNECT, TOKENS_ALWAYS, remote(1008, "SSOT Auth failed", Phase.CLOSE), "1008 remote close"),
        (Probe.AUTH, FACTORY, remote(1008, "SSOT Auth failed"), "1008 remote admission"),
    ],
)
def test_the_refusal_we_asked_for_is_not_told(depth, profile, close, expected):
    """A connect-deep session sends no token and is refused for it: that close counts as ours, every other as it was."""
    close = reported_close(session(Phase.CLOSE, profile=profile, close=close), depth, profile)

    assert f"{close.code} {close.initiator} {close.phase}" == expected


# Other profiles ---------------------------------------------------------------------------------------------------


def test_a_profile_without_auth_is_never_judged_on_it():
    """Of a backend that lets everybody in, auth is neither passed nor failed."""
    for facts in (session(Phase.CLOSE, profile=ECHO), session(Phase.UPGRADE, ErrorKind.EOF, profile=ECHO)):
        assert classify(facts, case(ECHO)).verdicts[Probe.AUTH] is NONE


@pytest.mark.parametrize(
    ("greeting", "met", "expected"),
    [
        ({"type": "hello", "id": 1}, {"refusal": {"type": "error", "why": "token"}}, ("auth", "auth_rejected", None)),
        ({"type": "hello", "id": 1}, {"close": remote(1011, "", Phase.AUTH)}, ("auth", "server_error", None)),
        ({"type": "hello", "id": 1}, {"close": remote(1000, "", Phase.AUTH)}, ("auth", "closed", None)),
        (
            {"type": "hello"},
            {"refusal": {"type": "error", "why": "token"}},
            ("auth", "auth_rejected", "invalid_welcome"),
        ),
    ],
)
def test_a_refused_auth_message_fails_auth(greeting, met, expected):
    """Where we authenticate by a message, its refusal is counted in phase auth, even after a welcome that was wrong."""
    kind = ErrorKind.REFUSAL if "refusal" in met else ErrorKind.CLOSED
    judgement = classify(session(Phase.AUTH, kind, profile=CHAT, welcome=greeting, **met), case(CHAT, subject=None))

    assert verdicts(judgement) == "pass/fail/fail"
    assert (judgement.phase, judgement.reason, judgement.factory_reason) == expected


def test_another_user_is_graver_than_a_refused_auth_message():
    """Greeted as somebody else is what went wrong first and worst, whatever became of our auth message."""
    hello = Welcome(match={"type": "hello"}, subject="user")
    profile = CHAT.model_copy(update={"welcome": hello})
    met = {"welcome": {"type": "hello", "user": "another"}, "refusal": {"type": "error", "why": "token"}}
    judgement = classify(session(Phase.AUTH, ErrorKind.REFUSAL, profile=profile, **met), case(profile))

    assert verdicts(judgement) == "pass/fail/fail"
    assert (judgement.phase, judgement.factory_reason) == (Phase.ADMISSION, FactoryReason.USER_MISMATCH)


@pytest.mark.parametrize(
    ("rule", "meaning"),
    [
        ({"reason": Reason.AUTH_REJECTED}, REFUSED),
        ({"reason": Reason.RATE_LIMITED}, (FAIL, Reason.RATE_LIMITED, None)),
        ({"reason": Reason.RATE_LIMITED, "proves_auth": True}, (PASS, Reason.RATE_LIMITED, None)),
        ({"reason": Reason.PROTOCOL_ERROR}, (FAIL, Reason.PROTOCOL_ERROR, None)),
        ({"reason": Reason.SERVER_ERROR, "proves_auth": True}, (PASS, Reason.SERVER_ERROR, None)),
        ({"factory": FactoryReason.NOT_READY}, (NONE, Reason.FACTORY, FactoryReason.NOT_READY)),
        ({"factory": FactoryReason.NOT_READY, "proves_auth": True}, (PASS, Reason.FACTORY, FactoryReason.NOT_READY)),
    ],
)
def test_a_rule_of_a_profile_says_what_it_means(rule, meaning):
    """A rule's reason fails auth unless it proves the login; a factory reason says nothing of the login by itself."""
    profile = Profile(welcome=CHAT.welcome, send=CHAT.send, closes=[CloseRule(code=4100, **rule)])
    facts = session(Phase.ADMISSION, ErrorKind.CLOSED, profile=profile, close=remote(4100))
    judgement = classify(facts, case(profile))

    assert (judgement.verdicts[Probe.AUTH], judgement.reason, judgement.factory_reason) == meaning


@calm
@given(st.integers(1000, 4999), st.text(max_size=40), st.dictionaries(st.text(max_size=4), st.text(max_size=4)))
def test_whatever_a_server_says_when_it_refuses_is_judged(code, text, refusal):
    """No code, text or frame makes a refusal anything but a failure of send in admission."""
    auth, reason, factory = admitted(ErrorKind.REFUSAL, close=remote(code, text), refusal=refusal)

    assert (auth is FAIL) == (factory is None)
    assert reason in LEGAL_FAILURES[Phase.ADMISSION]


# What the table of faults expects ---------------------------------------------------------------------------------

ROWS = yaml.safe_load((DATA / "faults.yml").read_text("utf-8"))
SPOKEN = [row for row in ROWS if row["fault"].startswith("close:") and row["close"]["initiator"] == "remote"]


@pytest.mark.parametrize("row", SPOKEN, ids=lambda row: row["fault"])
def test_a_close_means_what_the_table_of_faults_expects(row):
    """Frame, code and text of each close in tests/data/faults.yml are judged as written there before the code."""
    spoken = dict(part.split("=", 1) for part in row["fault"].removeprefix("close:").split(","))
    ended = Phase(row["close"]["phase"])
    refusal = frame(spoken["frame"]) if "frame" in spoken else None
    kind = ErrorKind.REFUSAL if refusal else ErrorKind.CLOSED if ended is not Phase.CLOSE else None
    close = remote(int(spoken["code"]), spoken.get("reason", ""), ended)
    judgement = classify(session(ended, kind, refusal=refusal, close=close), case())

    words = ("connect", "auth", "send"), ("phase", "reason", "factory_reason", "slot_limit")
    assert verdicts(judgement) == "/".join(row[word] for word in words[0])
    assert [getattr(judgement, word) for word in words[1]] == [row[word] for word in words[1]]
