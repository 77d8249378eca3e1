"""A result in words, for people and for machines.

Rule 1: pure: results and a time go in, text comes out; files, terminals and colours are `commands`'s.
Rule 2: one table explains results (`causes_*`); each format shows its words and has none of its own.
Rule 3: each format escapes all that it is given, wherever it came from (`escape`).
Rule 4: the JSON is a contract (`schema_version`): it is extended, never changed.
"""

from exporter.report.address import public_url
from exporter.report.check_report import (
    CheckReport,
    CheckStatus,
    FailOn,
    RenderContext,
    Threshold,
    exit_code,
    passed,
    status,
)
from exporter.report.comparison import Comparison, compare
from exporter.report.context import UNKNOWN_CONTEXT, TargetContext
from exporter.report.document import result_document
from exporter.report.explain import Explanation, explain, likeness
from exporter.report.formats import FORMATS, SERIES_FORMATS
from exporter.report.formatting import span
from exporter.report.line import line, skip_line
from exporter.report.reading import BaselineReport, read_document
from exporter.report.record import MAX_TIMESTAMP_SECONDS, InvalidReportError, packed, unpacked
from exporter.report.series import (
    REQUIRED_PASSES,
    CheckSeries,
    progress,
    series_exit_code,
    series_status,
    until_healthy,
    verdict_line,
    worth_a_line,
)
from exporter.report.several import SEVERAL_FORMATS, explained, several_exit_code, target_line
from exporter.report.shapes import name_shape
from exporter.report.summary import summarise

__all__ = [
    "FORMATS",
    "MAX_TIMESTAMP_SECONDS",
    "REQUIRED_PASSES",
    "SERIES_FORMATS",
    "SEVERAL_FORMATS",
    "UNKNOWN_CONTEXT",
    "BaselineReport",
    "CheckReport",
    "CheckSeries",
    "CheckStatus",
    "Comparison",
    "Explanation",
    "FailOn",
    "InvalidReportError",
    "RenderContext",
    "TargetContext",
    "Threshold",
    "compare",
    "exit_code",
    "explain",
    "explained",
    "likeness",
    "line",
    "name_shape",
    "packed",
    "passed",
    "progress",
    "public_url",
    "read_document",
    "result_document",
    "series_exit_code",
    "series_status",
    "several_exit_code",
    "skip_line",
    "span",
    "status",
    "summarise",
    "target_line",
    "unpacked",
    "until_healthy",
    "verdict_line",
    "worth_a_line",
]
