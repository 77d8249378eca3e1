"""The formats of `check --output`, by name: of one check, and of a series."""

from collections.abc import Callable, Mapping
from typing import Final

from exporter.report.check_report import CheckReport, RenderContext
from exporter.report.comparison import Comparison
from exporter.report.document import as_json
from exporter.report.github import github
from exporter.report.junit import junit
from exporter.report.markdown import markdown
from exporter.report.nagios import nagios
from exporter.report.series import CheckSeries
from exporter.report.series_formats import series_json, series_markdown, series_text
from exporter.report.series_lines import series_github, series_nagios
from exporter.report.text import text

Format = Callable[[CheckReport, RenderContext], str]
SeriesFormat = Callable[[CheckSeries, RenderContext, Comparison | None], str]

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
    "junit": lambda series, view, _: junit(series.checked, view),
    "github": series_github,
}
"""JUnit tells each session, as for a check: earlier failures too, where the series became healthy in the end."""
