"""HTML by construction: what is not markup already is escaped, and only `element` makes markup."""

from collections.abc import Iterable
from html import escape
from typing import Final

from exporter.report.escape import plain

Attribute = str | int | float | bool | None
Child = object
"""Markup stays as it is, None is nothing, a list or tuple is its items, anything else is text."""

VOID: Final = frozenset({"meta", "link", "br", "rect", "path", "circle"})
"""Elements that are empty: those of HTML, and those of SVG that we leave so (`/>` ends both, HTML section 13.1.2.1)."""


class Markup(str):
    """HTML that is whole and escaped."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Any text, harmless as content and as an attribute: no markup, no control or bidi characters."""
    return Markup(escape(plain(str(value))))


def element(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """One element. `class_` is `class`, `data_at` is `data-at`; True stands bare; None and False do not stand."""
    head = name + "".join(_attribute(key, value) for key, value in attributes.items())
    return Markup(f"<{head}/>" if name in VOID and not children else f"<{head}>{joined(children)}</{name}>")


def joined(children: Iterable[Child], by: str = "") -> Markup:
    """Children one after the other; `by`: what stands between them, for who reads without seeing."""
    return Markup(text(by).join(map(_child, children)))


def _child(child: Child) -> str:
    if isinstance(child, Markup):
        return child
    if isinstance(child, list | tuple):
        return joined(child)
    return "" if child is None else text(child)


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{text(value)}"'
