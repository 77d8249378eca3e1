"""Patterns and templates: JSON values of a profile against JSON values of a session.

Rule 1: a function here knows no profile.
"""

import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from exporter.config import LARGEST_NUMBER

VARIABLE: Final = re.compile(r"\$\{(\w+)\}")

INDEX: Final = re.compile(r"[0-9]{1,4}")
"""A part of a path that is an index of a list."""

ANY_VALUE: Final = "${any}"
"""As a whole value of a pattern: any value that is present."""
NUMBER_VARIABLE: Final = "${number}"
"""As a whole value: an integer of this session."""


def number_of(nonce: str) -> int:
    """Return the integer from 1 to 2^31 - 1 that replaces a session's nonce where a protocol requires a number."""
    return zlib.crc32(nonce.encode()) % LARGEST_NUMBER + 1


Values = Mapping[str, str | int | float]
"""The values of a session's variables, by name."""


def fill(template: Any, values: Values) -> Any:
    """Return the template with each `${name}` in its strings replaced; raises KeyError for a name without a value.

    `${any}` stays for `matches`; `${number}` becomes the number of `values["nonce"]`. A string that is one variable and
    no more becomes its value, which may be a number.
    """
    if isinstance(template, str):
        return template if "$" not in template or template == ANY_VALUE else _fill_text(template, values)
    if isinstance(template, dict):
        return {key: fill(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(value, values) for value in template]
    return template


def _fill_text(template: str, values: Values) -> str | int | float:
    if template == NUMBER_VARIABLE:
        return number_of(str(values["nonce"]))
    whole = VARIABLE.fullmatch(template)
    return VARIABLE.sub(lambda name: str(values[name[1]]), template) if whole is None else values[whole[1]]


def variables(template: Any) -> Iterator[str]:
    """Yield the names of the `${…}` in the strings of a template, with repetitions."""
    if isinstance(template, str):
        yield from VARIABLE.findall(template)
    for part in template.values() if isinstance(template, Mapping) else template if isinstance(template, list) else ():
        yield from variables(part)


def matches(pattern: Any, value: Any) -> bool:
    """Whether a JSON value contains the pattern.

    Objects contain, lists agree item by item, all else is equal in value and JSON type: `true` is not 1, 1 is 1.0.
    `${any}` as a whole value is any value that is present.
    """
    if not isinstance(pattern, dict):
        return _contains(pattern, value, _equals_scalar)
    if not isinstance(value, dict):
        return False
    # Called forty times in a session; most patterns fail at the text of their first field.
    for name, inner in pattern.items():
        if name not in value or (
            value[name] != inner and inner != ANY_VALUE if type(inner) is str else not matches(inner, value[name])
        ):
            return False
    return True


def matches_noise(pattern: Any, value: Any) -> bool:
    """As `matches`, where `{}` as the whole pattern is the empty object alone."""
    return bool(value == {}) if pattern == {} else matches(pattern, value)


def resembles(pattern: Any, value: Any) -> bool:
    """As `matches`, where a `${…}` stands for any string and `${number}` for any number: a reply to another session."""
    return _contains(pattern, value, _resembles_scalar)


def _contains(pattern: Any, value: Any, agree: Callable[[Any, Any], bool]) -> bool:
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            key in value and _contains(inner, value[key], agree) for key, inner in pattern.items()
        )
    if isinstance(pattern, list):
        same_length = isinstance(value, list) and len(pattern) == len(value)
        return same_length and all(_contains(inner, item, agree) for inner, item in zip(pattern, value, strict=True))
    return agree(pattern, value)


def _equals_scalar(pattern: Any, value: Any) -> bool:
    return pattern == ANY_VALUE or (isinstance(pattern, bool) is isinstance(value, bool) and bool(pattern == value))


def _resembles_scalar(pattern: Any, value: Any) -> bool:
    if pattern == NUMBER_VARIABLE:
        return isinstance(value, int) and not isinstance(value, bool)
    is_blank = isinstance(pattern, str) and VARIABLE.search(pattern) is not None
    return isinstance(value, str) if is_blank and pattern != ANY_VALUE else _equals_scalar(pattern, value)


def lookup(value: Any, path: str) -> Any:
    """Return the field at a dotted path, or None; a number in the path is an index of a list."""
    for part in _parts(path):
        if isinstance(value, list) and INDEX.fullmatch(part) and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            return None
    return value


@lru_cache(maxsize=1024)
def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))
