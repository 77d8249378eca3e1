"""The phases of one session as bars on one time axis: a table, so that it reads aloud and on a phone."""

from collections.abc import Iterator
from typing import Final

from exporter.report.formatting import cause
from exporter.report.situation import refused_after
from exporter.result import Phase, Result
from exporter.web.page.markup import Markup, element
from exporter.web.page.timefmt import duration_text

AXIS_UNITS: Final = 1000
MIN_BAR_UNITS: Final = 6
"""Thousandths of the axis below which a bar could not be seen."""


def waterfall(result: Result) -> Markup:
    """A line for each phase that was reached: name, bar, seconds; and where it failed."""
    if not result.phases and result.reason is None:
        return element("p", "No phase was completed.", class_="none")
    caption = element("caption", "Phases of the last session", class_="aside")
    return element("table", caption, element("tbody", list(_lines(result))), class_="waterfall")


def _lines(result: Result) -> Iterator[Markup]:
    total, until = sum(result.phases.values()), refused_after(result)
    start = 0.0
    for phase in Phase:
        length = result.phases.get(phase)
        name = element("th", phase, scope="row")
        if length is not None:
            picture = element("td", bar(start, length, total))
            yield element("tr", name, picture, element("td", duration_text(length), class_="figure"))
            start += length
        elif phase is result.phase and result.reason is not None:
            why = element("td", f"✗ {cause(result).partition(': ')[2]}", colspan=2 if until is None else 1)
            after = None if until is None else element("td", duration_text(until), class_="figure")
            yield element("tr", name, why, after, class_="failed")


def bar(start: float, length: float, whole: float) -> Markup:
    """A bar from `start`, so long, on an axis as long as the whole; none if it has no length."""
    scale = AXIS_UNITS / whole if whole > 0 else 0.0
    left = min(round(start * scale), AXIS_UNITS - MIN_BAR_UNITS)
    shape = element("rect", x=left, width=min(max(round(length * scale), MIN_BAR_UNITS), AXIS_UNITS - left), height=10)
    return element(
        "svg",
        shape if length > 0 else None,
        class_="bar",
        viewBox=f"0 0 {AXIS_UNITS} 10",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
