"""A check as Markdown: for a ticket, a chat, a pull request, GitHub's job summary."""

from collections.abc import Iterable, Iterator, Sequence

from exporter.report.check_report import CheckReport, RenderContext, explanations, refusal_of, slow, status
from exporter.report.escape import code, prose
from exporter.report.evidence import circumstances, evidence
from exporter.report.explain import Explanation
from exporter.report.formatting import cause, moment, seconds
from exporter.result import Phase, Probe, Result, Verdict


def markdown(checked: CheckReport, view: RenderContext) -> str:
    """The whole check; each session a section."""
    lines = [f"## {status(checked).name}: {code(checked.target)}", "", code(checked.url), ""]
    for result in checked.results:
        lines += _session(result, checked, view)
    refusal = refusal_of(checked)
    if refusal is not None:
        lines += _words(refusal, view)
    return "\n".join(lines).rstrip("\n") + "\n"


def _session(result: Result, checked: CheckReport, view: RenderContext) -> Iterator[str]:
    yield f"### {code(result.identity or 'no identity')}, {moment(result.started_at)}"
    yield ""
    for explanation in explanations(result, checked):
        yield from _words(explanation, view)
    asked = [probe for probe in Probe if probe.rank <= result.depth.rank]
    yield from table(("probe", "verdict", "time"), (_verdict(result, probe, checked) for probe in asked))
    if result.phases:
        took = ((phase.value, seconds(result.phases[phase])) for phase in Phase if phase in result.phases)
        yield from table(("phase", "time"), took)
    facts = [(name, code(words)) for name, words in (*evidence(result, view.now), *circumstances(checked.context))]
    if facts:
        yield from table(("evidence", "value"), facts)


def _verdict(result: Result, probe: Probe, checked: CheckReport) -> tuple[str, str, str]:
    verdict = result.verdicts.get(probe, Verdict.NONE)
    shown = f"**FAIL** in {code(cause(result))}" if verdict is Verdict.FAIL else verdict.value
    grave = slow(result, checked.thresholds).get(probe)
    slowly = f" (slow: {grave.name})" if grave else ""
    return probe.value, shown + slowly, seconds(result.durations.get(probe))


def _words(said: Explanation, view: RenderContext) -> Iterator[str]:
    yield prose(said.sentence)
    yield ""
    if said.next_step is not None:
        yield f"**Next:** {prose(said.next_step)}"
        yield ""
    if said.page is not None:
        place = view.place(said.page)
        yield f"**Runbook:** {code(said.page)}, {f'<{place}>' if '://' in place else code(place)}"
        yield ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A GFM table of cells that are Markdown already, and an empty line."""
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""
