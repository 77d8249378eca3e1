"""What connections to an unknown backend met, as values for the recognisers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from exporter.config import Framing
from exporter.framing import MessageReader
from exporter.result import PROXIES, SERVERS, CertificateEnd, ErrorKind, Handshake, Phase, Software

MAX_EXAMINED_VALUES_COUNT: Final = 64
"""Values of one message that are examined."""

UNKNOWN_SUBPROTOCOL: Final = "wsfe"
"""Offered first: a server that chooses it chooses whatever it is offered, and says nothing by that."""

ASKED_ID: Final = 20_110_712
ASKED_CALL: Final[Mapping[str, Any]] = {
    "jsonrpc": "2.0",
    "id": ASKED_ID,
    "method": "ws_factory_exporter_probe",
    "params": [],
}
"""A call of a method that no server has: JSON-RPC 2.0 section 5.1 says how it is answered."""


class Payload(NamedTuple):
    """The payload of one message of the server."""

    data: bytes
    is_text: bool


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one connection met.

    url: of this connection
    offered: the subprotocols that it offered
    asked: `ASKED_CALL` was sent
    phases: seconds of each completed phase
    subprotocol: the offered one that the server chose
    messages: of the server, in their order
    status: of an HTTP answer other than 101
    close_code: of a close frame of the server
    error: what ended the session, None if it reached its depth; the end of the time to listen is DEADLINE
    answered_by, via: who made the answer to the upgrade, and the proxies that passed it on, see `Result`
    """

    url: str
    offered: tuple[str, ...] = ()
    asked: bool = False
    phases: Mapping[Phase, float] = field(default_factory=dict)
    subprotocol: str | None = None
    messages: tuple[Payload, ...] = ()
    status: int | None = None
    close_code: int | None = None
    error: ErrorKind | None = None
    handshake: Handshake | None = None
    certificate_end: CertificateEnd | None = None
    answered_by: Software | None = None
    via: tuple[Software, ...] = ()

    @property
    def opened(self) -> bool:
        """Whether the WebSocket was open."""
        return Phase.UPGRADE in self.phases

    @property
    def chosen(self) -> str | None:
        """The subprotocol that the server chose, if its choice says something."""
        return None if self.subprotocol == UNKNOWN_SUBPROTOCOL else self.subprotocol


class BackendEvidence:
    """All that the connections to one backend met."""

    def __init__(self, sightings: Sequence[Sighting]) -> None:
        self.sightings = tuple(sightings)

    @property
    def chosen(self) -> frozenset[str]:
        """Subprotocols that the server chose."""
        return frozenset(one.chosen for one in self.sightings if one.chosen is not None)

    @property
    def chooses_anything(self) -> bool:
        """Whether the server chose a subprotocol that nobody speaks."""
        return any(one.subprotocol == UNKNOWN_SUBPROTOCOL for one in self.sightings)

    @property
    def close_codes(self) -> frozenset[int]:
        """Codes of the server's close frames."""
        return frozenset(one.close_code for one in self.sightings if one.close_code is not None)

    @property
    def statuses(self) -> frozenset[int]:
        """Statuses that the server answered instead of 101."""
        return frozenset(one.status for one in self.sightings if one.status is not None)

    @property
    def server(self) -> Software | None:
        """What the backend runs on, if answers name one server: those that opened a WebSocket, else the refusals."""
        opened = [one for one in self.sightings if one.opened]
        named = {one.answered_by for one in opened or self.sightings if one.answered_by in SERVERS}
        return named.pop() if len(named) == 1 else None

    @property
    def proxies(self) -> tuple[Software, ...]:
        """Proxies that answers name; one that answered by itself stands behind those that passed its answer on."""
        named = (word for one in self.sightings for word in (*one.via, one.answered_by) if word in PROXIES)
        return tuple(dict.fromkeys(word for word in named if word is not None))

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the URLs."""
        return tuple(urlsplit(one.url).path for one in self.sightings)

    def values(self, name: str) -> list[Any]:
        """Return what the server sent by itself, read in the framing of this name; nothing of what it cannot read."""
        framing = Framing.model_validate({"name": name})
        return [value for one in self.sightings if not one.asked for value in decoded(one.messages, framing)]

    def answers(self) -> list[Any]:
        """Return the JSON values that followed our call."""
        return [value for one in self.sightings if one.asked for value in decoded(one.messages, Framing())]


def decoded(messages: Sequence[Payload], framing: Framing) -> list[Any]:
    """Return the values of messages in a framing; a message that it cannot read has none."""
    reader = MessageReader(framing.codec)
    return [value for message in messages for value in reader.read(message.data, MAX_EXAMINED_VALUES_COUNT).values]
