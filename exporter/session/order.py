"""What one session needs, as a value."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.profiles import Script
from exporter.result import Probe


@dataclass(frozen=True, slots=True)
class Order:
    """What one session needs. Durations in seconds; `resource` is path and query, the token's parameter included."""

    host: str
    port: int
    resource: str = field(repr=False)
    script: Script = field(repr=False)
    depth: Probe
    timeout: float
    close_timeout: float
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    subprotocols: tuple[str, ...] = field(default=(), repr=False)
    ip_protocol: str = "any"
