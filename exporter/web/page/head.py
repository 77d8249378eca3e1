"""The one line on top, the title of the tab and its icon: how all targets do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from exporter.history import StateKind
from exporter.report.formatting import count
from exporter.web.page.failures import headline
from exporter.web.page.markup import Markup, element, joined
from exporter.web.page.timefmt import since_and_age
from exporter.web.page.values import SEVERITY_ORDER, TargetStanding

MAX_TARGETS_IN_HEADLINE: Final = 3
"""Failing targets that the line names."""


@dataclass(frozen=True, slots=True)
class PageHead:
    """The headline.

    `state`: of the gravest target. `spoken`, `title`: plain texts, for a screen reader and for the tab.
    `line`: the headline as HTML with its age, which is no change of the headline.
    `since`: unix seconds since when the one failing target fails; 0.0 unless there is just one.
    """

    state: StateKind
    spoken: str
    title: str
    line: Markup = field(compare=False)
    since: float = 0.0


def page_head(counts: Mapping[StateKind, int], gravest: Sequence[TargetStanding], now: float) -> PageHead:
    """How many targets are in each state, and the gravest ones in page order: at least `MAX_TARGETS_IN_HEADLINE`."""
    whole = sum(counts.values())
    word = next((word for word in SEVERITY_ORDER if counts.get(word)), StateKind.UNKNOWN)
    if word is not StateKind.FAILING:
        said = _calm(counts, whole)
        return PageHead(word, said, said.partition(";")[0], joined([said]))
    failing, others = counts[word], _others(counts)
    title = f"✗ {failing}/{whole} failing"
    start = f"{failing} of {count(whole, 'target')} failing: "
    if failing > 1:
        names = ", ".join(one.name for one in gravest[: min(failing, MAX_TARGETS_IN_HEADLINE)])
        more = f" and {failing - MAX_TARGETS_IN_HEADLINE} more" if failing > MAX_TARGETS_IN_HEADLINE else ""
        said = f"{start}{names}{more}{others}"
        return PageHead(word, said, title, joined([said]))
    name, state = gravest[0]
    said = f"{start}{name} – {headline(state)}"
    age = element("span", " ", since_and_age(state.since, now), others, class_="since")
    return PageHead(word, f"{said}{others}", f"{title}: {name}", joined([said, age]), state.since)


def _calm(counts: Mapping[StateKind, int], whole: int) -> str:
    passing = counts.get(StateKind.PASSING, 0)
    if not whole:
        return "No target is configured"
    if passing == whole:
        return "The one target passes" if whole == 1 else f"All {whole} targets pass"
    return f"{passing} of {count(whole, 'target')} passing{_others(counts)}"


def _others(counts: Mapping[StateKind, int]) -> str:
    said = [f"{counts[word]} {word}" for word in (StateKind.IMPAIRED, StateKind.UNKNOWN) if counts.get(word)]
    return f"; {', '.join(said)}" if said else ""
