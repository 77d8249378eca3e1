"""Whether the page that a browser shows may have it change something here: `Sec-Fetch-Site`, `Origin` and `Host`.

A browser says where a request comes from: Fetch Metadata to https and to localhost only, `Origin` with every POST and
PUT (Fetch standard, "append a request `Origin` header"). A client that says neither is no browser (curl, a reloader,
our own `check --from`), and no page of another site speaks through it.

Rule 1: a page is ours if its origin is the one that was asked, under a name that nobody else can lead here (DNS
rebinding): an address, localhost, a host of the flags; or if it is an origin of the external URL or of a named host.
Rule 2: nothing is resolved, and nothing that a client sent is said back.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Self
from urllib.parse import urlsplit

from multidict import CIMultiDictProxy

OWN_SITES: Final = ("same-origin", "none")
"""What a browser says of a request that our own page makes, or the person at it (Fetch Metadata, Sec-Fetch-Site)."""

DEFAULT_HTTP_PORTS: Final = {"http": 80, "https": 443}
HOST_NAME: Final = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?|\[[0-9A-Fa-f:.]+\]")
AUTHORITY: Final = re.compile(rf"(?P<host>{HOST_NAME.pattern})(?::(?P<port>\d{{1,5}}))?")
ORIGIN_TEXT: Final = re.compile(rf"(?P<scheme>https?)://{AUTHORITY.pattern}")


@dataclass(frozen=True, slots=True)
class TrustedSites:
    """`hosts`: names under which we are reached, beside addresses and localhost; `named`: those that the user named.

    `external`: scheme, host and port of the external URL.
    """

    hosts: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    external: tuple[str, str, int] | None = None

    @classmethod
    def of(cls, listen: Iterable[str], named: Iterable[str] = (), external: str = "") -> Self:
        """From the hosts that are listened on, those that the user named, and the external URL ("": none)."""
        split = urlsplit(external)
        away = None
        if split.hostname:
            away = split.scheme, _plain(split.hostname), split.port or DEFAULT_HTTP_PORTS.get(split.scheme, 0)
        own = {_plain(host) for host in (*listen, *named) if host} | ({away[1]} if away else set())
        return cls(frozenset(own), frozenset(map(_plain, named)), away)

    def may_change(self, headers: CIMultiDictProxy[str], *, tls: bool) -> bool:
        """Whether a request that changes something is answered. `tls`: whether it came over TLS of ours."""
        if any(said not in OWN_SITES for said in headers.getall("Sec-Fetch-Site", [])):
            return False
        origins, hosts = headers.getall("Origin", []), headers.getall("Host", [])
        if not origins:
            return "Sec-Fetch-Site" not in headers or self._is_known(hosts)
        return len(origins) == 1 and self._is_ours(origins[0], hosts, tls=tls)

    def _is_ours(self, origin: str, hosts: list[str], *, tls: bool) -> bool:
        found = ORIGIN_TEXT.fullmatch(origin)
        if found is None:
            return False  # `null` too: a sandbox or a redirect that crossed sites
        scheme, name, port = (
            found["scheme"],
            _plain(found["host"]),
            int(found["port"] or DEFAULT_HTTP_PORTS[found["scheme"]]),
        )
        if (scheme, name, port) == self.external or name in self.named:
            return True
        if (tls and scheme != "https") or not self._is_known(hosts):
            return False
        asked = AUTHORITY.fullmatch(hosts[0])
        return asked is not None and (name, port) == (
            _plain(asked["host"]),
            int(asked["port"] or DEFAULT_HTTP_PORTS[scheme]),
        )

    def _is_known(self, hosts: list[str]) -> bool:
        """Whether the `Host` of a request is a name that no stranger's name server can lead to us."""
        asked = AUTHORITY.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if asked is None:
            return False
        name = _plain(asked["host"])
        return name in self.hosts or name == "localhost" or name.endswith(".localhost") or _is_address(name)


def _plain(host: str) -> str:
    """A host in its one spelling, without the brackets of an IPv6 address and the dot at its end."""
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
