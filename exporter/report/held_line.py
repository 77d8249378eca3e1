"""What a held connection shows, as texts: what is wrong with it, how one ended, how its heartbeats come."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from exporter.report.formatting import INITIATOR_TEXTS, MINUTE_SECONDS, because, moment, span
from exporter.result import ConnectionEnd, FailedOpening, Heartbeats, HeldConnection, LineLevel

LEVEL_TEXTS: Final[Mapping[LineLevel, str]] = {LineLevel.APPLICATION: "messages", LineLevel.PROTOCOL: "pings"}
"""What the server's heartbeats of each level are."""


class Trouble(NamedTuple):
    """What is wrong with a held connection, in a word, since when (unix seconds), and what shows it."""

    word: str
    since: float
    why: str


def end_text(end: ConnectionEnd) -> str:
    """`restart, 1001 by the server, after 35 min`; `lost, without a close frame, after 10 min`."""
    by = INITIATOR_TEXTS[end.closed_by]
    frame = by if end.close_code is None else f"{end.close_code} {by}"
    return f"{end.how}, {frame}, after {span(end.age)}"


def opening_text(failed: FailedOpening) -> str:
    """`the last opening failed in tcp: refused`."""
    if failed.reason is None:
        return "the last opening proved nothing"
    return f"the last opening failed in {because(failed.phase, failed.reason, failed.factory_reason)}"


def interval_text(interval: float) -> str:
    """`25 s`, `0.05 s`, `2 min 20 s`."""
    return span(interval) if interval >= MINUTE_SECONDS else f"{interval:.3g} s"


def cadence_text(heartbeats: Heartbeats) -> str:
    """`every 25 s, as the server says`; `every 20 s, as they came`."""
    if heartbeats.interval is None:
        return "at no known interval"
    source = "as the server says" if heartbeats.announced else "as they came"
    return f"every {interval_text(heartbeats.interval)}, {source}"


def cut_texts(held: HeldConnection) -> Iterator[str]:
    """Each thing that is known of how the path treats connections."""
    if held.idle_cut is not None:
        yield f"cuts idle ones after {span(held.idle_cut)}" if held.idle_cut else "cuts no idle ones"
    if held.age_cut is not None:
        yield f"cuts all after {span(held.age_cut)}" if held.age_cut else "cuts none for its age"


def find_trouble(held: HeldConnection) -> Trouble | None:
    """What is wrong with the connection, the gravest first; None: nothing is."""
    return next((trouble for find in _TROUBLES if (trouble := find(held)) is not None), None)


def held_sentence(held: HeldConnection, now: float) -> str:
    """The connection in a line: `deaf since 2025-09-08 23:01:40 UTC: requests get no answer`."""
    trouble, end = find_trouble(held), held.last_end
    if trouble is not None:
        return f"{trouble.word} since {moment(trouble.since)}: {trouble.why}"
    if held.opened_at is None:
        return "not open yet" if end is None else f"not open since {moment(end.ended_at)}, as expected"
    before = "" if end is None or end.expected else f"; the one before it: {end_text(end)}"
    return f"open for {span(now - held.opened_at)}{before}"


def held_rows(held: HeldConnection | None, now: float) -> Iterator[tuple[str, str]]:
    """Name and text of the connection's line in a check; none without a connection."""
    if held is not None:
        yield "hold", held_sentence(held, now)


def _deaf(held: HeldConnection) -> Trouble | None:
    return None if held.deaf_since is None else Trouble("deaf", held.deaf_since, "requests get no answer")


def _without_heartbeats(held: HeldConnection) -> Trouble | None:
    for level, heartbeats in held.heartbeats.items():
        since = heartbeats.last_at or held.opened_at
        if heartbeats.lost and since is not None:
            return Trouble("without heartbeats", since, f"{LEVEL_TEXTS[level]} are due {cadence_text(heartbeats)}")
    return None


def _not_opened(held: HeldConnection) -> Trouble | None:
    failed, end = held.failed_opening, held.last_end
    if held.opened_at is not None or failed is None:
        return None
    return Trouble("not open", failed.failed_at if end is None else end.ended_at, opening_text(failed))


def _ended(held: HeldConnection) -> Trouble | None:
    end = held.last_end
    if held.opened_at is not None or end is None or end.expected:
        return None
    return Trouble("not open", end.ended_at, end_text(end))


_TROUBLES: Final[tuple[Callable[[HeldConnection], Trouble | None], ...]] = (
    _deaf,
    _without_heartbeats,
    _not_opened,
    _ended,
)
