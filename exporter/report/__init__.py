"""Explains results to people and to programs.

Rule 1: pure: results and a time go in, text comes out; files, terminals and colours belong to `commands`.
Rule 2: one table explains results (`causes_*`); each format shows its sentences and adds none of its own.
Rule 3: each format escapes every text it is given, wherever the text came from (`escape`).
Rule 4: the JSON is a contract (`schema_version`): fields are added, never changed.
"""

from exporter.report.check_report import (
    CheckReport,
    CheckStatus,
    FailOn,
    RenderContext,
    exit_code,
    pages_at,
    passed,
    several_exit_code,
    status,
)
from exporter.report.document import held_document, read_document, result_document
from exporter.report.explain import Explanation, explain, find_layer, similarity_key
from exporter.report.formats import FORMATS, SERIES_FORMATS, SEVERAL_FORMATS
from exporter.report.formatting import span
from exporter.report.record import MAX_TIMESTAMP_SECONDS, InvalidReportError, pack_result, unpack_result
from exporter.report.redaction import name_shape, public_url
from exporter.report.series import (
    REQUIRED_PASSES,
    CheckSeries,
    is_healthy,
    is_progress_due,
    progress_line,
    series_exit_code,
    series_status,
    verdict_line,
)
from exporter.report.situation import UNKNOWN_CONTEXT, TargetContext
from exporter.report.summary import BaselineReport, Comparison, compare, summarise
from exporter.report.text import explain_failing, session_line, skip_line, target_line

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
    "compare",
    "exit_code",
    "explain",
    "explain_failing",
    "find_layer",
    "held_document",
    "is_healthy",
    "is_progress_due",
    "name_shape",
    "pack_result",
    "pages_at",
    "passed",
    "progress_line",
    "public_url",
    "read_document",
    "result_document",
    "series_exit_code",
    "series_status",
    "session_line",
    "several_exit_code",
    "similarity_key",
    "skip_line",
    "span",
    "status",
    "summarise",
    "target_line",
    "unpack_result",
    "verdict_line",
]
