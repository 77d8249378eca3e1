"""A result and a check as JSON: the schema is a contract. The way back: `reading`. A shorter form: `record`.

Version 1: moments are ISO 8601 in UTC, stretches are seconds, sizes are bytes; every field of a `Result` is there, a
value that is not there is null. Fields are added, never changed; a reader passes over what it does not know.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from enum import Enum
from math import isfinite
from typing import Any, Final

from exporter.report.check_report import CheckReport, RenderContext, exit_code, status, status_of
from exporter.report.context import UNKNOWN_CONTEXT, TargetContext
from exporter.report.explain import explain
from exporter.report.formatting import iso
from exporter.result import Close, Evidence, Frame, Phase, Probe, Result

SCHEMA_VERSION: Final = 1
TOOL: Final = "ws-factory-exporter"
MOMENTS: Final = frozenset({"started_at", "server_time", "certificate_expiry"})


def result_document(result: Result, context: TargetContext = UNKNOWN_CONTEXT) -> dict[str, Any]:
    """A result as a JSON object: its fields in their order, its status, and what explains it."""
    document = {field.name: _value(field.name, getattr(result, field.name)) for field in fields(result)}
    return {**document, "status": status_of(result).name.lower(), "explanation": asdict(explain(result, context))}


_EVIDENCE: Final = tuple(field.name for field in fields(Evidence))
_CLOSE: Final = ("code", "initiator", "phase")
"""The peer's reason is never told, even if a `Result` should hold one."""


def _value(name: str, value: Any) -> Any:
    if name in MOMENTS:
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
    if isinstance(value, Close | Evidence):
        names = _CLOSE if isinstance(value, Close) else _EVIDENCE
        return {name: _value(name, getattr(value, name)) for name in names}
    return value


def _ordered(mapping: Mapping[Any, Any]) -> Iterable[tuple[Any, Any]]:
    """Probes and phases in their order, other keys by the alphabet: equal results give equal text."""
    return sorted(mapping.items(), key=lambda item: (_ORDER.get(item[0], 0), str(item[0])))


_ORDER: Final[Mapping[Any, int]] = {word: place for place, word in reversed([*enumerate([*Probe, *Phase])])}
"""`auth` is a probe and a phase: the first place counts."""


def head(kind: str, checked: CheckReport, view: RenderContext) -> dict[str, Any]:
    """What every document of ours starts with."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": TOOL,
        "version": checked.version,
        "kind": kind,
        "target": checked.target,
        "url": checked.url,
        "profile": checked.context.profile,
        "profile_assumed": checked.context.assumed,
        "context": asdict(checked.context),
        "started_at": iso(checked.started_at),
        "written_at": iso(view.now),
    }


def check_document(checked: CheckReport, view: RenderContext) -> dict[str, Any]:
    """A check as a JSON object."""
    return {
        **head("check", checked, view),
        "timeout": checked.timeout,
        "status": status(checked).name.lower(),
        "exit_code": exit_code(checked, view.fail_on),
        "refusal": checked.refusal,
        "thresholds": {str(probe): asdict(limit) for probe, limit in _ordered(checked.thresholds)},
        "results": [result_document(result, checked.context) for result in checked.results],
    }


def written(document: Mapping[str, Any]) -> str:
    """JSON in ASCII with stable keys: any terminal and any file can hold it."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def as_json(checked: CheckReport, view: RenderContext) -> str:
    """A check as JSON."""
    return written(check_document(checked, view))
