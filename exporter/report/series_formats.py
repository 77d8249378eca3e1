"""A series as Markdown (`--report report.md`), as text for a terminal, as JSON (`--compare before.json` reads it)."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import compress
from typing import Any, Final

from exporter.report.check_report import RenderContext
from exporter.report.comparison import Comparison
from exporter.report.document import head, result_document, written
from exporter.report.escape import code, fit, lines, plain, prose
from exporter.report.findings import findings
from exporter.report.formatting import iso
from exporter.report.markdown import table
from exporter.report.sections import Section, sections
from exporter.report.series import CheckSeries, series_exit_code, series_status, verdict_line
from exporter.report.summary import summarise
from exporter.report.text import INDENT, TEXT_COLUMNS, paragraph

MAX_CELL_CHARACTERS: Final = 50


def series_markdown(series: CheckSeries, view: RenderContext, comparison: Comparison | None = None) -> str:
    """The report of a series."""
    shown = [f"# {code(series.checked.target)}: {prose(verdict_line(series))}", "", code(series.checked.url), ""]
    for section in sections(series, view, comparison):
        shown += [f"## {prose(section.title)}", ""]
        shown += [line for sentence in section.sentences for line in (prose(sentence), "")]
        if section.heads:
            shown += table(section.heads, (_cells(section, row) for row in section.rows))
    return "\n".join(shown).rstrip() + "\n"


def _cells(section: Section, row: tuple[str, ...]) -> tuple[str, ...]:
    pairs = zip(section.heads, row, strict=True)
    return tuple(code(cell) if cell and name in section.names else prose(cell) for name, cell in pairs)


def series_text(series: CheckSeries, view: RenderContext, comparison: Comparison | None = None) -> str:
    """The same for a terminal: at most 100 columns."""
    shown = [*_whole(verdict_line(series)), fit(f"{plain(series.checked.target)}  {series.checked.url}", TEXT_COLUMNS)]
    for section in sections(series, view, comparison):
        shown += ["", fit(section.title, TEXT_COLUMNS)]
        shown += [line for sentence in section.sentences for line in paragraph("", sentence)]
        if section.heads:
            shown += _aligned(section)
    return lines(shown)


def _whole(sentence: str) -> list[str]:
    return [line.removeprefix(INDENT) for line in paragraph("", sentence)]


def _aligned(section: Section) -> Iterator[str]:
    """Columns as wide as their widest cell; what is beyond 100 columns is cut."""
    there = [head not in section.wide for head in section.heads]
    cells = [
        [fit(cell, MAX_CELL_CHARACTERS) for cell in compress(row, there)] for row in (section.heads, *section.rows)
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield fit(f"{INDENT}{padded}".rstrip(), TEXT_COLUMNS)


def series_document(series: CheckSeries, view: RenderContext, comparison: Comparison | None = None) -> dict[str, Any]:
    """A series as a JSON object: what a check's has, the figures, and each result."""
    return {
        **head("series", series.checked, view),
        "finished_at": iso(series.finished_at),
        "timeout": series.checked.timeout,
        "planned": series.planned,
        "every": series.every,
        "until_healthy": series.until_healthy,
        "needed": series.needed,
        "healthy": series.healthy,
        "status": series_status(series).name.lower(),
        "exit_code": series_exit_code(series, view.fail_on),
        "verdict": verdict_line(series),
        "name_shapes": dict(sorted(series.shapes.items())),
        "findings": [asdict(finding) for finding in findings(series)],
        "comparison": None if comparison is None else asdict(comparison),
        "summary": asdict(summarise(series.results)),
        "skips": [str(skip.cause) for skip in series.skips],
        "results": [result_document(result, series.checked.context) for result in series.results],
    }


def series_json(series: CheckSeries, view: RenderContext, comparison: Comparison | None = None) -> str:
    """A series as JSON."""
    return written(series_document(series, view, comparison))
