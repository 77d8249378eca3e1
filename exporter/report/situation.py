"""A result beside its context, and the facts that a row of the tables can ask for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from exporter.report.context import ORIGIN_HEADER, UNKNOWN_CONTEXT, Credential, TargetContext
from exporter.result import Direction, Frame, Initiator, Opcode, Phase, Probe, Reason, Result, Verdict

UNREADABLE_KINDS: Final = frozenset({"binary", "not_json"})
"""Kinds of what came and was no JSON message."""
UNEXPECTED_KINDS: Final = frozenset({"other", "foreign_reply", "welcome"})
"""Kinds of messages that no rule of the profile knows, or expects at this place."""
REFUSING_KINDS: Final = frozenset({"error", "wrong_reply"})
"""Kinds of the frames that refuse us."""
UNANSWERED: Final = (None, Reason.TIMEOUT, Reason.RESET)
"""What ends without a frame of the server's: a close of its own after one of ours is an answer to it."""
OPEN_PHASES: Final = (Phase.ADMISSION, Phase.AUTH, Phase.REPLY)
DATA_OPCODES: Final = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION})


@dataclass(frozen=True, slots=True)
class FailureSituation:
    """What one session met, and what is known of its target."""

    result: Result
    context: TargetContext = UNKNOWN_CONTEXT

    @property
    def server_code(self) -> int | None:
        """The code with which the server or nobody ended the session before we did; None if we did."""
        close = self.result.close
        own = close is None or close.initiator is Initiator.LOCAL or close.phase is Phase.CLOSE
        return None if close is None or own else close.code

    @property
    def token_sent(self) -> bool | None:
        """Whether this session sent a credential, in its upgrade request if that was refused; None: not known."""
        in_request = self.result.credential_sent
        if in_request is not None and (in_request or self.result.phase is Phase.UPGRADE):
            return in_request
        credential = self.context.credential
        if credential is None:
            return None
        shallow = self.context.tokenless and self.result.depth is Probe.CONNECT
        return credential is not Credential.NONE and not shallow


def refused_after(result: Result) -> float | None:
    """Seconds in the failed phase until the answer or the frame came that ended it; None if none did."""
    start = sum(result.phases.values())
    if result.phase in result.phases or result.reason in UNANSWERED:
        return None
    if result.refused_after is not None:
        return max(0.0, result.refused_after - start)
    if result.phase not in OPEN_PHASES:
        return None
    ends = (frame.at - start for frame in result.transcript if _refuses(frame) and frame.at >= start)
    return next(ends, None)


def _refuses(frame: Frame) -> bool:
    return frame.direction is Direction.IN and (frame.opcode is Opcode.CLOSE or frame.kind in REFUSING_KINDS)


class SituationFact(StrEnum):
    """What a row can ask for beside phase, reason, code and status. What is not known, does not hold."""

    HEARD = "messages came"
    UNREADABLE = "something came that is no JSON message"
    STRANGE = "a message came that the profile does not know"
    MUTE = "nothing ever came"
    TOKEN_SENT = "a credential was sent"  # noqa: S105
    NO_CREDENTIAL = "no credential was sent"
    NO_TOKEN = "the server says that no token arrived"  # noqa: S105
    NO_ORIGIN = "no Origin was sent"
    OFFERED = "subprotocols were offered"
    FACTORY = "the profile knows of a factory"
    BREAKER = "the profile knows of a circuit breaker"
    BYPASS = "the backend is asked to skip the login"
    ASSUMED = "the target names no profile"
    WELCOMED = "the welcome came"
    LET_IN = "the auth probe passed"
    USER = "the session spoke as a user"
    RETRY_AFTER = "the server asks to wait"
    FIELDS = "field names of unknown messages are known"
    CLOSE_ANSWERED = "the server answered our close"
    CLOSE_UNANSWERED = "our close got no answer in its time"
    UNKNOWN_ERROR = "an error frame came that no rule of the profile names"


def _kinds(situation: FailureSituation) -> frozenset[str]:
    return frozenset(kind for kind, number in situation.result.passed_over.items() if number)


def _is_mute(situation: FailureSituation) -> bool:
    """True if the server has sent no message at all on the open WebSocket."""
    result = situation.result
    came = any(frame.direction is Direction.IN and frame.opcode in DATA_OPCODES for frame in result.transcript)
    return not came and not result.passed_over and not set(OPEN_PHASES) & set(result.phases)


def _is_unknown_error(situation: FailureSituation) -> bool:
    errors = [frame.code for frame in situation.result.transcript if frame.kind == "error"]
    return bool(errors) and errors[-1] is None


def _closed(situation: FailureSituation, initiator: Initiator) -> bool:
    close = situation.result.close
    return close is not None and close.phase is Phase.CLOSE and close.initiator is initiator


HOLDS: Final[Mapping[SituationFact, Callable[[FailureSituation], object]]] = {
    SituationFact.HEARD: _kinds,
    SituationFact.UNREADABLE: lambda it: _kinds(it) & UNREADABLE_KINDS,
    SituationFact.STRANGE: lambda it: _kinds(it) & UNEXPECTED_KINDS,
    SituationFact.MUTE: _is_mute,
    SituationFact.TOKEN_SENT: lambda it: it.token_sent is True,
    SituationFact.NO_CREDENTIAL: lambda it: it.token_sent is False,
    SituationFact.NO_TOKEN: lambda it: it.result.no_token,
    SituationFact.NO_ORIGIN: lambda it: (
        (it.context.sets(ORIGIN_HEADER) if it.result.origin_sent is None else it.result.origin_sent) is False
    ),
    SituationFact.OFFERED: lambda it: it.context.offered,
    SituationFact.FACTORY: lambda it: it.context.factory,
    SituationFact.BREAKER: lambda it: it.context.breaker,
    SituationFact.BYPASS: lambda it: it.context.bypass,
    SituationFact.ASSUMED: lambda it: it.context.assumed,
    SituationFact.WELCOMED: lambda it: Phase.ADMISSION in it.result.phases,
    SituationFact.LET_IN: lambda it: it.result.verdicts.get(Probe.AUTH) is Verdict.PASS,
    SituationFact.USER: lambda it: it.result.identity is not None,
    SituationFact.RETRY_AFTER: lambda it: it.result.retry_after is not None,
    SituationFact.FIELDS: lambda it: it.result.unknown_keys,
    SituationFact.CLOSE_ANSWERED: lambda it: _closed(it, Initiator.LOCAL) and Phase.CLOSE in it.result.phases,
    SituationFact.CLOSE_UNANSWERED: lambda it: _closed(it, Initiator.NONE),
    SituationFact.UNKNOWN_ERROR: _is_unknown_error,
}


def holds(fact: SituationFact, situation: FailureSituation) -> bool:
    """True if the fact is known to hold."""
    return bool(HOLDS[fact](situation))
