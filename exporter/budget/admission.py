"""From a turn to a grant, and from a result back into the ledger.

Rule 1: what needs more than one look at the ledger stands here.
"""

from typing import Final

from exporter.budget.ledger import Ledger
from exporter.budget.login_streak import NO_TOKEN_EVENT, REJECTED_EVENT, RESTART_EVENT, SUCCESS_EVENT
from exporter.budget.session_cost import Grant, Refusal, SessionCost, SettlementEffects
from exporter.result import (
    FactoryReason,
    Holdup,
    Impairment,
    Initiator,
    Phase,
    Probe,
    Reason,
    Result,
    SkipCause,
    Verdict,
)

MOMENTARY_HOLDUPS: Final = frozenset({Holdup.BUSY, Holdup.VERDICT})
"""What is over as soon as another session is: worth waiting a few seconds for."""
PHASES_BEFORE_LOGIN: Final = frozenset({Phase.PREPARE, Phase.RESOLVE, Phase.TCP, Phase.TLS})
RESTART_CLOSE_CODES: Final = frozenset({1001, 1012})
"""Close codes of a server that stops (RFC 6455 section 7.4.1, IANA's registry)."""


def admit(ledger: Ledger, request: SessionCost, now: float, *, patient: bool = False) -> Grant | Refusal:
    """Decide on a turn: its full depth, connect-deep without a token, or not at all.

    A scheduled turn whose identity or key rests goes connect-deep if the profile lets it; other sessions are refused.
    `patient`: what is over soon is waited for first.
    """
    answer = ledger.ask(request, now)
    if not isinstance(answer, Refusal) or answer.cause is not SkipCause.RESTING:
        return answer
    if request.extra or not request.tokenless or (patient and answer.holdup in MOMENTARY_HOLDUPS):
        return answer
    return ledger.ask(request.without_token(), now)


def settle(ledger: Ledger, request: SessionCost, result: Result, now: float, *, slot_taken: bool) -> SettlementEffects:
    """Write a finished session into the ledger: its slot, the verdict on its token, what its refusal asks of us."""
    refused = result.factory_reason is FactoryReason.SLOT_LIMIT
    rejected = token_rejected(result)
    outcome = _outcome(request, result, rejected=rejected)
    ledger.release(request, now, slot_taken=slot_taken and not refused, rejected=rejected, outcome=outcome)
    if refused and request.user is not None:
        ledger.rest_user(request.user, request.slot_release, now)
    limited = result.reason is Reason.RATE_LIMITED
    if limited:
        ledger.rest_endpoint(request.place, result.retry_after, now)
    return SettlementEffects(
        slot_limit=_learn(ledger, request, result.slot_limit, now),
        identity_cooldowns=refused and ledger.identity_cooldowns(request.user, now),
        token_cooldowns=ledger.token_cooldown(request, now) if rejected else None,
        endpoint_cooldowns=ledger.endpoint_cooldown_until(request.place, now) if limited else None,
    )


def token_rejected(result: Result) -> bool | None:
    """Say what the backend made of our token; None when it did not judge it: the fault lay elsewhere.

    A refusal counts in whatever phase it came, over HTTP too. Where nothing else proves the login, a reply does.
    """
    auth = result.verdicts.get(Probe.AUTH, Verdict.NONE)
    if auth is Verdict.PASS or (auth is Verdict.NONE and result.verdicts.get(Probe.SEND) is Verdict.PASS):
        return False
    return True if result.reason is Reason.AUTH_REJECTED else None


def _outcome(request: SessionCost, result: Result, *, rejected: bool | None) -> str | None:
    """What the breakers before the backend's login make of the session; None: it did not get there."""
    if _server_restarted(result):
        return RESTART_EVENT
    if request.key is None:
        broke = result.impairment is Impairment.INTERNAL
        return NO_TOKEN_EVENT if broke or result.phase not in PHASES_BEFORE_LOGIN else None
    if rejected is None and result.impairment is Impairment.INTERNAL:
        return REJECTED_EVENT  # cut off by us: the backend may have refused it behind our back
    return None if rejected is None else REJECTED_EVENT if rejected else SUCCESS_EVENT


def _server_restarted(result: Result) -> bool:
    """Nothing listens where the server was, or it says that it stops: what it counted is gone with its process."""
    if result.reason is Reason.REFUSED:
        return True
    close = result.close
    stopped = close is not None and close.initiator is Initiator.REMOTE and close.code in RESTART_CLOSE_CODES
    return stopped and result.phase is not None and result.phase is not Phase.CLOSE


def _learn(ledger: Ledger, request: SessionCost, slots: int | None, now: float) -> int | None:
    """Learn a slot limit; give it back if it is news and binds tighter than the configured one."""
    if slots is None:
        return None
    before = ledger.learned(request.authority, now)
    ledger.learn(request.authority, slots, now)
    known = ledger.learned(request.authority, now)
    binds = known is not None and (request.slots == 0 or known < request.slots)
    return known if binds and known != before else None
