"""The ledger: decides which sessions may be opened, and records what became of them.

Rule 1: a granted session is recorded before the caller connects.
Rule 2: in doubt the ledger protects the backend: a slot that may be held counts as held.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from exporter.budget.breakers import breaker_refusal
from exporter.budget.events import EFFECTS, Event, apply_event, snapshot
from exporter.budget.forgeries import forgery_refusal
from exporter.budget.ledger_state import (
    LEARNED_LIMIT_SECONDS,
    RATE_WINDOW_SECONDS,
    REFUSAL_RETENTION_SECONDS,
    KeyBreaker,
    LedgerState,
    SlotLease,
)
from exporter.budget.login_streak import NO_TOKEN_EVENT, REJECTED_EVENT
from exporter.budget.session_cost import Grant, HostLoad, Refusal, SessionCost, TokenCooldown
from exporter.result import EXTRA_RUNS, Holdup, RefusalOutcome, SkipCause, Trigger

ENDPOINT_COOLDOWN_SECONDS: Final = 600.0
"""Seconds an endpoint rests after a 429 without a usable Retry-After: as long as a known backend's edge bans."""
MAX_ENDPOINT_COOLDOWN_SECONDS: Final = 3600.0
MAX_SLOTS: Final = 100_000
HELD_LEASE_SECONDS: Final = 90.0
"""Seconds for which a held connection counts as open, three times as long as the time until it is recorded again."""


