"""Results, checks and series as JSON, and read back: the schema is a contract.

Version 1: times are ISO 8601 in UTC, durations are seconds, sizes are bytes. Every field of a `Result` is present; a
value that is not known is null. Fields are added, never changed; a reader ignores the fields that it does not know.
A document may have been written by hand, by another tool or by a later version: what cannot be used is an
`InvalidReportError` that names the place, never a traceback and never the text itself.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from enum import Enum
from math import isfinite
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from exporter.report.check_report import (
    CheckReport,
    RenderContext,
    exit_code,
    several_exit_code,
    status,
    status_of,
    worst,
)
from exporter.report.explain import explain
from exporter.report.formatting import iso
from exporter.report.record import InvalidReportError, sanitised
from exporter.report.sections import findings
from exporter.report.series import CheckSeries, series_exit_code, series_status, verdict_line
from exporter.report.situation import UNKNOWN_CONTEXT, TargetContext
from exporter.report.summary import BaselineReport, Comparison, summarise
from exporter.result import (
    PROXIES,
    SERVERS,
    Close,
    ConnectionEnd,
    Evidence,
    FailedOpening,
    Frame,
    Heartbeats,
    HeldConnection,
    Phase,
    Probe,
    Result,
    RoundTrip,
    evidence_text,
)

SCHEMA_VERSION: Final = 1
TOOL: Final = "ws-factory-exporter"
HELD_MOMENTS: Final = ("opened_at", "deaf_since", "last_at", "ended_at", "failed_at")
TIME_FIELDS: Final = frozenset({"started_at", "server_time", "certificate_expiry", *HELD_MOMENTS})

HeldPart = HeldConnection | ConnectionEnd | FailedOpening | Heartbeats | RoundTrip
OPTIONAL_CONTEXT_FIELDS: Final = frozenset({"framing", "causes", "proves", "server", "behind"})


def _context_document(context: TargetContext) -> dict[str, Any]:
    """A context without a framing that is JSON, texts of a profile that has none, and software that is not named."""
    document = asdict(context)
    return {name: value for name, value in document.items() if value or name not in OPTIONAL_CONTEXT_FIELDS}


def result_document(result: Result, context: TargetContext = UNKNOWN_CONTEXT) -> dict[str, Any]:
    """A result as a JSON object: its fields in their order, its status and its explanation."""
    document = {field.name: _value(field.name, getattr(result, field.name)) for field in fields(result)}
    return {**document, "status": status_of(result).name.lower(), "explanation": asdict(explain(result, context))}


def held_document(held: HeldConnection | None) -> dict[str, Any] | None:
    """A held connection as a JSON object; None: there is none."""
    return None if held is None else _fields(held)


def _fields(value: Evidence | HeldPart) -> dict[str, Any]:
    return {field.name: _value(field.name, getattr(value, field.name)) for field in fields(value)}


_CLOSE_FIELDS: Final = ("code", "initiator", "phase")
"""The reason text of the peer is never written, even if a `Result` should hold one."""


def _value(name: str, value: Any) -> Any:
    if name in TIME_FIELDS:
        return iso(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return round(value, 6) if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _value("", inner) for key, inner in _ordered(value)}
    if isinstance(value, Frame):
        return {name: _value(name, inner) for name, inner in value._asdict().items()}
    if isinstance(value, tuple):
        return [_value("", inner) for inner in value]
    if isinstance(value, Close):
        return {name: _value(name, getattr(value, name)) for name in _CLOSE_FIELDS}
    return _fields(value) if isinstance(value, Evidence | HeldPart) else value


def _ordered(mapping: Mapping[Any, Any]) -> Iterable[tuple[Any, Any]]:
    """Probes and phases in their order, other keys alphabetically: equal results give equal documents."""
    return sorted(mapping.items(), key=lambda item: (_ORDER.get(item[0], 0), str(item[0])))


_ORDER: Final[Mapping[Any, int]] = {name: place for place, name in reversed([*enumerate([*Probe, *Phase])])}
"""`auth` is a probe and a phase: its place as a probe counts."""


def _head(kind: str, report: CheckReport, view: RenderContext) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": TOOL,
        "version": report.version,
        "kind": kind,
        "target": report.target,
        "url": report.url,
        "origin": report.origin,
        "profile": report.context.profile,
        "profile_assumed": report.context.assumed,
        "context": _context_document(report.context),
        "started_at": iso(report.started_at),
        "written_at": iso(view.now),
    }


def _check_document(report: CheckReport, view: RenderContext) -> dict[str, Any]:
    return {
        **_head("check", report, view),
        "timeout": report.timeout,
        "status": status(report).name.lower(),
        "exit_code": exit_code(report, view.fail_on),
        "refusal": report.refusal,
        "thresholds": {},
        "held": held_document(report.held),
        "results": [result_document(result, report.context) for result in report.results],
    }


def _series_document(series: CheckSeries, view: RenderContext, comparison: Comparison | None) -> dict[str, Any]:
    return {
        **_head("series", series.report, view),
        "finished_at": iso(series.finished_at),
        "timeout": series.report.timeout,
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
        "results": [result_document(result, series.report.context) for result in series.results],
    }


def _several_document(reports: Sequence[CheckReport], view: RenderContext) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": TOOL,
        "version": reports[0].version,
        "kind": "checks",
        "written_at": iso(view.now),
        "status": worst(map(status, reports)).name.lower(),
        "exit_code": several_exit_code(reports, view),
        "checks": [_check_document(report, view) for report in reports],
    }


def _dump_json(document: Mapping[str, Any]) -> str:
    """JSON in ASCII, with its keys in a stable order: every terminal and every file can hold it."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def as_json(report: CheckReport, view: RenderContext) -> str:
    """A check as JSON."""
    return _dump_json(_check_document(report, view))


