"""What one session needs, as a value."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from exporter.profiles import SessionMessages
from exporter.result import Probe


@dataclass(slots=True)
class SessionRequest:
    """What one session needs. Durations in seconds; `resource` is path and query, the token's parameter included.

    `host`, `port`: of the URL, as they stand in Host, SNI and the certificate. `connect_to`: the name or address to
    connect to, where it is another. `failed_addresses`: those of its addresses that are tried last, the one that failed
    first before the others. `total_timeout`: from the start until all is over, the close included, if that must come
    before `close_timeout` is used up.

    One maker, one reader, one session: to freeze it would cost more than to make it.
    """

    host: str
    port: int
    resource: str = field(repr=False)
    script: SessionMessages = field(repr=False)
    depth: Probe
    timeout: float
    close_timeout: float
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Beside those of the upgrade itself; of names that differ in case only the last counts."""
    subprotocols: tuple[str, ...] = field(default=(), repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Texts of which nothing may be shown, not even where they come back."""
    ip_protocol: str = "any"
    connect_to: str | None = None
    failed_addresses: tuple[str, ...] = ()
    total_timeout: float = inf

    @property
    def authority(self) -> str:
        """The `Host` of the request (RFC 9110 section 7.2): without a port that is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (80 if self.tls is None else 443) else f"{host}:{self.port}"
