"""What the program that is known here was seen to do like this failure: rows of the tables of `software`."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from exporter.result import PROXIES, Ending, Layer, Phase, Reason, Result, Software
from exporter.software import (
    EARLIEST_FRACTION,
    LATEST_FRACTION,
    PROXY_BEHAVIOURS,
    SERVER_BEHAVIOURS,
    ProxyBehaviour,
    ProxyEvent,
    ServerBehaviour,
    ServerEvent,
)

Event = ProxyEvent | ServerEvent
Behaviour = ProxyBehaviour | ServerBehaviour


class EventMeaning(NamedTuple):
    """The layer of an event, and what the person on call does next. `is_sure`: no other layer can cause it."""

    layer: Layer
    next_step: str
    is_sure: bool = True


_READ_LOG: Final = "Read the backend's log at this second for the exception."
_LOOK_AT_PROCESS: Final = "Look at the age of the backend's process: a deploy, a recycled worker, a kill for memory."

SERVER_MEANINGS: Final[Mapping[ServerEvent, EventMeaning]] = {
    ServerEvent.RAISES_BEFORE_ACCEPT: EventMeaning(Layer.APPLICATION, _READ_LOG),
    ServerEvent.RAISES_AFTER_ACCEPT: EventMeaning(Layer.APPLICATION, _READ_LOG),
    ServerEvent.RAISES_ON_MESSAGE: EventMeaning(Layer.APPLICATION, _READ_LOG),
    ServerEvent.RETURNS: EventMeaning(
        Layer.APPLICATION, "See where the handler of this connection may end without a close."
    ),
    ServerEvent.RETURNS_BEFORE_ACCEPT: EventMeaning(Layer.APPLICATION, _READ_LOG),
    ServerEvent.REFUSES_AFTER_ACCEPT: EventMeaning(
        Layer.LOGIN, "Compare the credential with what the login expects, and see whether it arrives."
    ),
    ServerEvent.CLOSES_1008: EventMeaning(Layer.APPLICATION, _READ_LOG, is_sure=False),
    ServerEvent.FOREIGN_SUBPROTOCOL: EventMeaning(
        Layer.APPLICATION, "Compare the subprotocol that the application accepts with those that we offer."
    ),
    ServerEvent.NO_WEBSOCKET: EventMeaning(
        Layer.CLIENT, "Compare the path of the URL with the backend's routes.", is_sure=False
    ),
    ServerEvent.WORKER_KILLED: EventMeaning(Layer.SERVER, _LOOK_AT_PROCESS),
    ServerEvent.REFUSES_LOGIN: EventMeaning(
        Layer.LOGIN,
        "Compare the credential with what the login expects, and see whether it arrives.",
        is_sure=False,  # a 403 can be for an Origin, an address or a path
    ),
    ServerEvent.WRONG_PATH: EventMeaning(
        Layer.CLIENT, "Compare the path of the URL with the backend's routes.", is_sure=False
    ),
    ServerEvent.STOPPED: EventMeaning(Layer.SERVER, _LOOK_AT_PROCESS),
    ServerEvent.RECYCLED: EventMeaning(Layer.SERVER, _LOOK_AT_PROCESS),
    ServerEvent.KILLED: EventMeaning(Layer.SERVER, _LOOK_AT_PROCESS),
    ServerEvent.TOO_BIG: EventMeaning(
        Layer.SERVER, "Compare the size of our message with the server's limit.", is_sure=False
    ),
    ServerEvent.NO_PONGS: EventMeaning(
        Layer.SERVER, "See whether pings and pongs get through: compare the server's ping timeout.", is_sure=False
    ),
    ServerEvent.IDLE: EventMeaning(
        Layer.SERVER, "Compare the time in which we sent no message with the server's idle timeout.", is_sure=False
    ),
    ServerEvent.HANGS: EventMeaning(
        Layer.APPLICATION, "See what the backend's handler waits for: a dump of its tasks or threads shows it."
    ),
}

PROXY_MEANINGS: Final[Mapping[ProxyEvent, EventMeaning]] = {
    ProxyEvent.BACKEND_REFUSES: EventMeaning(
        Layer.SERVER, "See whether the backend's process is up and listens where the proxy's configuration says."
    ),
    ProxyEvent.BACKEND_UNREACHABLE: EventMeaning(
        Layer.SERVER,
        "See whether the backend's host is up and its process takes connections, and whether a firewall stands between "
        "the two.",
        is_sure=False,  # a firewall, which is the network's
    ),
    ProxyEvent.BACKEND_HANGS: EventMeaning(
        Layer.SERVER,
        "Ask the backend without the proxy: it takes connections and does not serve them. A firewall between the two "
        "looks the same.",
        is_sure=False,  # an application that waits before it accepts
    ),
    ProxyEvent.BACKEND_CUTS: EventMeaning(
        Layer.SERVER,
        "Read the backend's log at this second: a crash ahead of the answer, or a process that ended.",
        is_sure=False,  # some servers end so what their application raises, or a path that nothing serves
    ),
    ProxyEvent.BACKEND_DIES: EventMeaning(Layer.SERVER, _LOOK_AT_PROCESS),
    ProxyEvent.NO_UPGRADE: EventMeaning(
        Layer.PROXY, "Look at the proxy's WebSocket settings, and ask the backend without it."
    ),
    ProxyEvent.NO_ROUTE: EventMeaning(
        Layer.PROXY, "Compare host and path of the URL with the proxy's routes.", is_sure=False
    ),
    ProxyEvent.HEAD_TOO_LARGE: EventMeaning(
        Layer.CLIENT,
        "Compare the size of our headers (a long token, cookies) with the proxy's limit for a request's head.",
        is_sure=False,
    ),
    ProxyEvent.INTERIM_ANSWER: EventMeaning(
        Layer.PROXY, "Keep interim answers (103) away from upgrades, or use a newer version of the proxy."
    ),
    ProxyEvent.INTERIM_AT_ONCE: EventMeaning(
        Layer.PROXY, "Keep interim answers (103) away from upgrades, or use a newer version of the proxy."
    ),
    ProxyEvent.OTHER_PROTOCOL: EventMeaning(
        Layer.PROXY,
        "Compare the protocol that the proxy is set to speak with its backend (HTTP/1.1 or HTTP/2, TLS or none) with "
        "the backend's own.",
        is_sure=False,  # a backend whose answer is no HTTP for another reason
    ),
    ProxyEvent.HTTP2_UPGRADE: EventMeaning(
        Layer.PROXY, "Have the proxy in front speak HTTP/1.1 with it: it takes no WebSocket over HTTP/2.", is_sure=False
    ),
    ProxyEvent.HTTP2_ACCEPT: EventMeaning(
        Layer.PROXY, "Have the proxy speak HTTP/1.1 with its backend, which sends Sec-WebSocket-Accept there."
    ),
    ProxyEvent.STOPPED_GRACEFULLY: EventMeaning(
        Layer.PROXY, "Look at the proxy's log for a stop or restart at this second."
    ),
    ProxyEvent.KILLED: EventMeaning(Layer.PROXY, "Look at the age of the proxy's processes."),
    ProxyEvent.RELOADED: EventMeaning(Layer.PROXY, "Look at the proxy's log for a reload at this second."),
    ProxyEvent.STOPPED: EventMeaning(Layer.PROXY, "Look at the proxy's log for a stop or restart at this second."),
    ProxyEvent.IDLE: EventMeaning(Layer.PROXY, "Compare the connection's age with the proxy's idle timeout."),
}


def meaning_of(event: Event) -> EventMeaning:
    """The meaning of an event: two tables, because a server and a proxy can both be stopped."""
    return PROXY_MEANINGS[event] if isinstance(event, ProxyEvent) else SERVER_MEANINGS[event]


_BEFORE_THE_101: Final[frozenset[Event]] = frozenset(
    {
        ServerEvent.RAISES_BEFORE_ACCEPT,
        ServerEvent.RETURNS_BEFORE_ACCEPT,
        ServerEvent.REFUSES_LOGIN,
        ServerEvent.FOREIGN_SUBPROTOCOL,
        ServerEvent.WRONG_PATH,
        ServerEvent.NO_WEBSOCKET,
        ProxyEvent.BACKEND_REFUSES,
        ProxyEvent.BACKEND_UNREACHABLE,
        ProxyEvent.BACKEND_HANGS,
        ProxyEvent.BACKEND_CUTS,
        ProxyEvent.NO_UPGRADE,
        ProxyEvent.NO_ROUTE,
        ProxyEvent.HEAD_TOO_LARGE,
        ProxyEvent.INTERIM_ANSWER,
        ProxyEvent.INTERIM_AT_ONCE,
        ProxyEvent.OTHER_PROTOCOL,
        ProxyEvent.HTTP2_UPGRADE,
        ProxyEvent.HTTP2_ACCEPT,
    }
)
_OF_PATHS: Final[frozenset[Event]] = frozenset({ServerEvent.WRONG_PATH, ServerEvent.NO_WEBSOCKET})
"""Some servers open a WebSocket even then, and close it."""
_OF_UPGRADE: Final[frozenset[Event]] = _BEFORE_THE_101 | {ServerEvent.KILLED}
_OF_MESSAGES: Final[frozenset[Event]] = frozenset({ServerEvent.RAISES_ON_MESSAGE, ServerEvent.HANGS})
"""Events that need a message to the server."""
_RARE_IN_A_SESSION: Final[frozenset[Event]] = frozenset(
    {ServerEvent.NO_PONGS, ServerEvent.TOO_BIG, ServerEvent.IDLE, ProxyEvent.IDLE}
)
"""Events that a probe's short session with its small message does not meet."""


