"""The last cycles as a strip: a bar for each, the newest at the right. Height as well as colour says what came of it.

A run of like bars is one dashed line: two hundred strips of sixty bars are a thousand elements and not twelve thousand.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from exporter.history import CycleMark, CycleOutcome
from exporter.report.formatting import count, moment
from exporter.result import Probe
from exporter.web.page.markup import Markup, element

SHOWN_CYCLES: Final = 60
BAR_PITCH: Final = 6
BAR_GAP: Final = 2
BAR_HEIGHT: Final = 22
STRIP_WIDTH: Final = SHOWN_CYCLES * BAR_PITCH - BAR_GAP

SHALLOW_WORDS: Final[Mapping[str, str]] = {Probe.CONNECT: "connected", Probe.AUTH: "let in"}
"""What is said of a cycle that passed and went no deeper, by its deepest probe: it does not say that `send` passes."""

OUTCOME_WORDS: Final[Mapping[CycleOutcome, str]] = {
    CycleOutcome.PASS: "passed",
    CycleOutcome.FAIL: "failed",
    CycleOutcome.SKIP: "skipped",
    CycleOutcome.IMPAIRED: "impaired",
    CycleOutcome.DISTORTED: "distorted",
}
CLASSES_OF_WORD: Final[Mapping[str, str]] = {"connected": "passed connect", "let in": "passed auth"}


def timeline_picture(marks: Sequence[CycleMark], *, told: bool = False) -> Markup:
    """The picture; `told`: what was not a plain pass says when and why to who points at it."""
    first = SHOWN_CYCLES - len(marks)
    return element(
        "svg",
        list(_runs(marks, first)),
        list(_tips(marks, first)) if told else None,
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
    counts = Counter(map(_said, marks))
    told = ", ".join(
        f"{counts[words]} {words}" for words in (*OUTCOME_WORDS.values(), *SHALLOW_WORDS.values()) if counts[words]
    )
    return f"last {count(len(marks), 'cycle')}: {told}"


def _said(mark: CycleMark) -> str:
    """What came of a cycle, in a word or two."""
    words = OUTCOME_WORDS[mark.outcome]
    return SHALLOW_WORDS.get(mark.reason, words) if mark.outcome is CycleOutcome.PASS else words


def _runs(marks: Sequence[CycleMark], first: int) -> Iterator[Markup]:
    at = first
    for words, run in groupby(map(_said, marks)):
        length = len(list(run))
        line = f"M{at * BAR_PITCH} {BAR_HEIGHT // 2}h{length * BAR_PITCH - BAR_GAP}"
        yield element("path", class_=CLASSES_OF_WORD.get(words, words), d=line)
        at += length


def _tips(marks: Sequence[CycleMark], first: int) -> Iterator[Markup]:
    at = first
    for (outcome, reason), run in groupby(marks, lambda mark: mark[1:]):
        alike = list(run)
        if outcome is not CycleOutcome.PASS:
            since = moment(alike[0].at) + (f", {len(alike)} times" if len(alike) > 1 else "")
            tip = element("title", f"{since}: {OUTCOME_WORDS[outcome]}, {reason}")
            yield element(
                "rect", tip, class_="tip", x=at * BAR_PITCH - 1, width=len(alike) * BAR_PITCH, height=BAR_HEIGHT
            )
        at += len(alike)
