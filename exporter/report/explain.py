"""A result in a sentence that a tired engineer understands, the runbook page to open, and what to look at next.

The rows are tried in the order of `CAUSES`; the first that fits speaks. What a row leaves unsaid (a finding beside it,
an odd close, a distorted run) is added in a sentence of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from exporter.report.addresses import others
from exporter.report.causes import Alert, Cause
from exporter.report.causes_connect import CONNECT_CAUSES
from exporter.report.causes_factory import FACTORY_CAUSES
from exporter.report.causes_session import ANSWER_CAUSES, SESSION_CAUSES
from exporter.report.context import UNKNOWN_CONTEXT, TargetContext
from exporter.report.formatting import code
from exporter.report.phrases import filled
from exporter.report.situation import OPEN_PHASES, FailureSituation, SituationFact, holds
from exporter.result import Impairment, Initiator, Phase, Probe, Result, Verdict


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happened; the alert whose page of the runbook helps; what to do. Nothing wrong: no page, no next step."""

    sentence: str
    page: Alert | None = None
    next_step: str | None = None


IMPAIRED_CAUSES: Final = (
    Cause(
        "No session: OUR OWN token could not be made, so this says nothing about the backend.",
        Alert.PROBE_IMPAIRED,
        "Read the exporter's log line of this run: the key or token file is missing, unreadable or of the wrong kind, "
        "or its token has expired.",
        impairment=Impairment.TOKEN,
    ),
    Cause(
        "No session: THE EXPORTER itself failed, so this says nothing about the backend.",
        Alert.PROBE_IMPAIRED,
        "Read the exporter's log line of this run: a CA or certificate file, no free file descriptors, or a defect.",
        impairment=Impairment.INTERNAL,
    ),
)

CAUSES: Final = (*IMPAIRED_CAUSES, *CONNECT_CAUSES, *ANSWER_CAUSES, *FACTORY_CAUSES, *SESSION_CAUSES)

PASSED: Final = (
    (Probe.CONNECT, (), "The WebSocket opens. Whether users are let in and get replies was not asked."),
    (
        Probe.AUTH,
        (SituationFact.USER,),
        "The WebSocket opens, and our user is let in. Whether messages are answered was not asked.",
    ),
    (Probe.AUTH, (), "The WebSocket opens, and we are let in. Whether messages are answered was not asked."),
    (Probe.SEND, (SituationFact.LET_IN, SituationFact.USER), "Our user is let in, and our message got its reply."),
    (Probe.SEND, (SituationFact.LET_IN,), "We are let in, and our message got its reply."),
    (Probe.SEND, (), "The WebSocket opens, and our message got its reply. No login was asked for."),
)
"""By depth and facts: the first whose facts hold speaks."""

NOTHING_PROVED: Final = Explanation(
    "Nothing was proved: the session ended before its question was decided.",
    Alert.NO_WELCOME,
    "Check again; if it stays so, ask at a greater depth (`--probe send`).",
)

KEPT_BACK: Final = Explanation(
    "Nothing was proved: the backend wants a login before it opens a WebSocket, and this session kept its token back.",
    Alert.AUTH_FAILING,
    "Ask at a greater depth (`--probe auth`), or set `connect_without_token: false` in the profile, so that every "
    "session sends its token.",
)

INCONCLUSIVE: Final = Explanation(
    "Nothing was proved: the deadline struck while the exporter's host was held up.",
    Alert.PROBE_DISTORTED,
    "Check again, from a host that has a processor to spare.",
)


def cause_of(situation: FailureSituation) -> Cause | None:
    """The row that explains a result; None if nothing is wrong, or nothing was proved."""
    result = situation.result
    if result.reason is None and result.factory_reason is None and result.impairment is None:
        return None
    return next((row for row in CAUSES if row.fits(situation)), None)


def explain(result: Result, context: TargetContext = UNKNOWN_CONTEXT) -> Explanation:
    """Why a session went as it did, in words; there is an answer for every result."""
    if result.void:
        return INCONCLUSIVE
    situation = FailureSituation(result, context)
    row = cause_of(situation)
    if row is None and result.verdicts.get(result.depth) is not Verdict.PASS:
        return NOTHING_PROVED if result.http_status is None else KEPT_BACK
    sentence = _passed(situation) if row is None else filled(row.sentence, situation)
    whole = " ".join([sentence, *_notes(situation, row)])
    return Explanation(whole) if row is None else Explanation(whole, row.alert, filled(row.next_step, situation))


def likeness(result: Result, context: TargetContext = UNKNOWN_CONTEXT) -> tuple[object, ...]:
    """What two failures must have in common to be one thing: the row that explains them, and the facts that name it."""
    situation = FailureSituation(result, context)
    row = cause_of(situation)
    said = None if row is None else row.sentence
    named = result.reason, result.phase, result.factory_reason, result.http_status, situation.server_code
    return said, *named, result.slot_limit, result.void


def _passed(situation: FailureSituation) -> str:
    return next(
        words
        for depth, facts, words in PASSED
        if depth is situation.result.depth and all(holds(fact, situation) for fact in facts)
    )


def too_slow(probe: Probe, took: float, grave: str) -> Explanation:
    """Why a passed probe is not well, when its threshold says so."""
    return Explanation(
        f"{probe} passed, but took {took:.3f} s, which is too slow ({grave}).",
        Alert.PROBE_SLOW,
        "See which phase grew: admission of a fresh process takes a second, a cold start seconds; then it is load.",
    )


def refused(words: str) -> Explanation:
    """Why no session was opened, from the ledger's words (`the identity rests after a slot limit`)."""
    return Explanation(
        f"No session was opened, to do no harm: {words.rstrip('.')}.",
        Alert.PROBE_BUDGET_SKIPS,
        "Wait until there is room again, or ask without a slot and a token: `--probe connect`.",
    )


def _notes(situation: FailureSituation, row: Cause | None) -> Iterator[str]:
    """What the row did not say."""
    result = situation.result
    if row is not None and row.factory is None and result.factory_reason is not None:
        yield f"The welcome was wrong as well ({result.factory_reason})."
    if row is None:
        yield from _odd_close(result)
    if holds(SituationFact.BYPASS, situation) and holds(SituationFact.LET_IN, situation):
        yield "Nothing was verified: the target asks the backend to skip the login (`allow_auth_bypass`)."
    if holds(SituationFact.ASSUMED, situation) and result.phase in OPEN_PHASES:
        yield f"`profile: {situation.context.profile}` was assumed: the target names none."
    if result.distorted:
        yield "The exporter's host was held up meanwhile: do not trust the seconds."
    yield from others(result)


def _odd_close(result: Result) -> Iterator[str]:
    close = result.close
    if close is None or close.code == 1000:  # noqa: PLR2004 - as it should be
        return
    if close.initiator is Initiator.REMOTE:
        before = "" if close.phase is Phase.CLOSE else " before ours"
        yield f"But the server closed with {code(close.code)}{before}, not with 1000."
    elif close.initiator is Initiator.NONE:
        yield (
            "But our close got no answer (1006): nothing at the server reads the connection any more after its reply, "
            "or it ends connections without a close frame."
        )
