"""Framings: what stands in WebSocket messages becomes JSON values, and JSON values become messages.

Rule 1: codecs are pure functions: no I/O, no state; what a message leaves over is kept by `reader` alone.
Rule 2: whatever a server sends gives values or a FramingError, in time linear in its length, and never a third thing.
Rule 3: a control character for which a protocol has no escape is refused on encode: filled into a message, it would
begin another command. Rule 4: a framing is loaded when a profile first uses it, and with it the library that it needs.

`codec` the interface · `reader` messages in turn · `fields` of an author's messages · `packets` that follow one
another · and one module for each framing: `json_values`, `plain_text`, `xml_elements`, `socketio`, `stomp`, `nats`,
`mqtt`
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Final

from exporter.framing.codec import Codec, Decoded, FramingError
from exporter.framing.reader import MessageReader, ReadMessage

__all__ = ["FRAMINGS", "Codec", "Decoded", "FramingError", "MessageReader", "ReadMessage", "codec_of"]

_MODULES: Final = {
    "json": "json_values",
    "text": "plain_text",
    "xml": "xml_elements",
    "socketio": "socketio",
    "stomp": "stomp",
    "nats": "nats",
    "mqtt": "mqtt",
}

_BINARY: Final = frozenset({"nats", "mqtt"})

FRAMINGS: Final = tuple(_MODULES)
"""The names that a profile may give as its `framing`."""


def codec_of(name: str, *, end: str = "", nested: Sequence[str] = (), opened: Sequence[str] = ()) -> Codec:
    r"""Return the codec of a framing, loading its module.

    `end`: control characters that end each JSON value, such as "\x1e"; json only.
    `nested`: dotted paths of fields that hold JSON as text; json only. `opened`: those that hold it when they are read,
    and are sent as they are; json only.
    Raises FramingError for another name, or for an option that the framing does not have.
    """
    if name not in _MODULES:
        raise FramingError(f"must be one of {', '.join(FRAMINGS)}")
    if name != "json" and (end or nested or opened):
        raise FramingError("`end`, `nested` and `opened` belong to the framing json")
    module = import_module(f"exporter.framing.{_MODULES[name]}")
    if name == "json":
        codec: Codec = module.codec(end, nested, opened)
        return codec
    return Codec(module.decode, module.encode, is_text=name not in _BINARY)
