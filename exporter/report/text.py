"""A check for a terminal, a ticket or a mail: at most 100 columns, no control character, no colour of its own."""

from collections.abc import Iterator
from itertools import chain
from textwrap import wrap
from typing import Final

from exporter.report.check_report import CheckReport, RenderContext, explanations, refusal_of, slow, status
from exporter.report.escape import fit, lines, plain
from exporter.report.evidence import circumstances, evidence
from exporter.report.explain import Explanation
from exporter.report.formatting import cause, moment, seconds
from exporter.report.waterfall import waterfall
from exporter.result import Probe, Result, Verdict

TEXT_COLUMNS: Final = 100
INDENT: Final = "  "
LABEL_COLUMNS: Final = 13


def text(checked: CheckReport, view: RenderContext) -> str:
    """The whole check; each session a block: phases, verdicts, how it ended, why, and the page to open."""
    blocks = [[_title(checked)], *(list(_session(result, checked, view)) for result in checked.results)]
    refusal = refusal_of(checked)
    if refusal is not None:
        blocks.append([fit(f"not checked · {moment(checked.started_at)}", TEXT_COLUMNS), "", *_words(refusal, view)])
    return lines(chain.from_iterable(blocks)).rstrip() + "\n"


def _title(checked: CheckReport) -> str:
    return fit(f"{status(checked).name}  {plain(checked.target)}  {checked.url}", TEXT_COLUMNS)


def _session(result: Result, checked: CheckReport, view: RenderContext) -> Iterator[str]:
    about = (result.identity or "no identity", moment(result.started_at), str(result.trigger), f"run {result.run}")
    yield fit(" · ".join(map(plain, about)), TEXT_COLUMNS)
    phases = list(waterfall(result))
    if phases:
        yield ""
        yield from (fit(INDENT + line, TEXT_COLUMNS) for line in phases)
    yield ""
    yield from (INDENT + _verdict(result, probe, checked) for probe in Probe if probe.rank <= result.depth.rank)
    facts = [*evidence(result, view.now), *circumstances(checked.context)]
    if facts:
        yield ""
        yield from (fit(f"{INDENT}{name:<{LABEL_COLUMNS}}{words}", TEXT_COLUMNS) for name, words in facts)
    yield ""
    for explanation in explanations(result, checked):
        yield from _words(explanation, view)
        yield ""


def _verdict(result: Result, probe: Probe, checked: CheckReport) -> str:
    verdict = result.verdicts.get(probe, Verdict.NONE)
    took = result.durations.get(probe)
    grave = slow(result, checked.thresholds).get(probe)
    said = {
        Verdict.PASS: seconds(took) + (f"  SLOW ({grave.name})" if grave else "") if took is not None else "",
        Verdict.FAIL: "" if result.phase is None else f"in {cause(result)}",
        Verdict.NONE: "nothing was proved",
    }
    shown = "FAIL" if verdict is Verdict.FAIL else verdict.value
    return f"{probe:<{LABEL_COLUMNS}}{shown:<6}{said[verdict]}".rstrip()


def _words(explanation: Explanation, view: RenderContext) -> Iterator[str]:
    page = explanation.page
    named = (
        ("why", explanation.sentence),
        ("next", explanation.next_step),
        ("page", page),
        ("open", page and view.place(page)),
    )
    for name, words in named:
        if words is not None:
            label = "" if name == "why" and explanation.page is None else name
            yield from paragraph(label, words)


def paragraph(label: str, words: str) -> list[str]:
    """A sentence wrapped beside its label."""
    indent = INDENT + " " * LABEL_COLUMNS if label else INDENT
    return wrap(
        plain(words),
        TEXT_COLUMNS,
        initial_indent=f"{INDENT}{label:<{LABEL_COLUMNS}}" if label else INDENT,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
