"""Explains a result: what happened, in a sentence for a tired engineer, the runbook page to open, and the next step.

The first row of causes that fits gives the sentence. What the row does not say (another finding, an odd close, a
distorted run) follows in sentences of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from exporter.report.cause_table import find_cause
from exporter.report.causes import Alert, Cause
from exporter.report.contradictions import contradictions
from exporter.report.evidence import other_addresses
from exporter.report.formatting import code, counts, moment, span
from exporter.report.layers import diagnose
from exporter.report.programs import clause_of, meaning_of, waited_seconds
from exporter.report.situation import (
    OPEN_PHASES,
    UNKNOWN_CONTEXT,
    Credential,
    FailureSituation,
    SituationFact,
    TargetContext,
    fact_holds,
)
from exporter.result import (
    CertificatePlace,
    Confidence,
    Initiator,
    Layer,
    Phase,
    Probe,
    Reason,
    Result,
    Verdict,
)
from exporter.software import ProxyEvent


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happened; the alert whose runbook page helps; what to do next; the layer at fault, and how sure that is.

    A healthy result has only a sentence.
    """

    sentence: str
    page: Alert | None = None
    next_step: str | None = None
    layer: Layer | None = None
    confidence: Confidence | None = None

    @property
    def fault(self) -> str | None:
        """`proxy (certain)`; None if nothing is at fault."""
        return None if self.layer is None else f"{self.layer} ({self.confidence})"


