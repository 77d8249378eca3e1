"""What proxies do by themselves: what a client sees of each event at each proxy."""

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

from exporter.result import Ending, Software


class ProxyEvent(StrEnum):
    """What happens at a proxy, or behind it."""

    BACKEND_REFUSES = "nothing listens where it sends us"
    BACKEND_UNREACHABLE = "nothing answers at the address where it sends us"
    BACKEND_HANGS = "its backend takes the connection and does not answer"
    BACKEND_CUTS = "its backend ends the connection instead of an answer"
    BACKEND_DIES = "its backend dies during the session"
    NO_UPGRADE = "it is not configured to pass upgrades on"
    NO_ROUTE = "it has no route for the request"
    HEAD_TOO_LARGE = "the head of the request is larger than it takes"
    INTERIM_ANSWER = "its backend sends an interim answer ahead of the 101"
    INTERIM_AT_ONCE = "its backend sends an interim answer and the 101 in one write"
    OTHER_PROTOCOL = "its backend answers in another protocol than it is asked in"
    HTTP2_UPGRADE = "an upgrade comes to it over HTTP/2"
    HTTP2_ACCEPT = "its backend takes the upgrade over HTTP/2 and sends no Sec-WebSocket-Accept there"
    RELOADED = "it is reloaded"
    STOPPED_GRACEFULLY = "it is asked to stop once its connections have ended"
    STOPPED = "it is stopped"
    KILLED = "its processes are killed"
    IDLE = "nothing was sent for as long as it allows"


