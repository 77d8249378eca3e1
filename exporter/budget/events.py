"""Events in and out of the book: their shapes, what each does, and a snapshot that makes an equal book.

Rule 1: what is not well formed is ignored, whole: a state file is written by other versions and by crashes.
Rule 2: an event that comes twice does no more than once (a connect counts twice: that errs on the safe side).
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from exporter.budget.ledger_state import ConnectEvent, LearnedSlotLimit, LedgerState, SlotLease
from exporter.budget.login_streak import LOGIN_EVENTS, NO_TOKEN_EVENT, REJECTED_EVENT, FailedLogin, PendingLogin
from exporter.budget.time_span import TimeSpan

Event = dict[str, Any]
MAX_SECONDS: Final = 1e11
"""Seconds; no moment and no span of ours comes near it."""
MAX_NAME_LENGTH: Final = 1000
"""Characters of a name."""
Fields = Mapping[str, Any]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -MAX_SECONDS < value < MAX_SECONDS


def _length(value: Any) -> bool:
    return _number(value) and value >= 0


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_LENGTH


def _text_or_none(value: Any) -> bool:
    return value is None or _text(value)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _flag_or_none(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6


def _kind(value: Any) -> bool:
    return value in (REJECTED_EVENT, NO_TOKEN_EVENT)


def _outcome(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value in LOGIN_EVENTS)


def _slots(value: Any) -> bool:
    return _count(value) and value >= 1


_SESSION: Final = {"run": _text, "user": _text_or_none, "key": _text_or_none, "release": _length, "extra": _flag}
EVENT_FIELDS: Final[Mapping[str, Mapping[str, Callable[[Any], bool]]]] = {
    "since": {},
    "open": {**_SESSION, "for": _length},
    "close": {**_SESSION, "slot": _flag, "rejected": _flag_or_none, "retry": _length},
    "connect": {"host": _text, "extra": _flag},
    "rest_user": {"user": _text, "for": _length},
    "rest_host": {"host": _text, "for": _length},
    "learn": {"authority": _text, "slots": _slots},
    "key": {"key": _text, "rejected": _count, "proven": _flag, "for": _length},
    "shift": {"by": _number, "by_whom": _text},
    "counted": {"authority": _text, "login": _kind},
    "reset": {"authority": _text},
}
"""Every kind of event and what its fields must be; each has its moment `t` besides."""
OPTIONAL_EVENT_FIELDS: Final[Mapping[str, Mapping[str, Callable[[Any], bool]]]] = {
    "open": {"authority": _text, "login": _kind, "sure": _flag},
    "close": {"authority": _text, "outcome": _outcome},
    "key": {"judged": _number, "good": _flag},
}
"""Fields that an event may have besides, the first of which brings the others; older versions wrote none."""


def fold(book: LedgerState, event: Fields) -> bool:
    """Write one event into the book; False if it is none we know or not well formed, and so ignored."""
    kind = event.get("event")
    shape = EVENT_FIELDS.get(kind) if isinstance(kind, str) else None
    if shape is None or not _number(event.get("t")):
        return False
    if not all(name in event and fits(event[name]) for name, fits in shape.items()):
        return False
    more = OPTIONAL_EVENT_FIELDS.get(str(kind), {})
    if next(iter(more), None) in event and not all(name in event and fits(event[name]) for name, fits in more.items()):
        return False
    EFFECTS[str(kind)](book, event)
    return True


def _since(book: LedgerState, event: Fields) -> None:
    book.since = max(book.since, event["t"])


def _open(book: LedgerState, event: Fields) -> None:
    run, user = event["run"], event["user"]
    if user is not None:
        hold = SlotLease(run, user, event["extra"], event["release"], TimeSpan(event["t"], event["for"]))
        book.holds.setdefault(user, {})[run] = hold
    if event["key"] is not None:
        book.guard(event["key"], event["t"]).flights[run] = TimeSpan(event["t"], event["for"])
    if "authority" in event:
        attempt = PendingLogin(event["login"], TimeSpan(event["t"], event["for"]), event["sure"])
        book.streak(event["authority"]).begin(run, attempt)


def _close(book: LedgerState, event: Fields) -> None:
    run, user, now = event["run"], event["user"], event["t"]
    if user is not None and event["slot"]:
        # Stated whole: the session may have outlived its expiry, or be known to another process only.
        hold = SlotLease(run, user, event["extra"], event["release"], TimeSpan(now), closed=now)
        book.holds.setdefault(user, {})[run] = hold
    elif user is not None:
        book.holds.get(user, {}).pop(run, None)
    if event["key"] is not None:
        guard = book.guard(event["key"], now)
        guard.flights.pop(run, None)
        if event["rejected"] is not None:
            guard.judge(rejected=event["rejected"], now=now, retry=event["retry"])
    if "authority" in event:
        book.streak(event["authority"]).end(run, event["outcome"], now)


def _connect(book: LedgerState, event: Fields) -> None:
    book.connects.setdefault(event["host"], deque()).append(ConnectEvent(event["t"], event["extra"]))


def _rest_user(book: LedgerState, event: Fields) -> None:
    _rest(book.resting_users, event["user"], event)


def _rest_host(book: LedgerState, event: Fields) -> None:
    _rest(book.resting_hosts, event["host"], event)


def _rest(resting: dict[str, TimeSpan], name: str, event: Fields) -> None:
    resting[name] = max(resting.get(name, TimeSpan()), TimeSpan(event["t"], event["for"]), key=lambda span: span.until)


def _learn(book: LedgerState, event: Fields) -> None:
    book.learned[event["authority"]] = LearnedSlotLimit(event["slots"], event["t"])


def _key(book: LedgerState, event: Fields) -> None:
    guard = book.guard(event["key"], event["t"])
    guard.rejected, guard.proven = event["rejected"], event["proven"]
    guard.rest = TimeSpan(event["t"], event["for"]) if event["for"] else TimeSpan()
    guard.judged, guard.good = event.get("judged", event["t"]), event.get("good", event["proven"])


def _counted(book: LedgerState, event: Fields) -> None:
    book.streak(event["authority"]).count(FailedLogin(event["login"], event["t"]))


def _reset(book: LedgerState, event: Fields) -> None:
    book.streak(event["authority"]).reset_at(event["t"])


def _shift(book: LedgerState, event: Fields) -> None:
    by = event["by"]
    book.move(lambda moment: moment + by)
    book.shifted = (event["t"], by, event["by_whom"])


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
}
"""What each kind of event does; its keys are those of `EVENT_FIELDS`."""


def snapshot(book: LedgerState, now: float) -> list[Event]:
    """Events that make an empty book equal to this one, as far as it still matters."""
    book.prune(now)
    return [*_rests(book), *_keys(book, now), *_sessions(book), *_streaks(book)]


def _rests(book: LedgerState) -> Iterator[Event]:
    if math.isfinite(book.since):
        yield {"event": "since", "t": book.since}
    for user, rest in book.resting_users.items():
        yield {"event": "rest_user", "t": rest.start, "user": user, "for": rest.length}
    for host, rest in book.resting_hosts.items():
        yield {"event": "rest_host", "t": rest.start, "host": host, "for": rest.length}
    for authority, one in book.learned.items():
        yield {"event": "learn", "t": one.at, "authority": authority, "slots": one.slots}


def _keys(book: LedgerState, now: float) -> Iterator[Event]:
    for key, guard in book.guards.items():
        rests = guard.rest.until > now
        start, length = (guard.rest.start, guard.rest.length) if rests else (guard.seen, 0.0)
        standing = {"rejected": guard.rejected, "proven": guard.proven, "for": length}
        if math.isfinite(guard.judged):
            standing |= {"judged": guard.judged, "good": guard.good}
        yield {"event": "key", "t": start, "key": key, **standing}
        for run, flight in guard.flights.items():
            yield _opening(flight, {"run": run, "user": None, "key": key, "release": 0.0, "extra": False})


def _sessions(book: LedgerState) -> Iterator[Event]:
    for host, connects in book.connects.items():
        for one in connects:
            yield {"event": "connect", "t": one.at, "host": host, "extra": one.extra}
    for hold in book.every_hold():
        session = {"run": hold.run, "user": hold.user, "key": None, "release": hold.release, "extra": hold.extra}
        if hold.closed is None:
            yield _opening(hold.opened, session)
        else:
            yield {"event": "close", "t": hold.closed, **session, "slot": True, "rejected": None, "retry": 0.0}


def _streaks(book: LedgerState) -> Iterator[Event]:
    for authority, streak in book.streaks.items():
        if math.isfinite(streak.reset):
            yield {"event": "reset", "t": streak.reset, "authority": authority}
        for one in streak.counted:
            yield {"event": "counted", "t": one.at, "authority": authority, "login": one.kind}
        for run, attempt in streak.attempts.items():
            session = {"run": run, "user": None, "key": None, "release": 0.0, "extra": False}
            counts = {"authority": authority, "login": attempt.kind, "sure": attempt.sure}
            yield _opening(attempt.span, session | counts)


def _opening(opened: TimeSpan, session: Event) -> Event:
    return {"event": "open", "t": opened.start, "for": opened.length, **session}
