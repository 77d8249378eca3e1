"""The formats for CI systems: `github`, workflow commands that GitHub shows as annotations, and `junit`, XML.

GitHub's job summary is Markdown: `markdown` writes it, `commands` appends it to the file of GITHUB_STEP_SUMMARY.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from xml.etree import ElementTree as ET

from exporter.report.check_report import (
    CheckReport,
    CheckStatus,
    RenderContext,
    passed,
    refusal_explanation,
    status_of,
)
from exporter.report.document import TOOL
from exporter.report.escape import command_data, command_property, plain
from exporter.report.evidence import context_rows, evidence_rows
from exporter.report.explain import Explanation, explain
from exporter.report.formatting import cause, iso
from exporter.report.held_line import held_rows
from exporter.report.sections import findings
from exporter.report.series import CheckSeries, outcome_text, series_status, verdict_line
from exporter.report.summary import Comparison
from exporter.result import Probe, Result, Verdict

# GitHub: one annotation a line, escaped by the rules of GitHub's toolkit ----------------------------------------------

COMMAND_OF_STATUS: Final[Mapping[CheckStatus, str]] = {
    CheckStatus.OK: "notice",
    CheckStatus.WARNING: "warning",
    CheckStatus.CRITICAL: "error",
    CheckStatus.UNKNOWN: "warning",
}


def github(report: CheckReport, view: RenderContext) -> str:
    """A check; an annotation for each session, `::error title=staging%3A send failed::…`, then of what is held open."""
    return "".join(f"{line}\n" for line in _annotations(report, view))


def _annotations(report: CheckReport, view: RenderContext) -> Iterator[str]:
    for result in report.results:
        session_status = status_of(result)
        title = f"{report.target}, {result.identity or 'no identity'}: {cause(result) or session_status.name}"
        yield _annotation(view, session_status, title, explain(result, report.context))
    refusal = refusal_explanation(report)
    if refusal is not None:
        yield _annotation(view, CheckStatus.UNKNOWN, f"{report.target}: not checked", refusal)
    for name, sentence in held_rows(report.held, view.now):
        # A notice, whatever it says: what a held connection shows is no failure of the check.
        yield _annotation(view, CheckStatus.OK, f"{report.target}: {name}", Explanation(sentence))


def series_github(series: CheckSeries, view: RenderContext, comparison: Comparison | None = None) -> str:
    """A series; one annotation for the verdict, then one for each cause."""
    sentences = [Explanation(verdict_line(series))]
    sentences += [Explanation(finding.sentence, finding.page) for finding in findings(series)]
    sentences += [] if comparison is None else [Explanation(comparison.sentence)]
    status, target = series_status(series), series.report.target
    share = f"{sum(map(passed, series.results))} of {len(series.results)} passed"
    lines = [_annotation(view, status, f"{target}: {share}", *sentences)]
    causes = {outcome_text(result): result for result in reversed(series.results) if not passed(result)}
    lines += [
        _annotation(view, status, f"{target}: {outcome}", explain(result, series.report.context))
        for outcome, result in causes.items()
    ]
    return "".join(f"{line}\n" for line in lines)


def _annotation(view: RenderContext, status: CheckStatus, title: str, *explanations: Explanation) -> str:
    parts = (
        part
        for explanation in explanations
        for part in (
            explanation.sentence,
            explanation.fault and f"Layer: {explanation.fault}",
            explanation.next_step,
            explanation.page and f"See {view.page(explanation.page)}",
        )
    )
    message = "\n".join(plain(part) for part in parts if part)
    return f"::{COMMAND_OF_STATUS[status]} title={command_property(plain(title))}::{command_data(message)}"


# JUnit: a test case for each probe of each session; a probe that proved nothing is skipped, not passed ----------------

XML_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
TOTALS: Final = {"failures": "failure", "errors": "error", "skipped": "skipped"}
"""Attributes of a suite, by the element that they count."""


def junit(report: CheckReport, view: RenderContext) -> str:
    """A check; a failed probe is a failure, a failure of the exporter or a refusal of the budget is an error."""
    return several_junit((report,), view)


def several_junit(reports: Iterable[CheckReport], view: RenderContext) -> str:
    """Several checks; each is a suite."""
    root = ET.Element("testsuites")
    root.extend(_suite(report, view) for report in reports)
    ET.indent(root)
    return XML_DECLARATION + ET.tostring(root, encoding="unicode") + "\n"


def _suite(report: CheckReport, view: RenderContext) -> ET.Element:
    suite = ET.Element("testsuite", {"name": plain(f"{TOOL} {report.target}")})
    _add_properties(suite, report, view)
    for number, result in enumerate(report.results, 1):
        _add_cases(suite, report, view, result, f" (run {number})" if len(report.results) > 1 else "")
    refusal = refusal_explanation(report)
    if refusal is not None:
        case = ET.SubElement(suite, "testcase", {"classname": plain(report.target), "name": "budget", "time": "0.000"})
        _add_explanation(case, "error", "budget", refusal, view)
    suite.attrib.update(_totals(suite, report))
    return suite


def _totals(suite: ET.Element, report: CheckReport) -> dict[str, str]:
    totals = {name: str(len(suite.findall(f"testcase/{tag}"))) for name, tag in TOTALS.items()}
    duration = sum(sum(result.phases.values()) for result in report.results)
    timestamp = (iso(report.started_at) or "")[:19]
    return {"tests": str(len(suite.findall("testcase"))), **totals, "time": f"{duration:.3f}", "timestamp": timestamp}


def _add_properties(suite: ET.Element, report: CheckReport, view: RenderContext) -> None:
    properties = ET.SubElement(suite, "properties")
    rows = [("version", report.version), ("url", report.url), *context_rows(report.context)]
    for number, result in enumerate(report.results, 1):
        prefix = f"run {number} " if len(report.results) > 1 else ""
        rows += [(f"{prefix}{name}", value) for name, value in evidence_rows(result, view.now)]
    rows += held_rows(report.held, view.now)
    for name, value in rows:
        ET.SubElement(properties, "property", {"name": plain(name), "value": plain(value)})


def _add_cases(suite: ET.Element, report: CheckReport, view: RenderContext, result: Result, suffix: str) -> None:
    class_name = plain(f"{report.target}.{result.identity or '-'}")
    for probe in Probe:
        if probe.rank <= result.depth.rank:
            duration = f"{result.durations.get(probe, 0.0):.3f}"
            attributes = {"classname": class_name, "name": f"{probe}{suffix}", "time": duration}
            case = ET.SubElement(suite, "testcase", attributes)
            _add_outcome(case, result, probe, explain(result, report.context), view)


def _add_outcome(case: ET.Element, result: Result, probe: Probe, explanation: Explanation, view: RenderContext) -> None:
    verdict = result.verdicts.get(probe, Verdict.NONE)
    if verdict is Verdict.FAIL:
        _add_explanation(case, "failure", cause(result), explanation, view)
    elif result.impairment is not None and probe is result.depth:
        _add_explanation(case, "error", f"our own failure: {result.impairment}", explanation, view)
    elif verdict is Verdict.NONE:
        ET.SubElement(case, "skipped", {"message": "nothing was proved"})


def _add_explanation(case: ET.Element, tag: str, kind: str, explanation: Explanation, view: RenderContext) -> None:
    element = ET.SubElement(case, tag, {"type": plain(kind), "message": plain(explanation.sentence)})
    page = explanation.page and view.page(explanation.page)
    layer = explanation.fault and f"Layer: {explanation.fault}"
    element.text = "\n".join(plain(part) for part in (explanation.sentence, layer, explanation.next_step, page) if part)
