"""Every connection from its arrival to its last byte: how many, with or without TLS, and who has to go.

Rule 1: one is accepted in a turn of the loop: a flood of them waits its turn, as probes do. Rule 2: there are at most
`MAX_CONNECTIONS`: for another one goes that can be spared, first those that were never answered well, then the longest
silent.
Rule 3: a handshake begins with what the door says at that moment, so certificates change without a restart. Its time is
part of the time for the first head.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from exporter.web.connection import HttpConnection
from exporter.web.secure import AccessClosedError, AccessControl

MAX_CONNECTIONS: Final = 512
"""Connections at once. A Prometheus that asks `/probe` for each of 200 targets keeps 200."""

TLS_SHUTDOWN_TIMEOUT_SECONDS: Final = 2.0
"""Seconds in which a client has to confirm the end of TLS."""

SWEEP_SECONDS: Final = 0.5
"""Seconds between two looks at the deadlines."""

ACCEPT_PAUSE_SECONDS: Final = 0.1
"""Seconds until another is accepted after the machine had no descriptor left for it."""

Make = Callable[[Callable[[HttpConnection], None]], HttpConnection]
"""A connection that will tell when it is gone."""


class ConnectionManager:
    """Accepts on any number of sockets; `stop`, then `close` it."""

    def __init__(self, door: AccessControl, make: Make) -> None:
        self._door = door
        self._make = make
        self._there: dict[HttpConnection, asyncio.Task[None]] = {}
        self._listeners: list[socket.socket] = []
        self._sweeping = asyncio.create_task(self._sweep(), name="sweep")

    def __len__(self) -> int:
        """How many there are."""
        return len(self._there)

    def listen(self, listener: socket.socket) -> None:
        """Accept there from now on; the socket is ours."""
        listener.setblocking(False)
        self._listeners.append(listener)
        self._resume(listener)

    async def stop(self) -> None:
        """Accept no more."""
        loop = asyncio.get_running_loop()
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            loop.remove_reader(listener)
            listener.close()
        self._sweeping.cancel()
        await asyncio.gather(self._sweeping, return_exceptions=True)

    async def close(self) -> None:
        """End all that are there, at once."""
        greetings = list(self._there.values())
        for connection in list(self._there):
            self._evict(connection)
        await asyncio.gather(*greetings, return_exceptions=True)

    def _resume(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        """Accept one, when there is one; a future in between could be cancelled with it."""
        try:
            arrived, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return  # gone again before we came
        except OSError:
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener)
            loop.call_later(ACCEPT_PAUSE_SECONDS, self._resume, listener)
            self._make_room()
            return
        arrived.setblocking(False)
        self._receive(arrived)

    def _receive(self, arrived: socket.socket) -> None:
        if len(self._there) >= MAX_CONNECTIONS and not self._make_room():
            arrived.close()
            return
        connection = self._make(self._gone)
        greeting = asyncio.create_task(self._greet(connection, arrived), name="greet")
        self._there[connection] = greeting

        def greeted(_: asyncio.Task[None]) -> None:
            if not connection.is_there:
                arrived.close()
                self._gone(connection)

        greeting.add_done_callback(greeted)

    async def _greet(self, connection: HttpConnection, arrived: socket.socket) -> None:
        """Hand the socket to the connection, after the handshake if there is to be one."""
        try:
            context = self._door.context()
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(
                lambda: connection,
                arrived,
                ssl=context,
                ssl_shutdown_timeout=TLS_SHUTDOWN_TIMEOUT_SECONDS if context else None,
            )
        except (AccessClosedError, OSError):
            pass  # who fails to shake hands gets no other word

    def _gone(self, connection: HttpConnection) -> None:
        self._there.pop(connection, None)

    def _make_room(self) -> bool:
        """Turn out who can be spared best; False if nobody can."""
        spare = (connection for connection in self._there if connection.can_be_spared)
        first = min(spare, key=lambda connection: (connection.served, connection.since), default=None)
        if first is not None:
            self._evict(first)
        return first is not None

    def _evict(self, connection: HttpConnection) -> None:
        greeting = self._there.pop(connection)
        if connection.is_there:
            connection.abort()
        else:
            greeting.cancel()

    async def _sweep(self) -> None:
        """Turn out whoever is over a deadline."""
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for connection in [connection for connection in self._there if connection.deadline < now()]:
                self._evict(connection)