class Match(NamedTuple):
    """The events of one program that look like this failure."""

    software: Software
    events: tuple[Event, ...]


def named_server(result: Result) -> Software | None:
    """The server that the answer to the upgrade names."""
    seen = result.answered_by
    return None if seen is None or seen in PROXIES or seen is Software.BACKEND else seen


def _rows() -> dict[Software | None, list[Behaviour]]:
    rows: dict[Software | None, list[Behaviour]] = {}
    for server_row in SERVER_BEHAVIOURS:
        if server_row.seen is not None:
            rows.setdefault(server_row.server, []).append(server_row)
    for proxy_row in PROXY_BEHAVIOURS:
        if proxy_row.seen is not None and proxy_row.is_own:
            rows.setdefault(proxy_row.proxy, []).append(proxy_row)
    return rows


ROWS: Final = _rows()
"""What was seen of each program; of a proxy only its own answers."""


@lru_cache
def _rows_with(software: Software | None, status: int | None) -> Sequence[Behaviour]:
    """The rows of a program that this HTTP status leaves."""
    return [row for row in ROWS.get(software, ()) if status is None or row.status in (None, status)]


GATEWAY_EVENTS: Final[Mapping[int, tuple[ProxyEvent, ...]]] = {
    502: (ProxyEvent.BACKEND_REFUSES, ProxyEvent.BACKEND_CUTS),
    504: (ProxyEvent.BACKEND_HANGS,),
}
"""What a proxy says by its status if no row knows it (RFC 9110 sections 15.6.3 and 15.6.5)."""


