"""The format `markdown`: a check or a series for a ticket, a chat, a pull request, GitHub's job summary."""

from collections.abc import Iterable, Iterator, Sequence

from exporter.report.check_report import CheckReport, RenderContext, refusal_explanation, status
from exporter.report.escape import code, prose
from exporter.report.evidence import context_rows, evidence_rows
from exporter.report.explain import Explanation, explain
from exporter.report.formatting import cause, moment, seconds
from exporter.report.held_line import held_rows
from exporter.report.sections import Section, sections
from exporter.report.series import CheckSeries, verdict_line
from exporter.report.summary import Comparison
from exporter.result import Phase, Probe, Result, Verdict


def markdown(report: CheckReport, view: RenderContext) -> str:
    """A check; each session is a section."""
    lines = [f"## {status(report).name}: {code(report.target)}", "", code(report.url), ""]
    for result in report.results:
        lines += _session(result, report, view)
    refusal = refusal_explanation(report)
    if refusal is not None:
        lines += _explanation(refusal, view)
    return "\n".join(lines).rstrip("\n") + "\n"


def _session(result: Result, report: CheckReport, view: RenderContext) -> Iterator[str]:
    yield f"### {code(result.identity or 'no identity')}, {moment(result.started_at)}"
    yield ""
    yield from _explanation(explain(result, report.context), view)
    probes = [probe for probe in Probe if probe.rank <= result.depth.rank]
    yield from _table(("probe", "verdict", "time"), (_verdict(result, probe) for probe in probes))
    if result.phases:
        durations = ((phase.value, seconds(result.phases[phase])) for phase in Phase if phase in result.phases)
        yield from _table(("phase", "time"), durations)
    evidence = (
        *evidence_rows(result, view.now),
        *context_rows(report.context),
        *held_rows(report.held, view.now),
    )
    if evidence:
        yield from _table(("evidence", "value"), ((name, code(value)) for name, value in evidence))


def _verdict(result: Result, probe: Probe) -> tuple[str, str, str]:
    verdict = result.verdicts.get(probe, Verdict.NONE)
    cell = f"**FAIL** in {code(cause(result))}" if verdict is Verdict.FAIL else verdict.value
    return probe.value, cell, seconds(result.durations.get(probe))


def _explanation(explanation: Explanation, view: RenderContext) -> Iterator[str]:
    yield prose(explanation.sentence)
    yield ""
    if explanation.fault is not None:
        yield f"**Layer:** {explanation.fault}"
        yield ""
    if explanation.next_step is not None:
        yield f"**Next:** {prose(explanation.next_step)}"
        yield ""
    if explanation.page is not None:
        place = view.place(explanation.page)
        yield f"**Runbook:** {code(explanation.page)}, {f'<{place}>' if '://' in place else code(place)}"
        yield ""


def series_markdown(series: CheckSeries, view: RenderContext, comparison: Comparison | None = None) -> str:
    """A series: `--report report.md`."""
    title = f"# {code(series.report.target)}: {prose(verdict_line(series))}"
    lines = [title, "", code(series.report.url), ""]
    for section in sections(series, view, comparison):
        lines += [f"## {prose(section.title)}", ""]
        lines += [line for sentence in section.sentences for line in (prose(sentence), "")]
        if section.heads:
            lines += _table(section.heads, (_cells(section, row) for row in section.rows))
    return "\n".join(lines).rstrip() + "\n"


def _cells(section: Section, row: tuple[str, ...]) -> tuple[str, ...]:
    pairs = zip(section.heads, row, strict=True)
    return tuple(code(cell) if cell and head in section.names else prose(cell) for head, cell in pairs)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A GFM table of cells that are Markdown already, and an empty line."""
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""
