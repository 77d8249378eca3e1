"""From a turn to a grant, and from a result back into the ledger.

Rule 1: the rules of design 4 that need more than one look at the ledger stand here.
"""

from exporter.budget.ledger import Ledger
from exporter.budget.request import Grant, Refusal, Request, Settled
from exporter.result import FactoryReason, Probe, Reason, Result, SkipCause, Verdict


def admit(ledger: Ledger, request: Request, now: float) -> Grant | Refusal:
    """Decide on a turn: its full depth, connect-deep without a token, or not at all.

    A scheduled turn whose identity or key rests goes connect-deep if the profile lets it; other sessions are refused.
    """
    answer = ledger.ask(request, now)
    if isinstance(answer, Refusal) and answer.cause is SkipCause.RESTING and request.tokenless and not request.extra:
        return ledger.ask(request.without_token(), now)
    return answer


def settle(ledger: Ledger, request: Request, result: Result, now: float, *, slot_taken: bool) -> Settled:
    """Write a finished session into the ledger: its slot, the verdict on its token, what its refusal asks of us."""
    refused = result.factory_reason is FactoryReason.SLOT_LIMIT
    rejected = token_rejected(result)
    ledger.release(request, now, slot_taken=slot_taken and not refused, rejected=rejected)
    if refused and request.user is not None:
        ledger.rest_user(request.user, request.slot_release, now)
    if result.reason is Reason.RATE_LIMITED:
        ledger.rest_host(request.host, result.retry_after, now)
    return Settled(
        slot_limit=_learn(ledger, request, result.slot_limit, now),
        identity_rests=refused and ledger.identity_rests(request.user, now),
        key_rests=bool(rejected) and ledger.key_rests(request.key, now),
        host_rests=result.reason is Reason.RATE_LIMITED,
    )


def token_rejected(result: Result) -> bool | None:
    """Say what the backend made of our token; None when it did not judge it: the fault lay elsewhere."""
    verdict = result.verdicts.get(Probe.AUTH, Verdict.NONE)
    if verdict is Verdict.PASS:
        return False
    return True if verdict is Verdict.FAIL and result.reason is Reason.AUTH_REJECTED else None


def _learn(ledger: Ledger, request: Request, slots: int | None, now: float) -> int | None:
    """Learn a slot limit; give it back if it is news and binds tighter than the configured one."""
    if slots is None:
        return None
    before = ledger.learned(request.authority, now)
    ledger.learn(request.authority, slots, now)
    known = ledger.learned(request.authority, now)
    binds = known is not None and (request.slots == 0 or known < request.slots)
    return known if binds and known != before else None
