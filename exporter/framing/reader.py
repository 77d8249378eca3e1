"""The messages of one direction, read in turn: the beginning of a packet waits for the message that goes on with it."""

from typing import Any, NamedTuple

from exporter.framing.codec import Codec, FramingError


class ReadMessage(NamedTuple):
    """What a message gave: its values, and False if something in it cannot be read. Nothing at all: more must come."""

    values: list[Any]
    is_readable: bool


class MessageReader:
    """Reads messages by a codec. Bounding the rest is for who reads a network: `rest_size` bytes, `rest_messages`."""

    def __init__(self, codec: Codec) -> None:
        self._decode = codec.decode
        self._rest = b""
        self.rest_messages = 0
        """Messages that the unfinished packet has taken so far."""

    @property
    def rest_size(self) -> int:
        """Bytes of the unfinished packet."""
        return len(self._rest)

    def read(self, data: bytes, limit: int) -> ReadMessage:
        """Read a message; at most `limit` values, and what stands behind something unreadable is dropped."""
        if self._rest:
            data = self._rest + data
        values: list[Any] = []
        begun = self.rest_messages
        while True:
            try:
                found, consumed = self._decode(data, limit - len(values))
            except FramingError:
                self._rest, self.rest_messages = b"", 0
                return ReadMessage(values, is_readable=False)
            values += found
            if consumed == len(data):
                self._rest, self.rest_messages = b"", 0
                return ReadMessage(values, is_readable=True)
            if not consumed:
                self._rest, self.rest_messages = data, begun + 1
                return ReadMessage(values, is_readable=True)
            data, begun = data[consumed:], 0
