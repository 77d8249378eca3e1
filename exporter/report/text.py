"""The format `text`: a check, a series or several checks for a terminal, a ticket or a mail.

Lines have at most 100 columns, no control character and no colour.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, compress
from textwrap import wrap
from typing import Final

from exporter.report.check_report import CheckReport, CheckStatus, RenderContext, refusal_explanation, status
from exporter.report.escape import fit, lines, plain
from exporter.report.evidence import context_rows, evidence_rows
from exporter.report.explain import Explanation, explain
from exporter.report.formatting import INITIATOR_TEXTS, cause, held_up, moment, reason_text, seconds
from exporter.report.held_line import held_rows
from exporter.report.sections import Section, sections
from exporter.report.series import CheckSeries, verdict_line
from exporter.report.situation import refused_after
from exporter.report.summary import Comparison
from exporter.result import Close, Holdup, Phase, Probe, Result, Skip, Verdict

TEXT_COLUMNS: Final = 100
INDENT: Final = "  "
LABEL_COLUMNS: Final = 13
MAX_CELL_CHARACTERS: Final = 50
STATUS_COLUMNS: Final = max(len(status.name) for status in CheckStatus)
WATERFALL_COLUMNS: Final = 40
EIGHTHS: Final = " ▏▎▍▌▋▊▉█"

# A check -------------------------------------------------------------------------------------------------------------


def text(report: CheckReport, view: RenderContext) -> str:
    """A check; each session is a block: phases, verdicts, evidence, the explanation and the page to open."""
    blocks = [[_title(report)], *(list(_session(result, report, view)) for result in report.results)]
    refusal = refusal_explanation(report)
    if refusal is not None:
        title = fit(f"not checked · {moment(report.started_at)}", TEXT_COLUMNS)
        blocks.append([title, "", *_explanation(refusal, view)])
    return lines(chain.from_iterable(blocks)).rstrip() + "\n"


def _title(report: CheckReport) -> str:
    origin = "" if report.origin is None else f"  from {plain(report.origin)}"
    return fit(f"{status(report).name}  {plain(report.target)}{origin}  {report.url}", TEXT_COLUMNS)


def _session(result: Result, report: CheckReport, view: RenderContext) -> Iterator[str]:
    title = (result.identity or "no identity", moment(result.started_at), str(result.trigger), f"run {result.run}")
    yield fit(" · ".join(map(plain, title)), TEXT_COLUMNS)
    phases = list(_waterfall(result))
    if phases:
        yield ""
        yield from (fit(INDENT + line, TEXT_COLUMNS) for line in phases)
    yield ""
    yield from (INDENT + _verdict(result, probe) for probe in Probe if probe.rank <= result.depth.rank)
    yield from _rows(held_rows(report.held, view.now))
    rows = [*evidence_rows(result, view.now), *context_rows(report.context)]
    if rows and report.held is None:
        yield ""  # else the line of the held connection stands here, so that a check still fits a screen
    yield from _rows(rows)
    yield ""
    yield from _explanation(explain(result, report.context), view)
    yield ""


def _rows(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    return (fit(f"{INDENT}{name:<{LABEL_COLUMNS}}{value}", TEXT_COLUMNS) for name, value in rows)


def _verdict(result: Result, probe: Probe) -> str:
    verdict = result.verdicts.get(probe, Verdict.NONE)
    duration = result.durations.get(probe)
    details = {
        Verdict.PASS: "" if duration is None else seconds(duration),
        Verdict.FAIL: "" if result.phase is None else f"in {cause(result)}",
        Verdict.NONE: "nothing was proved",
    }
    word = "FAIL" if verdict is Verdict.FAIL else verdict.value
    return f"{probe:<{LABEL_COLUMNS}}{word:<6}{details[verdict]}".rstrip()


def _explanation(explanation: Explanation, view: RenderContext) -> Iterator[str]:
    page = explanation.page
    yield from _paragraph(explanation.sentence, "" if page is None else "why")
    labelled = (
        ("layer", explanation.fault),
        ("next", explanation.next_step),
        ("page", page),
        ("open", page and view.place(page)),
    )
    for label, sentence in labelled:
        if sentence is not None:
            yield from _paragraph(sentence, label)


def _paragraph(sentence: str, label: str = "", indent: str = INDENT) -> list[str]:
    """A sentence wrapped beside its label."""
    return wrap(
        plain(sentence),
        TEXT_COLUMNS,
        initial_indent=f"{indent}{label:<{LABEL_COLUMNS}}" if label else indent,
        subsequent_indent=indent + " " * LABEL_COLUMNS if label else indent,
        break_on_hyphens=False,
    )


def _waterfall(result: Result) -> Iterator[str]:
    """A line for each phase that was reached: name, seconds, its bar on the common time axis; and why it failed."""
    failed_after = refused_after(result)
    total, start = sum(result.phases.values()) + (failed_after or 0.0), 0.0
    for phase in Phase:
        reason = result.reason if phase is result.phase else None
        duration = result.phases.get(phase, None if reason is None else failed_after)
        if duration is None and reason is None:
            continue
        mark = "" if reason is None else f" ✗ {reason_text(reason, result.factory_reason)}"
        yield f"{phase:<10} {seconds(duration):>9}  {_bar(start, duration or 0.0, total)}{mark}".rstrip()
        start += duration or 0.0


def _bar(start: float, duration: float, total: float) -> str:
    """A bar in eighths of a column, at least one eighth long, that starts where the bar of the phase before ended."""
    column = min(int(start / total * WATERFALL_COLUMNS), WATERFALL_COLUMNS - 1) if total > 0 else 0
    if duration <= 0:
        return " " * column
    eighths = max(round(duration / total * WATERFALL_COLUMNS * 8), 1)
    full, rest = divmod(min(eighths, (WATERFALL_COLUMNS - column) * 8), 8)
    return " " * column + "█" * full + EIGHTHS[rest].strip()


# One session in a line -----------------------------------------------------------------------------------------------


def session_line(result: Result, resting: tuple[Holdup, float | None] | None = None) -> str:
    """One session in a line: verdict and seconds of each probe, where and why it failed, how it was closed.

    `resting`: why the identity's next sessions send no token, and until when.
    """
    probes = (probe for probe in Probe if probe.rank <= result.depth.rank)
    parts = [result.identity or "-", *(_probe_outcome(result, probe) for probe in probes)]
    if result.impairment is not None:
        parts.append(f"our own failure: {result.impairment}")
    if result.reason is not None:
        parts.append(cause(result))
    if result.close is not None:
        parts.append(_closed(result.close))
    if resting is not None:
        parts.append(f"no token: {held_up(*resting)}")
    return "  ".join(parts)


def skip_line(skip: Skip) -> str:
    """One skipped cycle in a line, with the refusal of the ledger."""
    holdup = "" if skip.holdup is None else f" ({held_up(skip.holdup, skip.until)})"
    return f"-  skipped: {skip.cause}{holdup}"


def _probe_outcome(result: Result, probe: Probe) -> str:
    verdict = result.verdicts.get(probe, Verdict.NONE)
    duration = result.durations.get(probe)
    word = verdict.upper() if verdict is Verdict.FAIL else verdict
    return f"{probe} {word}" + ("" if duration is None else f" {duration:.3f}s")


def _closed(close: Close) -> str:
    return f"closed {close.code} {INITIATOR_TEXTS[close.initiator]}"


# A series ------------------------------------------------------------------------------------------------------------


def series_text(series: CheckSeries, view: RenderContext, comparison: Comparison | None = None) -> str:
    """A series."""
    title = fit(f"{plain(series.report.target)}  {series.report.url}", TEXT_COLUMNS)
    shown = [*_paragraph(verdict_line(series), indent=""), title]
    for section in sections(series, view, comparison):
        shown += ["", fit(section.title, TEXT_COLUMNS)]
        shown += [line for sentence in section.sentences for line in _paragraph(sentence)]
        if section.heads:
            shown += _aligned(section)
    return lines(shown)


def _aligned(section: Section) -> Iterator[str]:
    """The table: columns as wide as their widest cell, lines cut at 100 columns."""
    narrow = [head not in section.wide for head in section.heads]
    cells = [
        [fit(cell, MAX_CELL_CHARACTERS) for cell in compress(row, narrow)] for row in (section.heads, *section.rows)
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield fit(f"{INDENT}{padded}".rstrip(), TEXT_COLUMNS)


# Several targets -----------------------------------------------------------------------------------------------------


def several_text(reports: Sequence[CheckReport], view: RenderContext) -> str:
    """A line for each target, then the whole check of each that is not OK."""
    width = max(len(plain(report.target)) for report in reports)
    return "".join(f"{target_line(report, width)}\n" for report in reports) + explain_failing(reports, view)


def target_line(report: CheckReport, width: int) -> str:
    """One target in a line of at most 100 columns; `width`: columns of its name."""
    outcomes = [session_line(result) for result in report.results]
    outcomes += [] if report.refusal is None else [f"not checked: {report.refusal}"]
    start = f"{status(report).name:<{STATUS_COLUMNS}}  {plain(report.target):<{width}}  "
    return fit(start + "; ".join(map(plain, outcomes)), TEXT_COLUMNS)


def explain_failing(reports: Sequence[CheckReport], view: RenderContext) -> str:
    """The whole check of each target that is not OK."""
    failing = (report for report in reports if status(report) is not CheckStatus.OK)
    return "".join(f"\n{text(report, view)}" for report in failing)
