"""The address to listen on: read, and bound.

Rule 1: `parse` opens nothing. Rule 2: whatever is wrong leaves as a sentence that names the address and the flag.
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
"""Connections that may wait to be accepted: in a flood of them a scraper's is not lost among the first few."""

NO_IP6: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class ListenError(Exception):
    """Why we cannot listen, as sentences for the user."""

    def __init__(self, *sentences: str) -> None:
        super().__init__(*sentences)
        self.sentences = sentences


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen. An empty host is every interface, port 0 any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str) -> ListenAddress:
    """The address of `:11011`, `127.0.0.1:0`, `localhost:11011` or `[::1]:11011`; raises ListenProblem."""
    found = LISTEN_ADDRESS_TEXT.fullmatch(text)
    if found is None:
        raise ListenError(f"{LISTEN_FLAG}: {text!r} is no address: write :11011, 127.0.0.1:11011 or [::1]:11011")
    port = int(found["port"])
    if port > 65_535:  # noqa: PLR2004 - RFC 9293 section 3.1: sixteen bits
        raise ListenError(f"{LISTEN_FLAG}: {text!r} has no port: it must be 0 (any free one) to 65535")
    return ListenAddress(found["ip6"] or found["host"], port)


def bind(address: ListenAddress) -> socket.socket:
    """A listening socket, for IPv6 and IPv4 alike if the host is empty; raises ListenProblem."""
    try:
        return _bound(address)
    except OSError as error:
        why = error.strerror if isinstance(error, socket.gaierror) else _words(error)
        raise ListenError(f"{LISTEN_FLAG}: cannot listen on {address}: {why}") from error
    except UnicodeError:
        raise ListenError(f"{LISTEN_FLAG}: cannot listen on {address}: that is no host name") from None


def _bound(address: ListenAddress) -> socket.socket:
    if not address.host and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", address.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=HTTP_BACKLOG_CONNECTIONS
            )
        except OSError as error:
            if error.errno not in NO_IP6:
                raise
    family, *_, where = socket.getaddrinfo(
        address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server((str(where[0]), int(where[1])), family=family, backlog=HTTP_BACKLOG_CONNECTIONS)


def _words(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; stop what holds it, or choose another port"
    if error.errno == errno.EACCES:
        return "not permitted; choose a port above 1023"
    return (error.strerror or type(error).__name__).lower()


def address_of(sock: socket.socket) -> str:
    """What a socket listens on: `*:11011` for every interface, `127.0.0.1:11011`, `unix:/run/x.sock`."""
    if sock.family is socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
    host, port = sock.getsockname()[:2]
    return f"*:{port}" if host in ANY_HOST else str(ListenAddress(host, port))


def url(sock: socket.socket, scheme: str = "http") -> str:
    """The URL under which a local client reaches a listening socket; of a Unix socket, `unix:` and its path."""
    if sock.family is socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
    host, port = sock.getsockname()[:2]
    if host in ANY_HOST:
        host = "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
