"""What proxies do by themselves: what a client sees of each event at each proxy."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from exporter.result import Ending, Software


class ProxyEvent(StrEnum):
    """What happens at a proxy, or behind it."""

    BACKEND_REFUSES = "nothing listens where it sends us"
    BACKEND_HANGS = "its backend takes the connection and does not answer"
    BACKEND_CUTS = "its backend ends the connection instead of an answer"
    BACKEND_DIES = "its backend dies during the session"
    NO_UPGRADE = "it is not configured to pass upgrades on"
    NO_ROUTE = "it has no route for the request"
    HEAD_TOO_LARGE = "the head of the request is larger than it takes"
    INTERIM_ANSWER = "its backend sends an interim answer ahead of the 101"
    RELOADED = "it is reloaded"
    STOPPED = "it is stopped"
    IDLE = "nothing was sent for as long as it allows"


@dataclass(frozen=True, slots=True)
class ProxyBehaviour:
    """One cell; the fields are those of `servers.ServerBehaviour`.

    is_own: whether the proxy made the answer itself; False: the backend's, which the event has changed
    """

    proxy: Software
    event: ProxyEvent
    version: str
    seen: str | None
    status: int | None = None
    code: int | None = None
    after: tuple[float, float] | None = None
    ending: Ending | None = None
    is_own: bool = True


_LAYERS_DAY: Final = "2026-11-29"

PROXY_BEHAVIOURS: Final = (
    ProxyBehaviour(Software.NGINX, ProxyEvent.BACKEND_REFUSES, "1.22.1", _LAYERS_DAY, status=502),
    ProxyBehaviour(Software.NGINX, ProxyEvent.BACKEND_HANGS, "1.22.1", _LAYERS_DAY, status=504, after=(60.0, 61.0)),
    ProxyBehaviour(Software.HAPROXY, ProxyEvent.BACKEND_REFUSES, "2.6.12", _LAYERS_DAY, status=503, after=(3.0, 4.0)),
    ProxyBehaviour(Software.ENVOY, ProxyEvent.NO_UPGRADE, "1.40.0", _LAYERS_DAY, status=403),
)
