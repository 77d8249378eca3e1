"""The events of the ledger: their fields, their effects, and a snapshot of a state as events.

Rule 1: a malformed event is ignored as a whole: other versions and crashes write state files too.
Rule 2: an event that is applied twice has the effect of one (a connect counts twice, which errs on the safe side).
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from exporter.budget.ledger_state import ConnectEvent, DecidedRefusal, LearnedSlotLimit, LedgerState, SlotLease
from exporter.budget.login_streak import LOGIN_EVENTS, NO_TOKEN_EVENT, REJECTED_EVENT, FailedLogin, PendingLogin
from exporter.budget.time_span import TimeSpan
from exporter.result import RefusalOutcome

Event = dict[str, Any]
MAX_SECONDS: Final = 1e11
"""An upper bound of all moments and lengths."""
MAX_NAME_LENGTH: Final = 1000
"""Characters of a name."""
Fields = Mapping[str, Any]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -MAX_SECONDS < value < MAX_SECONDS


def _is_length(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_LENGTH


def _is_text_or_none(value: Any) -> bool:
    return value is None or _is_text(value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_flag_or_none(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6


def _is_login_kind(value: Any) -> bool:
    return value in (REJECTED_EVENT, NO_TOKEN_EVENT)


def _is_outcome(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value in LOGIN_EVENTS)


def _is_decision(value: Any) -> bool:
    return isinstance(value, str) and value in tuple(RefusalOutcome) and RefusalOutcome(value).is_decided


def _is_slots(value: Any) -> bool:
    return _is_count(value) and value >= 1


_SESSION_FIELDS: Final = {
    "run": _is_text,
    "user": _is_text_or_none,
    "key": _is_text_or_none,
    "release": _is_length,
    "extra": _is_flag,
}
EVENT_FIELDS: Final[Mapping[str, Mapping[str, Callable[[Any], bool]]]] = {
    "since": {},
    "open": {**_SESSION_FIELDS, "for": _is_length},
    "close": {**_SESSION_FIELDS, "slot": _is_flag, "rejected": _is_flag_or_none, "retry": _is_length},
    "connect": {"host": _is_text, "extra": _is_flag},
    "rest_user": {"user": _is_text, "for": _is_length},
    "rest_host": {"host": _is_text, "for": _is_length},
    "learn": {"authority": _is_text, "slots": _is_slots},
    "key": {"key": _is_text, "rejected": _is_count, "proven": _is_flag, "for": _is_length},
    "shift": {"by": _is_number, "by_whom": _is_text},
    "counted": {"authority": _is_text, "login": _is_login_kind},
    "reset": {"authority": _is_text},
    "proven": {"authority": _is_text},
    "forged": {"authority": _is_text, "for": _is_length},
    "refusal": {"id": _is_text, "outcome": _is_decision},
}
"""Kind of event → its fields and their checks; each event also has its moment `t`."""
OPTIONAL_EVENT_FIELDS: Final[Mapping[str, Mapping[str, Callable[[Any], bool]]]] = {
    "open": {"authority": _is_text, "login": _is_login_kind, "sure": _is_flag},
    "close": {"authority": _is_text, "outcome": _is_outcome},
    "key": {"judged": _is_number, "good": _is_flag},
}
"""Kind of event → fields that are absent in events of older versions; if the first is present, all must be."""


def apply_event(state: LedgerState, event: Fields) -> bool:
    """Apply one event; False if it is unknown or malformed, and ignored."""
    kind = event.get("event")
    shape = EVENT_FIELDS.get(kind) if isinstance(kind, str) else None
    if shape is None or not _is_number(event.get("t")):
        return False
    if not all(name in event and is_valid(event[name]) for name, is_valid in shape.items()):
        return False
    optional = OPTIONAL_EVENT_FIELDS.get(str(kind), {})
    if next(iter(optional), None) in event and not all(
        name in event and is_valid(event[name]) for name, is_valid in optional.items()
    ):
        return False
    EFFECTS[str(kind)](state, event)
    return True


def _since(state: LedgerState, event: Fields) -> None:
    state.since = max(state.since, event["t"])


def _open(state: LedgerState, event: Fields) -> None:
    run, user = event["run"], event["user"]
    if user is not None:
        lease = SlotLease(run, user, event["extra"], event["release"], TimeSpan(event["t"], event["for"]))
        state.leases.setdefault(user, {})[run] = lease
    if event["key"] is not None:
        state.use_key(event["key"], event["t"]).pending_tokens[run] = TimeSpan(event["t"], event["for"])
    if "authority" in event:
        login = PendingLogin(event["login"], TimeSpan(event["t"], event["for"]), event["sure"])
        state.login_streak(event["authority"]).begin_login(run, login)


def _close(state: LedgerState, event: Fields) -> None:
    run, user, now = event["run"], event["user"], event["t"]
    if user is not None and event["slot"]:
        # A complete lease: the session may have outlived its expiry, or only another process may know it.
        lease = SlotLease(run, user, event["extra"], event["release"], TimeSpan(now), closed_at=now)
        state.leases.setdefault(user, {})[run] = lease
    elif user is not None:
        state.leases.get(user, {}).pop(run, None)
    if event["key"] is not None:
        key_breaker = state.use_key(event["key"], now)
        span = key_breaker.pending_tokens.pop(run, TimeSpan(now, 0.0))
        if event["rejected"] is not None:
            rejected, retry = event["rejected"], event["retry"]
            key_breaker.record_verdict(rejected=rejected, sent=span.start, now=now, retry=retry)
    if "authority" in event:
        state.login_streak(event["authority"]).end_login(run, event["outcome"], now)


def _connect(state: LedgerState, event: Fields) -> None:
    state.connects.setdefault(event["host"], deque()).append(ConnectEvent(event["t"], event["extra"]))


def _rest_user(state: LedgerState, event: Fields) -> None:
    _extend_cooldown(state.user_cooldowns, event["user"], event)


def _rest_host(state: LedgerState, event: Fields) -> None:
    _extend_cooldown(state.endpoint_cooldowns, event["host"], event)


def _extend_cooldown(cooldowns: dict[str, TimeSpan], name: str, event: Fields) -> None:
    new = TimeSpan(event["t"], event["for"])
    cooldowns[name] = max(cooldowns.get(name, TimeSpan()), new, key=lambda span: span.until)


def _learn(state: LedgerState, event: Fields) -> None:
    state.learned_slots[event["authority"]] = LearnedSlotLimit(event["slots"], event["t"])


def _key(state: LedgerState, event: Fields) -> None:
    key_breaker = state.use_key(event["key"], event["t"])
    key_breaker.rejections, key_breaker.accepted_last = event["rejected"], event["proven"]
    key_breaker.cooldown = TimeSpan(event["t"], event["for"]) if event["for"] else TimeSpan()
    key_breaker.judged_at = event.get("judged", event["t"])
    key_breaker.accepted_before = event.get("good", event["proven"])


def _counted(state: LedgerState, event: Fields) -> None:
    state.login_streak(event["authority"]).add_failure(FailedLogin(event["login"], event["t"]))


def _reset(state: LedgerState, event: Fields) -> None:
    state.login_streak(event["authority"]).reset(event["t"])


def _proven(state: LedgerState, event: Fields) -> None:
    streak = state.login_streak(event["authority"])
    streak.proven_at = max(streak.proven_at, event["t"])


def _forged(state: LedgerState, event: Fields) -> None:
    state.login_streak(event["authority"]).forged_span = TimeSpan(event["t"], event["for"])


def _refusal(state: LedgerState, event: Fields) -> None:
    state.refusals[event["id"]] = DecidedRefusal(RefusalOutcome(event["outcome"]), event["t"])


def _shift(state: LedgerState, event: Fields) -> None:
    seconds = event["by"]
    state.map_times(lambda moment: moment + seconds)
    state.last_clock_shift = (event["t"], seconds, event["by_whom"])


EFFECTS: Final[Mapping[str, Callable[[LedgerState, Fields], None]]] = {
    "since": _since,
    "open": _open,
    "close": _close,
    "connect": _connect,
    "rest_user": _rest_user,
    "rest_host": _rest_host,
    "learn": _learn,
    "key": _key,
    "shift": _shift,
    "counted": _counted,
    "reset": _reset,
    "proven": _proven,
    "forged": _forged,
    "refusal": _refusal,
}
"""Kind of event → its effect; the keys are those of `EVENT_FIELDS`."""


def snapshot(state: LedgerState, now: float) -> list[Event]:
    """Return events that make an empty state equal to this one, without what no longer matters."""
    state.prune(now)
    return [*_cooldown_events(state), *_key_events(state, now), *_session_events(state), *_streak_events(state)]


def _cooldown_events(state: LedgerState) -> Iterator[Event]:
    if math.isfinite(state.since):
        yield {"event": "since", "t": state.since}
    for user, cooldown in state.user_cooldowns.items():
        yield {"event": "rest_user", "t": cooldown.start, "user": user, "for": cooldown.length}
    for host, cooldown in state.endpoint_cooldowns.items():
        yield {"event": "rest_host", "t": cooldown.start, "host": host, "for": cooldown.length}
    for authority, limit in state.learned_slots.items():
        yield {"event": "learn", "t": limit.at, "authority": authority, "slots": limit.slots}
    for name, refusal in state.refusals.items():
        yield {"event": "refusal", "t": refusal.at, "id": name, "outcome": refusal.outcome}


def _key_events(state: LedgerState, now: float) -> Iterator[Event]:
    for breaker_id, key_breaker in state.key_breakers.items():
        cooldown = key_breaker.cooldown
        start, length = (cooldown.start, cooldown.length) if cooldown.until > now else (key_breaker.last_used_at, 0.0)
        fields = {"rejected": key_breaker.rejections, "proven": key_breaker.accepted_last, "for": length}
        if math.isfinite(key_breaker.judged_at):
            fields |= {"judged": key_breaker.judged_at, "good": key_breaker.accepted_before}
        yield {"event": "key", "t": start, "key": breaker_id, **fields}
        for run, span in key_breaker.pending_tokens.items():
            session = {"run": run, "user": None, "key": breaker_id, "release": 0.0, "extra": False}
            yield _open_event(span, session)


def _session_events(state: LedgerState) -> Iterator[Event]:
    for host, connects in state.connects.items():
        for connect in connects:
            yield {"event": "connect", "t": connect.at, "host": host, "extra": connect.unscheduled}
    for lease in state.all_leases():
        session: Event = {"run": lease.run, "user": lease.user, "key": None}
        session |= {"release": lease.release, "extra": lease.unscheduled}
        if lease.closed_at is None:
            yield _open_event(lease.open_span, session)
        else:
            yield {"event": "close", "t": lease.closed_at, **session, "slot": True, "rejected": None, "retry": 0.0}


def _streak_events(state: LedgerState) -> Iterator[Event]:
    for authority, streak in state.login_streaks.items():
        if math.isfinite(streak.reset_at):
            yield {"event": "reset", "t": streak.reset_at, "authority": authority}
        if math.isfinite(streak.proven_at):
            yield {"event": "proven", "t": streak.proven_at, "authority": authority}
        if math.isfinite(streak.forged_span.start):
            span = streak.forged_span
            yield {"event": "forged", "t": span.start, "authority": authority, "for": span.length}
        for failure in streak.failures:
            yield {"event": "counted", "t": failure.at, "authority": authority, "login": failure.kind}
        for run, login in streak.pending.items():
            session = {"run": run, "user": None, "key": None, "release": 0.0, "extra": False}
            login_fields = {"authority": authority, "login": login.kind, "sure": login.key_accepted}
            yield _open_event(login.span, session | login_fields)


def _open_event(span: TimeSpan, session: Event) -> Event:
    return {"event": "open", "t": span.start, "for": span.length, **session}
