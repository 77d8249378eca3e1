"""Closed lists and figures in words: what every format says alike."""

from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Final

from exporter.result import Close, FactoryReason, Initiator, Phase, Reason, Result

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

MINUTE_SECONDS: Final = 60
HOUR_SECONDS: Final = 3_600
DAY_SECONDS: Final = 86_400


def code(number: int) -> str:
    """`1011 (internal error)`; a number that is not registered stands alone."""
    return f"{number} ({CLOSE_CODE_TEXTS[number]})" if number in CLOSE_CODE_TEXTS else str(number)


def closed(close: Close) -> str:
    """`1011 (internal error) by the server, in admission`."""
    where = "" if close.phase is Phase.CLOSE else f", in {close.phase}"
    return f"{code(close.code)} {INITIATOR_TEXTS[close.initiator]}{where}"


def cause(result: Result) -> str:
    """`admission: factory (slot_limit)`; "" for a session that did not fail."""
    return "" if result.reason is None else because(result.phase, result.reason, result.factory_reason)


def because(phase: Phase | None, reason: Reason, factory: FactoryReason | None) -> str:
    """`admission: factory (slot_limit)`."""
    return f"{phase}: {reason}{f' ({factory})' if factory else ''}"


def seconds(figure: float | None) -> str:
    """`0.610 s`; `-` for what was not measured."""
    return "-" if figure is None else f"{figure:.3f} s"


def span(figure: float) -> str:
    """A stretch of time as people say it: `45 s`, `2 min 20 s`, `3 h 5 min`, `41 days`."""
    whole = round(max(figure, 0.0)) if isfinite(figure) else 0
    if whole < MINUTE_SECONDS:
        return f"{whole} s"
    if whole < HOUR_SECONDS:
        return _two(whole // MINUTE_SECONDS, "min", whole % MINUTE_SECONDS, "s")
    if whole < 2 * DAY_SECONDS:
        return _two(whole // HOUR_SECONDS, "h", whole % HOUR_SECONDS // MINUTE_SECONDS, "min")
    return f"{whole // DAY_SECONDS:,} days"


def _two(great: int, unit: str, small: int, part: str) -> str:
    return f"{great} {unit} {small} {part}" if small else f"{great} {unit}"


def count(number: int, noun: str) -> str:
    """`1 run`, `30 runs`, `4 statuses`, `2 identities`: the last word of the noun becomes plural."""
    return f"{number} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """The plural of a regular English noun."""
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "z", "ch", "sh")) else f"{noun}s"


def counts(numbers: Mapping[str, int]) -> str:
    """`binary: 2, ping: 1`: for kinds, which are names of a profile and no nouns."""
    return ", ".join(f"{kind}: {number}" for kind, number in numbers.items())


def iso(unix: float | None) -> str | None:
    """`2025-09-08T23:01:40.300000Z`; None for a moment that no calendar has (a stranger's clock may say anything)."""
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
