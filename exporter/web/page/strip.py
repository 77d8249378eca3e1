"""The last cycles as a strip: a bar for each, the newest at the right. Height as well as colour says what came of it.

A run of like bars is one dashed line: two hundred strips of sixty bars are a thousand elements and not twelve thousand.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from exporter.history import Mark, Outcome
from exporter.report.words import count, moment
from exporter.web.page.markup import Markup, element

CYCLES: Final = 60
PITCH: Final = 6
GAP: Final = 2
HEIGHT: Final = 22
WIDTH: Final = CYCLES * PITCH - GAP

SAID: Final[Mapping[Outcome, str]] = {
    Outcome.PASS: "passed",
    Outcome.FAIL: "failed",
    Outcome.SKIP: "skipped",
    Outcome.IMPAIRED: "impaired",
    Outcome.DISTORTED: "distorted",
}


def strip(marks: Sequence[Mark], *, told: bool = False) -> Markup:
    """The picture; `told`: what was not a plain pass says when and why to who points at it."""
    first = CYCLES - len(marks)
    return element(
        "svg",
        list(_runs(marks, first)),
        list(_tips(marks, first)) if told else None,
        class_="strip",
        role="img",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        aria_label=in_words(marks),
    )


def in_words(marks: Sequence[Mark]) -> str:
    """`last 60 cycles: 57 passed, 3 failed`."""
    if not marks:
        return "no cycle yet"
    counts = Counter(mark.word for mark in marks)
    said = ", ".join(f"{counts[outcome]} {words}" for outcome, words in SAID.items() if counts[outcome])
    return f"last {count(len(marks), 'cycle')}: {said}"


def _runs(marks: Sequence[Mark], first: int) -> Iterator[Markup]:
    at = first
    for outcome, run in groupby(mark.word for mark in marks):
        length = len(list(run))
        yield element("path", class_=SAID[outcome], d=f"M{at * PITCH} {HEIGHT // 2}h{length * PITCH - GAP}")
        at += length


def _tips(marks: Sequence[Mark], first: int) -> Iterator[Markup]:
    at = first
    for (outcome, reason), run in groupby(marks, lambda mark: mark[1:]):
        alike = list(run)
        if outcome is not Outcome.PASS:
            since = moment(alike[0].at) + (f", {len(alike)} times" if len(alike) > 1 else "")
            tip = element("title", f"{since}: {SAID[outcome]}, {reason}")
            yield element("rect", tip, class_="tip", x=at * PITCH - 1, width=len(alike) * PITCH, height=HEIGHT)
        at += len(alike)
