"""What a cause is: the facts it fits, the sentence, the alert whose page helps, and what to look at next.

Words in braces are filled by `explain`: `{code}` and `{ended}` of the close, `{status}` of the refused upgrade,
`{wait}` of a Retry-After, `{limit}` of the slots, `{open}` and `{instead}` of what came before and what should have.
"""

from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum

from exporter.result import FactoryReason, Impairment, Initiator, Phase, Reason, Result


class Alert(StrEnum):
    """The alerts whose runbook pages a result can point to; each has `deploy/runbook/<name>.md`."""

    INTERNAL_ERROR_SPIKE = "WebSocketInternalErrorSpike"
    FACTORY_VALIDATION_FAILING = "WebSocketFactoryValidationFailing"
    FACTORY_SLOTS_EXHAUSTED = "WebSocketFactorySlotsExhausted"
    CONNECT_FAILING = "WebSocketConnectFailing"
    AUTH_FAILING = "WebSocketAuthFailing"
    AUTH_UNAVAILABLE = "WebSocketAuthUnavailable"
    NO_WELCOME = "WebSocketNoWelcome"
    SEND_FAILING = "WebSocketSendFailing"
    IDENTITY_FAILING = "WebSocketIdentityFailing"
    PROBE_SLOW = "WebSocketProbeSlow"
    PROBE_DISTORTED = "WebSocketProbeDistorted"
    SERVER_RESTARTING = "WebSocketServerRestarting"
    RATE_LIMITED = "WebSocketRateLimited"
    PROBE_IMPAIRED = "WebSocketProbeImpaired"
    PROBE_BUDGET_SKIPS = "WebSocketProbeBudgetSkips"


def page(alert: Alert) -> str:
    """The runbook page of an alert."""
    return f"deploy/runbook/{alert}.md"


@dataclass(frozen=True, slots=True)
class Cause:
    """One row: what is left out fits anything. `codes`: of a close that the server sent, or 1006 that nobody did."""

    sentence: str
    alert: Alert
    next_step: str
    phase: Phase | None = None
    reason: Reason | None = None
    factory: FactoryReason | None = None
    impairment: Impairment | None = None
    codes: Container[int] | None = None
    statuses: Container[int] | None = None

    def fits(self, result: Result) -> bool:
        """True if the result is one of this row."""
        return (
            (self.reason is None or self.reason is result.reason)
            and (self.phase is None or self.phase is result.phase)
            and (self.factory is None or self.factory is result.factory_reason)
            and (self.impairment is None or self.impairment is result.impairment)
            and (self.codes is None or server_code(result) in self.codes)
            and (self.statuses is None or result.http_status in self.statuses)
        )


def server_code(result: Result) -> int | None:
    """The code with which the server or nobody ended the session before we did; None if we did."""
    close = result.close
    own = close is None or close.initiator is Initiator.LOCAL or close.phase is Phase.CLOSE
    return None if close is None or own else close.code