class Ledger:
    """What the backends count for this exporter. `since`: when it became complete, unix seconds; −inf: always.

    Its own decisions are events; they wait in `pending` until `take_pending`.
    """

    def __init__(self, since: float = -math.inf) -> None:
        self.pending: list[Event] = []
        self._state = LedgerState(since)

    # --- Decisions

    def grant_or_refuse(self, request: SessionCost, now: float) -> Grant | Refusal:
        """Decide on one session of exactly the requested depth, and record a grant."""
        refusal = self.find_refusal(request, now)
        if refusal is not None:
            return refusal
        self._record_grant(request, now)
        return Grant(request)

    def find_refusal(self, request: SessionCost, now: float) -> Refusal | None:
        """Return the first reason against a session of exactly this depth; None if there is none.

        A holdup that waits for a verdict comes last: every other one lasts longer or is more specific.
        """
        self._state.drop_expired_leases(request.user or "", now)
        checks = (
            self._check_endpoint,
            self._check_rate,
            self._check_key,
            self._check_breakers,
            self._check_forgery,
            self._check_identity,
            self._check_slots,
            self._check_completeness,
        )
        refusals = [refusal for check in checks if (refusal := check(request, now)) is not None]
        return min(refusals, key=lambda refusal: refusal.holdup is Holdup.VERDICT, default=None)

    def _check_endpoint(self, request: SessionCost, now: float) -> Refusal | None:
        until = self.endpoint_cooldown_until(request.cooldown_key, now)
        if until is None:
            return None
        return Refusal(SkipCause.RATE, Holdup.ENDPOINT, "the endpoint rests after a rate limit", until)

    def _check_rate(self, request: SessionCost, now: float) -> Refusal | None:
        refusals = (self._check_load(request, load, now) for load in request.host_loads)
        return next((refusal for refusal in refusals if refusal is not None), None)

    def _check_load(self, request: SessionCost, load: HostLoad, now: float) -> Refusal | None:
        if load.rate is None:
            return None
        recent = self._state.recent_connects(load.host, now)
        reserved = _reserved(request, [connect.unscheduled for connect in recent], load.scheduled_rate)
        if max(len(recent), reserved) + load.connects <= load.rate:
            return None
        reason_text = f"the host permits {load.rate} connects a minute"
        until = recent[min(load.connects, len(recent)) - 1].at + RATE_WINDOW_SECONDS if recent else None
        return Refusal(SkipCause.RATE, Holdup.RATE, reason_text, until)

    def _check_key(self, request: SessionCost, now: float) -> Refusal | None:
        key_breaker = self._key_breaker(request)
        if key_breaker is None or request.forced:
            return None
        if key_breaker.cooldown.until > now:
            reason_text = "the key rests after rejected tokens"
            return Refusal(SkipCause.RESTING, Holdup.REJECTED, reason_text, key_breaker.cooldown.until)
        # A confirm run must not cause the second rejection in a row, and must not be the trial after one.
        confirms_rejection = key_breaker.rejections and request.trigger is Trigger.CONFIRM
        if key_breaker.remaining_attempts(now) < 1 or confirms_rejection:
            return Refusal(SkipCause.RESTING, Holdup.VERDICT, "the key waits for the verdict on another token")
        return None

    def _check_breakers(self, request: SessionCost, now: float) -> Refusal | None:
        if not request.breakers or request.forced:
            return None
        return breaker_refusal(request, self._state.login_streak(request.authority), self._key_breaker(request), now)

    def _check_forgery(self, request: SessionCost, now: float) -> Refusal | None:
        return forgery_refusal(self._state.login_streak(request.authority), now) if request.forged else None

    def _key_breaker(self, request: SessionCost) -> KeyBreaker | None:
        """Return the breaker of this key; if its fingerprint is unknown, of the latest key from its source."""
        if request.key is None:
            return None
        state, source = self._state, request.key
        breaker_id = request.breaker_id if request.key_fingerprint else state.current_breaker_ids.get(source, source)
        return state.key_breakers.get(breaker_id) or state.key_breakers.get(source)

    def _check_identity(self, request: SessionCost, now: float) -> Refusal | None:
        cooldown = self._state.user_cooldowns.get(request.user or "")
        if cooldown is not None and cooldown.until > now:
            return Refusal(SkipCause.RESTING, Holdup.IDENTITY, "the identity rests after a slot limit", cooldown.until)
        ends = [until for lease in self._leases(request) if (until := lease.open_until) > now]
        if not ends:
            return None
        return Refusal(SkipCause.OVERLAP, Holdup.BUSY, "the identity has a connection open", max(ends))

    def _check_slots(self, request: SessionCost, now: float) -> Refusal | None:
        limit = self.slot_budget(request, now)
        if request.user is None or limit is None:
            return None
        leases = self._leases(request)
        reserved = _reserved(request, [lease.unscheduled for lease in leases], request.scheduled_peak)
        if max(len(leases), reserved) < limit:
            return None
        reason_text = f"{len(leases)} of {limit} slots held"
        if reserved >= limit:
            reason_text += f", the schedule needs {request.scheduled_peak}"
        return Refusal(SkipCause.BUDGET, Holdup.SLOTS, reason_text, min((one.until for one in leases), default=None))

    def _check_completeness(self, request: SessionCost, now: float) -> Refusal | None:
        """An extra run and a side probe need a complete ledger; a cycle does not, because its times are fixed."""
        until = self._state.since + request.window
        if request.trigger not in (*EXTRA_RUNS, Trigger.SIDE_PROBE) or request.user is None or now >= until:
            return None
        if self.slot_budget(request, now) is None:
            return None
        return Refusal(SkipCause.BUDGET, Holdup.MEMORY, "what was held before the start is not known", until)

    def _leases(self, request: SessionCost) -> list[SlotLease]:
        """The user's leases; `find_refusal` has just dropped the expired ones."""
        return list(self._state.leases.get(request.user or "", {}).values())

    # --- Queries

    def held_slots(self, user: str, now: float) -> int:
        """Return the number of slots that the user may hold at the backend."""
        return len(self._state.active_leases(user, now))

    def slot_budget(self, request: SessionCost, now: float) -> int | None:
        """Return the slots per identity: the lower of configured and learned, less the reserve; None: unlimited.

        At least 1, so that a backend with a single slot is still probed.
        """
        learned = self.learned_slots(request.authority, now)
        slots = learned if not request.slots else request.slots if learned is None else min(request.slots, learned)
        return None if slots is None else max(1, slots - request.reserve)

    def learned_slots(self, authority: str, now: float) -> int | None:
        """Return the slots per user that the backend reported, for `LEARNED_LIMIT_SECONDS`; None: unknown."""
        limit = self._state.learned_slots.get(authority)
        return limit.slots if limit is not None and now < limit.at + LEARNED_LIMIT_SECONDS else None

    def is_resting(self, request: SessionCost, now: float) -> bool:
        """Whether the sessions of this identity send no token for now, because it rests or its key does."""
        return self.cooldown(request, now) is not None

    def cooldown(self, request: SessionCost, now: float) -> TokenCooldown | None:
        """Return why and until when the sessions of this identity send no token; None: they do.

        Of the identity's own cooldown and its key's, the longer one.
        """
        return self.identity_cooldown(request.user or "", self.token_cooldown(request, now), now)

    def identity_cooldown(self, user: str, tokens: TokenCooldown | None, now: float) -> TokenCooldown | None:
        """Return the user's own cooldown or its key's (`tokens`), the longer one."""
        own = self._state.user_cooldowns.get(user)
        if own is None or own.until <= now:
            return tokens
        longer = tokens is not None and (tokens.until is None or tokens.until > own.until)
        return tokens if longer else TokenCooldown(Holdup.IDENTITY, own.until)

    def token_cooldown(self, request: SessionCost, now: float) -> TokenCooldown | None:
        """Return why and until when no token of the request's key is sent after failed logins; None: it is sent."""
        if request.key is None:
            return None
        for refusal in (self._check_key(request, now), self._check_breakers(request, now)):
            if refusal is not None and refusal.holdup is not Holdup.VERDICT:
                key_breaker = self._key_breaker(request)
                rejected = key_breaker is not None and key_breaker.rejections > 0
                return TokenCooldown(refusal.holdup, refusal.until, rejected=rejected)
        return None

    def is_identity_resting(self, user: str | None, now: float) -> bool:
        """Whether the identity rests after a slot limit."""
        cooldown = self._state.user_cooldowns.get(user or "")
        return cooldown is not None and cooldown.until > now

    def endpoint_cooldown_until(self, cooldown_key: str, now: float) -> float | None:
        """Return when the endpoint may be connected to again, unix seconds; None: now."""
        cooldown = self._state.endpoint_cooldowns.get(cooldown_key)
        return cooldown.until if cooldown is not None and cooldown.until > now else None

    def refusal_outcome(self, refusal_id: str, now: float) -> RefusalOutcome | None:
        """Return what the backend decided last about this credential (`refusal_id`); None: unknown."""
        decided = self._state.refusals.get(refusal_id)
        return decided.outcome if decided is not None and now < decided.at + REFUSAL_RETENTION_SECONDS else None

    # --- Records

    def _record_grant(self, request: SessionCost, now: float) -> None:
        due = request.due
        at = due if due is not None and now - RATE_WINDOW_SECONDS < due <= now else now
        for load in request.host_loads:
            for _ in range(load.connects if load.rate is not None else 0):
                self._record("connect", at, host=load.host, extra=request.unscheduled)
        if request.forged:
            self._record("forged", now, authority=request.authority, **{"for": request.open_for})
        if request.user is not None or request.key is not None or request.counts_logins:
            opened = {**_session_fields(request), "for": request.open_for, **self._login_fields(request)}
            self._record("open", now, **opened)

    def _login_fields(self, request: SessionCost) -> dict[str, Any]:
        if not request.counts_logins:
            return {}
        key_breaker = self._key_breaker(request)
        kind = REJECTED_EVENT if request.sends_token else NO_TOKEN_EVENT
        accepted_last = key_breaker is not None and key_breaker.accepted_last
        return {"authority": request.authority, "login": kind, "sure": accepted_last}

    def release(
        self,
        request: SessionCost,
        now: float,
        *,
        slot_taken: bool = True,
        rejected: bool | None = None,
        outcome: str | None = None,
    ) -> None:
        """Record the end of a granted session.

        slot_taken: whether it may have taken a slot
        rejected: the backend's verdict on its token; None: no verdict
        outcome: what the breakers count (`LOGIN_EVENTS`); None: nothing
        """
        if request.forged:
            self._record("forged", now, authority=request.authority, **{"for": 0.0})
        if request.user is not None or request.key is not None or request.counts_logins:
            end = {"slot": slot_taken, "rejected": rejected, "retry": request.auth_retry}
            counted = {"authority": request.authority, "outcome": outcome} if request.counts_logins else {}
            self._record("close", now, **_session_fields(request), **end, **counted)

    def keep_open(self, request: SessionCost, now: float) -> None:
        """Record that a session is open, and for `HELD_LEASE_SECONDS` more: its process may die without a word."""
        if request.user is not None:
            self._record("open", now, **_session_fields(request), **{"for": HELD_LEASE_SECONDS})

    def start_user_cooldown(self, user: str, seconds: float, now: float) -> None:
        """Let an identity rest."""
        self._record("rest_user", now, user=user, **{"for": seconds})

    def start_endpoint_cooldown(self, cooldown_key: str, retry_after: float | None, now: float) -> None:
        """Let an endpoint rest for its Retry-After, an hour at most; 600 s if the header is absent or invalid."""
        if retry_after is None or not 0 <= retry_after < math.inf:
            retry_after = ENDPOINT_COOLDOWN_SECONDS
        self._record("rest_host", now, host=cooldown_key, **{"for": min(retry_after, MAX_ENDPOINT_COOLDOWN_SECONDS)})

    def record_slot_limit(self, authority: str, slots: int, now: float) -> None:
        """Record the slots per user that the backend reported; an impossible number is ignored."""
        if 1 <= slots <= MAX_SLOTS:
            self._record("learn", now, authority=authority, slots=slots)

    def record_refusal(self, refusal_id: str, outcome: RefusalOutcome, now: float) -> None:
        """Record what the backend decided about a credential that it must refuse."""
        self._record("refusal", now, id=refusal_id, outcome=outcome)

    def shift_times(self, seconds: float, now: float, by_whom: str) -> bool:
        """Move all times with a wall clock that stepped to `now`; False if another process than `by_whom` did it."""
        if self._state.last_clock_shift is not None:
            at, shifted_by, process = self._state.last_clock_shift
            recent = abs(now - at) < RATE_WINDOW_SECONDS
            if process != by_whom and recent and abs(shifted_by - seconds) < 1:
                return False
        self._record("shift", now, by=seconds, by_whom=by_whom)
        return True

    def _record(self, kind: str, now: float, **fields: Any) -> None:
        """Apply an event and queue it. It needs no validation, unlike an event from a file."""
        event = {"event": kind, "t": now, **fields}
        EFFECTS[kind](self._state, event)
        self.pending.append(event)

    # --- Exchange with other processes

    def apply(self, event: Mapping[str, Any]) -> bool:
        """Apply an event of another process; False if it is unknown or malformed, and ignored."""
        return apply_event(self._state, event)

    def take_pending(self) -> list[Event]:
        """Return the events recorded since the last call."""
        events, self.pending = self.pending, []
        return events

    def clear(self, since: float = -math.inf) -> None:
        """Forget everything but `pending`."""
        self._state = LedgerState(since)

    def mark_incomplete(self, now: float) -> None:
        """Note that events before now may be missing."""
        self._state.since = max(self._state.since, now)

    def cut_to(self, now: float) -> None:
        """Move every moment in the future to now: the clock went back since it was recorded."""
        self._state.map_times(lambda moment: min(moment, now))

    def prune(self, now: float) -> None:
        """Forget everything that no longer matters."""
        self._state.prune(now)

    def prune_in_steps(self, now: float) -> Iterator[None]:
        """As `prune`; between the steps the ledger may be used and changed."""
        return self._state.prune_in_steps(now)

    def snapshot(self, now: float) -> list[Event]:
        """Return events that make an empty ledger equal to this one."""
        return snapshot(self._state, now)


def _reserved(request: SessionCost, unscheduled: list[bool], needed: int) -> int:
    """Return the slots or connects that an unscheduled session must leave free: for its like, and for the schedule.

    `unscheduled`: one entry for each session that is counted now. A check reserves nothing if no schedule runs in its
    process and the ledger has seen no scheduled session: then none runs on this machine. In the process of a schedule
    it always reserves: otherwise a probe with every scrape could keep the first scheduled session out for ever.
    """
    no_schedule = request.trigger is Trigger.CHECK and not request.shares_process_with_schedule and all(unscheduled)
    if not request.unscheduled or no_schedule:
        return 0
    return sum(unscheduled) + needed


def _session_fields(request: SessionCost) -> Event:
    return {
        "run": request.run,
        "user": request.user,
        "key": request.breaker_id or None,
        "release": request.slot_release,
        "extra": request.unscheduled,
    }
