"""The handle of a stand-in: it starts and stops it, sets its faults, and keeps the records of its connections.

Rule 1: `close` leaves no task, no socket and no file behind.
Rule 2: everything runs in the loop that called `start`, by its timers and the given clocks; no thread, no process.
"""

import asyncio
import random
import secrets
import shutil
import socket
import ssl
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

from websockets.frames import CloseCode

from exporter.standin.certificates import CertificateFolder, write_private
from exporter.standin.connection import AcceptedConnection
from exporter.standin.connection_record import ConnectionRecord
from exporter.standin.control import ControlServer
from exporter.standin.fault_registry import ALL_PATHS, FaultRegistry, canonical
from exporter.standin.faults import ActiveFault
from exporter.standin.incidents import Incident
from exporter.standin.listener import Listener, check_loopback
from exporter.standin.player import IncidentPlay, PlayedConnection
from exporter.standin.server_state import ServerState
from exporter.standin.timings import Timings
from exporter.standin.wire_fault_actions import CERTIFICATES

MAX_REMEMBERED_CONNECTIONS: Final = 10_000
"""Finished connections kept."""
MAX_CRASHES: Final = 20
LIVE_POLICIES: Final = ("keep", "restart", "kill")


@dataclass(frozen=True, slots=True)
class StandInOptions:
    """The addresses and ports of a stand-in, as given to `StandIn.start`."""

    host: str
    port: int
    tls_port: int | None
    control_port: int | None
    client_ca: bool


