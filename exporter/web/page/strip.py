"""The last cycles as a strip: a bar for each, the newest at the right. Height as well as colour says what came of it.

A run of like bars is one dashed line: two hundred strips of sixty bars are a thousand elements and not twelve thousand.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from exporter.history import Mark, Outcome
from exporter.report.words import count, moment
from exporter.result import Probe
from exporter.web.page.markup import Markup, element

CYCLES: Final = 60
PITCH: Final = 6
GAP: Final = 2
HEIGHT: Final = 22
WIDTH: Final = CYCLES * PITCH - GAP

SHALLOW: Final[Mapping[str, str]] = {Probe.CONNECT: "connected", Probe.AUTH: "let in"}
"""What is said of a cycle that passed and went no deeper, by its deepest probe: it does not say that `send` passes."""

SAID: Final[Mapping[Outcome, str]] = {
    Outcome.PASS: "passed",
    Outcome.FAIL: "failed",
    Outcome.SKIP: "skipped",
    Outcome.IMPAIRED: "impaired",
    Outcome.DISTORTED: "distorted",
}
CLASSES: Final[Mapping[str, str]] = {"connected": "passed connect", "let in": "passed auth"}


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
    counts = Counter(map(_said, marks))
    told = ", ".join(f"{counts[words]} {words}" for words in (*SAID.values(), *SHALLOW.values()) if counts[words])
    return f"last {count(len(marks), 'cycle')}: {told}"


def _said(mark: Mark) -> str:
    """What came of a cycle, in a word or two."""
    words = SAID[mark.word]
    return SHALLOW.get(mark.reason, words) if mark.word is Outcome.PASS else words


def _runs(marks: Sequence[Mark], first: int) -> Iterator[Markup]:
    at = first
    for words, run in groupby(map(_said, marks)):
        length = len(list(run))
        line = f"M{at * PITCH} {HEIGHT // 2}h{length * PITCH - GAP}"
        yield element("path", class_=CLASSES.get(words, words), d=line)
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
