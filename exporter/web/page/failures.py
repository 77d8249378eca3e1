"""The last failures, like ones told once: what went wrong in a sentence, what to look at, and the runbook page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from exporter.history import TargetState
from exporter.report import UNKNOWN_CONTEXT, Explanation, TargetContext, explain, likeness
from exporter.report.formatting import cause, closed, count
from exporter.result import Result
from exporter.web.page.markup import Markup, element, joined
from exporter.web.page.timefmt import time_and_age, time_element


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures in a row that are alike, newest first."""

    explanation: Explanation
    results: tuple[Result, ...]


def group_failures(failures: Sequence[Result], context: TargetContext = UNKNOWN_CONTEXT) -> list[FailureGroup]:
    """Neighbours of one cause are one group, explained by the newest."""
    runs = [tuple(run) for _, run in groupby(failures, partial(likeness, context=context))]
    return [FailureGroup(explain(run[0], context), run) for run in runs]


def failure_list(
    results: Sequence[Result], now: float, context: TargetContext = UNKNOWN_CONTEXT, *, said: Explanation | None = None
) -> Markup:
    """The list, newest first; what has been `said` above is not said again."""
    return element(
        "ol",
        [element("li", list(_group(group, now, said))) for group in group_failures(results, context)],
        class_="failures",
    )


def headline(state: TargetState) -> str:
    """`send fails in admission: factory (slot_limit)`; `our own failure: token`; "" for what did not fail."""
    result = state.result
    if state.probe is None:
        return "" if result is None else impairment(result)
    return f"{state.probe} fails" if result is None else f"{state.probe} fails in {cause(result)}"


def impairment(result: Result) -> str:
    """`our own failure: token`; "" if it was none."""
    return "" if result.impairment is None else f"our own failure: {result.impairment}"


def explanation_text(told: Explanation) -> Markup:
    """What went wrong, what to look at next, and the page that helps."""
    link = None if told.page is None else [" ", runbook_link(told.page)]
    following = element("p", element("strong", "Next: "), told.next_step, link, class_="next")
    return joined([element("p", told.sentence, class_="sentence"), following if told.next_step else None])


def runbook_link(name: str) -> Markup:
    """The link to a page of the runbook."""
    return element("a", f"Runbook: {name}", href=f"runbook/{name}", class_="runbook")


def _group(group: FailureGroup, now: float, said: Explanation | None) -> Iterator[Markup]:
    newest, oldest = group.results[0], group.results[-1]
    when = time_and_age(newest.started_at, now)
    if len(group.results) > 1:
        times = count(len(group.results), "time")
        when = joined([when, f", {times} since ", time_element(oldest.started_at, now)])
    yield element("p", when, class_="when")
    who = ", ".join(dict.fromkeys(result.identity or "no identity" for result in group.results))
    ended = "" if newest.close is None else f" · closed {closed(newest.close)}"
    yield element("p", element("code", cause(newest)), f" · {who}{ended}", class_="facts")
    if group.explanation != said:
        page = group.explanation.page
        yield element(
            "p", group.explanation.sentence, None if page is None else [" ", runbook_link(page)], class_="sentence"
        )
