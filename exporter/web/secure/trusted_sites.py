"""Decides by `Sec-Fetch-Site`, `Origin` and `Host` whether a page in a browser may change something here.

A browser sends the origin of a request: Fetch Metadata to https and localhost only, `Origin` with every POST and PUT
(Fetch standard, "append a request `Origin` header"). A client that sends neither is not a browser (curl, a reloader,
`check --from`), so that no page of another site controls it.

Rule 1: a page is trusted if its origin is the requested one, under a name that DNS rebinding cannot lead here (an
address, localhost, a host of the flags), or if its origin is that of the external URL or of a named host.
Rule 2: no name is resolved, and no response quotes the client.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Self
from urllib.parse import urlsplit

from multidict import CIMultiDictProxy

OWN_SITES: Final = ("same-origin", "none")
"""Values of Sec-Fetch-Site for requests of the exporter's own page and of the user (Fetch Metadata)."""

DEFAULT_HTTP_PORTS: Final = {"http": 80, "https": 443}
HOST_NAME: Final = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?|\[[0-9A-Fa-f:.]+\]")
AUTHORITY: Final = re.compile(rf"(?P<host>{HOST_NAME.pattern})(?::(?P<port>\d{{1,5}}))?")
ORIGIN_TEXT: Final = re.compile(rf"(?P<scheme>https?)://{AUTHORITY.pattern}")


@dataclass(frozen=True, slots=True)
class TrustedSites:
    """The hosts whose pages are trusted.

    `hosts`: names of this server, beside addresses and localhost. `named`: names that the user gives by flag.
    `external`: scheme, host and port of the external URL; None without one.
    """

    hosts: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    external: tuple[str, str, int] | None = None

    @classmethod
    def of(cls, listen: Iterable[str], named: Iterable[str] = (), external: str = "") -> Self:
        """From the hosts to listen on, those that the user names, and the external URL ("" for none)."""
        url = urlsplit(external)
        origin = None
        if url.hostname:
            origin = url.scheme, _normalized_host(url.hostname), url.port or DEFAULT_HTTP_PORTS.get(url.scheme, 0)
        own = {_normalized_host(host) for host in (*listen, *named) if host} | ({origin[1]} if origin else set())
        return cls(frozenset(own), frozenset(map(_normalized_host, named)), origin)

    def may_change(self, headers: CIMultiDictProxy[str], *, tls: bool) -> bool:
        """Whether a request that changes something is allowed; `tls`: whether it came over this server's TLS."""
        if any(site not in OWN_SITES for site in headers.getall("Sec-Fetch-Site", [])):
            return False
        origins, hosts = headers.getall("Origin", []), headers.getall("Host", [])
        if not origins:
            return "Sec-Fetch-Site" not in headers or self._is_own_name(hosts)
        return len(origins) == 1 and self._is_trusted(origins[0], hosts, tls=tls)

    def _is_trusted(self, origin: str, hosts: list[str], *, tls: bool) -> bool:
        match = ORIGIN_TEXT.fullmatch(origin)
        if match is None:
            return False  # also `null`, which a sandbox or a redirect across sites sends
        scheme = match["scheme"]
        name, port = _normalized_host(match["host"]), int(match["port"] or DEFAULT_HTTP_PORTS[scheme])
        if (scheme, name, port) == self.external or name in self.named:
            return True
        if (tls and scheme != "https") or not self._is_own_name(hosts):
            return False
        host = AUTHORITY.fullmatch(hosts[0])
        requested = host and (_normalized_host(host["host"]), int(host["port"] or DEFAULT_HTTP_PORTS[scheme]))
        return (name, port) == requested

    def _is_own_name(self, hosts: list[str]) -> bool:
        """Whether the request's `Host` is a name that another's name server cannot lead here."""
        match = AUTHORITY.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None:
            return False
        name = _normalized_host(match["host"])
        return name in self.hosts or name == "localhost" or name.endswith(".localhost") or _is_address(name)


def _normalized_host(host: str) -> str:
    """A host in its canonical spelling, without the brackets of an IPv6 address and the dot at its end."""
    name = host.lower().strip("[]").removesuffix(".")
    try:
        return str(ip_address(name))
    except ValueError:
        return name


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
