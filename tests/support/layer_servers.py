"""Real WebSocket servers for the cells of layers: each on loopback, in a folder of its own, with short limits.

The applications are those of tests/backends: the same paths on every server. A mode adds options: `pings` every half
second, `recycled` after twenty requests, `workers` under a supervisor.
"""

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.backend_servers import BUILT, HERE, built
from support.protocol_servers import SOCKETIO_PATH, ProtocolServer, serving
from support.realservers import PATIENCE, until

LIMIT = "1024"
"""Bytes of the largest message that a server takes, if that can be set."""

PING = "0.5"
"""Seconds between the pings of a server that wants pongs, and for how long it waits for one."""

REQUESTS = "20"
"""Requests after which a worker is recycled."""

PYTHON = BUILT / "python/bin/python"


@dataclass(frozen=True)
class LayerServer:
    """A running server; `stop` and `kill` meet its first process alone, as Kubernetes does."""

    server: ProtocolServer
    log: Path
    kind: "LayerKind"

    @property
    def url(self):
        return self.server.url

    def url_of(self, case):
        """The url of the WebSocket of this case; the path that nothing serves is the same for all."""
        return self.url + ("/nowhere" if case == "nowhere" else self.kind.place.format(case=case))

    @property
    def pid(self):
        return self.server.process.pid

    def stop(self):
        os.kill(self.pid, signal.SIGTERM)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def kill_workers(self):
        """Kill all processes that the first one has started and that serve."""
        for pid in _children(self.pid):
            os.kill(pid, signal.SIGKILL)

    async def has_our_message(self):
        """Return once the application has said that it has a message of ours."""

        async def told():
            return b"got" in self.log.read_bytes()

        await until(told)


def _children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split() if _serves(child)]


def _serves(pid):
    """False for Python's own helper of multiprocessing, which serves nobody."""
    return b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()


@dataclass(frozen=True)
class LayerKind:
    """How to start a server.

    command: a function of its port and a folder of its own to its command line
    modes: name of a mode → the options that it adds
    fatal: cases in which the process ends
    place: of the WebSocket of a case
    profile: a built-in one, if the message of all other servers will not do
    patience: seconds within which it starts
    """

    command: Callable[[int, Path], list[str]]
    modes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ready: str | None = "/ready"
    fatal: frozenset[str] = frozenset()
    place: str = "/{case}"
    profile: str | None = None
    patience: float = PATIENCE

    @asynccontextmanager
    async def running(self, folder, mode=""):
        """The server in this mode, started in an empty folder; it is stopped with all that it started."""
        folder.mkdir(parents=True, exist_ok=True)
        added = self.modes[mode] if mode else ()
        environment = {**os.environ, "PYTHONPATH": str(HERE), "PYTHONUNBUFFERED": "1", "HOME": str(folder)}
        async with serving(
            lambda port: [*self.command(port, folder), *added],
            folder,
            ready=self.ready,
            patience=self.patience,
            env=environment,
            cwd=folder,
        ) as server:
            yield LayerServer(server, folder / "server.log", self)


def python_program(name, python=PYTHON):
    """`tests/backends/NAME.py PORT`."""
    return lambda port, _: [built(python), str(HERE / f"{name}.py"), str(port)]


def node_program(name):
    """`tests/backends/node/NAME.mjs PORT`."""
    return lambda port, _: ["node", built(BUILT / f"node/{name}.mjs"), str(port)]


def uvicorn(ws, app="asgi_cases:app", python=PYTHON):
    """Uvicorn with this implementation of WebSockets."""

    def command(port, _):
        program = [built(python), "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port)]
        return [*program, "--log-level", "warning", "--ws", ws, "--ws-max-size", LIMIT]

    pings = ("--ws-ping-interval", PING, "--ws-ping-timeout", PING)
    return LayerKind(
        command, {"pings": pings, "recycled": ("--limit-max-requests", REQUESTS), "workers": ("--workers", "2")}
    )


def hypercorn(app="asgi_cases:app", python=PYTHON):
    """Hypercorn with its own graceful timeout of 3 s."""

    def command(port, folder):
        config = folder / "hypercorn.toml"
        config.write_text(f"bind = '127.0.0.1:{port}'\nwebsocket_max_message_size = {LIMIT}\n")
        return [built(python), "-m", "hypercorn", "--config", str(config), app]

    return LayerKind(command, {"recycled": ("--max-requests", REQUESTS), "workers": ("--workers", "2")})


def daphne(app="asgi_cases:app", python=PYTHON):
    """daphne, which knows no workers."""

    def command(port, _):
        program = [built(python), "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0"]
        return [*program, "--websocket-max-message-size", LIMIT, app]

    return LayerKind(command, {"pings": ("--ping-interval", "1", "--ping-timeout", "1")})


def granian(app="asgi_cases:app", python=PYTHON):
    """granian, whose one worker is always a child of its first process."""

    def command(port, _):
        program = [built(python.with_name("granian")), "--interface", "asgi", "--host", "127.0.0.1"]
        return [*program, "--port", str(port), "--log-level", "warning", app]

    return LayerKind(command, {"workers": ("--respawn-failed-workers",)})


SERVERS = {
    "uvicorn-websockets": uvicorn("websockets"),
    "uvicorn-sansio": uvicorn("websockets-sansio"),
    "uvicorn-wsproto": uvicorn("wsproto"),
    "hypercorn": hypercorn(),
    "daphne": daphne(),
    "granian": granian(),
    "aiohttp": LayerKind(python_program("aiohttp_cases"), {"pings": (PING,)}),
    "websockets": LayerKind(python_program("websockets_cases"), {"pings": (PING,)}),
    "ws": LayerKind(node_program("cases"), fatal=frozenset({"raises-before", "raises-after", "raises-on-message"})),
    "socketio": LayerKind(
        node_program("socketio-cases"),
        fatal=frozenset({"raises-after"}),
        place=f"{SOCKETIO_PATH}&case={{case}}",
        profile="socketio",
    ),
}
"""Those of `make test`; tests/layers has the others."""

ON_NODE = frozenset({"ws", "socketio"})