PASSED_TEXTS: Final = (
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
"""Depth, facts and sentence: the first row of the depth whose facts hold gives the sentence."""

NOTHING_PROVED: Final = Explanation(
    "Nothing was proved: the session ended before its question was decided.",
    Alert.NO_WELCOME,
    "Check again; if it stays so, ask at a greater depth (`--probe send`).",
)

TOKEN_WITHHELD: Final = Explanation(
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


def explain(result: Result, context: TargetContext = UNKNOWN_CONTEXT) -> Explanation:
    """Explain a session; there is an explanation for every result."""
    if result.void:
        return INCONCLUSIVE
    situation = FailureSituation(result, context)
    row = find_cause(situation)
    if row is None and result.verdicts.get(result.depth) is not Verdict.PASS:
        return NOTHING_PROVED if result.http_status is None else TOKEN_WITHHELD
    sentence = _passed_text(situation) if row is None else fill_phrases(row.sentence, situation)
    text = " ".join([sentence, *_notes(situation, row)])
    if row is None:
        return Explanation(text)
    next_step = context.causes.get(result.rule or "") or fill_phrases(_next_step(situation, row), situation)
    diagnosis = diagnose(situation, row.fault)
    return Explanation(text, row.alert, next_step, diagnosis.layer, diagnosis.confidence)


def find_layer(result: Result, context: TargetContext = UNKNOWN_CONTEXT) -> Layer | None:
    """The layer at fault; None for a session that did not fail, or proved nothing."""
    situation = FailureSituation(result, context)
    row = None if result.void else find_cause(situation)
    return None if row is None else diagnose(situation, row.fault).layer


def _next_step(situation: FailureSituation, row: Cause) -> str:
    """What the row says; on the open WebSocket what fits the program that is known, too, or instead.

    Silence has causes that are no program's: there the row speaks first.
    """
    if not _adds_behaviour(situation, row):
        return row.next_step
    if situation.result.reason is not Reason.TIMEOUT:
        return EVENT_STEPS
    return f"{row.next_step} {OTHER_STEPS if READ_LOG in row.next_step else EVENT_STEPS}"


EVENT_STEPS: Final = "{event_steps}"
OTHER_STEPS: Final = "{other_steps}"


def _adds_behaviour(situation: FailureSituation, row: Cause) -> bool:
    """Whether the table of the program that is known says more than the row."""
    is_open = situation.result.phase in OPEN_PHASES and situation.result.rule is None
    is_said = row.alert is Alert.SERVER_RESTARTING and fact_holds(SituationFact.STOPPING, situation)
    return is_open and row.fault is None and not is_said and situation.match is not None


def similarity_key(result: Result, context: TargetContext = UNKNOWN_CONTEXT) -> tuple[object, ...]:
    """Equal for two failures of one cause: the row that explains them, and the facts that their sentences name."""
    situation = FailureSituation(result, context)
    row = find_cause(situation)
    sentence = None if row is None else row.sentence
    facts = result.reason, result.phase, result.factory_reason, result.http_status, situation.server_code
    return sentence, *facts, result.slot_limit, result.void


def _passed_text(situation: FailureSituation) -> str:
    return next(
        words
        for depth, facts, words in PASSED_TEXTS
        if depth is situation.result.depth and all(fact_holds(fact, situation) for fact in facts)
    )


def explain_refusal(refusal: str) -> Explanation:
    """Why no session was opened, from the sentence of the ledger (`the identity rests after a slot limit`)."""
    return Explanation(
        f"No session was opened, to do no harm: {refusal.rstrip('.')}.",
        Alert.PROBE_BUDGET_SKIPS,
        "Wait until there is room again, or ask without a slot and a token: `--probe connect`.",
    )


def _notes(situation: FailureSituation, row: Cause | None) -> Iterator[str]:
    """Sentences about what the row does not say."""
    result = situation.result
    if row is not None and row.factory is None and result.factory_reason is not None:
        yield f"The welcome was wrong as well ({result.factory_reason})."
    if row is not None and _adds_behaviour(situation, row):
        yield fill_phrases("{program} shows this {events}.", situation)
    if row is None:
        yield from _proofs(situation)
        yield from _slow_probes(situation)
        yield from _odd_close(result)
    if fact_holds(SituationFact.BYPASS, situation) and fact_holds(SituationFact.LET_IN, situation):
        yield "Nothing was verified: the target asks the backend to skip the login (`allow_auth_bypass`)."
    if fact_holds(SituationFact.ASSUMED, situation) and result.phase in OPEN_PHASES:
        yield f"`profile: {situation.context.profile}` was assumed: the target names none."
    yield from contradictions(result, situation.context)
    if result.distorted:
        yield "The exporter's host was held up meanwhile: do not trust the seconds."
    yield from other_addresses(result)


def _proofs(situation: FailureSituation) -> Iterator[str]:
    """What the passed probes show of such a backend, in the profile's words; `connect` if no more was asked."""
    for probe, text in situation.context.proves.items():
        asked = probe is situation.result.depth or probe is not Probe.CONNECT
        if asked and situation.result.verdicts.get(probe) is Verdict.PASS:
            yield f"{probe}: {text}"


def _slow_probes(situation: FailureSituation) -> Iterator[str]:
    """The passed probes that count as slow, unless the exporter was."""
    result, limits = situation.result, situation.context.slow_over
    slow = [
        f"{probe} took {seconds:.2f} s (`slow_over`: {limits[probe]:g} s)"
        for probe, seconds in result.durations.items()
        if result.verdicts.get(probe) is Verdict.PASS and seconds > limits.get(probe, seconds)
    ]
    if slow and not result.distorted:
        yield f"But slow: {', '.join(slow)}."


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


# Words in braces: figures of the result, settings of the target, conditional clauses ----------------------------------

CONDITIONAL_TEXTS: Final[Mapping[str, tuple[tuple[SituationFact, ...], str]]] = {
    "or_origin": ((SituationFact.NO_ORIGIN,), ", or the server wants an Origin header, and none was sent"),
    "or_our_origin": (
        (SituationFact.ORIGIN_SENT,),
        ", or the server does not take the Origin that the target sends",
    ),
    "set_origin": ((SituationFact.NO_ORIGIN,), " If browsers get in, set the Origin of their page under `headers`."),
    "or_credential": (
        (SituationFact.TOKEN_SENT,),
        ", or the server refused the {credential} before it accepted a WebSocket",
    ),
    "check_credential": ((SituationFact.TOKEN_SENT,), " Then compare the {credential} with what the login expects."),
    "after_breaker": (
        (SituationFact.BREAKER,),
        " If it comes and goes, a circuit breaker before the login opens and shuts.",
    ),
    "auth_500": ((SituationFact.BREAKER,), " The backend reports a 500 of its auth service as a refusal, too."),
    "fields": ((SituationFact.FIELDS,), ", with the fields {field_names}"),
    "unhandled": ((SituationFact.RAISED,), ": an unhandled exception on its side"),
    "login_broke": ((SituationFact.RAISED,), ": an unhandled exception in its login"),
    "handling_broke": ((SituationFact.RAISED,), ": its handling of our message broke"),
    "besides": ((SituationFact.HEARD,), " (other messages came: {came})"),
    "heard": ((SituationFact.HEARD,), " after other messages ({came})"),
    "answered": ((SituationFact.CLOSE_ANSWERED,), " and its WebSocket layer answered our close"),
    "deaf": ((SituationFact.CLOSE_UNANSWERED,), ", and no answer to our close"),
    "dropped": (
        (SituationFact.TOKEN_SENT,),
        " All identities at once after a change in front of it: {carrier} may be lost.",
    ),
}
"""By name: the text that stands there if all these facts are known to hold; else it is empty."""

INSTEAD_TEXTS: Final[Mapping[Phase | None, str]] = {
    Phase.AUTH: "instead of answering our login message",
    Phase.REPLY: "instead of replying",
}

OPENED_TEXTS: Final = (
    ((SituationFact.LET_IN, SituationFact.WELCOMED), "Let in and welcomed"),
    ((SituationFact.LET_IN,), "Let in"),
    ((SituationFact.WELCOMED,), "Welcomed"),
    ((), "The connection is open"),
)
CREDENTIAL_WORDS: Final[Mapping[Credential | None, str]] = {Credential.SECRET: "secret"}
CERTIFICATE_OWNERS: Final[Mapping[CertificatePlace | None, str]] = {
    None: "of the server, or one above it,",
    CertificatePlace.LEAF: "of the server",
    CertificatePlace.INTERMEDIATE: "of an intermediate authority above the server's",
    CertificatePlace.ROOT: "of the root authority above the server's",
}
KEY_ADVICE: Final[Mapping[Credential | None, str]] = {
    Credential.SIGNED: "Compare the signing key, `iss` and `aud` with the auth service's, and the clocks.",
    Credential.READY: "See whether the token of `token_file` is revoked, replaced, or for another environment.",
    Credential.SECRET: "Compare the secret with the backend's: is it changed, revoked, or of another environment?",
}
DEFAULT_KEY_ADVICE: Final = (
    "Compare the credential with what the login expects (a signed token: key, `iss`, `aud`), and the clocks."
)


def fill_phrases(text: str, situation: FailureSituation) -> str:
    """The text with all words in braces replaced."""
    return text.format_map(_LazyPhrases(situation))


class _LazyPhrases(dict[str, str]):
    """Computes a phrase when it is looked up: a sentence uses two or three."""

    def __init__(self, situation: FailureSituation) -> None:
        super().__init__()
        self._situation = situation

    def __missing__(self, name: str) -> str:
        if name in CONDITIONAL_TEXTS:
            facts, text = CONDITIONAL_TEXTS[name]
            applies = all(fact_holds(fact, self._situation) for fact in facts)
            return text.format_map(self) if applies else ""
        return COMPUTED_PHRASES[name](self._situation) if name in COMPUTED_PHRASES else _setting(name, self._situation)


def _setting(name: str, situation: FailureSituation) -> str:
    """`slot_release (5 min)`, or the name alone if the seconds are not known."""
    seconds = situation.context.settings.get(name)
    return name if seconds is None else f"{name} ({span(seconds)})"


def _ended(situation: FailureSituation) -> str:
    close_code = situation.server_code
    return "" if close_code is None else f" with {code(close_code)}"


def _status(situation: FailureSituation) -> str:
    status = situation.result.http_status
    return "" if status is None else f" with HTTP {status}"


def _wait(situation: FailureSituation) -> str:
    wait = situation.result.retry_after
    return "" if wait is None else f" (it asks us to wait {span(wait)})"


def _slots(situation: FailureSituation) -> str:
    limit = situation.result.slot_limit
    return "all its slots" if limit is None else f"all {limit} of its slots"


def _transport(situation: FailureSituation) -> str:
    return "TCP and TLS are" if Phase.TLS in situation.result.phases else "TCP is"


def _opened(situation: FailureSituation) -> str:
    return next(words for facts, words in OPENED_TEXTS if all(fact_holds(fact, situation) for fact in facts))


def _profile(situation: FailureSituation) -> str:
    name = situation.context.profile
    return "the target's `profile`" if name is None else f"`profile: {name}`"


def _server(situation: FailureSituation) -> str:
    context = situation.context
    return "HOST:PORT" if context.host is None or context.port is None else f"{_bracketed(context.host)}:{context.port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _since(situation: FailureSituation) -> str:
    expiry = situation.result.evidence.certificate_expiry
    return "" if expiry is None else f" ({moment(expiry)})"


def _look_text(situation: FailureSituation) -> str:
    """The command that shows the certificates, at the address that the session used."""
    evidence, context = situation.result.evidence, situation.context
    endpoint = f"{_bracketed(evidence.address or context.host or 'HOST')}:{context.port or 'PORT'}"
    name = context.server_name or "NAME"
    sni = "" if ":" in name or name.rpartition(".")[2].isdigit() else f" -servername {name}"
    return f"Look at it: openssl s_client -connect {endpoint}{sni} -showcerts </dev/null"


def _framing_word(name: str) -> str:
    return {"text": "text", "socketio": "socket.io"}.get(name, name.upper())


def _after(situation: FailureSituation) -> str:
    """` after 3.0 s`; "" if the moment is not known."""
    waited = waited_seconds(situation.result)
    return "" if waited is None else f" after {waited:.{1 if waited >= MIN_TENTHS_SECONDS else 3}f} s"


MIN_TENTHS_SECONDS: Final = 0.1
"""Shorter waits are written with milliseconds."""


def _events(situation: FailureSituation) -> str:
    return "" if situation.match is None else clause_of(situation.match.events)


def _event_steps(situation: FailureSituation) -> str:
    """What to do next, for each kind of event once, in the order of the events; first at a proxy that comes next."""
    return " ".join(dict.fromkeys(_steps(situation)))


def _other_steps(situation: FailureSituation) -> str:
    """The same without the look into the backend's log, where the row has asked for it."""
    return " ".join(step for step in dict.fromkeys(_steps(situation)) if not step.startswith(READ_LOG))


def _steps(situation: FailureSituation) -> Iterator[str]:
    match = situation.match
    following = () if match is None else situation.proxies_behind(match.software)
    for event in () if match is None else match.events:
        if following and event in NEXT_PROXY_EVENTS:
            yield f"See whether {following[0]}, the next proxy, is up and what its log says at this second."
        if not following or event is not ProxyEvent.BACKEND_REFUSES:
            yield meaning_of(event).next_step


NEXT_PROXY_EVENTS: Final = frozenset(
    {ProxyEvent.BACKEND_REFUSES, ProxyEvent.BACKEND_UNREACHABLE, ProxyEvent.BACKEND_CUTS}
)
"""What a proxy meets at the one behind it, if that is down."""

READ_LOG: Final = "Read the backend's log"


def _program(situation: FailureSituation) -> str:
    return "the server" if situation.match is None else situation.match.software


CLOSE_HINTS: Final[Mapping[int, str]] = {
    **dict.fromkeys(
        (1000, 1005),
        " The close can be a stop (socket.io, Vert.x), an exception (Sanic, Quart, granian) or the application's "
        "own: then add a rule to `closes`.",
    ),
    1002: " Tomcat closes so for an exception in its open handler; else look for a proxy that touches frames.",
    1008: " A 1008 is a rule that our message broke, or a refused login.",
    1009: " Compare the size of our message with the server's limit.",
    **dict.fromkeys(
        (3000, 3003, 4401, 4403),
        " By custom this code is a refused login: compare the {credential} with what the login expects, and add a rule "
        "to `closes` of the profile.",
    ),
}
"""What a close code can mean in a reply's place, where no program that is known tells."""


def _close_hint(situation: FailureSituation) -> str:
    return fill_phrases(CLOSE_HINTS.get(situation.server_code or 0, ""), situation)


LOOKS_ALIKE: Final = ": an exception in the handler, a handler that returned and a killed process look alike here"
"""Of a lost connection, if no program is known."""

COMPUTED_PHRASES: Final[Mapping[str, Callable[[FailureSituation], str]]] = {
    "after": _after,
    "events": _events,
    "event_steps": _event_steps,
    "other_steps": _other_steps,
    "refused": lambda situation: "answered" if (situation.result.http_status or 0) in range(200, 300) else "refused",
    "program": _program,
    "answerer": lambda situation: situation.result.answered_by or "the proxy",
    "proxies": lambda situation: " and ".join(situation.result.via or situation.context.behind) or "a proxy",
    "stream_status": lambda situation: str(situation.result.stream_status),
    "interim": lambda situation: str(situation.result.interim_status),
    "code": lambda situation: "no code" if situation.server_code is None else code(situation.server_code),
    "close_hint": _close_hint,
    "alike": lambda situation: "" if situation.match else LOOKS_ALIKE,
    "ended": _ended,
    "status": _status,
    "wait": _wait,
    "slots": _slots,
    "transport": _transport,
    "open": _opened,
    "instead": lambda situation: INSTEAD_TEXTS.get(situation.result.phase, "before the welcome"),
    "field_names": lambda situation: ", ".join(situation.result.unknown_keys),
    "framing": lambda situation: _framing_word(situation.context.framing or "json"),
    "came": lambda situation: counts(situation.result.passed_over),
    "credential": lambda situation: CREDENTIAL_WORDS.get(situation.context.credential, "token"),
    "keys": lambda situation: KEY_ADVICE.get(situation.context.credential, DEFAULT_KEY_ADVICE),
    "carrier": lambda situation: situation.context.carrier or "what carries the token",
    "profile": _profile,
    "host": lambda situation: situation.context.host or "HOST",
    "server": _server,
    "asked": lambda situation: situation.context.asked or _server(situation),
    "whose": lambda situation: CERTIFICATE_OWNERS[situation.result.evidence.certificate_place],
    "since": _since,
    "tls_name": lambda situation: situation.context.server_name or "the name that the target expects",
    "look": _look_text,
}
