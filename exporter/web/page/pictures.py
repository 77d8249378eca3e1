"""SVG pictures: the timeline of the last cycles, bars, and the icon of the tab.

A timeline has a bar for each cycle, the newest at the right; height as well as colour shows the outcome. A run of equal
bars is one dashed path: two hundred timelines of sixty bars are a thousand elements instead of twelve thousand.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from exporter.history import CycleMark, CycleOutcome, StateKind
from exporter.report.formatting import count, moment
from exporter.result import Probe
from exporter.web.page.markup import Markup, element

SHOWN_CYCLES: Final = 60
BAR_PITCH: Final = 6
BAR_GAP: Final = 2
BAR_HEIGHT: Final = 22
STRIP_WIDTH: Final = SHOWN_CYCLES * BAR_PITCH - BAR_GAP

AXIS_UNITS: Final = 1000
MIN_BAR_UNITS: Final = 6
"""Thousandths of an axis: the smallest visible bar."""

SHALLOW_TEXTS: Final[Mapping[str, str]] = {Probe.CONNECT: "connected", Probe.AUTH: "let in"}
"""The outcome of a cycle that passed without `send`, by its deepest probe, so as not to claim that `send` passes."""

OUTCOME_TEXTS: Final[Mapping[CycleOutcome, str]] = {
    CycleOutcome.PASS: "passed",
    CycleOutcome.FAIL: "failed",
    CycleOutcome.SKIP: "skipped",
    CycleOutcome.IMPAIRED: "impaired",
    CycleOutcome.DISTORTED: "distorted",
}
CLASSES_OF_TEXT: Final[Mapping[str, str]] = {"connected": "passed connect", "let in": "passed auth"}

STATE_SHAPES: Final[Mapping[str, str]] = {
    StateKind.FAILING: '<circle cx="16" cy="16" r="16" fill="#d1242f"/>'
    '<path d="M10 10 22 22M22 10 10 22" stroke="#fff" stroke-width="4" stroke-linecap="round"/>',
    StateKind.IMPAIRED: '<path d="M16 2 31 30H1z" fill="#bf8700"/>'
    '<path d="M16 12v8M16 24v1" stroke="#fff" stroke-width="3.5" stroke-linecap="round"/>',
    StateKind.UNKNOWN: '<circle cx="16" cy="16" r="13" fill="none" stroke="#818b98" stroke-width="5"/>',
    StateKind.PASSING: '<circle cx="16" cy="16" r="16" fill="#1f883d"/>'
    '<path d="m9 17 5 5 9-11" fill="none" stroke="#fff" stroke-width="4" stroke-linecap="round" '
    'stroke-linejoin="round"/>',
}


def icon_svg(state: str) -> str | None:
    """The icon of a state as SVG; None for an unknown state."""
    shape = STATE_SHAPES.get(state)
    return shape and f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{shape}</svg>'


def icon_path(state: StateKind) -> str:
    """The relative path of a state's icon."""
    return f"icon/{state}.svg"


def bar(start: float, length: float, whole: float) -> Markup:
    """A bar from `start` with this length on an axis of length `whole`; an empty picture if the length is 0."""
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


def timeline_picture(marks: Sequence[CycleMark], *, with_tooltips: bool = False) -> Markup:
    """The timeline; a tooltip shows when and why a cycle did not pass."""
    first = SHOWN_CYCLES - len(marks)
    return element(
        "svg",
        list(_runs(marks, first)),
        list(_tooltips(marks, first)) if with_tooltips else None,
        class_="strip",
        role="img",
        viewBox=f"0 0 {STRIP_WIDTH} {BAR_HEIGHT}",
        preserveAspectRatio="none",
        aria_label=timeline_text(marks),
    )


def timeline_text(marks: Sequence[CycleMark]) -> str:
    """`last 60 cycles: 57 passed, 3 failed`."""
    if not marks:
        return "no cycle yet"
    counts = Counter(map(_outcome_text, marks))
    parts = (f"{counts[text]} {text}" for text in (*OUTCOME_TEXTS.values(), *SHALLOW_TEXTS.values()) if counts[text])
    return f"last {count(len(marks), 'cycle')}: {', '.join(parts)}"


def _outcome_text(mark: CycleMark) -> str:
    text = OUTCOME_TEXTS[mark.outcome]
    return SHALLOW_TEXTS.get(mark.reason, text) if mark.outcome is CycleOutcome.PASS else text


def _runs(marks: Sequence[CycleMark], first: int) -> Iterator[Markup]:
    at = first
    for text, run in groupby(map(_outcome_text, marks)):
        length = len(list(run))
        line = f"M{at * BAR_PITCH} {BAR_HEIGHT // 2}h{length * BAR_PITCH - BAR_GAP}"
        yield element("path", class_=CLASSES_OF_TEXT.get(text, text), d=line)
        at += length


def _tooltips(marks: Sequence[CycleMark], first: int) -> Iterator[Markup]:
    at = first
    for (outcome, reason), group in groupby(marks, lambda mark: mark[1:]):
        run = list(group)
        if outcome is not CycleOutcome.PASS:
            since = moment(run[0].at) + (f", {len(run)} times" if len(run) > 1 else "")
            tip = element("title", f"{since}: {OUTCOME_TEXTS[outcome]}, {reason}")
            yield element(
                "rect", tip, class_="tip", x=at * BAR_PITCH - 1, width=len(run) * BAR_PITCH, height=BAR_HEIGHT
            )
        at += len(run)
