"""What an observer of a session sees: whole messages and close frames, content included.

Only a command that a person started hands in an observer. Nothing of it is kept in the observation of a session.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from exporter.result import Direction


class SeenMessage(NamedTuple):
    """A message or a close frame of a session, as it passed.

    data: the payload of a message, all fragments joined; the reason text of a close frame
    is_text: a text frame; else binary
    values: the JSON values that the framing made of a message; None if it could not read it
    code: of a close frame; None for a message
    secrets: texts of this session that must never be shown
    """

    direction: Direction
    data: bytes
    is_text: bool = True
    values: tuple[Any, ...] | None = None
    code: int | None = None
    secrets: tuple[str, ...] = ()


MessageObserver = Callable[[SeenMessage], None]