def find_match(
    result: Result,
    server: Software | None,
    code: int | None,
    *,
    close_answered: bool | None = None,
    edge: Software | None = None,
) -> Match | None:
    """What the proxy that answered, or else the server, was seen to do like this; None: nothing, or neither is known.

    server: the one of the target, if it is known
    code: the close code of the server, or 1006 for a lost connection
    close_answered: whether the server answered our close; None: not known
    edge: the proxy that has the clients, if it is known
    """
    by_edge = _own_end_of_edge(result, edge, code)
    if by_edge is not None:
        return by_edge
    is_proxy = result.http_status is not None and result.answered_by in PROXIES
    software = result.answered_by if is_proxy else server
    waited = waited_seconds(result)
    fitting = [
        row
        for row in _rows_with(software, result.http_status)
        if _looks_so(row, result, code, is_proxied=bool(result.via or edge))
        and _fits_phase(row, result, waited)
        and _fits_close(row, close_answered)
        and (row.event is not ProxyEvent.HTTP2_UPGRADE or result.via)  # our own upgrade is one of HTTP/1.1
    ]
    timed = [row for row in fitting if _is_timed(row, waited)]
    events = tuple(dict.fromkeys(row.event for row in timed or fitting))
    if is_proxy and not events:
        events = GATEWAY_EVENTS.get(result.http_status or 0, ())
    return Match(software, events) if events and software is not None else None