@dataclass(frozen=True, slots=True)
class ProxyBehaviour:
    """One cell; the fields are those of `servers.ServerBehaviour`.

    With neither status nor code, `ending` is how it ends the connection instead of an answer; without that either, it
    waits for ever, or leaves the session alone.

    after: with the proxy's defaults, or those of Debian's configuration
    ending, tls_ending: how the connection to the client ends, without TLS and with it
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
    tls_ending: Ending | None = None
    is_own: bool = True


_DAY: Final = "2026-11-30"
_DEFAULTS_DAY: Final = "2026-11-29"
"""The run that waited for the defaults: `make layers` shortens them to a second."""
_HTTP2_DAY: Final = "2026-12-01"
_LOST_CODE: Final = 1006

_nginx = partial(ProxyBehaviour, Software.NGINX, version="1.22.1", seen=_DAY)
_haproxy = partial(ProxyBehaviour, Software.HAPROXY, version="2.6.12", seen=_DAY)
_apache = partial(ProxyBehaviour, Software.APACHE, version="2.4.71", seen=_DAY)
_caddy = partial(ProxyBehaviour, Software.CADDY, version="2.11.7", seen=_DAY)
_envoy = partial(ProxyBehaviour, Software.ENVOY, version="1.40.0", seen=_DAY)
_traefik = partial(ProxyBehaviour, Software.TRAEFIK, version="3.7.15", seen=_DAY)
_varnish = partial(ProxyBehaviour, Software.VARNISH, version="7.1.1", seen=_DAY)
_squid = partial(ProxyBehaviour, Software.SQUID, version="5.7", seen=_DAY)
_lighttpd = partial(ProxyBehaviour, Software.LIGHTTPD, version="1.4.69", seen=_DAY)
_nghttpx = partial(ProxyBehaviour, Software.NGHTTPX, version="1.52.0", seen=_DAY)
_stunnel = partial(ProxyBehaviour, Software.STUNNEL, version="5.68", seen=_DAY)

PROXY_BEHAVIOURS: Final = (
    _nginx(ProxyEvent.BACKEND_REFUSES, status=502),
    _nginx(ProxyEvent.BACKEND_HANGS, status=504, after=(60.0, 61.0), seen=_DEFAULTS_DAY),
    _nginx(ProxyEvent.BACKEND_CUTS, status=502),
    _nginx(ProxyEvent.BACKEND_DIES, code=_LOST_CODE, ending=Ending.FIN, tls_ending=Ending.CLOSE_NOTIFY),
    _nginx(ProxyEvent.NO_UPGRADE, status=400, is_own=False),
    _nginx(ProxyEvent.NO_UPGRADE, status=404, is_own=False),
    _nginx(ProxyEvent.NO_UPGRADE, status=426, is_own=False),
    _nginx(ProxyEvent.NO_UPGRADE, status=505, is_own=False),
    _nginx(ProxyEvent.NO_ROUTE, status=404),
    _nginx(ProxyEvent.HTTP2_UPGRADE, status=400, seen=_HTTP2_DAY),
    _nginx(ProxyEvent.HEAD_TOO_LARGE, status=400),
    _nginx(ProxyEvent.INTERIM_ANSWER, after=(60.0, 61.0), ending=Ending.FIN, seen=_DEFAULTS_DAY),
    _nginx(ProxyEvent.RELOADED),
    _nginx(ProxyEvent.STOPPED_GRACEFULLY),
    _nginx(ProxyEvent.STOPPED, code=_LOST_CODE, ending=Ending.FIN, tls_ending=Ending.TLS_CUT),
    _nginx(ProxyEvent.KILLED, code=_LOST_CODE, ending=Ending.FIN, tls_ending=Ending.TLS_CUT),
    _nginx(
        ProxyEvent.IDLE,
        code=_LOST_CODE,
        after=(60.0, 61.0),
        ending=Ending.FIN,
        tls_ending=Ending.CLOSE_NOTIFY,
        seen=_DEFAULTS_DAY,
    ),
    _haproxy(ProxyEvent.BACKEND_REFUSES, status=503, after=(3.0, 4.0)),
    _haproxy(ProxyEvent.BACKEND_UNREACHABLE, status=503, after=(20.0, 21.0)),
    _haproxy(ProxyEvent.BACKEND_HANGS, status=504, after=(50.0, 51.0), seen=_DEFAULTS_DAY),
    _haproxy(ProxyEvent.BACKEND_CUTS, status=502),
    _haproxy(ProxyEvent.BACKEND_DIES, code=_LOST_CODE, ending=Ending.FIN, tls_ending=Ending.CLOSE_NOTIFY),
    _haproxy(ProxyEvent.NO_ROUTE, status=503),
    _haproxy(ProxyEvent.HEAD_TOO_LARGE, status=400),
    _haproxy(ProxyEvent.INTERIM_AT_ONCE, status=502),
    _haproxy(ProxyEvent.RELOADED),
    _haproxy(ProxyEvent.STOPPED_GRACEFULLY),
    _haproxy(ProxyEvent.STOPPED, code=_LOST_CODE, ending=Ending.FIN, tls_ending=Ending.TLS_CUT),
    _haproxy(ProxyEvent.KILLED, code=_LOST_CODE, ending=Ending.FIN, tls_ending=Ending.TLS_CUT),
    _haproxy(
        ProxyEvent.IDLE,
        code=_LOST_CODE,
        after=(50.0, 51.0),
        ending=Ending.FIN,
        tls_ending=Ending.CLOSE_NOTIFY,
        seen=_DEFAULTS_DAY,
    ),
    _apache(ProxyEvent.BACKEND_REFUSES, status=503),
    _apache(ProxyEvent.BACKEND_UNREACHABLE, status=503),
    _apache(ProxyEvent.BACKEND_HANGS, status=502, after=(300.0, 301.0), seen=_DEFAULTS_DAY),
    _apache(ProxyEvent.BACKEND_CUTS, status=502),
    _apache(ProxyEvent.BACKEND_DIES, code=_LOST_CODE, ending=Ending.FIN, tls_ending=Ending.TLS_CUT),
    _apache(ProxyEvent.NO_UPGRADE, status=400, is_own=False),
    _apache(ProxyEvent.NO_UPGRADE, status=404, is_own=False),
    _apache(ProxyEvent.NO_UPGRADE, status=426, is_own=False),
    _apache(ProxyEvent.NO_ROUTE, status=404),
    _apache(ProxyEvent.HEAD_TOO_LARGE, status=400),
    _apache(ProxyEvent.RELOADED),
    _apache(ProxyEvent.STOPPED_GRACEFULLY),
    _apache(ProxyEvent.STOPPED, code=_LOST_CODE, ending=Ending.FIN, tls_ending=Ending.TLS_CUT),
    _apache(ProxyEvent.KILLED, code=_LOST_CODE, ending=Ending.FIN),
    _apache(
        ProxyEvent.IDLE,
        code=_LOST_CODE,
        after=(300.0, 301.0),
        ending=Ending.FIN,
        tls_ending=Ending.CLOSE_NOTIFY,
        seen=_DEFAULTS_DAY,
    ),
    _caddy(ProxyEvent.BACKEND_REFUSES, status=502),
    _caddy(ProxyEvent.BACKEND_UNREACHABLE, status=502, after=(3.0, 4.0)),
    _caddy(ProxyEvent.BACKEND_HANGS, seen=_DEFAULTS_DAY),
    _caddy(ProxyEvent.BACKEND_CUTS, status=502),
    _caddy(ProxyEvent.BACKEND_DIES, code=_LOST_CODE, ending=Ending.FIN, tls_ending=Ending.CLOSE_NOTIFY),
    _caddy(ProxyEvent.NO_ROUTE, status=200),
    _caddy(ProxyEvent.HEAD_TOO_LARGE, status=431),
    _caddy(ProxyEvent.RELOADED, code=1001),
    _caddy(ProxyEvent.STOPPED, code=1001),
    _caddy(ProxyEvent.KILLED, code=_LOST_CODE, ending=Ending.FIN, tls_ending=Ending.TLS_CUT),
    _caddy(ProxyEvent.IDLE, seen=_DEFAULTS_DAY),
    _envoy(ProxyEvent.BACKEND_REFUSES, status=503),
    _envoy(ProxyEvent.BACKEND_HANGS, status=504, after=(15.0, 16.0), seen=_DEFAULTS_DAY),
    _envoy(ProxyEvent.BACKEND_CUTS, status=503),
    _envoy(
        ProxyEvent.BACKEND_DIES, code=_LOST_CODE, after=(1.0, 2.0), ending=Ending.FIN, tls_ending=Ending.CLOSE_NOTIFY
    ),
    _envoy(ProxyEvent.NO_UPGRADE, status=403),
    _envoy(ProxyEvent.OTHER_PROTOCOL, status=502, seen=_HTTP2_DAY),
    _envoy(ProxyEvent.HTTP2_ACCEPT, status=101, seen=_HTTP2_DAY),
    _envoy(ProxyEvent.NO_ROUTE, status=404),
    _envoy(ProxyEvent.HEAD_TOO_LARGE, status=431),
    _envoy(ProxyEvent.STOPPED, code=_LOST_CODE, ending=Ending.FIN, tls_ending=Ending.CLOSE_NOTIFY),
    _envoy(ProxyEvent.KILLED, code=_LOST_CODE, ending=Ending.FIN, tls_ending=Ending.TLS_CUT),
    _envoy(
        ProxyEvent.IDLE,
        code=_LOST_CODE,
        after=(300.0, 302.0),
        ending=Ending.FIN,
        tls_ending=Ending.CLOSE_NOTIFY,
        seen=_DEFAULTS_DAY,
    ),
    _traefik(ProxyEvent.BACKEND_REFUSES, status=502),
    _traefik(ProxyEvent.BACKEND_CUTS, status=502),
    _traefik(ProxyEvent.BACKEND_DIES, code=_LOST_CODE, ending=Ending.FIN, tls_ending=Ending.CLOSE_NOTIFY),
    _traefik(ProxyEvent.NO_ROUTE, status=404),
    _traefik(ProxyEvent.STOPPED, code=_LOST_CODE, after=(10.0, 12.0), ending=Ending.FIN, tls_ending=Ending.TLS_CUT),
    _traefik(ProxyEvent.KILLED, code=_LOST_CODE, ending=Ending.FIN),
    _varnish(ProxyEvent.BACKEND_REFUSES, ending=Ending.FIN),
    _varnish(ProxyEvent.BACKEND_UNREACHABLE, after=(3.5, 4.5), ending=Ending.FIN),
    _varnish(ProxyEvent.BACKEND_HANGS, after=(60.0, 61.0), ending=Ending.FIN, seen=_DEFAULTS_DAY),
    _varnish(ProxyEvent.BACKEND_CUTS, ending=Ending.FIN),
    _varnish(ProxyEvent.BACKEND_DIES, code=_LOST_CODE, ending=Ending.FIN),
    _varnish(ProxyEvent.NO_UPGRADE, status=400, is_own=False),
    _varnish(ProxyEvent.NO_UPGRADE, status=404, is_own=False),
    _varnish(ProxyEvent.NO_UPGRADE, status=426, is_own=False),
    _varnish(ProxyEvent.NO_ROUTE, status=404),
    _varnish(ProxyEvent.HEAD_TOO_LARGE, status=400),
    _varnish(ProxyEvent.STOPPED, code=_LOST_CODE, ending=Ending.FIN),
    _varnish(ProxyEvent.KILLED, code=_LOST_CODE, ending=Ending.FIN),
    _varnish(ProxyEvent.IDLE, code=_LOST_CODE, after=(60.0, 61.0), ending=Ending.FIN, seen=_DEFAULTS_DAY),
    _squid(ProxyEvent.BACKEND_REFUSES, status=502),
    _squid(ProxyEvent.BACKEND_HANGS, status=504, after=(900.0, 902.0), seen=None),
    _squid(ProxyEvent.BACKEND_CUTS, status=502),
    _squid(ProxyEvent.BACKEND_DIES, code=_LOST_CODE, ending=Ending.FIN),
    _squid(ProxyEvent.NO_UPGRADE, status=400, is_own=False),
    _squid(ProxyEvent.NO_UPGRADE, status=404, is_own=False),
    _squid(ProxyEvent.NO_UPGRADE, status=426, is_own=False),
    _squid(ProxyEvent.NO_ROUTE, status=502),
    _squid(ProxyEvent.HEAD_TOO_LARGE, status=431),
    _squid(ProxyEvent.RELOADED),
    _squid(ProxyEvent.STOPPED, code=_LOST_CODE, after=(30.0, 32.0), ending=Ending.FIN, seen=_DEFAULTS_DAY),
    _squid(ProxyEvent.KILLED, code=_LOST_CODE, ending=Ending.FIN),
    _squid(ProxyEvent.IDLE, code=_LOST_CODE, after=(900.0, 902.0), ending=Ending.FIN, seen=None),
    _lighttpd(ProxyEvent.BACKEND_REFUSES, status=503),
    _lighttpd(ProxyEvent.BACKEND_UNREACHABLE, status=503, after=(10.0, 11.0)),
    _lighttpd(ProxyEvent.BACKEND_HANGS, seen=_DEFAULTS_DAY),
    _lighttpd(ProxyEvent.BACKEND_CUTS, status=500),
    _lighttpd(ProxyEvent.BACKEND_DIES, code=_LOST_CODE, ending=Ending.FIN),
    _lighttpd(ProxyEvent.NO_UPGRADE, status=400, is_own=False),
    _lighttpd(ProxyEvent.NO_UPGRADE, status=404, is_own=False),
    _lighttpd(ProxyEvent.NO_UPGRADE, status=426, is_own=False),
    _lighttpd(ProxyEvent.NO_ROUTE, status=404),
    _lighttpd(ProxyEvent.HEAD_TOO_LARGE, status=431),
    _lighttpd(ProxyEvent.RELOADED, code=_LOST_CODE, after=(5.0, 7.0), ending=Ending.FIN),
    _lighttpd(ProxyEvent.STOPPED_GRACEFULLY, code=_LOST_CODE, after=(5.0, 7.0), ending=Ending.FIN),
    _lighttpd(ProxyEvent.STOPPED, code=_LOST_CODE, ending=Ending.FIN),
    _lighttpd(ProxyEvent.KILLED, code=_LOST_CODE, ending=Ending.FIN),
    _lighttpd(ProxyEvent.IDLE, code=_LOST_CODE, after=(60.0, 62.0), ending=Ending.FIN, seen=_DEFAULTS_DAY),
    _nghttpx(ProxyEvent.BACKEND_REFUSES, status=502),
    _nghttpx(ProxyEvent.BACKEND_HANGS, status=504, after=(60.0, 61.0), seen=_DEFAULTS_DAY),
    _nghttpx(ProxyEvent.BACKEND_CUTS, status=502),
    _nghttpx(ProxyEvent.BACKEND_DIES, code=_LOST_CODE, ending=Ending.FIN),
    _nghttpx(ProxyEvent.HEAD_TOO_LARGE, status=431),
    _nghttpx(ProxyEvent.RELOADED),
    _nghttpx(ProxyEvent.STOPPED_GRACEFULLY),
    _nghttpx(ProxyEvent.STOPPED, code=_LOST_CODE, ending=Ending.FIN),
    _nghttpx(ProxyEvent.KILLED, code=_LOST_CODE, ending=Ending.FIN),
    _nghttpx(ProxyEvent.IDLE, code=_LOST_CODE, after=(60.0, 61.0), ending=Ending.FIN, seen=_DEFAULTS_DAY),
    _stunnel(ProxyEvent.BACKEND_CUTS, tls_ending=Ending.CLOSE_NOTIFY),
    _stunnel(ProxyEvent.BACKEND_DIES, code=_LOST_CODE, tls_ending=Ending.CLOSE_NOTIFY),
    _stunnel(ProxyEvent.RELOADED),
    _stunnel(ProxyEvent.STOPPED, code=_LOST_CODE, tls_ending=Ending.TLS_CUT),
    _stunnel(ProxyEvent.KILLED, code=_LOST_CODE, tls_ending=Ending.TLS_CUT),
)
