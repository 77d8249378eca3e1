"""A session's frames as a transcript that `replay` reads, masked: fields, types, and what the profile itself holds.

Rule 1: no value of the network is in a transcript unless its caller asked for values; a secret, or a part of it, never.
Rule 2: equal values have equal masks, so that a reply still carries the id of its message; a mask is made of a count.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from exporter.config import Profile, keys_in
from exporter.discovery.replay import MAX_TRANSCRIPT_FRAMES, VARIABLE_NAME
from exporter.discovery.shapes import FIELD_NAME, ShapeOptions, holds_secret, templates_of
from exporter.result import Direction

SENDERS: Final = {Direction.IN: "server", Direction.OUT: "client"}
MAX_RECORDED_DEPTH: Final = 40
"""What is nested deeper is recorded as null."""
MAX_TEMPLATE_CHARACTERS: Final = 1_000
"""A longer text is masked as a whole: to compare it with a template of several variables takes too long."""


class TranscriptRecorder:
    """Records one session. `frames`: a transcript, as `read_transcript` takes it.

    `options`: as for a message that is shown. `messages`: the profile's messages hold no password, so that their words
    are shown as well.
    """

    def __init__(self, profile: Profile, options: ShapeOptions, *, messages: bool) -> None:
        self.frames: list[dict[str, Any]] = []
        templates = templates_of(profile, messages=messages)
        scalars = list(_scalars(templates))
        self._options = options
        self._keys = {key for template in templates for key in keys_in(template)}
        self._known = {_typed(scalar) for scalar in scalars if not isinstance(scalar, str)}
        self._templates = [_regex_of(text) for text in scalars if _is_longer_template(text)]
        self._masks: dict[str | float, str | int] = {}

    def add_message(self, direction: Direction, values: Sequence[Any] | None, secrets: Sequence[str] = ()) -> None:
        """Record a message as its values; None: its framing could not read it."""
        options = self._options.with_secrets(secrets)
        masked = None if values is None else [self._masked(value, options) for value in values]
        self._add({"from": SENDERS[direction], "values": masked})

    def add_close(self, direction: Direction, code: int, reason: bytes, secrets: Sequence[str] = ()) -> None:
        """Record a close frame; its reason, which is a text of the network, only where values are shown."""
        text, options = reason.decode("utf-8", "replace"), self._options.with_secrets(secrets)
        shown = {"reason": text} if text and options.show_values and not holds_secret(text, options) else {}
        self._add({"from": SENDERS[direction], "close": code, **shown})

    def _add(self, frame: dict[str, Any]) -> None:
        if len(self.frames) < MAX_TRANSCRIPT_FRAMES:
            self.frames.append(frame)

    def _masked(self, value: Any, options: ShapeOptions, depth: int = 0) -> Any:
        if isinstance(value, dict | list) and depth >= MAX_RECORDED_DEPTH:
            return None
        if isinstance(value, dict):
            return {self._key(key, options): self._masked(inner, options, depth + 1) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._masked(inner, options, depth + 1) for inner in value]
        if isinstance(value, str):
            return self._text(value, options)
        is_shown = value is None or _typed(value) in self._known or options.show_values
        if is_shown and not holds_secret(str(value), options):
            return value
        return False if isinstance(value, bool) else self._mask(value, lambda count: -count)

    def _key(self, key: str, options: ShapeOptions) -> str:
        is_shown = key in self._keys or FIELD_NAME.fullmatch(key) is not None or options.show_values
        return key if is_shown and not holds_secret(key, options) else self._text_mask(key)

    def _text(self, text: str, options: ShapeOptions) -> str:
        if (text in options.words or options.show_values) and not holds_secret(text, options):
            return text
        comparable = self._templates if len(text) <= MAX_TEMPLATE_CHARACTERS else []
        found = next((found for template in comparable if (found := template.fullmatch(text))), None)
        if found is None:
            return self._text_mask(text)
        pieces, at = [], 0
        for group in range(1, len(found.groups()) + 1):
            pieces += [text[at : found.start(group)], self._text_mask(found[group])]
            at = found.end(group)
        return "".join([*pieces, text[at:]])

    def _text_mask(self, text: str) -> str:
        return str(self._mask(text, "text-{}".format))

    def _mask(self, value: str | float, make: Callable[[int], str | int]) -> str | int:
        """Return the mask of a value, a new one for a new value."""
        return self._masks.setdefault(value, make(len(self._masks) + 1))


def _typed(value: Any) -> tuple[bool, Any]:
    """Tell true from 1."""
    return isinstance(value, bool), value


def _scalars(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, dict | list):
            yield from _scalars(value.values() if isinstance(value, dict) else value)
        elif value is not None:
            yield value


def _is_longer_template(text: Any) -> bool:
    """Whether a text holds a variable, and something beside it."""
    return isinstance(text, str) and "${" in text and VARIABLE_NAME.fullmatch(text) is None


def _regex_of(template: str) -> re.Pattern[str]:
    """The texts that a template can become, with a group for each variable."""
    pieces = re.split(r"\$\{\w+\}", template)
    return re.compile("(.*?)".join(map(re.escape, pieces)), re.DOTALL)
