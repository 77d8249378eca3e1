"""A row of the tables of causes: the results it fits, the sentence, the alert whose page helps, and the next step.

Words in braces are filled in by `phrases`.
"""

from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum

from exporter.report.situation import FailureSituation, SituationFact, fact_holds
from exporter.result import Confidence, FactoryReason, Handshake, Impairment, Layer, Phase, Reason, TlsVerify


class Alert(StrEnum):
    """The alerts whose pages of the runbook a result can point to; each has `deploy/runbook/<name>.md`."""

    INTERNAL_ERROR_SPIKE = "WebSocketInternalErrorSpike"
    FACTORY_VALIDATION_FAILING = "WebSocketFactoryValidationFailing"
    FACTORY_SLOTS_EXHAUSTED = "WebSocketFactorySlotsExhausted"
    CONNECT_FAILING = "WebSocketConnectFailing"
    AUTH_FAILING = "WebSocketAuthFailing"
    AUTH_UNAVAILABLE = "WebSocketAuthUnavailable"
    NO_WELCOME = "WebSocketNoWelcome"
    SEND_FAILING = "WebSocketSendFailing"
    IDENTITY_FAILING = "WebSocketIdentityFailing"
    PROBE_DISTORTED = "WebSocketProbeDistorted"
    SERVER_RESTARTING = "WebSocketServerRestarting"
    RATE_LIMITED = "WebSocketRateLimited"
    PROBE_IMPAIRED = "WebSocketProbeImpaired"
    PROBE_BUDGET_SKIPS = "WebSocketProbeBudgetSkips"


@dataclass(frozen=True, slots=True)
class Cause:
    """One row. A field that is None fits every result.

    `fault`: the layer at fault and how sure that is; None: `layers` knows it by the facts.
    `codes`: close codes of the server, or 1006 if the connection was lost. `verify`: why the certificate is refused.
    `given`: facts that must all be known to hold.
    """

    sentence: str
    alert: Alert
    next_step: str
    phase: Phase | None = None
    reason: Reason | None = None
    factory: FactoryReason | None = None
    impairment: Impairment | None = None
    codes: Container[int] | None = None
    statuses: Container[int] | None = None
    handshake: Handshake | None = None
    verify: TlsVerify | None = None
    given: tuple[SituationFact, ...] = ()
    fault: tuple[Layer, Confidence] | None = None

    def fits(self, situation: FailureSituation) -> bool:
        """True if this row explains the situation."""
        result = situation.result
        return (
            (self.reason is None or self.reason is result.reason)
            and (self.phase is None or self.phase is result.phase)
            and (self.factory is None or self.factory is result.factory_reason)
            and (self.impairment is None or self.impairment is result.impairment)
            and (self.codes is None or situation.server_code in self.codes)
            and (self.statuses is None or result.http_status in self.statuses)
            and (self.handshake is None or self.handshake is result.handshake)
            and (self.verify is None or self.verify is result.tls_verify)
            and all(fact_holds(fact, situation) for fact in self.given)
        )
