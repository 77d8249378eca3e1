"""XML: one element in a message, as XMPP has it (RFC 7395). xmltodict's form of it: "@name", "#text", lists, null."""

import re
from collections.abc import Iterator
from typing import Any, Final
from xml.parsers import expat

import xmltodict

from exporter.framing.codec import Decoded, FramingError

MAX_NESTING_LEVEL: Final = 100
"""Elements in one another: what reads the value later may do so recursively."""

NAME: Final = re.compile(r"[A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?", re.ASCII)
"""A name with at most one prefix. XML permits more letters than those of ASCII."""

NO_CHARACTER: Final = re.compile(r"[^\t\n\x20-\x7e\x80-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML cannot hold (section 2.2), and two that it can: a carriage return, which would be read as a newline, and
0x7f."""


class _WithoutDoctype:
    """What xmltodict needs of `expat`, with parsers that know UTF-8 alone, and refuse a document type."""

    @staticmethod
    def ParserCreate(_: str | None, separator: str | None) -> expat.XMLParserType:  # noqa: N802 - its name in `expat`
        parser = expat.ParserCreate("utf-8", separator)
        parser.StartDoctypeDeclHandler = _refuse_doctype
        return parser


def _refuse_doctype(*_: object) -> None:
    raise FramingError("has a document type")


def decode(data: bytes, limit: int) -> Decoded:
    """Return the element; raises FramingError for another text, a document type, an entity, too deep a nesting."""
    if 0 in data:
        # Without this, expat would find out by itself that the bytes are UTF-16.
        raise FramingError("is no XML in UTF-8")
    try:
        value = xmltodict.parse(data.decode(), expat=_WithoutDoctype)
    except (expat.ExpatError, ValueError):
        raise FramingError("is no XML element, or has a document type") from None
    if any(depth > MAX_NESTING_LEVEL for depth, _, _ in _walk(value)):
        raise FramingError("is nested too deeply")
    return Decoded([value][: max(limit, 0)], len(data))


def encode(value: Any) -> bytes:
    """Return an element; raises FramingError for what is not xmltodict's form of one."""
    if not isinstance(value, dict) or len(value) != 1 or isinstance(next(iter(value.values())), list):
        raise FramingError("a message must be an object with one field, whose name is that of the element")
    for depth, name, part in _walk(value):
        _check(depth, name, part)
    try:
        text: str = xmltodict.unparse(value, full_document=False, short_empty_elements=True)
        return text.encode()
    except ValueError:
        raise FramingError("is no XML element") from None


def _walk(value: dict[str, Any]) -> Iterator[tuple[int, Any, Any]]:
    """Yield (depth, name, part) of every part of a value; an item of a list has the name and the depth of the list."""
    waiting = [(1, *field) for field in value.items()]
    while waiting:
        depth, name, part = waiting.pop()
        yield depth, name, part
        if isinstance(part, dict) and depth <= MAX_NESTING_LEVEL:
            waiting.extend((depth + 1, inner, each) for inner, each in part.items())
        elif isinstance(part, list):
            waiting.extend((depth, name, each) for each in part)


def _check(depth: int, name: Any, part: Any) -> None:
    """Refuse a part that would not come back from the XML as it is."""
    if depth > MAX_NESTING_LEVEL:
        raise FramingError("is nested too deeply")
    if not isinstance(name, str):
        raise FramingError("the name of a field must be a text")
    is_text = name == "#text" and depth > 1
    is_attribute = name.startswith("@") and depth > 1
    if not is_text and NAME.fullmatch(name[is_attribute:]) is None:
        raise FramingError("a field must have the name of an element, `@` and the name of an attribute, or `#text`")
    if isinstance(part, dict | list):
        if is_attribute or is_text:
            raise FramingError("an attribute and `#text` must be a text")
        if isinstance(part, list) and not all(isinstance(each, dict | str | int | float | None) for each in part):
            raise FramingError("a list must hold elements")
    elif part is not None and not isinstance(part, str | int | float):
        raise FramingError("an element must be an object, a list, a text or null")
    elif isinstance(part, str) and NO_CHARACTER.search(part):
        raise FramingError("a text holds a control character, which XML has no way to write")
