"""Times and ages: every time in UTC and with its age, for people and for machines."""

from typing import Final

from exporter.report.formatting import DAY_SECONDS, HOUR_SECONDS, MINUTE_SECONDS, iso, span
from exporter.web.page.markup import Markup, element, joined

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def duration_text(seconds: float) -> str:
    """The duration of a phase or probe: `0.4 ms`, `231 ms`, `1.25 s`."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.00995 else f"{seconds * 1000:.1f} ms"  # noqa: PLR2004


AGE_STEPS: Final = ((MINUTE_SECONDS, 1), (10 * HOUR_SECONDS, MINUTE_SECONDS), (2 * DAY_SECONDS, HOUR_SECONDS))
"""`(limit, step)` pairs: an age below `limit` seconds is rounded down to a multiple of `step`."""


def age_text(seconds: float) -> str:
    """`45 s`, `14 min`, `3 h 5 min`, `25 h`, `41 days`. The script formats ages in the same way."""
    whole = max(round(seconds), 0)
    step = next((step for limit, step in AGE_STEPS if whole < limit), DAY_SECONDS)
    return span(whole // step * step)


def age_element(at: float, now: float) -> Markup:
    """The age of a moment; the script updates it."""
    return element("span", age_text(now - at), class_="age", data_at=f"{at:.0f}")


def time_element(at: float, now: float, *, seconds: bool = True) -> Markup:
    """`03:12:05 UTC`, with the day unless it is today."""
    stamp = iso(at)
    if stamp is None:
        return element("span", "beyond the calendar")
    day = "" if at // DAY_SECONDS == now // DAY_SECONDS else f"{int(stamp[8:10])} {MONTHS[int(stamp[5:7]) - 1]} "
    time = stamp[11:19] if seconds else stamp[11:16]
    return element("time", f"{day}{time} UTC", datetime=f"{stamp[:19]}Z")


def time_and_age(at: float, now: float, *, seconds: bool = True) -> Markup:
    """`03:12:05 UTC (14 min ago)`."""
    return joined([time_element(at, now, seconds=seconds), " (", age_element(at, now), " ago)"])


def since_and_age(at: float, now: float) -> Markup:
    """`since 03:12 UTC, 14 min`."""
    return joined(["since ", time_element(at, now, seconds=False), ", ", age_element(at, now)])