def _own_end_of_edge(result: Result, edge: Software | None, code: int | None) -> Match | None:
    """What the proxy that has the clients does by itself that ends TLS so.

    None: nothing; or it passes the loss of its backend on in the same way.
    """
    if result.phase not in _OPEN_PHASES or result.reason is not Reason.RESET or result.ending not in _TLS_ENDINGS:
        return None
    rows = [
        row
        for row in PROXY_BEHAVIOURS
        if row.proxy is edge
        and row.event not in _RARE_IN_A_SESSION
        and row.seen is not None
        and row.code == code
        and row.tls_ending is result.ending
    ]
    events = tuple(dict.fromkeys(row.event for row in rows))
    return None if not events or ProxyEvent.BACKEND_DIES in events else Match(rows[0].proxy, events)


SUBJECTS: Final = ("its application ", "its backend ", "it ", "")
"""Whose doing an event is, by how its text begins."""


def clause_of(events: Sequence[Event]) -> str:
    """The events, those of one subject together: `when it is stopped, or when its application raises or returns`."""
    by_subject: dict[str, list[str]] = {}
    for text in _merged(events):
        subject = next(subject for subject in SUBJECTS if text.startswith(subject))
        by_subject.setdefault(subject, []).append(text.removeprefix(subject))
    clauses = [
        f"when {subject}{_alternatives(predicates)}"
        if subject
        else _alternatives([f"when {text}" for text in predicates])
        for subject, predicates in by_subject.items()
    ]
    return ", or ".join(clauses)


MERGED: Final[tuple[tuple[frozenset[Event], str], ...]] = (
    (
        frozenset({ServerEvent.RAISES_BEFORE_ACCEPT, ServerEvent.RETURNS_BEFORE_ACCEPT}),
        "its application raises or returns before it accepts",
    ),
    (frozenset({ServerEvent.RAISES_AFTER_ACCEPT, ServerEvent.RAISES_ON_MESSAGE}), "its application raises"),
    (frozenset({ServerEvent.WRONG_PATH, ServerEvent.NO_WEBSOCKET}), "no WebSocket is served at the path"),
    (frozenset({ServerEvent.KILLED, ServerEvent.WORKER_KILLED}), "its process or a worker is killed"),
    (frozenset({ServerEvent.REFUSES_LOGIN}), "its application refuses the login before it accepts"),
    (frozenset({ServerEvent.REFUSES_AFTER_ACCEPT}), "its application refuses the login by an exception"),
    (frozenset({ServerEvent.NO_WEBSOCKET}), "a page serves the path and no WebSocket"),
    (frozenset({ServerEvent.WORKER_KILLED}), "its worker is killed"),
)
"""Shorter words for one or two events, those for two first: an explanation must fit a screen."""


def _merged(events: Sequence[Event]) -> Iterator[str]:
    """The texts of the events in their order, the shorter ones where there are any."""
    left = dict.fromkeys(events)
    for event in events:
        merged, text = next((row for row in MERGED if event in row[0] and row[0] <= left.keys()), ({event}, event))
        if event in left:
            yield text
        left = {other: None for other in left if other not in merged}


def _alternatives(texts: Sequence[str]) -> str:
    return " or ".join([", ".join(texts[:-1]), texts[-1]] if texts[1:] else texts)


def waited_seconds(result: Result) -> float | None:
    """Seconds in the failed phase until the refusal, or until the connection was lost; None: neither came."""
    if result.phase in result.phases or result.refused_after is None:
        return None
    return max(0.0, result.refused_after - sum(result.phases.values()))


def _fits_phase(row: Behaviour, result: Result, waited: float | None) -> bool:
    """Whether the event can have ended the phase that failed, after this time."""
    return _can_happen(row.event, result) and not _is_too_rare(row, waited) and _is_late_enough(row, waited)