def series_json(series: CheckSeries, view: RenderContext, comparison: Comparison | None = None) -> str:
    """A series as JSON; `--compare` reads it."""
    return _dump_json(_series_document(series, view, comparison))


def several_json(reports: Sequence[CheckReport], view: RenderContext) -> str:
    """Several checks as JSON."""
    return _dump_json(_several_document(reports, view))


# Reading --------------------------------------------------------------------------------------------------------------

DOCUMENT_KINDS: Final = ("check", "series")
MAX_TIME_LENGTH: Final = 64
MAX_PLACE_LENGTH: Final = 128
PRINTABLE_TEXT: Final = re.compile(r"[\x20-\x7e]{0,300}", re.ASCII)
"""What a context may hold: names of profiles, hosts, headers and settings, and where the token stands."""

MAX_SENTENCE_CHARACTERS: Final = 2_000
"""Of a profile's own text about a rule or a probe."""


@with_config(ConfigDict(allow_inf_nan=False, hide_input_in_errors=True))
@dataclass(frozen=True, slots=True)
class _ReportDocument:
    """The part of a document that is read; no document has the `text` of a close."""

    target: str
    started_at: float
    results: tuple[Result, ...]
    context: TargetContext = UNKNOWN_CONTEXT
    origin: str | None = None
    held: HeldConnection | None = None


_READER: Final = TypeAdapter(_ReportDocument)


def read_document(text: str | bytes) -> BaselineReport:
    """The results of a document that `as_json` or `series_json` wrote; raises InvalidReportError."""
    document = _parsed(text)
    _check_kind(document)
    try:
        read = _READER.validate_python(_with_unix_times(document))
    except ValidationError as error:
        raise InvalidReportError(_error_text(error)) from None
    if evidence_text(read.target) is None:
        raise InvalidReportError("it names a target as no config can")
    results, origin = tuple(map(sanitised, read.results)), evidence_text(read.origin)
    return BaselineReport(read.target, read.started_at, results, _sanitised_context(read.context), origin, read.held)


def _sanitised_context(context: TargetContext) -> TargetContext:
    """The context if a config can have all its texts and words, else `UNKNOWN_CONTEXT`."""
    texts = [
        context.profile,
        context.host,
        context.carrier,
        context.framing,
        *(context.headers or ()),
        *context.settings,
    ]
    if not all(text is None or PRINTABLE_TEXT.fullmatch(text) for text in texts):
        return UNKNOWN_CONTEXT
    if context.server not in {None, *SERVERS} or not PROXIES.issuperset(context.behind):
        return UNKNOWN_CONTEXT
    sentences = [*context.causes.values(), *context.proves.values()]
    are_fit = all(len(text) <= MAX_SENTENCE_CHARACTERS and text.isprintable() for text in sentences)
    return context if are_fit else replace(context, causes={}, proves={})


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidReportError("it is not JSON: give the file that `check --output json` or a series wrote") from None


def _check_kind(document: Any) -> None:
    if not isinstance(document, Mapping) or document.get("tool") != TOOL or document.get("kind") not in DOCUMENT_KINDS:
        raise InvalidReportError(
            f"it is JSON, but no report of {TOOL}: give the file that `check --output json` or a series wrote"
        )
    version = document.get("schema_version")
    if isinstance(version, bool) or version != SCHEMA_VERSION:
        raise InvalidReportError(
            f"its schema version is not {SCHEMA_VERSION}: write it again with this version of {TOOL}"
        )


def _with_unix_times(value: Any, name: str = "") -> Any:
    """The document with unix seconds for times; text that is no time stays, and fails validation by its type."""
    if isinstance(value, Mapping):
        return {key: _with_unix_times(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_unix_times(inner) for inner in value]
    return _unix(value) if name in TIME_FIELDS and isinstance(value, str) else value


def _unix(text: str) -> float | str:
    try:
        return datetime.fromisoformat(text[:MAX_TIME_LENGTH]).timestamp()
    except (ValueError, OverflowError):
        return text


def _error_text(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])[:MAX_PLACE_LENGTH]
    return f"`{place}` is not what this version writes: write it again with this version of {TOOL}"
