"""Admits sessions and settles their results: the decisions that take several calls of the ledger."""

from http import HTTPStatus
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
    Trigger,
    Verdict,
)

MOMENTARY_HOLDUPS: Final = frozenset({Holdup.BUSY, Holdup.VERDICT})
"""Holdups that last only as long as another session: worth waiting for a few seconds."""
PHASES_BEFORE_LOGIN: Final = frozenset({Phase.PREPARE, Phase.BEFORE, Phase.RESOLVE, Phase.TCP, Phase.TLS})
MAY_HAVE_REJECTED: Final = frozenset({Impairment.INTERNAL, Impairment.CLOCK})
"""The exporter cut the session off, or does not blame the token: the backend counts a refused token all the same."""
RESTART_CLOSE_CODES: Final = frozenset({1001, 1012})
"""Close codes of a server that stops (RFC 6455 section 7.4.1, IANA's registry)."""


def admit(ledger: Ledger, request: SessionCost, now: float, *, patient: bool = False) -> Grant | Refusal:
    """Decide on a session: grant its full depth, grant connect-deep without a token, or refuse.

    A cycle's session whose identity or key rests goes connect-deep if the profile permits that; others are refused.
    `patient`: a momentary holdup is refused, so that the caller waits for its end instead of going connect-deep.
    """
    answer = ledger.grant_or_refuse(request, now)
    if not isinstance(answer, Refusal) or answer.cause is not SkipCause.RESTING:
        return answer
    if (
        request.trigger is not Trigger.SCHEDULE
        or not request.tokenless
        or (patient and answer.holdup in MOMENTARY_HOLDUPS)
    ):
        return answer
    return ledger.grant_or_refuse(request.without_token(), now)


def settle_login(ledger: Ledger, request: SessionCost, now: float) -> None:
    """Record that a session is let in and stays open: the verdict on its token now, its slot until it is settled."""
    rejected = None if request.key is None else False
    ledger.release(request, now, rejected=rejected, outcome=SUCCESS_EVENT if request.key else NO_TOKEN_EVENT)
    ledger.keep_open(request.after_login(), now)


def settle(ledger: Ledger, request: SessionCost, result: Result, now: float, *, slot_taken: bool) -> SettlementEffects:
    """Record a finished session in the ledger: its slot, the verdict on its token, and the pauses it calls for."""
    slot_refused = result.factory_reason is FactoryReason.SLOT_LIMIT
    rejected = token_rejected(result)
    outcome = _login_outcome(request, result, rejected=rejected)
    ledger.release(request, now, slot_taken=slot_taken and not slot_refused, rejected=rejected, outcome=outcome)
    if slot_refused and request.user is not None:
        ledger.start_user_cooldown(request.user, request.slot_release, now)
    rate_limited = result.reason is Reason.RATE_LIMITED
    if rate_limited:
        ledger.start_endpoint_cooldown(request.cooldown_key, result.retry_after, now)
    return SettlementEffects(
        slot_limit=_learn_slot_limit(ledger, request, result.slot_limit, now),
        identity_rests=slot_refused and ledger.is_identity_resting(request.user, now),
        token_cooldown=ledger.token_cooldown(request, now) if rejected else None,
        endpoint_rests_until=ledger.endpoint_cooldown_until(request.cooldown_key, now) if rate_limited else None,
    )


def settle_read(
    ledger: Ledger, request: SessionCost, now: float, *, status: int | None, retry_after: float | None = None
) -> None:
    """Record a finished HTTP request that was no session: a rejected token that a breaker may count, a rate limit.

    `status`: of an answer that is none of 2xx. A 401 is no verdict on the token that sessions send.
    """
    rejected = status == HTTPStatus.UNAUTHORIZED and request.key is not None
    ledger.release(request, now, slot_taken=False, outcome=REJECTED_EVENT if rejected else None)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        ledger.start_endpoint_cooldown(request.cooldown_key, retry_after, now)


def token_rejected(result: Result) -> bool | None:
    """Return the backend's verdict on the token; None if the session failed before one, or for another reason.

    A rejection counts in every phase, over HTTP too. Where no welcome proves the login, a reply does.
    """
    auth = result.verdicts.get(Probe.AUTH, Verdict.NONE)
    if auth is Verdict.PASS or (auth is Verdict.NONE and result.verdicts.get(Probe.SEND) is Verdict.PASS):
        return False
    return True if result.reason is Reason.AUTH_REJECTED else None


def _login_outcome(request: SessionCost, result: Result, *, rejected: bool | None) -> str | None:
    """Return what the breakers before the backend's login count (`LOGIN_EVENTS`); None: the session ended before it."""
    if _server_restarted(result):
        return RESTART_EVENT
    if request.forged:
        return None if result.phase in PHASES_BEFORE_LOGIN else REJECTED_EVENT
    if request.key is None:
        broke = result.impairment is Impairment.INTERNAL
        return NO_TOKEN_EVENT if broke or result.phase not in PHASES_BEFORE_LOGIN else None
    if rejected is None and result.impairment in MAY_HAVE_REJECTED:
        return REJECTED_EVENT
    return None if rejected is None else REJECTED_EVENT if rejected else SUCCESS_EVENT


def _server_restarted(result: Result) -> bool:
    """Whether the server has stopped (refused connection, or its close code): its counters end with its process.

    The request before the upgrade may go to another server.
    """
    if result.reason is Reason.REFUSED and result.phase is not Phase.BEFORE:
        return True
    close = result.close
    stopped = close is not None and close.initiator is Initiator.REMOTE and close.code in RESTART_CLOSE_CODES
    return stopped and result.phase is not None and result.phase is not Phase.CLOSE


def _learn_slot_limit(ledger: Ledger, request: SessionCost, slots: int | None, now: float) -> int | None:
    """Record a slot limit; return it if it is new and lower than the configured one."""
    if slots is None:
        return None
    before = ledger.learned_slots(request.authority, now)
    ledger.record_slot_limit(request.authority, slots, now)
    learned = ledger.learned_slots(request.authority, now)
    binds = learned is not None and (request.slots == 0 or learned < request.slots)
    return learned if binds and learned != before else None
