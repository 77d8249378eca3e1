"""The held connection of a target: what is wrong with it, for its line, and all that it shows, for its card."""

from collections.abc import Iterator
from typing import Final

from exporter.report.held_line import LEVEL_TEXTS, cadence_text, cut_texts, end_text, find_trouble
from exporter.result import HeldConnection, LineLevel, RoundTrip
from exporter.web.page.markup import Child, Markup, element, joined
from exporter.web.page.timefmt import age_element, duration_text, since_and_age, time_and_age

TRIP_NAMES: Final = {LineLevel.PROTOCOL: "ping", LineLevel.APPLICATION: "request"}


def held_trouble(held: HeldConnection | None, now: float) -> Markup | None:
    """`held connection deaf since 03:12 UTC, 14 min`; None while nothing is wrong."""
    trouble = None if held is None else find_trouble(held)
    return trouble and joined([f"held connection {trouble.word} ", since_and_age(trouble.since, now)])


def held_connection(held: HeldConnection, now: float) -> Markup:
    """State, round trips, heartbeats, the last end, and what is known of the path."""
    rows = [(element("dt", name), element("dd", text, class_=tone)) for name, tone, text in _rows(held, now)]
    return element("dl", rows, class_="evidence")


_Row = tuple[str, str | None, Child]
"""Name, class and text."""


def _rows(held: HeldConnection, now: float) -> Iterator[_Row]:
    trouble = find_trouble(held)
    if trouble is not None:
        yield "state", "wrong", [f"{trouble.word} ", since_and_age(trouble.since, now), f": {trouble.why}"]
    if held.opened_at is not None:
        yield "open", None, since_and_age(held.opened_at, now)
    elif trouble is None:
        yield "open", None, "not now" if held.last_end else "not yet"
    if held.quiet:
        yield "quiet", None, "sends no ping and no request: a path that cuts idle ones shows it"
    trips = ((name, held.round_trips.get(level)) for level, name in TRIP_NAMES.items())
    yield from ((name, None, _round_trip(trip, now)) for name, trip in trips if trip is not None)
    yield from _heartbeats(held, now)
    end = held.last_end
    if end is not None:
        expected = "expected" if end.expected else "not expected"
        yield "last end", None, [time_and_age(end.ended_at, now), f": {end_text(end)}; {expected}"]
    cuts = ", ".join(cut_texts(held))
    if cuts:
        yield "path", None, cuts


def _round_trip(trip: RoundTrip, now: float) -> list[Child]:
    figures = f"{duration_text(trip.last)}, {duration_text(trip.slowest)} at most, the last one "
    return [figures, age_element(trip.last_at, now), " ago"]


def _heartbeats(held: HeldConnection, now: float) -> Iterator[_Row]:
    if not held.heartbeats and held.opened_at is not None:
        yield "heartbeats", None, "none yet, and none announced"
    for level, heartbeats in held.heartbeats.items():
        last: list[Child] = [", none yet"]
        if heartbeats.last_at is not None:
            last = [", the last one ", age_element(heartbeats.last_at, now), " ago"]
        tone = "wrong" if heartbeats.lost else None
        yield "heartbeats", tone, [f"{LEVEL_TEXTS[level]} {cadence_text(heartbeats)}", *last]
