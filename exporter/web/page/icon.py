"""The icon of the tab: a shape and a colour for each state."""

from collections.abc import Mapping
from typing import Final

from exporter.history import StateKind

STATE_SHAPES: Final[Mapping[str, str]] = {
    StateKind.FAILING: '<circle cx="16" cy="16" r="16" fill="#d1242f"/>'
    '<path d="M10 10 22 22M22 10 10 22" stroke="#fff" stroke-width="4" stroke-linecap="round"/>',
    StateKind.IMPAIRED: '<path d="M16 2 31 30H1z" fill="#bf8700"/>'
    '<path d="M16 12v8M16 24v1" stroke="#fff" stroke-width="3.5" stroke-linecap="round"/>',
    StateKind.UNKNOWN: '<circle cx="16" cy="16" r="13" fill="none" stroke="#818b98" stroke-width="5"/>',
    StateKind.PASSING: '<circle cx="16" cy="16" r="16" fill="#1f883d"/>'
    '<path d="m9 17 5 5 9-11" fill="none" stroke="#fff" stroke-width="4" stroke-linecap="round" '
    'stroke-linejoin="round"/>',
}


def icon_svg(word: str) -> str | None:
    """The picture as SVG; None for what is no state."""
    shape = STATE_SHAPES.get(word)
    return shape and f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{shape}</svg>'


def icon_path(word: StateKind) -> str:
    """Where it is served."""
    return f"icon/{word}.svg"
