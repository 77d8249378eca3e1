"""Formats enum values, figures and times: every format uses these texts."""

from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Final

from exporter.result import Close, FactoryReason, Holdup, Initiator, Phase, Reason, Result

INITIATOR_TEXTS: Final[Mapping[Initiator, str]] = {
    Initiator.REMOTE: "by the server",
    Initiator.LOCAL: "by us",
    Initiator.NONE: "without a close frame",
}

CLOSE_CODE_TEXTS: Final[Mapping[int, str]] = {
    1000: "normal closure",
    1001: "going away",
    1002: "protocol error",
    1003: "unsupported data",
    1005: "no code",
    1006: "connection lost",
    1007: "invalid text",
    1008: "policy violation",
    1009: "message too big",
    1010: "extension missing",
    1011: "internal error",
    1012: "service restart",
    1013: "try again later",
    1014: "bad gateway",
}
"""Close codes (RFC 6455 section 7.4.1 and the registry)."""

HOLDUPS: Final[Mapping[Holdup, str]] = {
    Holdup.ENDPOINT: "the endpoint limits the rate of our connects",
    Holdup.RATE: "max_connects_per_minute of the host is reached",
    Holdup.REJECTED: "its key rests after rejected tokens",
    Holdup.BREAKER_TOKEN: "one failed login more may open a circuit breaker of the backend",
    Holdup.BREAKER_CONNECT: "one connect more without a token may open a circuit breaker of the backend",
    Holdup.VERDICT: "the verdict on another token of this key is waited for",
    Holdup.IDENTITY: "the identity rests after a slot limit",
    Holdup.BUSY: "the identity has a connection open",
    Holdup.SLOTS: "no slot is left",
    Holdup.FORGERY: "a token that must be refused waits until a good one has been let in",
    Holdup.MEMORY: "what was held before the start is not known yet",
}

MINUTE_SECONDS: Final = 60
HOUR_SECONDS: Final = 3_600
DAY_SECONDS: Final = 86_400


def code(number: int) -> str:
    """`1011 (internal error)`; a code that is not registered has no name."""
    return f"{number} ({CLOSE_CODE_TEXTS[number]})" if number in CLOSE_CODE_TEXTS else str(number)


def closed(close: Close) -> str:
    """`1011 (internal error) by the server, in admission`."""
    phase = "" if close.phase is Phase.CLOSE else f", in {close.phase}"
    return f"{code(close.code)} {INITIATOR_TEXTS[close.initiator]}{phase}"


def cause(result: Result) -> str:
    """`admission: factory (slot_limit)`; "" for a session that did not fail."""
    return "" if result.reason is None else because(result.phase, result.reason, result.factory_reason)


def because(phase: Phase | None, reason: Reason, factory: FactoryReason | None) -> str:
    """`admission: factory (slot_limit)`."""
    return f"{phase}: {reason_text(reason, factory)}"


def reason_text(reason: Reason, factory: FactoryReason | None) -> str:
    """`factory (slot_limit)`."""
    return f"{reason} ({factory})" if factory else str(reason)


def seconds(figure: float | None) -> str:
    """`0.610 s`; `-` for None, which was not measured."""
    return "-" if figure is None else f"{figure:.3f} s"


def span(figure: float) -> str:
    """A duration: `45 s`, `2 min 20 s`, `3 h 5 min`, `41 days`."""
    rounded = round(max(figure, 0.0)) if isfinite(figure) else 0
    if rounded < MINUTE_SECONDS:
        return f"{rounded} s"
    if rounded < HOUR_SECONDS:
        return _two_units(rounded // MINUTE_SECONDS, "min", rounded % MINUTE_SECONDS, "s")
    if rounded < 2 * DAY_SECONDS:
        return _two_units(rounded // HOUR_SECONDS, "h", rounded % HOUR_SECONDS // MINUTE_SECONDS, "min")
    return f"{rounded // DAY_SECONDS:,} days"


def _two_units(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"


def count(number: int, noun: str) -> str:
    """`1 run`, `30 runs`, `4 statuses`, `2 identities`: the last word of the noun becomes plural."""
    return f"{number} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """The plural of a regular English noun."""
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "z", "ch", "sh")) else f"{noun}s"


def counts(numbers: Mapping[str, int]) -> str:
    """`binary: 2, ping: 1`: for kinds of frames, which are names and no nouns."""
    return ", ".join(f"{kind}: {number}" for kind, number in numbers.items())


def iso(unix: float | None) -> str | None:
    """`2025-09-08T23:01:40.300000Z`; None for a time outside of the calendar, which a server may send."""
    try:
        moment = None if unix is None else datetime.fromtimestamp(unix, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return None if moment is None else moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def moment(unix: float | None) -> str:
    """`2025-09-08 23:01:40 UTC`."""
    text = iso(unix)
    return "beyond the calendar" if text is None else f"{text[:10]} {text[11:19]} UTC"


def expiry(unix: float, now: float) -> str:
    """A certificate's end, seen from now: `expires in 41 days (2025-10-20)`."""
    day = (iso(unix) or "beyond the calendar")[:10]
    return f"expires in {span(unix - now)} ({day})" if unix > now else f"EXPIRED {span(now - unix)} ago ({day})"


def held_up(holdup: Holdup, until: float | None) -> str:
    """`the identity rests after a slot limit, until 2025-09-08 23:01:40 UTC`."""
    return HOLDUPS[holdup] + ("" if until is None else f", until {moment(until)}")
