"""Accepts connections, makes their TLS handshakes, limits their number, and evicts those beyond their deadlines.

Rule 1: one connection is accepted in each turn of the event loop, so that a flood of them does not delay probes.
Rule 2: there are at most `MAX_CONNECTIONS`. For a further one an evictable one is aborted: first those that have had no
successful request, among them the one that has been idle longest.
Rule 3: each handshake uses the access control's TLS context of that moment, so that certificates change without a
restart. The handshake counts towards the time for the first request's head.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from exporter.web.connection import HttpConnection
from exporter.web.secure import AccessClosedError, AccessControl

MAX_CONNECTIONS: Final = 512
"""Connections at once. A Prometheus that requests `/probe` for each of 200 targets keeps 200 open."""

TLS_SHUTDOWN_TIMEOUT_SECONDS: Final = 2.0
"""Seconds in which a client has to confirm the end of TLS."""

SWEEP_SECONDS: Final = 0.5
"""Seconds between two checks of the deadlines."""

ACCEPT_PAUSE_SECONDS: Final = 0.1
"""Seconds until the next accept after the machine had no descriptor left."""

MakeConnection = Callable[[Callable[[HttpConnection], None]], HttpConnection]
"""Makes a connection; the argument is to be called when the connection has ended."""


class ConnectionManager:
    """Accepts on any number of sockets; `stop`, then `close` it."""

    def __init__(self, access: AccessControl, make: MakeConnection) -> None:
        self._access = access
        self._make = make
        self._connections: dict[HttpConnection, asyncio.Task[None]] = {}
        self._listeners: list[socket.socket] = []
        self._sweeping = asyncio.create_task(self._evict_overdue(), name="sweep")

    def __len__(self) -> int:
        """The number of connections."""
        return len(self._connections)

    def listen(self, listener: socket.socket) -> None:
        """Accept on this socket from now on, and close it at the end."""
        listener.setblocking(False)
        self._listeners.append(listener)
        self._resume(listener)

    async def stop(self) -> None:
        """Accept no more connections."""
        loop = asyncio.get_running_loop()
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            loop.remove_reader(listener)
            listener.close()
        self._sweeping.cancel()
        await asyncio.gather(self._sweeping, return_exceptions=True)

    async def close(self) -> None:
        """Abort all connections."""
        handshakes = list(self._connections.values())
        for connection in list(self._connections):
            self._evict(connection)
        await asyncio.gather(*handshakes, return_exceptions=True)

    def _resume(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        """Accept one connection. `loop.sock_accept` would lose one that arrives when the future is cancelled."""
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return  # the client has gone
        except OSError:
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener)
            loop.call_later(ACCEPT_PAUSE_SECONDS, self._resume, listener)
            self._evict_one()
            return
        accepted.setblocking(False)
        self._add(accepted)

    def _add(self, accepted: socket.socket) -> None:
        if len(self._connections) >= MAX_CONNECTIONS and not self._evict_one():
            accepted.close()
            return
        connection = self._make(self._remove)
        handshake = asyncio.create_task(self._handshake(connection, accepted), name="handshake")
        self._connections[connection] = handshake

        def close_if_failed(_: asyncio.Task[None]) -> None:
            if not connection.is_established:
                accepted.close()
                self._remove(connection)

        handshake.add_done_callback(close_if_failed)

    async def _handshake(self, connection: HttpConnection, accepted: socket.socket) -> None:
        """Give the socket to the connection, after the TLS handshake if there is TLS."""
        try:
            context = self._access.context()
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=context,
                ssl_shutdown_timeout=TLS_SHUTDOWN_TIMEOUT_SECONDS if context else None,
            )
        except (AccessClosedError, OSError):
            pass  # a client without a handshake gets no response

    def _remove(self, connection: HttpConnection) -> None:
        self._connections.pop(connection, None)

    def _evict_one(self) -> bool:
        """Abort the evictable connection that is first by rule 2; False if there is none."""
        evictable = (connection for connection in self._connections if connection.is_evictable)
        first = min(evictable, key=lambda connection: (connection.served, connection.since), default=None)
        if first is not None:
            self._evict(first)
        return first is not None

    def _evict(self, connection: HttpConnection) -> None:
        handshake = self._connections.pop(connection)
        if connection.is_established:
            connection.abort()
        else:
            handshake.cancel()

    async def _evict_overdue(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for connection in [connection for connection in self._connections if connection.deadline < now()]:
                self._evict(connection)
