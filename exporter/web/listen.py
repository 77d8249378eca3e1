"""The address to listen on: parsing and binding.

Rule 1: `parse_listen_address` opens nothing. Rule 2: every error names the address and the flag.
"""

import errno
import re
import socket
from dataclasses import dataclass
from typing import Final

LISTEN_FLAG: Final = "--web.listen-address"
LISTEN_ADDRESS_TEXT: Final = re.compile(r"(?:\[(?P<ip6>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^\s:\[\]/]*)):(?P<port>\d{1,5})")
ANY_HOST: Final = ("", "0.0.0.0", "::")  # noqa: S104 - shown as loopback in URLs, bound only when asked for
HTTP_BACKLOG_CONNECTIONS: Final = 512
"""Connections that may wait to be accepted, so that a flood of them does not displace a scraper's."""

NO_IP6: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class ListenError(Exception):
    """Why the server cannot listen, as sentences for the user."""

    def __init__(self, *sentences: str) -> None:
        super().__init__(*sentences)
        self.sentences = sentences


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """An address to listen on: an empty host means every interface, port 0 any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen_address(text: str) -> ListenAddress:
    """The address of `:11011`, `127.0.0.1:0`, `localhost:11011` or `[::1]:11011`; raises ListenError."""
    match = LISTEN_ADDRESS_TEXT.fullmatch(text)
    if match is None:
        raise ListenError(f"{LISTEN_FLAG}: {text!r} is no address: write :11011, 127.0.0.1:11011 or [::1]:11011")
    port = int(match["port"])
    if port > 65_535:  # noqa: PLR2004 - RFC 9293 section 3.1: sixteen bits
        raise ListenError(f"{LISTEN_FLAG}: {text!r} has no port: it must be 0 (any free one) to 65535")
    return ListenAddress(match["ip6"] or match["host"], port)


def bind(address: ListenAddress) -> socket.socket:
    """A listening socket, for both IPv6 and IPv4 if the host is empty; raises ListenError."""
    try:
        return _bind(address)
    except OSError as error:
        why = error.strerror if isinstance(error, socket.gaierror) else _reason_text(error)
        raise ListenError(f"{LISTEN_FLAG}: cannot listen on {address}: {why}") from error
    except UnicodeError:
        raise ListenError(f"{LISTEN_FLAG}: cannot listen on {address}: that is no host name") from None


def _bind(address: ListenAddress) -> socket.socket:
    if not address.host and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", address.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=HTTP_BACKLOG_CONNECTIONS
            )
        except OSError as error:
            if error.errno not in NO_IP6:
                raise
    family, *_, resolved = socket.getaddrinfo(
        address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    host, port = str(resolved[0]), int(resolved[1])
    return socket.create_server((host, port), family=family, backlog=HTTP_BACKLOG_CONNECTIONS)


def _reason_text(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; stop what holds it, or choose another port"
    if error.errno == errno.EACCES:
        return "not permitted; choose a port above 1023"
    return (error.strerror or type(error).__name__).lower()


def address_of(sock: socket.socket) -> str:
    """The address of a listening socket: `*:11011` for every interface, `127.0.0.1:11011`, `unix:/run/x.sock`."""
    if sock.family is socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
    host, port = sock.getsockname()[:2]
    return f"*:{port}" if host in ANY_HOST else str(ListenAddress(host, port))


def socket_url(sock: socket.socket, scheme: str = "http") -> str:
    """The URL for a local client; for a Unix socket `unix:` and its path."""
    if sock.family is socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
    host, port = sock.getsockname()[:2]
    if host in ANY_HOST:
        host = "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