class StandIn:
    """A staging backend on loopback. Made by `start`; `close` it, or use `async with StandIn.start(...)`."""

    def __init__(self, options: StandInOptions, server_state: ServerState) -> None:
        self._options = options
        self._server_state = server_state
        self._folder = Path(tempfile.mkdtemp(prefix="standin-"))
        self.key_file = write_private(self._folder / "jwt.key", server_state.key)
        self._certificates = CertificateFolder(self._folder, client_required=options.client_ca)
        self._listener: Listener | None = None
        self._tls_listener: Listener | None = None
        self._control: ControlServer | None = None
        self._play: IncidentPlay | None = None
        self._live: dict[AcceptedConnection, asyncio.Task[None]] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self.sessions: deque[ConnectionRecord] = deque(maxlen=MAX_REMEMBERED_CONNECTIONS)
        """Records of finished connections, the oldest first."""
        self.finished = 0
        """How many connections have finished since the start."""
        self.crashes: deque[BaseException] = deque(maxlen=MAX_CRASHES)
        """Exceptions that are defects of the stand-in itself."""

    @classmethod
    def start(
        cls,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls_port: int | None = 0,
        control_port: int | None = None,
        timings: Timings | None = None,
        slots: int = 20,
        seed: int = 0,
        client_ca: bool = False,
        login_breaker: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> "StandInStartup":
        """Start a stand-in: `await` the returned object, or `async with` it.

        `tls_port` None: no TLS; `control_port` None: no control endpoint; 0: any free port. `slots`: managers per user
        and path. `client_ca`: the TLS port requires a client certificate of `ca_file`. `login_breaker`: five failed
        logins in a row, `NO_TOKEN` included, refuse every user for 30 s, as backends since 2025-09-09 22:36 UTC do.
        Raises ValueError unless `host` is a loopback address, OSError if a port is taken.
        """
        check_loopback(host)
        options = StandInOptions(host, port, tls_port, control_port, client_ca)
        server_state = ServerState(
            secrets.token_hex(32).encode(),
            timings or Timings(),
            slots,
            clock,
            wall,
            random.Random(seed),
            random.Random(seed + 1),
            FaultRegistry(random.Random(seed + 2)),
            login_breaker,
        )
        return StandInStartup(cls, options, server_state)

    async def _open(self) -> None:
        options = self._options
        self._listener = Listener(options.host, options.port, self._accepted)
        self._listener.listen()
        if options.tls_port is not None:
            self._certificates.context()
            self._tls_listener = Listener(options.host, options.tls_port, self._accepted_tls)
            self._tls_listener.listen()
        if options.control_port is not None:
            self._control = ControlServer(self)
            await self._control.start(options.host, options.control_port)

    # Addresses and files ---------------------------------------------------------------------------------------------

    def url(self, path: str = "/ws", *, tls: bool = False) -> str:
        """The URL of a path. Raises ValueError for TLS if there is no TLS port."""
        listener = self._tls_listener if tls else self._listener
        if listener is None:
            raise ValueError("this stand-in has no TLS port" if tls else "this stand-in is not started")
        plain_host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        return f"wss://localhost:{listener.port}{path}" if tls else f"ws://{plain_host}:{listener.port}{path}"

    @property
    def key(self) -> bytes:
        """The HMAC secret of its auth service, as in `key_file`."""
        return self._server_state.key

    @property
    def ca_file(self) -> Path:
        """The certificate of its authority."""
        return self._certificates.ca_file

    @property
    def client_cert_file(self) -> Path:
        """A client certificate signed by the authority."""
        return self._certificates.client_cert_file

    @property
    def client_key_file(self) -> Path:
        """The key of the client certificate."""
        return self._certificates.client_key_file

    @property
    def control_url(self) -> str:
        """The URL of the control endpoint. Raises ValueError if there is none."""
        if self._control is None:
            raise ValueError("this stand-in has no control endpoint: start it with control_port")
        return self._control.url

    # Faults --------------------------------------------------------------------------------------------------------

    def set_fault(self, path: str, *specs: str) -> None:
        """Replace the faults of the path ("*": all paths). Raises ValueError, with a sentence, for a wrong spec."""
        self._server_state.fault_registry.set(path, specs)
        self._listen_or_refuse()

    def clear(self, path: str | None = None) -> None:
        """Remove the faults that were set on the path ("*": those set on "*"); without a path, all faults."""
        for each in [path] if path is not None else list(self.active()):
            self._server_state.fault_registry.clear(each)
        self._listen_or_refuse()

    def faults(self, path: str = ALL_PATHS) -> tuple[str, ...]:
        """The specs set on the path."""
        return self._server_state.fault_registry.specs(path)

    def active(self) -> dict[str, list[str]]:
        """The specs of all active faults, by path."""
        return self._server_state.fault_registry.active()

    def play(self, incident: Incident) -> None:
        """Play the incident to every connection from now on, in place of the backend. Raises ValueError if none can."""
        if incident.why_not is not None:
            raise ValueError(f"{incident.name} is not played: {incident.why_not}")
        self._play = IncidentPlay(incident, self._server_state.clock)
        self._listen_or_refuse()

    def _listen_or_refuse(self) -> None:
        incident = self._play.incident if self._play is not None else None
        refusing = self._server_state.fault_registry.refusing or (incident is not None and incident.refuses)
        for listener in (self._listener, self._tls_listener):
            if listener is not None:
                tls_only = incident is not None and incident.tls and listener is self._listener
                listener.listen(refusing=refusing or tls_only)

    def forget(self, path: str = ALL_PATHS, *, live: str = "keep") -> None:
        """Start a fresh process behind the path: without managers, breaker state and cached tokens.

        `live`: `keep` leaves open connections alone, `restart` closes them with 1012, as a deploy does, `kill` resets.
        """
        if live not in LIVE_POLICIES:
            raise ValueError(f"live must be one of {', '.join(LIVE_POLICIES)}, not {live!r}")
        self._server_state.forget(path)
        for connection in list(self._live):
            if live != "keep" and connection.is_at(canonical(path)):
                connection.wire.abort() if live == "kill" else connection.wire.close(CloseCode.SERVICE_RESTART)

    def held(self, user: str, path: str = "/ws") -> int:
        """How many managers the user holds in the process behind the path."""
        backend = self._server_state.backend(canonical(path))
        return backend.managers.count(user) if backend is not None else 0

    # Connections ---------------------------------------------------------------------------------------------------

    @property
    def open_connections(self) -> int:
        """The number of open connections."""
        return len(self._live)

    def _accepted(self, sock: socket.socket, peer: str) -> None:
        self._serve(self._connection(sock, peer, tls=None))

    def _accepted_tls(self, sock: socket.socket, peer: str) -> None:
        self._serve(self._connection(sock, peer, tls=self._context))

    def _connection(
        self, sock: socket.socket, peer: str, *, tls: Callable[[list[ActiveFault]], ssl.SSLContext] | None
    ) -> AcceptedConnection:
        if self._play is not None:
            return PlayedConnection(sock, peer, self._server_state, self._play, tls=tls)
        return AcceptedConnection(sock, peer, self._server_state, tls=tls)

    def _context(self, faults: list[ActiveFault]) -> ssl.SSLContext:
        names = [fault.name for fault in faults]
        usual = self._play.incident.certificate if self._play is not None else "good"
        kind = next((CERTIFICATES[name] for name in names if name in CERTIFICATES), usual)
        return self._certificates.context(kind, client_required="tls_client_required" in names)

    def _serve(self, connection: AcceptedConnection) -> None:
        task = asyncio.get_running_loop().create_task(connection.run())
        self._live[connection] = task
        task.add_done_callback(partial(self._connection_ended, connection))

    def _connection_ended(self, connection: AcceptedConnection, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (crash := task.exception()) is not None:
            self.crashes.append(crash)
        self._live.pop(connection, None)
        self.sessions.append(connection.record())
        self.finished += 1
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait_sessions(self, n: int, timeout: float = 5.0) -> list[ConnectionRecord]:  # noqa: ASYNC109 - the fixed interface
        """Wait until `n` connections have finished since the start, and return the records. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while self.finished < n:
                future = asyncio.get_running_loop().create_future()
                self._waiting.append(future)
                await future
        return list(self.sessions)

    # The end -------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Close all listeners and connections and wait for their end. A second call does nothing."""
        for listener in (self._listener, self._tls_listener):
            if listener is not None:
                listener.close()
        if self._control is not None:
            await self._control.close()
        tasks = list(self._live.values())
        for connection, task in list(self._live.items()):
            connection.wire.trace.aborted = True
            connection.wire.kill(reset=False)
            if not connection.wire.is_started:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        shutil.rmtree(self._folder, ignore_errors=True)


class StandInStartup:
    """A stand-in that starts when it is awaited or entered with `async with`."""

    def __init__(self, cls: type[StandIn], options: StandInOptions, server_state: ServerState) -> None:
        self._cls, self._options, self._server_state = cls, options, server_state
        self._standin: StandIn | None = None

    async def _start(self) -> StandIn:
        standin = self._cls(self._options, self._server_state)
        try:
            await standin._open()  # noqa: SLF001 - `StandInStartup` is part of `StandIn`
        except BaseException:
            await standin.close()
            raise
        return standin

    def __await__(self) -> Generator[None, None, StandIn]:
        return self._start().__await__()

    async def __aenter__(self) -> StandIn:
        self._standin = await self._start()
        return self._standin

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._standin is not None:
            await self._standin.close()
