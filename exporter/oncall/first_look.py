"""Looks at a backend that nothing is known of: at most three connections, without credentials.

The first offers subprotocols and closes. The second listens. The third, only if neither is recognised, makes a call of
a method that no server has.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from exporter.config import Profile, Tls
from exporter.discovery import (
    ASKED_CALL,
    ASKED_ID,
    OFFERED_SUBPROTOCOLS,
    UNKNOWN_SUBPROTOCOL,
    BackendEvidence,
    Payload,
    Sighting,
    recognise,
)
from exporter.files import TLS_CONTEXTS
from exporter.host import Clock
from exporter.plan import Job
from exporter.probing import USER_AGENT
from exporter.profiles import MessageMatcher, SessionMessages
from exporter.resolver import Resolver
from exporter.result import Direction, ErrorKind, Handshake, Initiator, Probe, SessionObservation
from exporter.session import SeenMessage, Session, SessionRequest

TIMEOUT_SECONDS: Final = 8.0
CLOSE_TIMEOUT_SECONDS: Final = 2.0
"""Together the most that one connection takes."""
LISTEN_SECONDS: Final = 2.5
"""Seconds from the upgrade for what a server says by itself."""
MAX_KEPT_MESSAGES_COUNT: Final = 50

SOCKETIO_QUERY: Final = "EIO=4&transport=websocket"

_NEVER: Final = {"ws_factory_exporter": "nobody sends this"}


def _opening(subprotocols: tuple[str, ...]) -> Profile:
    return Profile.model_validate({"subprotocols": list(subprotocols)})


def _listening(subprotocols: tuple[str, ...]) -> Profile:
    return Profile.model_validate({"subprotocols": list(subprotocols), "welcome": {"match": _NEVER}})


def _asking(subprotocols: tuple[str, ...]) -> Profile:
    """The answer ends the session; what has another id is awaited until the deadline."""
    step = {"message": dict(ASKED_CALL), "match": {"id": ASKED_ID}}
    return Profile.model_validate({"subprotocols": list(subprotocols), "auth": step})


async def first_look(job: Job) -> list[Sighting]:
    """Return what each connection to the job's URL met. Raises OSError for errors of this machine."""
    offered = (UNKNOWN_SUBPROTOCOL, *OFFERED_SUBPROTOCOLS)
    opening = await _look(job, job.target.url, offered, _opening, TIMEOUT_SECONDS)
    if not _answered(opening):
        return [opening]
    url = _url_of_second(opening)
    chosen = () if opening.chosen is None else (opening.chosen,)
    seconds = min(TIMEOUT_SECONDS, 2 * sum(opening.phases.values()) + LISTEN_SECONDS)
    listening = await _look(job, url, chosen, _listening, seconds)
    sightings = [opening, listening]
    if recognise(BackendEvidence(sightings)) or not listening.opened:
        return sightings
    return [*sightings, await _look(job, url, chosen, _asking, seconds)]


def _answered(opening: Sighting) -> bool:
    """Whether the server answered the upgrade, if only to refuse it."""
    return opening.opened or opening.status is not None or opening.handshake is not None


def _url_of_second(opening: Sighting) -> str:
    """The URL itself; that of a Socket.IO server that refused it with the query that these need."""
    parts = urlsplit(opening.url)
    names = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if opening.opened or "/socket.io" not in parts.path or "EIO" in names:
        return opening.url
    query = "&".join(part for part in (parts.query, SOCKETIO_QUERY) if part)
    return parts._replace(path=f"{parts.path.rstrip('/')}/", query=query).geturl()


async def _look(
    job: Job, url: str, offered: tuple[str, ...], make: Callable[[tuple[str, ...]], Profile], seconds: float
) -> Sighting:
    profile, seen = make(offered), list[SeenMessage]()

    def keep(message: SeenMessage) -> None:
        if message.direction is Direction.IN and message.code is None and len(seen) < MAX_KEPT_MESSAGES_COUNT:
            seen.append(message)

    parts, clock = urlsplit(url), Clock()
    request = SessionRequest(
        host=job.host,
        port=job.port,
        connect_to=job.connect_to,
        resource=f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/",
        session_messages=SessionMessages(MessageMatcher(profile), {"nonce": ""}),
        depth=Probe.AUTH if profile.welcome or profile.auth else Probe.CONNECT,
        timeout=seconds,
        close_timeout=CLOSE_TIMEOUT_SECONDS,
        total_timeout=TIMEOUT_SECONDS + CLOSE_TIMEOUT_SECONDS,
        tls=TLS_CONTEXTS.context(Tls()) if job.tls else None,
        headers={"User-Agent": USER_AGENT},
        subprotocols=offered,
        observer=keep,
    )
    observation = await Session(request, Resolver(), clock.monotonic, kernel_stamps=clock.kernel_stamps).run()
    messages = tuple(Payload(message.data, message.is_text) for message in seen)
    return replace(_sighting(url, offered, observation), asked=bool(profile.auth), messages=messages)


def _sighting(url: str, offered: tuple[str, ...], observation: SessionObservation) -> Sighting:
    fault, close = observation.fault, observation.close
    is_remote = close is not None and close.initiator is Initiator.REMOTE
    handshake = Handshake(fault.detail) if fault is not None and fault.kind is ErrorKind.UPGRADE else None
    return Sighting(
        url,
        offered,
        phases=observation.phases,
        subprotocol=observation.subprotocol,
        status=fault.status if fault is not None else None,
        close_code=close.code if close is not None and is_remote else None,
        error=fault.kind if fault is not None else None,
        handshake=handshake,
        certificate_end=observation.certificate_end,
        answered_by=observation.answered_by,
        via=observation.via,
    )
