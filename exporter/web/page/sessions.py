"""The last session of a target, phase by phase and frame by frame, and its last failures with their explanations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Final

from exporter.history import TargetState
from exporter.report import UNKNOWN_CONTEXT, Explanation, TargetContext, explain, similarity_key
from exporter.report.evidence import evidence_rows
from exporter.report.formatting import cause, closed, count
from exporter.report.situation import refused_after
from exporter.result import Direction, Frame, Phase, Result, Verdict
from exporter.web.page.markup import Child, Markup, element, joined
from exporter.web.page.pictures import bar
from exporter.web.page.timefmt import duration_text, time_and_age, time_element

TONES: Final[Mapping[Verdict, str]] = {Verdict.PASS: "passing", Verdict.FAIL: "failing", Verdict.NONE: "unknown"}
ARROWS: Final[Mapping[Direction, tuple[str, str]]] = {Direction.IN: ("←", "received"), Direction.OUT: ("→", "sent")}


def last_session(result: Result | None, now: float) -> Child:
    """Time, verdicts, phases, evidence and transcript of the last session."""
    if result is None:
        return element("p", "No session yet.", class_="none")
    verdicts = [
        element(
            "span",
            f"{probe} {'not decided' if verdict is Verdict.NONE else verdict}",
            class_=f"verdict {TONES[verdict]}",
        )
        for probe, verdict in sorted(result.verdicts.items(), key=lambda item: item[0].rank)
        if probe.rank <= result.depth.rank
    ]
    rows = [(element("dt", name), element("dd", text)) for name, text in evidence_rows(result, now)]
    identity = result.identity or "no identity"
    return [
        element("p", time_and_age(result.started_at, now), f", {identity}, {result.trigger}", class_="when"),
        element("p", joined(verdicts, " "), class_="verdicts"),
        waterfall(result),
        element("dl", rows, class_="evidence") if rows else None,
        transcript(result),
    ]


def waterfall(result: Result) -> Markup:
    """A row for each completed phase with its bar and duration, and one for the phase that failed.

    The bars are a table, so that screen readers and phones can show them.
    """
    if not result.phases and result.reason is None:
        return element("p", "No phase was completed.", class_="none")
    caption = element("caption", "Phases of the last session", class_="aside")
    return element("table", caption, element("tbody", list(_phase_rows(result))), class_="waterfall")


def _phase_rows(result: Result) -> Iterator[Markup]:
    total, refused = sum(result.phases.values()), refused_after(result)
    start = 0.0
    for phase in Phase:
        seconds = result.phases.get(phase)
        name = element("th", phase, scope="row")
        if seconds is not None:
            picture = element("td", bar(start, seconds, total))
            yield element("tr", name, picture, element("td", duration_text(seconds), class_="figure"))
            start += seconds
        elif phase is result.phase and result.reason is not None:
            factory = f" ({result.factory_reason})" if result.factory_reason else ""
            why = element("td", f"✗ {result.reason}{factory}", colspan=2 if refused is None else 1)
            after = None if refused is None else element("td", duration_text(refused), class_="figure")
            yield element("tr", name, why, after, class_="failed")


def transcript(result: Result) -> Markup | None:
    """Kind, size and time of each frame, without contents, to be unfolded; None for a session without frames."""
    if not result.transcript:
        return None
    left_out = result.frames_left_out
    note = element("p", f"{count(left_out, 'frame')} in the middle left out.", class_="aside") if left_out else None
    title = f"Transcript, {count(len(result.transcript) + left_out, 'frame')}"
    table = element("table", element("tbody", list(map(_frame_row, result.transcript))), class_="counts")
    return element("details", element("summary", title), table, note, class_="transcript")


def _frame_row(frame: Frame) -> Markup:
    arrow, label = ARROWS[frame.direction]
    what = " ".join(part for part in (frame.opcode, frame.code) if part)
    return element(
        "tr",
        element("td", duration_text(frame.at)),
        element("td", element("span", arrow, role="img", aria_label=label)),
        element("th", f"{frame.kind} ({what})" if frame.kind else what, scope="row"),
        element("td", f"{frame.size:,} B", class_="figure"),
    )


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Consecutive failures that are alike, newest first."""

    explanation: Explanation
    results: tuple[Result, ...]


def group_failures(failures: Sequence[Result], context: TargetContext = UNKNOWN_CONTEXT) -> list[FailureGroup]:
    """Group consecutive failures of one cause; the newest of a group is explained."""
    runs = [tuple(run) for _, run in groupby(failures, partial(similarity_key, context=context))]
    return [FailureGroup(explain(run[0], context), run) for run in runs]


def failure_list(
    results: Sequence[Result], now: float, context: TargetContext = UNKNOWN_CONTEXT, *, above: Explanation | None = None
) -> Markup:
    """The failures, newest first; the explanation that stands `above` the list is not repeated."""
    groups = group_failures(results, context)
    return element("ol", [element("li", list(_group(group, now, above))) for group in groups], class_="failures")


def headline(state: TargetState) -> str:
    """`send fails in admission: factory (slot_limit)`; `our own failure: token`; "" for a target that does not fail."""
    result = state.result
    if state.probe is None:
        return "" if result is None or result.impairment is None else f"our own failure: {result.impairment}"
    return f"{state.probe} fails" if result is None else f"{state.probe} fails in {cause(result)}"


def explanation_text(explanation: Explanation) -> Markup:
    """What went wrong, what to do next, and the link to the runbook page."""
    sentence = element("p", explanation.sentence, class_="sentence")
    if not explanation.next_step:
        return joined([sentence])
    link = None if explanation.page is None else [" ", _runbook_link(explanation.page)]
    fault = element("p", element("strong", "Layer: "), explanation.fault, class_="next") if explanation.fault else None
    next_step = element("p", element("strong", "Next: "), explanation.next_step, link, class_="next")
    return joined([sentence, *filter(None, [fault]), next_step])


def _runbook_link(name: str) -> Markup:
    return element("a", f"Runbook: {name}", href=f"runbook/{name}", class_="runbook")


def _group(group: FailureGroup, now: float, above: Explanation | None) -> Iterator[Markup]:
    newest, oldest = group.results[0], group.results[-1]
    when = time_and_age(newest.started_at, now)
    if len(group.results) > 1:
        times = count(len(group.results), "time")
        when = joined([when, f", {times} since ", time_element(oldest.started_at, now)])
    yield element("p", when, class_="when")
    identities = ", ".join(dict.fromkeys(result.identity or "no identity" for result in group.results))
    close = "" if newest.close is None else f" · closed {closed(newest.close)}"
    yield element("p", element("code", cause(newest)), f" · {identities}{close}", class_="facts")
    if group.explanation != above:
        page = group.explanation.page
        link = None if page is None else [" ", _runbook_link(page)]
        yield element("p", group.explanation.sentence, link, class_="sentence")
