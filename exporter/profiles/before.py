"""The request before the upgrade: what is sent, what is kept of its answer, and where that is filled in.

Rule 1: kept values are text of the network: a value that does not fit where it is filled in fails the session.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any, Final
from urllib.parse import quote

from exporter.config import Before
from exporter.profiles.patterns import VARIABLE, Values, lookup

MAX_KEPT_CHARACTERS: Final = 4_096
"""A longer value is not kept: a signed token of an application has some hundreds."""

PRINTABLE: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]+")
HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
"""RFC 9110 section 5.5, ASCII only."""
SUBPROTOCOL: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 section 5.6.2."""
DOT_SEGMENTS: Final = frozenset({".", ".."})
"""Segments of a path that a server takes out (RFC 3986 section 5.2.4)."""


class UnfitValueError(Exception):
    """A kept value cannot stand where it is filled in; the text is empty, as it would be the network's."""


def kept_values(before: Before, answer: Any) -> dict[str, str | int | float]:
    """Return what is kept of an answer; raises UnfitValueError if a field is absent, or no number and no short text."""
    kept: dict[str, str | int | float] = {}
    for name, path in before.keep.items():
        value = lookup(answer, path)
        if not _can_be_kept(value):
            raise UnfitValueError
        kept[name] = value
    return kept


def texts_at_kept(before: Before, answers: Iterable[Any]) -> list[str]:
    """Return the texts and numbers where values are kept, fit or not: they may be secrets of an answer that fails."""
    found = [lookup(answer, path) for answer in answers for path in before.keep.values()]
    return [str(value) for top in found for value in _scalars_in(top)]


def _scalars_in(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _scalars_in(part)
    elif value is not None and not isinstance(value, bool):
        yield value


def _can_be_kept(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    if isinstance(value, float) and not isfinite(value):
        return False
    text = str(value)
    return len(text) <= MAX_KEPT_CHARACTERS and PRINTABLE.fullmatch(text) is not None


def fill_resource(template: str, values: Values) -> str:
    """Return a path and query with each variable percent-encoded; raises UnfitValueError.

    A value adds no segment, query or fragment, and takes no segment out.
    """
    path, mark, query = template.partition("?")
    segments = [_fill_segment(segment, values) for segment in path.split("/")]
    return "/".join(segments) + mark + _fill_encoded(query, values)


def _fill_segment(template: str, values: Values) -> str:
    filled = _fill_encoded(template, values)
    if filled in DOT_SEGMENTS and filled != template:
        raise UnfitValueError
    return filled


def _fill_encoded(template: str, values: Values) -> str:
    return VARIABLE.sub(lambda name: quote(str(values[name[1]]), safe=""), template)


def fill_headers(headers: Mapping[str, str], values: Values) -> dict[str, str]:
    """Return headers with their variables filled in; raises UnfitValueError for what is not printable ASCII."""
    return {name: _fill_fitting(value, values, HEADER_VALUE) for name, value in headers.items()}


def fill_subprotocols(subprotocols: tuple[str, ...], values: Values) -> tuple[str, ...]:
    """Return subprotocols with their variables filled in; raises UnfitValueError for what is none, or twice there."""
    filled = tuple(_fill_fitting(offer, values, SUBPROTOCOL) for offer in subprotocols)
    if len(set(filled)) < len(filled):
        raise UnfitValueError
    return filled


def _fill_fitting(template: str, values: Values, permitted: re.Pattern[str]) -> str:
    if "${" not in template:
        return template
    filled = VARIABLE.sub(lambda name: str(values[name[1]]), template)
    if permitted.fullmatch(filled) is None:
        raise UnfitValueError
    return filled
