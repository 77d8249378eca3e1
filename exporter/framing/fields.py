"""The fields of a message that a config's author has written: what they may be, and the sentence if they are not that.

The sentences name our own words only: what is filled in, a token for example, is in none of them.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from exporter.framing.codec import FramingError

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
"""Characters that end a line, a field or a packet in one protocol or another."""


def object_of(value: Any) -> dict[str, Any]:
    """Return the value if it is an object whose keys are texts."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise FramingError("a message must be an object")
    return value


def word_of(fields: Mapping[str, Any], name: str, words: Collection[str]) -> str:
    """Return the field that says what a message is: one of the words."""
    word = fields.get(name)
    if not isinstance(word, str) or word not in words:
        raise FramingError(f"`{name}` must be one of {', '.join(words)}")
    return word


def check_names(fields: Mapping[str, Any], what: str, required: Collection[str], optional: Collection[str]) -> None:
    """Refuse a message that lacks a required field, or has one that its kind (`what`) does not know."""
    for name in required:
        if name not in fields:
            raise FramingError(f"{what} needs `{name}`")
    if not all(name in required or name in optional for name in fields):
        names = ", ".join(f"`{name}`" for name in (*required, *optional)) or "no others"
        raise FramingError(f"{what} has an unknown field: its fields are {names}")


def text_of(fields: Mapping[str, Any], name: str, default: str = "") -> str:
    """Return a text of any characters."""
    text = fields.get(name, default)
    if not isinstance(text, str):
        raise FramingError(f"`{name}` must be a text")
    return text


def line_of(fields: Mapping[str, Any], name: str, default: str = "") -> str:
    """Return a text without control characters; a whole number becomes one."""
    value = fields.get(name, default)
    line = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(line, str):
        raise FramingError(f"`{name}` must be a text")
    if CONTROL.search(line):
        raise FramingError(f"`{name}` must not hold control characters")
    return line


def number_of(fields: Mapping[str, Any], name: str, smallest: int, largest: int, default: int | None = None) -> int:
    """Return a whole number of a range."""
    number = fields.get(name, default)
    if not isinstance(number, int) or isinstance(number, bool) or not smallest <= number <= largest:
        raise FramingError(f"`{name}` must be a whole number from {smallest} to {largest}")
    return number


def truth_of(fields: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """Return true or false."""
    truth = fields.get(name, default)
    if not isinstance(truth, bool):
        raise FramingError(f"`{name}` must be true or false")
    return truth


def utf8(text: str) -> bytes:
    """Return the text in UTF-8."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise FramingError("a text holds half of a surrogate pair") from None
