"""A result in a sentence that a tired engineer understands, the runbook page to open, and what to look at next.

The rows are tried in the order of `CAUSES`; the first that fits speaks. What a row leaves unsaid (a finding beside it,
an odd close, a distorted run) is added in a sentence of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from exporter.report.causes import Alert, Cause, page, server_code
from exporter.report.causes_connect import CONNECT_CAUSES
from exporter.report.causes_factory import FACTORY_CAUSES
from exporter.report.causes_session import ANSWERS, SESSION_CAUSES
from exporter.report.words import code, span
from exporter.result import Impairment, Initiator, Phase, Probe, Result, Verdict


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happened; the page `deploy/runbook/<AlertName>.md`; what to do. Nothing wrong: no page, no next step."""

    sentence: str
    page: str | None = None
    next_step: str | None = None


IMPAIRED: Final = (
    Cause(
        "No session: OUR OWN token could not be made, so this says nothing about the backend.",
        Alert.PROBE_IMPAIRED,
        "Read the exporter's log line of this run: the key or token file is missing, unreadable or of the wrong kind.",
        impairment=Impairment.TOKEN,
    ),
    Cause(
        "No session: THE EXPORTER itself failed, so this says nothing about the backend.",
        Alert.PROBE_IMPAIRED,
        "Read the exporter's log line of this run: a CA or certificate file, no free file descriptors, or a defect.",
        impairment=Impairment.INTERNAL,
    ),
)

CAUSES: Final = (*IMPAIRED, *CONNECT_CAUSES, *ANSWERS, *FACTORY_CAUSES, *SESSION_CAUSES)

PASSED: Final = {
    Probe.CONNECT: "The WebSocket opens. Whether users are let in and get replies was not asked.",
    Probe.AUTH: "The WebSocket opens, and our user is let in. Whether messages are answered was not asked.",
    Probe.SEND: "Our user is let in, and our message got its reply.",
}

NOTHING: Final = Explanation(
    "Nothing was proved: the session ended before its question was decided.",
    page(Alert.NO_WELCOME),
    "Check again; if it stays so, ask at a greater depth (`--probe send`).",
)

VOID: Final = Explanation(
    "Nothing was proved: the deadline struck while the exporter's host was held up.",
    page(Alert.PROBE_DISTORTED),
    "Check again, from a host that has a processor to spare.",
)

INSTEAD: Final[Mapping[Phase | None, str]] = {
    Phase.AUTH: "instead of answering our login message",
    Phase.REPLY: "instead of replying",
}


def cause_of(result: Result) -> Cause | None:
    """The row that explains a result; None if nothing is wrong, or nothing was proved."""
    if result.reason is None and result.factory_reason is None and result.impairment is None:
        return None
    return next((row for row in CAUSES if row.fits(result)), None)


def explain(result: Result) -> Explanation:
    """Why a session went as it did, in words; there is an answer for every result."""
    if result.void:
        return VOID
    row = cause_of(result)
    if row is None and result.verdicts.get(result.depth) is not Verdict.PASS:
        return NOTHING
    sentence = PASSED[result.depth] if row is None else row.sentence.format_map(_figures(result))
    whole = " ".join([sentence, *_notes(result, row)])
    return Explanation(whole) if row is None else Explanation(whole, page(row.alert), row.next_step)


def too_slow(probe: Probe, took: float, grave: str) -> Explanation:
    """Why a passed probe is not well, when its threshold says so."""
    return Explanation(
        f"{probe} passed, but took {took:.3f} s, which is too slow ({grave}).",
        page(Alert.PROBE_SLOW),
        "See which phase grew: admission of a fresh process takes a second, a cold start seconds; then it is load.",
    )


def refused(words: str) -> Explanation:
    """Why no session was opened, from the ledger's words (`the identity rests after a slot limit`)."""
    return Explanation(
        f"No session was opened, to do no harm: {words.rstrip('.')}.",
        page(Alert.PROBE_BUDGET_SKIPS),
        "Wait until there is room again, or ask without a slot and a token: `--probe connect`.",
    )


def _figures(result: Result) -> dict[str, str]:
    ended = server_code(result)
    return {
        "code": "no code" if ended is None else code(ended),
        "ended": "" if ended is None else f" with {code(ended)}",
        "status": "429" if result.http_status is None else str(result.http_status),
        "wait": "" if result.retry_after is None else f" (it asks us to wait {span(result.retry_after)})",
        "open": "Let in and welcomed" if result.verdicts.get(Probe.AUTH) is Verdict.PASS else "The connection is open",
        "instead": INSTEAD.get(result.phase, "before the welcome"),
        "limit": "all its slots" if result.slot_limit is None else f"all {result.slot_limit} of its slots",
    }


def _notes(result: Result, row: Cause | None) -> Iterator[str]:
    """What the row did not say."""
    if row is not None and row.factory is None and result.factory_reason is not None:
        yield f"The welcome was wrong as well ({result.factory_reason})."
    if row is None:
        yield from _odd_close(result)
    if result.distorted:
        yield "The exporter's host was held up meanwhile: do not trust the seconds."


def _odd_close(result: Result) -> Iterator[str]:
    close = result.close
    if close is None or close.code == 1000:  # noqa: PLR2004 - as it should be
        return
    if close.initiator is Initiator.REMOTE:
        before = "" if close.phase is Phase.CLOSE else " before ours"
        yield f"But the server closed with {code(close.code)}{before}, not with 1000."
    elif close.initiator is Initiator.NONE:
        yield "But the connection was lost at the end: our close got no answer (1006)."
