"""A message as keys and types of its values: `{"type": text(12), "users": [number]}`.

Shown as they are: names of fields, and the words that the profile itself holds, which are text of the config. Values of
the network are shown only on request, and what is part of a secret not even then.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from exporter.config import Profile, steps_of
from exporter.result import Direction

FIELD_NAME: Final = re.compile(r"[@#]?[A-Za-z_][\w.-]{0,23}", re.ASCII)
"""Names of fields that are shown: short words. Others may be data, such as the ids of users."""

MAX_SHOWN_DEPTH: Final = 8
MAX_SHOWN_FIELDS_COUNT: Final = 24
MAX_SHOWN_ITEMS_COUNT: Final = 5
MAX_VALUE_CHARACTERS: Final = 500
"""Of a value that is shown on request."""
MIN_SECRET_PIECE_CHARACTERS: Final = 8
"""A text that has this many characters in a row in common with a secret is not shown."""

FRAME_ARROWS: Final = {Direction.IN: "←", Direction.OUT: "→"}


@dataclass(frozen=True, slots=True)
class ShapeOptions:
    """How much of a message is shown.

    words: texts of the config that may be shown
    secrets: texts that are never shown, in whole or in part
    show_values: show the values as well
    """

    words: frozenset[str] = frozenset()
    secrets: tuple[str, ...] = ()
    show_values: bool = False

    def with_secrets(self, secrets: Sequence[str]) -> "ShapeOptions":
        """Return the same for a session with these secrets."""
        return self if tuple(secrets) == self.secrets else replace(self, secrets=tuple(secrets))


TYPES_ONLY: Final = ShapeOptions()


def message_lines(
    direction: Direction,
    data: bytes,
    values: Sequence[Any] | None,
    options: ShapeOptions = TYPES_ONLY,
    *,
    is_text: bool = True,
) -> list[str]:
    """Return one line for each value of a message, or one for a message that its framing cannot read."""
    arrow = FRAME_ARROWS[direction]
    if values is None:
        return [f"{arrow} unreadable: {_payload_shape(data, options, is_text=is_text)}"]
    return [f"{arrow} {shape(value, options)}" for value in values] or [f"{arrow} nothing but padding"]


def close_line(direction: Direction, code: int, reason: bytes, options: ShapeOptions = TYPES_ONLY) -> str:
    """Return the line of a close frame."""
    text = reason.decode("utf-8", "replace")
    return f"{FRAME_ARROWS[direction]} close {code}" + (f", reason {_text_shape(text, options)}" if text else "")


def shape(value: Any, options: ShapeOptions = TYPES_ONLY, depth: int = 0) -> str:
    """Return a JSON value as one line of keys and types."""
    if isinstance(value, dict):
        return "{…}" if depth >= MAX_SHOWN_DEPTH and value else _object_shape(value, options, depth)
    if isinstance(value, list):
        return "[…]" if depth >= MAX_SHOWN_DEPTH and value else _list_shape(value, options, depth)
    if isinstance(value, str):
        return _text_shape(value, options)
    if value is None:
        return "null"
    name = "boolean" if isinstance(value, bool) else "number"
    return json.dumps(value) if options.show_values and not _is_secret(str(value), options.secrets) else name


def words_of(profile: Profile, *, messages: bool) -> frozenset[str]:
    """Return the texts in a profile's patterns; `messages`: those in its messages too, which hold no password then."""
    patterns = templates_of(profile, messages=messages)
    return frozenset(word for pattern in patterns for word in _texts(pattern) if word and "${" not in word)


def templates_of(profile: Profile, *, messages: bool) -> list[Any]:
    """Return a profile's patterns; `messages`: its messages too, which hold no password then."""
    steps = [step for _, step in steps_of(profile)]
    patterns = [profile.error, *(rule.match for rule in profile.noise), *(rule.match for rule in profile.errors)]
    patterns += [part for step in steps for part in (step.match, step.expect)]
    patterns += [] if profile.welcome is None else [profile.welcome.match]
    if messages:
        patterns += [profile.bye, *(rule.answer for rule in profile.noise), *(step.message for step in steps)]
    return patterns


def holds_secret(text: str, options: ShapeOptions) -> bool:
    """Whether a text is a secret of the session, or has a piece of one in it."""
    return _is_secret(text, options.secrets)


def _texts(pattern: Any) -> Iterator[str]:
    if isinstance(pattern, str):
        yield pattern
    elif isinstance(pattern, dict | list):
        for part in pattern.values() if isinstance(pattern, dict) else pattern:
            yield from _texts(part)


def _object_shape(value: dict[str, Any], options: ShapeOptions, depth: int) -> str:
    shown = list(value.items())[:MAX_SHOWN_FIELDS_COUNT]
    parts = [f"{_key_shape(key, options)}: {shape(inner, options, depth + 1)}" for key, inner in shown]
    return "{" + ", ".join([*parts, *_rest(len(value) - len(shown))]) + "}"


def _list_shape(value: list[Any], options: ShapeOptions, depth: int) -> str:
    shown = value[:MAX_SHOWN_ITEMS_COUNT]
    return (
        "[" + ", ".join([*(shape(inner, options, depth + 1) for inner in shown), *_rest(len(value) - len(shown))]) + "]"
    )


def _rest(number: int) -> list[str]:
    return [f"… {number} more"] if number > 0 else []


def _key_shape(key: str, options: ShapeOptions) -> str:
    is_name = FIELD_NAME.fullmatch(key) is not None or options.show_values
    return json.dumps(key) if is_name and not _is_secret(key, options.secrets) else f"key({len(key)})"


def _text_shape(text: str, options: ShapeOptions) -> str:
    if _is_secret(text, options.secrets):
        return f"text({len(text)})" if not options.show_values else f"secret({len(text)})"
    if text in options.words:
        return json.dumps(text)
    if not options.show_values:
        return f"text({len(text)})"
    cut = "…" if len(text) > MAX_VALUE_CHARACTERS else ""
    return json.dumps(text[:MAX_VALUE_CHARACTERS]) + cut


def _payload_shape(data: bytes, options: ShapeOptions, *, is_text: bool) -> str:
    """What a message that is no value is: its length, and its text on request."""
    return _text_shape(data.decode("utf-8", "replace"), options) if is_text else f"binary({len(data)} bytes)"


def _is_secret(text: str, secrets: Sequence[str]) -> bool:
    """Whether a text is a secret, or has a piece of one in it."""
    return any(text == secret or _shares_piece(text, secret) for secret in secrets if secret)


def _shares_piece(text: str, secret: str) -> bool:
    length = min(MIN_SECRET_PIECE_CHARACTERS, len(secret))
    pieces = {secret[start : start + length] for start in range(len(secret) - length + 1)}
    return any(text[start : start + length] in pieces for start in range(len(text) - length + 1))
