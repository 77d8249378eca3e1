"""What the words in braces of a sentence become: figures of the result, settings in force, and what facts allow."""

from collections.abc import Callable, Mapping
from typing import Final

from exporter.report.context import Credential
from exporter.report.situation import Fact, Situation, holds
from exporter.report.words import code, counts, moment, span
from exporter.result import CertificatePlace, Phase

IF: Final[Mapping[str, tuple[tuple[Fact, ...], str]]] = {
    "or_origin": ((Fact.NO_ORIGIN,), ", or the server wants an Origin header, and none was sent"),
    "set_origin": ((Fact.NO_ORIGIN,), " If browsers get in, set the Origin of their page under `headers`."),
    "or_credential": ((Fact.TOKEN_SENT,), ", or the server refused the {credential} before it accepted a WebSocket"),
    "check_credential": ((Fact.TOKEN_SENT,), " Then compare the {credential} with what the login expects."),
    "after_breaker": ((Fact.BREAKER,), " If it comes and goes, a circuit breaker before the login opens and shuts."),
    "auth_500": ((Fact.BREAKER,), " An auth service that answers 500 is told as a refusal, too."),
    "fields": ((Fact.FIELDS,), ", with the fields {field_names}"),
    "besides": ((Fact.HEARD,), " (other messages came: {came})"),
    "heard": ((Fact.HEARD,), " after other messages ({came})"),
    "answered": ((Fact.CLOSE_ANSWERED,), " and its WebSocket layer answered our close"),
    "deaf": ((Fact.CLOSE_UNANSWERED,), ", and no answer to our close"),
    "dropped": ((Fact.TOKEN_SENT,), " All identities at once after a change in front of it: {carrier} may be lost."),
}
"""By name: the facts that must be known to hold, and what is said then; else nothing is."""

INSTEAD: Final[Mapping[Phase | None, str]] = {
    Phase.AUTH: "instead of answering our login message",
    Phase.REPLY: "instead of replying",
}

OPENED: Final = (
    ((Fact.LET_IN, Fact.WELCOMED), "Let in and welcomed"),
    ((Fact.LET_IN,), "Let in"),
    ((Fact.WELCOMED,), "Welcomed"),
    ((), "The connection is open"),
)
CREDENTIALS: Final[Mapping[Credential | None, str]] = {Credential.SECRET: "secret"}
WHOSE: Final[Mapping[CertificatePlace | None, str]] = {
    None: "of the server, or one above it,",
    CertificatePlace.LEAF: "of the server",
    CertificatePlace.INTERMEDIATE: "of an intermediate authority above the server's",
    CertificatePlace.ROOT: "of the root authority above the server's",
}
KEYS: Final[Mapping[Credential | None, str]] = {
    Credential.SIGNED: "Compare the signing key, `iss` and `aud` with the auth service's, and the clocks.",
    Credential.READY: "See whether the token of `token_file` is revoked, replaced, or for another environment.",
    Credential.SECRET: "Compare the secret with the backend's: is it changed, revoked, or of another environment?",
}
ANY_KEY: Final = (
    "Compare the credential with what the login expects (a signed token: key, `iss`, `aud`), and the clocks."
)


def filled(text: str, situation: Situation) -> str:
    """The text with all words in braces replaced."""
    words = _Words(situation)
    return text.format_map(words)


class _Words(dict[str, str]):
    """Made when they are asked for: a sentence uses two or three."""

    def __init__(self, situation: Situation) -> None:
        super().__init__()
        self._situation = situation

    def __missing__(self, name: str) -> str:
        if name in IF:
            facts, text = IF[name]
            known = all(holds(fact, self._situation) for fact in facts)
            return text.format_map(self) if known else ""
        return MADE[name](self._situation) if name in MADE else _setting(name, self._situation)


def _setting(name: str, situation: Situation) -> str:
    """`slot_release (5 min)`, or the name alone where the figure is not known."""
    seconds = situation.context.settings.get(name)
    return name if seconds is None else f"{name} ({span(seconds)})"


def _ended(situation: Situation) -> str:
    ended = situation.server_code
    return "" if ended is None else f" with {code(ended)}"


def _status(situation: Situation) -> str:
    status = situation.result.http_status
    return "" if status is None else f" with HTTP {status}"


def _wait(situation: Situation) -> str:
    wait = situation.result.retry_after
    return "" if wait is None else f" (it asks us to wait {span(wait)})"


def _slots(situation: Situation) -> str:
    limit = situation.result.slot_limit
    return "all its slots" if limit is None else f"all {limit} of its slots"


def _transport(situation: Situation) -> str:
    return "TCP and TLS are" if Phase.TLS in situation.result.phases else "TCP is"


def _opened(situation: Situation) -> str:
    return next(words for facts, words in OPENED if all(holds(fact, situation) for fact in facts))


def _profile(situation: Situation) -> str:
    name = situation.context.profile
    return "the target's `profile`" if name is None else f"`profile: {name}`"


def _server(situation: Situation) -> str:
    context = situation.context
    return "HOST:PORT" if context.host is None or context.port is None else f"{_bracketed(context.host)}:{context.port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _since(situation: Situation) -> str:
    ended = situation.result.evidence.certificate_expiry
    return "" if ended is None else f" ({moment(ended)})"


def _look(situation: Situation) -> str:
    """How to see what the server shows: at the address that was tried, which `address` of the target may have named."""
    told, context = situation.result.evidence, situation.context
    at = f"{_bracketed(told.address or context.host or 'HOST')}:{context.port or 'PORT'}"
    name = context.server_name or "NAME"
    named = "" if ":" in name or name.rpartition(".")[2].isdigit() else f" -servername {name}"
    return f"Look at it: openssl s_client -connect {at}{named} -showcerts </dev/null"


MADE: Final[Mapping[str, Callable[[Situation], str]]] = {
    "code": lambda it: "no code" if it.server_code is None else code(it.server_code),
    "ended": _ended,
    "status": _status,
    "wait": _wait,
    "slots": _slots,
    "transport": _transport,
    "open": _opened,
    "instead": lambda it: INSTEAD.get(it.result.phase, "before the welcome"),
    "field_names": lambda it: ", ".join(it.result.unknown_keys),
    "came": lambda it: counts(it.result.passed_over),
    "credential": lambda it: CREDENTIALS.get(it.context.credential, "token"),
    "keys": lambda it: KEYS.get(it.context.credential, ANY_KEY),
    "carrier": lambda it: it.context.carrier or "what carries the token",
    "profile": _profile,
    "host": lambda it: it.context.host or "HOST",
    "server": _server,
    "whose": lambda it: WHOSE[it.result.evidence.certificate_place],
    "since": _since,
    "tls_name": lambda it: it.context.server_name or "the name that the target expects",
    "look": _look,
}
