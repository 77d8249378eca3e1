"""The pages of a drill as one table: each kind of outage, at each setting, and the peer's beside them."""

import math
from dataclasses import dataclass
from statistics import median

PARTS = ("probe", "confirm", "scrape", "evaluate", "group")
"""Until the first session fails; until those fail that make an outage; until that is scraped; until a rule has judged;
until the page is there."""
BEFORE, AFTER, PEER = "patient", "fast", "peer"
ALL = "all"
LEAST_GAIN = 0.8
"""The median of all outages at the fast setting, as a part of the other's, at most."""


@dataclass(frozen=True)
class Page:
    """One outage at one setting: `took` seconds to its page, in `parts`; None if no page came."""

    stack: int
    name: str
    kind: str
    setting: str
    took: float | None
    parts: tuple[float, ...] = ()


def report(pages, kinds):
    """The figures as text, and whether every outage was paged at both settings, and faster at the second."""
    rows = [
        _row(kind, pages if kind == ALL else [page for page in pages if page.kind == kind]) for kind in (*kinds, ALL)
    ]
    slow = sorted((page for page in pages if page.setting == AFTER), key=lambda page: -(page.took or math.inf))[:3]
    slowest = [f"slowest, {AFTER}: {page.name}, stack {page.stack}: {_seconds(page)}" for page in slow]
    parts = ["", f"{'medians of the parts, s':18}" + "  ".join(_names(setting) for setting in (BEFORE, AFTER))]
    for kind in (*kinds, ALL):
        chosen = [page for page in pages if kind in (page.kind, ALL)]
        parts.append(f"{kind:18}" + "  ".join(_parts(_of(chosen, setting)) for setting in (BEFORE, AFTER)))
    missed = sum(page.took is None for page in pages if page.setting != PEER)
    gain = _ratio(pages)
    verdict = f"{missed} outages without a page; {AFTER} takes {gain:.2f} of {BEFORE}, at most {LEAST_GAIN} is right"
    return "\n".join([_head(pages), *rows, *parts, *slowest, verdict]), missed == 0 and gain <= LEAST_GAIN


def _of(pages, setting):
    return [page for page in pages if page.setting == setting]


def _took(pages):
    """Seconds, a miss as infinity."""
    return [math.inf if page.took is None else page.took for page in pages]


def _ratio(pages):
    before, after = (_took(_of(pages, setting)) for setting in (BEFORE, AFTER))
    return median(after) / median(before) if before and after else math.nan


def _head(pages):
    settings = (BEFORE, AFTER, PEER) if _of(pages, PEER) else (BEFORE, AFTER)
    columns = "".join(f"{setting + ': median':>16}{'worst':>7}{'missed':>7}" for setting in settings)
    return f"{'outage':18}{'n':>4}{columns}{'ratio':>8}"


def _row(kind, pages):
    settings = (BEFORE, AFTER, PEER) if _of(pages, PEER) else (BEFORE, AFTER)
    columns = "".join(_column(_of(pages, setting)) for setting in settings)
    return f"{kind:18}{len(_of(pages, AFTER)):>4}{columns}{_ratio(pages):>8.2f}"


def _column(pages):
    came = [page.took for page in pages if page.took is not None]
    middle, worst = (f"{median(_took(pages)):.1f}", f"{max(came):.1f}") if came else ("-", "-")
    return f"{middle:>16}{worst:>7}{len(pages) - len(came):>7}"


def _names(setting):
    return f"{setting + ':':>9}" + "".join(f"{part:>9}" for part in PARTS)


def _parts(pages):
    came = [page.parts for page in pages if page.parts]
    cells = (f"{median(one[at] for one in came):.1f}" if came else "-" for at in range(len(PARTS)))
    return " " * 9 + "".join(f"{cell:>9}" for cell in cells)


def _seconds(page):
    if page.took is None:
        return "no page"
    parts = ", ".join(f"{name} {part:.1f}" for name, part in zip(PARTS, page.parts, strict=True))
    return f"{page.took:.1f} s ({parts})"