def _looks_so(row: Behaviour, result: Result, code: int | None, *, is_proxied: bool) -> bool:
    """Whether the row looks like this. `is_proxied`: a proxy ends the connection, in its own way."""
    is_in_stream = isinstance(row, ServerBehaviour) and row.is_http
    if is_in_stream or result.stream_status is not None:
        return is_in_stream and row.status == result.stream_status
    if row.status is not None or result.http_status is not None:
        return row.status == result.http_status
    if row.code is not None:
        return row.code == code and (is_proxied or None in (row.ending, result.ending) or _ends_so(row, result))
    return _fits_silence(row, result)


_TLS_ENDINGS: Final = frozenset({Ending.CLOSE_NOTIFY, Ending.TLS_CUT})


def _ends_so(row: Behaviour, result: Result) -> bool:
    """Whether the connection ended as in the row, which was seen without TLS: there is a FIN in both ends of TLS."""
    return row.ending is result.ending or (row.ending is Ending.FIN and result.ending in _TLS_ENDINGS)


def _is_timed(row: Behaviour, waited: float | None) -> bool:
    """Whether the row's time has passed, and is one of the program's own: a proxy's patience with a backend is not."""
    if row.after is None or not row.after[0] or row.event is ProxyEvent.BACKEND_HANGS:
        return False
    return waited is not None and EARLIEST_FRACTION * row.after[0] <= waited <= LATEST_FRACTION * row.after[1]


def _is_late_enough(row: Behaviour, waited: float | None) -> bool:
    """Whether the row's time can have passed. The times of proxies are settings, which say nothing here.

    But an address that does not answer is waited for.
    """
    if row.event is ProxyEvent.BACKEND_UNREACHABLE and waited is not None:
        return waited > MAX_REFUSAL_SECONDS
    if waited is None or row.after is None or isinstance(row, ProxyBehaviour):
        return True
    return waited >= EARLIEST_FRACTION * row.after[0]


def _fits_close(row: Behaviour, close_answered: bool | None) -> bool:
    """Whether a server that stays open treats our close as the row says."""
    answers = row.answers_close if isinstance(row, ServerBehaviour) else None
    return None in (answers, close_answered) or answers is close_answered


MAX_REFUSAL_SECONDS: Final = 0.5
"""Seconds within which a proxy says that its backend's port is closed, if it does not try again."""


_OPEN_PHASES: Final = frozenset({Phase.ADMISSION, Phase.AUTH, Phase.REPLY, Phase.CLOSE})
"""Phases of an open WebSocket. Before the upgrade nothing is known to be like what a program did to a WebSocket."""


def _can_happen(event: Event, result: Result) -> bool:
    """Whether the event belongs to the phase that failed."""
    if result.phase is Phase.UPGRADE:
        return event in _OF_UPGRADE
    if result.phase not in _OPEN_PHASES:
        return False
    without_message = result.phase is Phase.ADMISSION
    return event not in _BEFORE_THE_101 - _OF_PATHS and not (without_message and event in _OF_MESSAGES)


def _is_too_rare(row: Behaviour, waited: float | None) -> bool:
    """Whether a probe's short session with its small message does not meet the event; one of this length does."""
    has_time = row.event in (ServerEvent.NO_PONGS, ServerEvent.IDLE) and row.after is not None and waited is not None
    return row.event in _RARE_IN_A_SESSION and not (has_time and _is_late_enough(row, waited))


_CAUSES_OF_SILENCE: Final = frozenset(
    {
        ServerEvent.RAISES_BEFORE_ACCEPT,
        ServerEvent.RETURNS_BEFORE_ACCEPT,
        ServerEvent.RAISES_AFTER_ACCEPT,
        ServerEvent.RAISES_ON_MESSAGE,
        ServerEvent.REFUSES_AFTER_ACCEPT,
        ServerEvent.RETURNS,
        ServerEvent.HANGS,
    }
)
"""Of the events after which a connection can stay open, those that explain why nothing comes."""


def _fits_silence(row: Behaviour, result: Result) -> bool:
    """Without a status and a code: an end before the answer, or a connection that stays open."""
    if row.ending is not None:
        return result.reason is Reason.RESET and _ends_so(row, result)
    return result.reason is Reason.TIMEOUT and isinstance(row, ServerBehaviour) and row.event in _CAUSES_OF_SILENCE
