"""The formats of `check --output`, by name: of one check, of a series, of several checks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from exporter.report.check_report import CheckReport, RenderContext
from exporter.report.ci import github, junit, series_github, several_junit
from exporter.report.document import as_json, series_json, several_json
from exporter.report.markdown import markdown, series_markdown
from exporter.report.nagios import nagios, series_nagios, several_nagios
from exporter.report.series import CheckSeries
from exporter.report.summary import Comparison
from exporter.report.text import series_text, several_text, text

Format = Callable[[CheckReport, RenderContext], str]
SeriesFormat = Callable[[CheckSeries, RenderContext, Comparison | None], str]
SeveralFormat = Callable[[Sequence[CheckReport], RenderContext], str]

FORMATS: Final[Mapping[str, Format]] = {
    "text": text,
    "json": as_json,
    "nagios": nagios,
    "markdown": markdown,
    "junit": junit,
    "github": github,
}

SERIES_FORMATS: Final[Mapping[str, SeriesFormat]] = {
    "text": series_text,
    "json": series_json,
    "nagios": series_nagios,
    "markdown": series_markdown,
    "junit": lambda series, view, _: junit(series.report, view),
    "github": series_github,
}
"""JUnit shows each session, as for a check: also the failures before a series became healthy."""


def _joined(single: Format, separator: str) -> SeveralFormat:
    return lambda reports, view: separator.join(single(report, view) for report in reports)


SEVERAL_FORMATS: Final[Mapping[str, SeveralFormat]] = {
    "text": several_text,
    "json": several_json,
    "nagios": several_nagios,
    "markdown": _joined(markdown, "\n"),
    "junit": several_junit,
    "github": _joined(github, ""),
}
