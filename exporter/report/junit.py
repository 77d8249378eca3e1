"""A check as JUnit XML: a test case for each probe of each session; what was not proved is skipped, not passed."""

from collections.abc import Iterable
from typing import Final
from xml.etree import ElementTree as ET

from exporter.report.check_report import CheckReport, RenderContext, refusal_of, slow
from exporter.report.document import TOOL
from exporter.report.escape import plain
from exporter.report.evidence import circumstances, evidence
from exporter.report.explain import Explanation, explain, too_slow
from exporter.report.formatting import cause, iso
from exporter.result import Probe, Result, Verdict

XML_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
COUNTED: Final = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def junit(checked: CheckReport, view: RenderContext) -> str:
    """The document; a failed probe is a failure, our own failure or the budget's refusal an error."""
    return junit_of((checked,), view)


def junit_of(checks: Iterable[CheckReport], view: RenderContext) -> str:
    """A document with a suite for each check."""
    whole = ET.Element("testsuites")
    whole.extend(_suite(checked, view) for checked in checks)
    ET.indent(whole)
    return XML_DECLARATION + ET.tostring(whole, encoding="unicode") + "\n"


def _suite(checked: CheckReport, view: RenderContext) -> ET.Element:
    suite = ET.Element("testsuite", {"name": plain(f"{TOOL} {checked.target}")})
    _properties(suite, checked, view)
    for number, result in enumerate(checked.results, 1):
        _cases(suite, checked, view, result, f" (run {number})" if len(checked.results) > 1 else "")
    refusal = refusal_of(checked)
    if refusal is not None:
        case = ET.SubElement(suite, "testcase", {"classname": plain(checked.target), "name": "budget", "time": "0.000"})
        _say(case, "error", "budget", refusal, view)
    suite.attrib.update(_totals(suite, checked))
    return suite


def _totals(suite: ET.Element, checked: CheckReport) -> dict[str, str]:
    counts = {name: str(len(suite.findall(f"testcase/{tag}"))) for name, tag in COUNTED.items()}
    took = sum(sum(result.phases.values()) for result in checked.results)
    when = (iso(checked.started_at) or "")[:19]
    return {"tests": str(len(suite.findall("testcase"))), **counts, "time": f"{took:.3f}", "timestamp": when}


def _properties(suite: ET.Element, checked: CheckReport, view: RenderContext) -> None:
    there = ET.SubElement(suite, "properties")
    named = [("version", checked.version), ("url", checked.url), *circumstances(checked.context)]
    for number, result in enumerate(checked.results, 1):
        before = f"run {number} " if len(checked.results) > 1 else ""
        named += [(f"{before}{name}", words) for name, words in evidence(result, view.now)]
    for name, words in named:
        ET.SubElement(there, "property", {"name": plain(name), "value": plain(words)})


def _cases(suite: ET.Element, checked: CheckReport, view: RenderContext, result: Result, after: str) -> None:
    who = f"{checked.target}.{result.identity or '-'}"
    for probe in Probe:
        if probe.rank > result.depth.rank:
            continue
        took = result.durations.get(probe, 0.0)
        named = {"classname": plain(who), "name": f"{probe}{after}", "time": f"{took:.3f}"}
        case = ET.SubElement(suite, "testcase", named)
        _judge(case, result, probe, explain(result, checked.context), view)
        grave = slow(result, checked.thresholds).get(probe)
        if grave is not None:
            _say(case, "failure", "slow", too_slow(probe, took, grave.name), view)


def _judge(case: ET.Element, result: Result, probe: Probe, said: Explanation, view: RenderContext) -> None:
    verdict = result.verdicts.get(probe, Verdict.NONE)
    if verdict is Verdict.FAIL:
        _say(case, "failure", cause(result), said, view)
    elif result.impairment is not None and probe is result.depth:
        _say(case, "error", f"our own failure: {result.impairment}", said, view)
    elif verdict is Verdict.NONE:
        ET.SubElement(case, "skipped", {"message": "nothing was proved"})


def _say(case: ET.Element, tag: str, kind: str, said: Explanation, view: RenderContext) -> None:
    element = ET.SubElement(case, tag, {"type": plain(kind), "message": plain(said.sentence)})
    page = said.page and view.page(said.page)
    element.text = "\n".join(plain(part) for part in (said.sentence, said.next_step, page) if part)
