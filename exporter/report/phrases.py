"""What the words in braces of a sentence become: figures of the result, settings in force, and what facts allow."""

from collections.abc import Callable, Mapping
from typing import Final

from exporter.report.context import Credential
from exporter.report.formatting import code, counts, moment, span
from exporter.report.situation import FailureSituation, SituationFact, holds
from exporter.result import CertificatePlace, Phase

CONDITIONAL_TEXTS: Final[Mapping[str, tuple[tuple[SituationFact, ...], str]]] = {
    "or_origin": ((SituationFact.NO_ORIGIN,), ", or the server wants an Origin header, and none was sent"),
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
    "auth_500": ((SituationFact.BREAKER,), " An auth service that answers 500 is told as a refusal, too."),
    "fields": ((SituationFact.FIELDS,), ", with the fields {field_names}"),
    "besides": ((SituationFact.HEARD,), " (other messages came: {came})"),
    "heard": ((SituationFact.HEARD,), " after other messages ({came})"),
    "answered": ((SituationFact.CLOSE_ANSWERED,), " and its WebSocket layer answered our close"),
    "deaf": ((SituationFact.CLOSE_UNANSWERED,), ", and no answer to our close"),
    "dropped": (
        (SituationFact.TOKEN_SENT,),
        " All identities at once after a change in front of it: {carrier} may be lost.",
    ),
}
"""By name: the facts that must be known to hold, and what is said then; else nothing is."""

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


def filled(text: str, situation: FailureSituation) -> str:
    """The text with all words in braces replaced."""
    words = _LazyPhrases(situation)
    return text.format_map(words)


class _LazyPhrases(dict[str, str]):
    """Made when they are asked for: a sentence uses two or three."""

    def __init__(self, situation: FailureSituation) -> None:
        super().__init__()
        self._situation = situation

    def __missing__(self, name: str) -> str:
        if name in CONDITIONAL_TEXTS:
            facts, text = CONDITIONAL_TEXTS[name]
            known = all(holds(fact, self._situation) for fact in facts)
            return text.format_map(self) if known else ""
        return COMPUTED_PHRASES[name](self._situation) if name in COMPUTED_PHRASES else _setting(name, self._situation)


def _setting(name: str, situation: FailureSituation) -> str:
    """`slot_release (5 min)`, or the name alone where the figure is not known."""
    seconds = situation.context.settings.get(name)
    return name if seconds is None else f"{name} ({span(seconds)})"


def _ended(situation: FailureSituation) -> str:
    ended = situation.server_code
    return "" if ended is None else f" with {code(ended)}"


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
    return next(words for facts, words in OPENED_TEXTS if all(holds(fact, situation) for fact in facts))


def _profile(situation: FailureSituation) -> str:
    name = situation.context.profile
    return "the target's `profile`" if name is None else f"`profile: {name}`"


def _server(situation: FailureSituation) -> str:
    context = situation.context
    return "HOST:PORT" if context.host is None or context.port is None else f"{_bracketed(context.host)}:{context.port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _since(situation: FailureSituation) -> str:
    ended = situation.result.evidence.certificate_expiry
    return "" if ended is None else f" ({moment(ended)})"


def _look(situation: FailureSituation) -> str:
    """How to see what the server shows: at the address that was tried, which `address` of the target may have named."""
    told, context = situation.result.evidence, situation.context
    at = f"{_bracketed(told.address or context.host or 'HOST')}:{context.port or 'PORT'}"
    name = context.server_name or "NAME"
    named = "" if ":" in name or name.rpartition(".")[2].isdigit() else f" -servername {name}"
    return f"Look at it: openssl s_client -connect {at}{named} -showcerts </dev/null"


COMPUTED_PHRASES: Final[Mapping[str, Callable[[FailureSituation], str]]] = {
    "code": lambda it: "no code" if it.server_code is None else code(it.server_code),
    "ended": _ended,
    "status": _status,
    "wait": _wait,
    "slots": _slots,
    "transport": _transport,
    "open": _opened,
    "instead": lambda it: INSTEAD_TEXTS.get(it.result.phase, "before the welcome"),
    "field_names": lambda it: ", ".join(it.result.unknown_keys),
    "came": lambda it: counts(it.result.passed_over),
    "credential": lambda it: CREDENTIAL_WORDS.get(it.context.credential, "token"),
    "keys": lambda it: KEY_ADVICE.get(it.context.credential, DEFAULT_KEY_ADVICE),
    "carrier": lambda it: it.context.carrier or "what carries the token",
    "profile": _profile,
    "host": lambda it: it.context.host or "HOST",
    "server": _server,
    "whose": lambda it: CERTIFICATE_OWNERS[it.result.evidence.certificate_place],
    "since": _since,
    "tls_name": lambda it: it.context.server_name or "the name that the target expects",
    "look": _look,
}
