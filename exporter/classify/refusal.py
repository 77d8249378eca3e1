"""What became of a credential that must be refused.

Rule 1: a session that is let in is `bypassed`, whatever happens to it afterwards.
Rule 2: an outage is no refusal: what ends sessions of good tokens too proves nothing.
"""

from http import HTTPStatus
from typing import Final

from exporter.config import RefusedBy
from exporter.result import FactoryReason, Initiator, Phase, Probe, Reason, RefusalOutcome, Result, Verdict

OUTAGE_REASONS: Final = frozenset(
    {
        Reason.DNS,
        Reason.REFUSED,
        Reason.UNREACHABLE,
        Reason.RESET,
        Reason.TIMEOUT,
        Reason.TLS_CERTIFICATE,
        Reason.TLS_HANDSHAKE,
        Reason.RATE_LIMITED,
        Reason.AUTH_UNAVAILABLE,
    }
)
"""Reasons that say nothing about the credential."""
OUTAGE_STATUSES: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
"""Statuses of a proxy without a backend, or of one that is overloaded (RFC 9110 section 15.6)."""
OUTAGE_CLOSES: Final = frozenset({1001, 1012, 1013, 1014})
"""Close codes of a server that stops, restarts or is overloaded, and of a gateway (IANA's registry)."""
HTTP_PHASES: Final = frozenset({Phase.BEFORE, Phase.UPGRADE})


def refusal_outcome(result: Result, refused_by: RefusedBy) -> RefusalOutcome:
    """Return what a session with a credential that must be refused shows."""
    if result.impairment is not None or result.void:
        return RefusalOutcome.INCONCLUSIVE
    if _let_in(result):
        return RefusalOutcome.BYPASSED
    if result.reason is Reason.AUTH_REJECTED or _status(result) in refused_by.statuses:
        return RefusalOutcome.REFUSED
    if result.reason is None or result.reason in OUTAGE_REASONS or _status(result) in OUTAGE_STATUSES:
        return RefusalOutcome.INCONCLUSIVE
    code = _close_code(result)
    if code in refused_by.closes:
        return RefusalOutcome.REFUSED
    return RefusalOutcome.INCONCLUSIVE if code in OUTAGE_CLOSES else RefusalOutcome.WRONG_WAY


def _let_in(result: Result) -> bool:
    """Whether the login passed, as any user; where nothing proves a login, whether the message got its reply."""
    if result.factory_reason is FactoryReason.USER_MISMATCH:
        return True
    auth = result.verdicts.get(Probe.AUTH, Verdict.NONE)
    replied = result.verdicts.get(Probe.SEND) is Verdict.PASS
    return auth is Verdict.PASS or (auth is Verdict.NONE and replied)


def _status(result: Result) -> int | None:
    return result.http_status if result.phase in HTTP_PHASES else None


def _close_code(result: Result) -> int | None:
    """Return the server's close code, unless it only answers the exporter's."""
    close = result.close
    return close.code if close is not None and close.initiator is Initiator.REMOTE else None
