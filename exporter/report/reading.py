"""A JSON document of ours, read back: for the comparison with an earlier series, and for `check --from`.

It may have been written by hand, by another tool or by a later version of this one: what cannot be used is a
`InvalidReportError` with a sentence that names the place, never a traceback and never the text itself.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from exporter.report.context import UNKNOWN_CONTEXT, TargetContext
from exporter.report.document import MOMENTS, SCHEMA_VERSION, TOOL
from exporter.report.record import InvalidReportError, trusted
from exporter.result import Result, evidence_text

DOCUMENT_KINDS: Final = ("check", "series")
MAX_TARGET_NAME_LENGTH: Final = 64
PRINTABLE_TEXT: Final = re.compile(r"[\x20-\x7e]{0,300}", re.ASCII)
"""Names of profiles, hosts, headers and settings, and what carries a token in words."""


@dataclass(frozen=True, slots=True)
class BaselineReport:
    """An earlier check or series. `started_at` in unix seconds. `context`: what its exporter knew of the target."""

    target: str
    started_at: float
    results: tuple[Result, ...]
    context: TargetContext = UNKNOWN_CONTEXT


@with_config(ConfigDict(allow_inf_nan=False, hide_input_in_errors=True))
@dataclass(frozen=True, slots=True)
class _ReportDocument:
    """The part of a document that we read; the close's `text` stands in no document."""

    target: str
    started_at: float
    results: tuple[Result, ...]
    context: TargetContext = UNKNOWN_CONTEXT


_READER: Final = TypeAdapter(_ReportDocument)


def read_document(text: str | bytes) -> BaselineReport:
    """The results of a JSON document that `as_json` or `series_json` wrote; raises NotOurs."""
    document = _parsed(text)
    _recognised(document)
    try:
        whole = _READER.validate_python(_with_figures(document))
    except ValidationError as error:
        raise InvalidReportError(_sentence(error)) from None
    if evidence_text(whole.target) is None:
        raise InvalidReportError("it names a target as no config can")
    return BaselineReport(whole.target, whole.started_at, tuple(map(trusted, whole.results)), _fit(whole.context))


def _fit(context: TargetContext) -> TargetContext:
    """What was read, if every text of it is one that a config can have; else nothing is known."""
    texts = [context.profile, context.host, context.carrier, *(context.headers or ()), *context.settings]
    return context if all(text is None or PRINTABLE_TEXT.fullmatch(text) for text in texts) else UNKNOWN_CONTEXT


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidReportError("it is not JSON: give the file that `check --output json` or a series wrote") from None


def _recognised(document: Any) -> None:
    if not isinstance(document, Mapping) or document.get("tool") != TOOL or document.get("kind") not in DOCUMENT_KINDS:
        raise InvalidReportError(
            f"it is JSON, but no report of {TOOL}: give the file that `check --output json` or a series wrote"
        )
    version = document.get("schema_version")
    if isinstance(version, bool) or version != SCHEMA_VERSION:
        raise InvalidReportError(
            f"its schema version is not {SCHEMA_VERSION}: write it again with this version of {TOOL}"
        )


def _with_figures(value: Any, name: str = "") -> Any:
    """The same with unix seconds for moments; what is no moment stays, and is refused by its type."""
    if isinstance(value, Mapping):
        return {key: _with_figures(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_figures(inner) for inner in value]
    return _unix(value) if name in MOMENTS and isinstance(value, str) else value


def _unix(text: str) -> float | str:
    try:
        return datetime.fromisoformat(text[:MAX_TARGET_NAME_LENGTH]).timestamp()
    except (ValueError, OverflowError):
        return text


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])[: MAX_TARGET_NAME_LENGTH * 2]
    return f"`{where}` is not what this version writes: write it again with this version of {TOOL}"
