"""A result as one line for files of our own, and back: the document's fields in a short form.

What has its default is left out, moments are unix seconds, a frame is a row. It is a third as long as the document and
a tenth as dear: a history writes one for every session.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Final

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from exporter.result import MAX_KEYS, Close, Frame, Result, evidence_text, key_name


@with_config(ConfigDict(allow_inf_nan=False, hide_input_in_errors=True))
@dataclass(frozen=True, slots=True)
class _ResultRecord:
    result: Result


@cache
def _writer() -> TypeAdapter[Result]:
    """Made when it is needed: that takes milliseconds, and a `check` keeps no history."""
    return TypeAdapter(Result)


@cache
def _reader() -> TypeAdapter[_ResultRecord]:
    return TypeAdapter(_ResultRecord)


OMITTED_FIELDS: Final = {"close": {"text"}}
"""The peer's reason is never told, even if a `Result` should hold one."""


class InvalidReportError(Exception):
    """A sentence: why a document or a line cannot be used."""


def packed(result: Result) -> bytes:
    """A result as a line of JSON, without its end."""
    return _writer().dump_json(result, exclude_defaults=True, exclude=OMITTED_FIELDS)


def unpacked(line: bytes) -> Result:
    """The result that `packed` wrote; raises NotOurs."""
    try:
        read = _reader().validate_json(b'{"result":%b}' % line)
    except ValidationError:
        raise InvalidReportError("it is no result as this version writes it") from None
    return trusted(read.result)


def trusted(result: Result) -> Result:
    """A result that was read, held to the rules again: names and ids to `evidence_text`, a close carries no text.

    Raises NotOurs if it names what no config can, or holds a figure that no session can have.
    """
    if not all(low <= figure <= high for low, high, figures in _figures(result) for figure in figures):
        raise InvalidReportError("it holds a figure that no session can have")
    if not (_fit(result.target) and evidence_text(result.run) and _is_fit(result.identity)):
        raise InvalidReportError("it names a target, identity or run as no config can")
    told = result.evidence
    words = [word for frame in result.transcript for word in (frame.kind, frame.code)]
    if (
        (told.connection_id is None or evidence_text(told.connection_id))
        and not (result.close and result.close.text)
        and all(map(_is_fit, (told.address, *told.failed_addresses, result.error_word, *result.passed_over, *words)))
        and len(result.unknown_keys) <= MAX_KEYS
        and all(map(key_name, result.unknown_keys))
    ):
        return result
    failed = tuple(filter(_fit, told.failed_addresses))
    evidence = replace(
        told, connection_id=evidence_text(told.connection_id), address=_fit(told.address), failed_addresses=failed
    )
    close = result.close and Close(result.close.code, result.close.initiator, result.close.phase)
    passed_over = {kind: number for kind, number in result.passed_over.items() if _fit(kind)}
    transcript = tuple(map(_trusted_frame, result.transcript))
    return replace(
        result,
        evidence=evidence,
        close=close,
        passed_over=passed_over,
        transcript=transcript,
        error_word=_fit(result.error_word),
        unknown_keys=tuple(filter(key_name, result.unknown_keys))[:MAX_KEYS],
    )


MAX_TIMESTAMP_SECONDS: Final = 253_402_300_799.0
MAX_DURATION_SECONDS: Final = 1e9
"""Seconds: longer than any timeout."""

MAX_FIGURE_VALUE: Final = 1e15
"""What a backend may say of itself (`classify.welcome`), and more than can be counted or sent."""

MAX_HTTP_STATUS: Final = 999
MAX_CLOSE_CODE: Final = 0xFFFF


def _figures(result: Result) -> Iterator[tuple[float, float, Iterable[float]]]:
    """The least and the greatest that figures can be, and what they are: a page divides and adds them."""
    told, frames = result.evidence, result.transcript
    moments = (result.started_at, told.server_time, told.certificate_expiry)
    seconds = (result.retry_after, result.refused_after, *result.durations.values(), *result.phases.values())
    said = (told.heartbeat_interval, told.max_message_size, told.address_number, told.addresses, result.slot_limit)
    counts = (result.frames_left_out, *result.passed_over.values(), *(frame.size for frame in frames))
    yield 0.0, MAX_TIMESTAMP_SECONDS, _there(moments)
    yield 0.0, MAX_DURATION_SECONDS, (*_there(seconds), *(frame.at for frame in frames))
    yield 0.0, MAX_FIGURE_VALUE, (*_there(said), *counts)
    yield -MAX_FIGURE_VALUE, MAX_FIGURE_VALUE, _there((told.clock_skew,))
    yield 100, MAX_HTTP_STATUS, _there((result.http_status,))
    yield 0, MAX_CLOSE_CODE, () if result.close is None else (result.close.code,)


def _there(figures: Iterable[float | None]) -> Iterator[float]:
    return (figure for figure in figures if figure is not None)


def _is_fit(word: str | None) -> bool:
    return word is None or _fit(word) is not None


def _trusted_frame(frame: Frame) -> Frame:
    return frame._replace(kind=_fit(frame.kind), code=_fit(frame.code))


_fit: Final = lru_cache(maxsize=1024)(evidence_text)
"""Names, kinds and codes come again and again."""
