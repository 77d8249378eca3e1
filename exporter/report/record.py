"""A result as one line of JSON for the exporter's own files, and read back.

The line omits default values, writes times as unix seconds and frames as rows. It is a third as long as the document
and ten times cheaper to write: the history writes one for every session.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Final

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from exporter.result import MAX_KEYS, Close, Result, evidence_text, key_name


@with_config(ConfigDict(allow_inf_nan=False, hide_input_in_errors=True))
@dataclass(frozen=True, slots=True)
class _ResultRecord:
    result: Result


@cache
def _writer() -> TypeAdapter[Result]:
    """Built on first use: it takes milliseconds, and a `check` keeps no history."""
    return TypeAdapter(Result)


@cache
def _reader() -> TypeAdapter[_ResultRecord]:
    return TypeAdapter(_ResultRecord)


OMITTED_FIELDS: Final = {"close": {"text"}}
"""The reason text of the peer is never written, even if a `Result` should hold one."""


class InvalidReportError(Exception):
    """Why a document or a line cannot be used, as a sentence."""


def pack_result(result: Result) -> bytes:
    """A result as a line of JSON, without the line break."""
    return _writer().dump_json(result, exclude_defaults=True, exclude=OMITTED_FIELDS)


def unpack_result(line: bytes) -> Result:
    """The result that `pack_result` wrote; raises InvalidReportError."""
    try:
        record = _reader().validate_json(b'{"result":%b}' % line)
    except ValidationError:
        raise InvalidReportError("it is no result as this version writes it") from None
    return sanitised(record.result)


def sanitised(result: Result) -> Result:
    """A result that was read, without texts that the exporter would not have written: unsafe ids, reasons of closes.

    Raises InvalidReportError if a name is one that no config can have, or a figure is one that no session can have.
    """
    if not all(low <= figure <= high for low, high, figures in _bounded_figures(result) for figure in figures):
        raise InvalidReportError("it holds a figure that no session can have")
    if not (_fit(result.target) and evidence_text(result.run) and _is_fit(result.identity)):
        raise InvalidReportError("it names a target, identity or run as no config can")
    evidence = result.evidence
    words = [word for frame in result.transcript for word in (frame.kind, frame.code)]
    words += [evidence.address, *evidence.failed_addresses, result.error_word, *result.passed_over]
    if (
        (evidence.connection_id is None or evidence_text(evidence.connection_id))
        and not (result.close and result.close.text)
        and all(map(_is_fit, words))
        and (result.rule is None or RULE_PATH.fullmatch(result.rule))
        and len(result.unknown_keys) <= MAX_KEYS
        and all(map(key_name, result.unknown_keys))
    ):
        return result
    close = result.close
    return replace(
        result,
        evidence=replace(
            evidence,
            connection_id=evidence_text(evidence.connection_id),
            address=_fit(evidence.address),
            failed_addresses=tuple(filter(_fit, evidence.failed_addresses)),
        ),
        close=close and Close(close.code, close.initiator, close.phase),
        passed_over={kind: number for kind, number in result.passed_over.items() if _fit(kind)},
        transcript=tuple(frame._replace(kind=_fit(frame.kind), code=_fit(frame.code)) for frame in result.transcript),
        error_word=_fit(result.error_word),
        rule=result.rule if result.rule is not None and RULE_PATH.fullmatch(result.rule) else None,
        unknown_keys=tuple(filter(key_name, result.unknown_keys))[:MAX_KEYS],
    )


RULE_PATH: Final = re.compile(r"(errors|closes|statuses)\[\d{1,4}\]", re.ASCII)
"""Where a rule stands in its profile."""

MAX_TIMESTAMP_SECONDS: Final = 253_402_300_799.0
MAX_DURATION_SECONDS: Final = 1e9
"""Longer than any timeout."""

MAX_FIGURE_VALUE: Final = 1e15
"""The largest figure of a welcome (`classify.welcome`), and more than can be counted or sent."""

MAX_HTTP_STATUS: Final = 999
MAX_CLOSE_CODE: Final = 0xFFFF


def _bounded_figures(result: Result) -> Iterator[tuple[float, float, Iterable[float]]]:
    """The least and the greatest value of figures, and the figures: the status page divides and adds them."""
    evidence, frames = result.evidence, result.transcript
    times = (result.started_at, evidence.server_time, evidence.certificate_expiry)
    durations = (result.retry_after, result.refused_after, *result.durations.values(), *result.phases.values())
    limits = (evidence.heartbeat_interval, evidence.max_message_size, result.slot_limit)
    addresses = (evidence.address_number, evidence.addresses)
    counts = (result.frames_left_out, *result.passed_over.values(), *(frame.size for frame in frames))
    yield 0.0, MAX_TIMESTAMP_SECONDS, _known(times)
    yield 0.0, MAX_DURATION_SECONDS, (*_known(durations), *(frame.at for frame in frames))
    yield 0.0, MAX_FIGURE_VALUE, (*_known((*limits, *addresses)), *counts)
    yield -MAX_FIGURE_VALUE, MAX_FIGURE_VALUE, _known((evidence.clock_skew,))
    yield 100, MAX_HTTP_STATUS, _known((result.http_status, result.interim_status, result.stream_status))
    yield 0, MAX_CLOSE_CODE, () if result.close is None else (result.close.code,)


def _known(figures: Iterable[float | None]) -> Iterator[float]:
    return (figure for figure in figures if figure is not None)


def _is_fit(word: str | None) -> bool:
    return word is None or _fit(word) is not None


_fit: Final = lru_cache(maxsize=1024)(evidence_text)
"""Cached, since names, kinds and codes repeat."""
