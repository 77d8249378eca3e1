"""HTML by construction: what is not markup already is escaped, and only `element` makes markup."""

from collections.abc import Iterable
from functools import lru_cache
from html import escape
from typing import Final

from exporter.report.escape import plain

Attribute = str | int | float | bool | None
Child = object
"""Markup stays as it is, None is nothing, a list or tuple is its items, anything else is text."""

VOID_ELEMENTS: Final = frozenset({"meta", "link", "br", "rect", "path", "circle"})
"""Elements that are empty: those of HTML, and those of SVG that we leave so (`/>` ends both, HTML section 13.1.2.1)."""

MAX_CACHED_TEXTS: Final = 4_096
"""Texts and attributes that are remembered: a page says the same few a thousand times."""


class Markup(str):
    """HTML that is whole and escaped."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Any text, harmless as content and as an attribute: no markup, no control or bidi characters."""
    return Markup(_escaped(str(value)))


def element(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """One element. `class_` is `class`, `data_at` is `data-at`; True stands bare; None and False do not stand."""
    head = name + "".join([_attribute(key, value) for key, value in attributes.items()])
    return Markup(f"<{head}/>" if name in VOID_ELEMENTS and not children else f"<{head}>{_joined(children)}</{name}>")


def joined(children: Iterable[Child], by: str = "") -> Markup:
    """Children one after the other; `by`: what stands between them, for who reads without seeing."""
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
def _escaped(words: str) -> str:
    return escape(plain(words))


@lru_cache(MAX_CACHED_TEXTS, typed=True)  # 1 and True are equal, and stand for different things
def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{_escaped(str(value))}"'
