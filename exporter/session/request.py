"""What one session needs, as a value."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from exporter.config import Before
from exporter.profiles import SessionMessages
from exporter.result import Probe
from exporter.session.observer import MessageObserver
from exporter.session.overdue import WaitRule


@dataclass(slots=True)
class HttpRequest:
    """One request: where it goes, and what it sends. `connect_to`, `server_name`: as in `SessionRequest`.

    `max_answer_bytes`: of the body of its answer; a list of a hundred pages or kernels has half of the default.
    """

    method: str
    resource: str = field(repr=False)
    host: str
    port: int
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    connect_to: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    max_answer_bytes: int = 65_536

    @property
    def authority(self) -> str:
        """The `Host` header (RFC 9110 section 7.2), without the scheme's default port."""
        return _authority(self.host, self.port, 80 if self.tls is None else 443)


@dataclass(slots=True)
class RequestBefore:
    """The request before the upgrade: what is sent, by which rules its answer is kept.

    `to_target`: it goes to the target's own server.
    `header_templates`: headers of the upgrade that hold kept values.
    """

    http: HttpRequest
    rules: Before
    to_target: bool = True
    header_templates: Mapping[str, str] = field(default_factory=dict, repr=False)


def _authority(host: str, port: int, default_port: int) -> str:
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port == default_port else f"{bracketed}:{port}"


@dataclass(slots=True)
class SessionRequest:
    """What one session needs; all durations are in seconds. Not frozen, which would cost more than the object itself.

    `host`, `port`: of the URL, for Host, SNI and the certificate.
    `resource`: path and query, with the token's parameter.
    `connect_to`: the name or address to connect to, if it is not `host`.
    `failed_addresses`: addresses that are tried last, in the order in which they failed.
    `timeout`, `close_timeout`: of the phases up to the last reply, and of the close.
    `total_timeout`: of both together, for a caller with less time.
    """

    host: str
    port: int
    resource: str = field(repr=False)
    session_messages: SessionMessages = field(repr=False)
    depth: Probe
    timeout: float
    close_timeout: float
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers added to those of the upgrade; of names that differ only in case, the last one is sent."""
    subprotocols: tuple[str, ...] = field(default=(), repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Texts that must never be shown, even if the server echoes them."""
    ip_protocol: str = "any"
    connect_to: str | None = None
    failed_addresses: tuple[str, ...] = ()
    total_timeout: float = inf
    before: RequestBefore | None = None
    """If there is one, `resource` and `subprotocols` are templates that its kept values fill in."""
    observer: MessageObserver | None = field(default=None, repr=False)
    """Is shown every message of the session, content included; only a command that a person started sets one."""
    wait_rule: WaitRule | None = None
    """Reports a wait that is longer than usual, while it lasts."""

    @property
    def authority(self) -> str:
        """The `Host` header (RFC 9110 section 7.2), without the scheme's default port."""
        return _authority(self.host, self.port, 80 if self.tls is None else 443)
