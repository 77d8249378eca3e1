"""Every result that there can be, beside a target of each kind."""

from dataclasses import replace
from itertools import product

from exporter.classify import LEGAL_FAILURES, REMOTE_CODES
from exporter.report import UNKNOWN_CONTEXT
from exporter.result import (
    CertificatePlace,
    Close,
    Direction,
    Ending,
    FactoryReason,
    Frame,
    Handshake,
    Impairment,
    Initiator,
    Opcode,
    Phase,
    Probe,
    Reason,
    Software,
    TlsVerify,
    Verdict,
)
from support import report_cases as cases

CONTEXTS = [
    UNKNOWN_CONTEXT,
    cases.STAGING,
    cases.context(None),
    cases.context({"welcome": {"match": {"type": "hi"}}}),
    cases.context("echo", auth={"secret_env": "KEY"}, headers={"Origin": "https://app.example.com"}),
    cases.context(auth={"jwt": {"token_file": "token"}}, allow_auth_bypass=True, headers={"X-Test": "1"}),
]
ERROR = Frame(0.3, Direction.IN, Opcode.TEXT, 99, "error", "INVALID_FORMAT")
UNKNOWN = Frame(0.3, Direction.IN, Opcode.TEXT, 99, "error")
PART = Frame(0.3, Direction.IN, Opcode.TEXT, 99)
PASSED_OVER = [{}, {"ping": 1}, {"binary": 2}, {"other": 1, "ping": 2}]
FAIL = {Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.NONE, Probe.SEND: Verdict.FAIL}
STATUSES = [
    None,
    200,
    301,
    307,
    400,
    401,
    403,
    404,
    405,
    408,
    410,
    413,
    418,
    421,
    426,
    429,
    500,
    501,
    502,
    503,
    504,
    505,
]
STATUSES += [520, 521, 522, 524, 525, 530, 599]
NUMBERS = [int(code) for code in REMOTE_CODES if code.isdecimal()] + [3000, 4001]


def closes(phase):
    """How a session that failed in this phase can have been closed."""
    yield None
    if phase in (Phase.ADMISSION, Phase.AUTH, Phase.REPLY):
        yield from (Close(code, Initiator.REMOTE, phase) for code in NUMBERS)
        yield Close(1006, Initiator.NONE, phase)
        yield Close(1000, Initiator.LOCAL, Phase.CLOSE)
        yield Close(1006, Initiator.NONE, Phase.CLOSE)


def failures():
    """Every failure there can be, and more: legal phase and reason, with any factory reason, close and status."""
    for phase, reasons in LEGAL_FAILURES.items():
        statuses = STATUSES if phase in (Phase.BEFORE, Phase.UPGRADE) else [None]
        for reason, factory, close in product(reasons, (None, *FactoryReason), closes(phase)):
            for status in statuses if reason in (Reason.HTTP_STATUS, Reason.RATE_LIMITED, Reason.REDIRECT) else [None]:
                yield replace(
                    cases.PASSED,
                    verdicts=FAIL,
                    phase=phase,
                    reason=reason,
                    factory_reason=factory,
                    close=close,
                    http_status=status,
                )
    for verify in TlsVerify:
        refused = {"phase": Phase.TLS, "reason": Reason.TLS_CERTIFICATE, "tls_verify": verify}
        for place in (None, *CertificatePlace):
            evidence = replace(cases.WITNESS, certificate_place=place)
            yield replace(cases.PASSED, verdicts=FAIL, close=None, evidence=evidence, **refused)


def others():
    """Results without a reason: our own failures, and what a shallow session learned of the factory."""
    for impairment in Impairment:
        yield replace(cases.IMPAIRED, impairment=impairment)
    for factory, close in product(FactoryReason, closes(Phase.ADMISSION)):
        yield replace(cases.PASSED, depth=Probe.AUTH, factory_reason=factory, close=close)


def every_result():
    yield from failures()
    yield from others()


def heard(result):
    """The same failure where nothing, pings, bytes and strange messages were passed over; or an error frame came."""
    if result.phase in (Phase.ADMISSION, Phase.AUTH, Phase.REPLY):
        yield from (replace(result, passed_over=kinds, phases=cases.until(result.phase)) for kinds in PASSED_OVER)
        for came in ((), (UNKNOWN,), (PART,)):
            yield replace(result, passed_over={}, phases=cases.until(Phase.ADMISSION), transcript=came)
    yield replace(result, transcript=(ERROR,), retry_after=30.0)
    yield from (replace(result, no_token=True, credential_sent=sent) for sent in (None, True))
    if result.reason is Reason.BAD_HANDSHAKE:
        yield from (replace(result, handshake=handshake, via=via) for handshake in Handshake for via in VIAS)


VIAS = ((), (Software.ENVOY,))

AUTHORS = [
    (Software.NGINX, ()),
    (Software.HAPROXY, ()),
    (Software.ENVOY, ()),
    (Software.BACKEND, (Software.NGINX,)),
    (None, (Software.NGINX, Software.ENVOY)),
    (Software.UVICORN, ()),
    (Software.UVICORN, (Software.CADDY,)),
    (Software.HYPERCORN, ()),
    (Software.DAPHNE, ()),
    (Software.VERTX, ()),
]
"""Who made the answer to the upgrade, and what passed it on."""

ENDS = ((Ending.FIN, 0.01), (Ending.FIN, 3.0), (Ending.RESET, 5.0))
"""How the connection ended, and seconds after its last phase: at once, as hypercorn stops, and later than that."""

TELLING_CODES = (1001, 1006, 1011)
"""Close codes of which programs have their own habits."""


def answered(result):
    """The same failure where the answer to the upgrade names programs, at once and later; or an interim answer came."""
    for (by, via), (ending, wait) in product(AUTHORS, ENDS):
        after = sum(result.phases.values()) + wait
        said = replace(result, answered_by=by, via=via, ending=ending, refused_after=after)
        yield said if result.reason is not Reason.AUTH_REJECTED else replace(said, http_status=403)
        if result.reason is Reason.RATE_LIMITED:
            yield replace(said, retry_after=5.0)
    yield replace(result, interim_status=103)
    if result.reason is Reason.PROTOCOL_ERROR:
        yield from (replace(result, stream_status=status) for status in (400, 401, 500, 599))


def closed_idle():
    """A Jetty that closes with 1001 by its idle timeout of 30 s, whatever else is known of the failure."""
    close, after = Close(1001, Initiator.REMOTE, Phase.REPLY), sum(cases.until(Phase.ADMISSION).values()) + 30.5
    for factory in (None, *FactoryReason):
        yield replace(
            cases.PASSED,
            verdicts=FAIL,
            phases=cases.until(Phase.ADMISSION),
            phase=Phase.REPLY,
            reason=Reason.CLOSED,
            factory_reason=factory,
            close=close,
            refused_after=after,
            answered_by=Software.JETTY,
        )


def every_situation():
    """Every result beside a target of each kind; what only the phases after the upgrade can hear, there."""
    yield from product(closed_idle(), CONTEXTS)
    for number, result in enumerate(every_result()):
        yield result, CONTEXTS[number % len(CONTEXTS)]
        if result.factory_reason is None:
            yield from ((each, context) for each in heard(result) for context in CONTEXTS)
            if result.close is None or result.close.code in TELLING_CODES:
                yield from ((each, CONTEXTS[number % len(CONTEXTS)]) for each in answered(result))
