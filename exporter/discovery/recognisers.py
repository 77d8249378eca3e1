"""Which protocol a backend speaks: a closed table, one row for each piece of evidence, the surest rows first.

Rule 1: a row looks at evidence and says in a sentence what it saw, in our own words; it quotes nothing of the server.
Rule 2: a row without a profile names a protocol for which none is built in.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from exporter.discovery.sightings import ASKED_CALL, ASKED_ID, BackendEvidence
from exporter.profiles import matches
from exporter.result import ErrorKind


class Recogniser(NamedTuple):
    """A row: the protocol, the built-in profile that speaks it, the sentence about the evidence, and the test."""

    protocol: str
    profile: str | None
    sentence: str
    holds: Callable[[BackendEvidence], bool]


class Recognised(NamedTuple):
    """A protocol that fits, and the sentences of all rows that say so."""

    protocol: str
    profile: str | None
    sentences: tuple[str, ...]


def recognise(evidence: BackendEvidence, table: Sequence[Recogniser] | None = None) -> list[Recognised]:
    """Return each protocol that fits, in the order of the table: what is surest comes first."""
    found: dict[str, Recognised] = {}
    for row in RECOGNISERS if table is None else table:
        if row.holds(evidence):
            before = found.get(row.protocol, Recognised(row.protocol, row.profile, ()))
            found[row.protocol] = before._replace(sentences=(*before.sentences, row.sentence))
    return list(found.values())


class Candidates(NamedTuple):
    """Built-in profiles that come into question where nothing is recognised, and the sentence about the evidence."""

    profiles: tuple[str, ...]
    sentence: str

    @property
    def advice(self) -> str:
        """What was seen, and what to try."""
        several = len(self.profiles) > 1
        names = " and ".join(self.profiles)
        return (
            f"{self.sentence}: profile{'s' if several else ''} {names} come{'' if several else 's'} into question. Try "
            f"ws-factory-exporter check --url URL --profile {self.profiles[0]}"
        )


def candidates(evidence: BackendEvidence) -> Candidates | None:
    """Return which profiles are worth a try; None if the evidence points to none.

    A broker that chooses any subprotocol speaks only when it is spoken to in its protocol. No login is sent to try:
    what is no JSON may end a program that reads JSON.
    """
    if not evidence.chooses_anything or any(one.messages for one in evidence.sightings):
        return None
    return next((CANDIDATES[one.error] for one in evidence.sightings if one.asked and one.error in CANDIDATES), None)


_SILENT: Final = "the server chose whatever subprotocol it was offered, said nothing by itself,"
_BINARY: Final = Candidates(
    ("mqtt",), f"{_SILENT} and ended the connection at a JSON message, as a broker of MQTT that knows no JSON does"
)
CANDIDATES: Final[Mapping[ErrorKind | None, Candidates]] = {
    ErrorKind.EOF: _BINARY,
    ErrorKind.RESET: _BINARY,
    ErrorKind.CLOSED: _BINARY,
    ErrorKind.DEADLINE: Candidates(
        ("stomp", "mqtt"), f"{_SILENT} and left a JSON message without an answer, as a broker of STOMP does"
    ),
}
"""By the end of the connection on which a JSON message was sent. Seen: aedes 0.51 (MQTT), stomp-broker-js 1.3."""


def _subprotocol(protocol: str, profile: str | None, *names: str) -> tuple[Recogniser, ...]:
    return tuple(
        Recogniser(
            protocol,
            profile,
            f"the server chose the subprotocol {name} of those that were offered",
            lambda evidence, name=name: name in evidence.chosen,  # type: ignore[misc]
        )
        for name in names
    )


def _frame(protocol: str, profile: str | None, framing: str, what: str, pattern: Any) -> Recogniser:
    return Recogniser(
        protocol,
        profile,
        f"a frame of the server is {what}",
        lambda evidence: any(matches(pattern, value) for value in evidence.values(framing)),
    )


def _close(protocol: str, profile: str, what: str, *codes: int) -> Recogniser:
    return Recogniser(
        protocol,
        profile,
        f"the server closed with {' or '.join(map(str, codes))}, which is {what}",
        lambda evidence: not evidence.close_codes.isdisjoint(codes),
    )


def _answer(protocol: str, profile: str, what: str, holds: Callable[[Any], bool]) -> Recogniser:
    return Recogniser(
        protocol,
        profile,
        f"the server answered our call with {what}",
        lambda evidence: any(map(holds, evidence.answers())),
    )


def _path(protocol: str, profile: str, part: str, *statuses: int) -> Recogniser:
    return Recogniser(
        protocol,
        profile,
        f"the path holds {part}, and the server answered {' or '.join(map(str, statuses))}",
        lambda evidence: any(part in path for path in evidence.paths) and not evidence.statuses.isdisjoint(statuses),
    )


def _error_of(answer: Any) -> Mapping[str, Any]:
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, dict) else {}


def _is_trpc(answer: Any) -> bool:
    """A tRPC error has the name of its code and an HTTP status in its data (trpc.io/docs/rpc)."""
    return matches({"data": {"code": "${any}", "httpStatus": "${any}"}}, _error_of(answer))


def _is_rpc(answer: Any) -> bool:
    """JSON-RPC 2.0 section 5: the id of the call, and an error with an integer code, or a result."""
    is_ours = isinstance(answer, dict) and answer.get("id") == ASKED_ID and "method" not in answer
    return is_ours and (isinstance(_error_of(answer).get("code"), int) or "result" in answer) and not _is_trpc(answer)


def _is_any_rpc(answer: Any) -> bool:
    """An error for a call that the server could not use; its id is null then."""
    return matches({"jsonrpc": "2.0", "id": None, "error": {"code": "${any}"}}, answer) and not _is_trpc(answer)


RECOGNISERS: Final[tuple[Recogniser, ...]] = (
    *_subprotocol("GraphQL over WebSocket", "graphql", "graphql-transport-ws"),
    *_subprotocol("MQTT 3.1.1", "mqtt", "mqtt"),
    *_subprotocol("STOMP", "stomp", "v12.stomp"),
    *_subprotocol("Action Cable", "actioncable", "actioncable-v1-json"),
    *_subprotocol("XMPP", None, "xmpp"),
    *_subprotocol("WAMP", None, "wamp.2.json"),
    *_subprotocol("OCPP", None, "ocpp1.6", "ocpp2.0.1"),
    _frame(
        "Socket.IO",
        "socketio",
        "socketio",
        "the open packet of Engine.IO",
        {"type": "open", "data": {"sid": "${any}", "pingInterval": "${any}"}},
    ),
    _frame("NATS", "nats", "nats", "INFO of NATS", {"op": "INFO", "info": {"server_id": "${any}"}}),
    _frame(
        "Pusher Channels",
        "pusher",
        "json",
        "pusher:connection_established",
        {"event": "pusher:connection_established"},
    ),
    _frame("Pusher Channels", "pusher", "json", "pusher:error", {"event": "pusher:error"}),
    _frame(
        "Action Cable",
        "actioncable",
        "json",
        "the disconnect of Action Cable",
        {"type": "disconnect", "reconnect": False},
    ),
    Recogniser(
        "Action Cable",
        "actioncable",
        'a frame of the server is {"type": "welcome"} and nothing else, the welcome of Action Cable',
        lambda evidence: {"type": "welcome"} in evidence.values("json"),
    ),
    _frame(
        "the factory backend",
        "factory",
        "json",
        "the welcome of the factory backend",
        {"type": "system_message", "data": {"event": "connection_established"}},
    ),
    _frame(
        "the factory backend",
        "factory",
        "json",
        "an error of the factory backend",
        {"type": "error_message", "error_code": "${any}"},
    ),
    _frame(
        "Home Assistant",
        None,
        "json",
        "auth_required of Home Assistant",
        {"type": "auth_required", "ha_version": "${any}"},
    ),
    _frame("STOMP", "stomp", "stomp", "ERROR of STOMP", {"command": "ERROR"}),
    _frame("tRPC", "trpc", "json", "the reconnect of tRPC", {"id": None, "method": "reconnect"}),
    _close("GraphQL over WebSocket", "graphql", "the code of graphql-transport-ws for a wrong subprotocol", 4406),
    _close("GraphQL over WebSocket", "graphql", "the code of graphql-transport-ws for a login that did not come", 4408),
    _close("Centrifugo", "centrifugo", "a code of Centrifugo for a message that it does not know", 3501),
    _path("Socket.IO", "socketio", "/socket.io", 400),
    _path("Centrifugo", "centrifugo", "/connection/websocket", 400, 401, 403),
    _path("Action Cable", "actioncable", "/cable", 404),
    Recogniser(
        "an echo server",
        "echo",
        "the server sent our message back as it was",
        lambda evidence: dict(ASKED_CALL) in evidence.answers(),
    ),
    _answer("tRPC", "trpc", "an error of tRPC", _is_trpc),
    _answer("JSON-RPC", "jsonrpc", "its id and a result or the code of an error", _is_rpc),
    _answer("JSON-RPC", "jsonrpc", "an error of JSON-RPC 2.0 without an id", _is_any_rpc),
)

OFFERED_SUBPROTOCOLS: Final = (
    "graphql-transport-ws",
    "mqtt",
    "v12.stomp",
    "actioncable-v1-json",
    "xmpp",
    "wamp.2.json",
    "ocpp1.6",
    "ocpp2.0.1",
)
"""Those of the table. The older graphql-ws is not among them: some servers prefer it, and no profile speaks it. All
together must stay below 120 characters: mosquitto 2.0.11 ends a connection with a longer header."""
