"""Listening sockets that can stop and start again on the same port while the stand-in runs.

Rule 1: loopback only, because error frames show parts of tokens.
Rule 2: a port stays reserved: while connections are refused, a bound socket that does not listen holds it.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import Final

ACCEPT_BACKLOG: Final = 1024
ACCEPT_RETRY_SECONDS: Final = 0.1
"""Seconds until the next try when the process has no descriptor left."""


def check_loopback(host: str) -> None:
    """Raise ValueError unless the address is a loopback one."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(f"the stand-in listens on loopback only: {host!r} must be 127.0.0.1 or ::1")


class Listener:
    """One port. `accepted` gets each connection and the peer's `address:port`."""

    def __init__(self, host: str, port: int, accepted: Callable[[socket.socket, str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._accepted = accepted
        self._host = host
        self._listening = False
        self._retry: asyncio.TimerHandle | None = None
        self._sock = _bound(host, port)
        self.port: int = self._sock.getsockname()[1]

    def listen(self, *, refusing: bool = False) -> None:
        """Listen on the port, or refuse connections."""
        if refusing and self._listening:
            self._stop()
            self._sock = _bound(self._host, self.port)
        elif not refusing and not self._listening:
            self._sock.listen(ACCEPT_BACKLOG)
            self._listening = True
            self._loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        while self._listening:
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor left: the connection waits in the backlog
                self._loop.remove_reader(self._sock)
                self._retry = self._loop.call_later(ACCEPT_RETRY_SECONDS, self._resume)
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio sets it on its own sockets only
            self._accepted(sock, f"{address[0]}:{address[1]}")

    def _resume(self) -> None:
        if self._listening:
            self._loop.add_reader(self._sock, self._accept)

    def _stop(self) -> None:
        if self._listening:
            self._loop.remove_reader(self._sock)
        if self._retry is not None:
            self._retry.cancel()
        self._listening = False
        self._sock.close()

    def close(self) -> None:
        """Release the port."""
        self._stop()


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
