"""HTML by construction: only `element` makes markup, and it escapes everything that is not markup."""

from collections.abc import Iterable
from functools import lru_cache
from html import escape
from typing import Final

from exporter.report.escape import plain

Attribute = str | int | float | bool | None
Child = object
"""Markup is written as it is, None as nothing, a list or tuple as its items, anything else as text."""

VOID_ELEMENTS: Final = frozenset({"meta", "link", "br", "rect", "path", "circle"})
"""Empty elements: those of HTML, and of SVG those without children (`/>` ends both, HTML section 13.1.2.1)."""

MAX_CACHED_TEXTS: Final = 4_096
"""Escaped texts and attributes in the cache; a page repeats the same few a thousand times."""


class Markup(str):
    """Complete and escaped HTML."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Text escaped for content and attributes, without control and bidi characters."""
    return Markup(_escaped(str(value)))


def element(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """One element. `class_` is `class`, `data_at` is `data-at`; True has no value; None and False are left out."""
    head = name + "".join([_attribute(key, value) for key, value in attributes.items()])
    return Markup(f"<{head}/>" if name in VOID_ELEMENTS and not children else f"<{head}>{_joined(children)}</{name}>")


def joined(children: Iterable[Child], by: str = "") -> Markup:
    """The children joined by `by`, a separator that keeps them apart for screen readers."""
    return Markup(_joined(children, _escaped(by)))


def _joined(children: Iterable[Child], by: str = "") -> str:
    return by.join([_child(child) for child in children])


def _child(child: Child) -> str:
    if isinstance(child, Markup):
        return child
    if child is None:
        return ""
    return _joined(child) if isinstance(child, list | tuple) else _escaped(str(child))


@lru_cache(MAX_CACHED_TEXTS)
def _escaped(string: str) -> str:
    return escape(plain(string))


@lru_cache(MAX_CACHED_TEXTS, typed=True)  # 1 and True are equal keys, but different attributes
def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{_escaped(str(value))}"'
