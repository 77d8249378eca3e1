"""Real servers of application protocols, each running for one test, with its logins and the ways to end it.

`make backends` and `make packages` install them. Those that take longer stand in tests/protocols.
"""

import os
import signal
import subprocess
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from support.backend_servers import BUILT, HERE, built
from support.realservers import binary, free_port, started, stop, until


class Login(NamedTuple):
    """A user and what proves it: a password, or a token."""

    subject: str
    secret: str


LOGINS = (Login("probe", "good"), Login("probe", "bad"), Login("nobody", "good"))
"""One that is let in, one of a wrong secret, one of a user that there is not: the same on most servers."""


@dataclass(frozen=True)
class ProtocolServer:
    """A running server: `url` of its WebSocket, a login that it lets in, one of a wrong secret, one of no user."""

    url: str
    process: object
    good: Login
    bad: Login
    unknown: Login

    def signal(self, number):
        """Send a signal to the server and all that it started."""
        os.killpg(self.process.pid, number)

    def stop(self):
        """Ask the server to end, as a service manager does."""
        self.signal(signal.SIGTERM)

    def kill(self):
        """End the server without a warning."""
        self.signal(signal.SIGKILL)

    async def pause(self):
        """Leave the server's connections open, and let it do nothing: the kernel has stopped each of its threads."""
        self.signal(signal.SIGSTOP)

        async def is_paused():
            return self.states() == {"T"}

        await until(is_paused)

    def states(self):
        """The states of its threads (proc(5)); a busy machine stops them one after the other."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/stat")
        return {stat.read_text().rpartition(")")[2].split()[0] for stat in threads}

    async def ended(self):
        """Return as soon as the server has ended."""
        await self.process.wait()


@asynccontextmanager
async def serving(command, folder, *, ready="/ready", port=None, path="", logins=LOGINS, **options):
    """A server that answers 200 at `ready`, as a `ProtocolServer`; stopped afterwards with all that it started.

    `command(port)`: the command line. `port()`: the port of the WebSocket, if it is not the one that answers.
    """
    process, url = await started(command, ready, folder / "server.log", start_new_session=True, **options)
    if port is not None:
        url = f"http://127.0.0.1:{port()}"
    server = ProtocolServer(url.replace("http", "ws", 1) + path, process, *logins)
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):
            server.signal(signal.SIGCONT)
        await stop(process)
        with suppress(ProcessLookupError):
            server.kill()


def _node(name, path=""):
    return lambda folder: serving(
        lambda port: ["node", built(BUILT / f"node/{name}.mjs"), str(port)], folder, path=path
    )


def _python(name, path=""):
    def command(port):
        return [built(BUILT / "python/bin/python"), str(HERE / f"{name}.py"), str(port)]

    return lambda folder: serving(command, folder, path=path)


NATS = """
listen: 127.0.0.1:-1
http: 127.0.0.1:{port}
websocket {{ listen: "127.0.0.1:{websocket}", no_tls: true }}
authorization {{ user: probe, password: good, timeout: 2 }}
"""


def nats(folder):
    """nats-server with one user, and its monitoring port, which answers when it is up."""
    chosen = []

    def command(port):
        chosen[:] = [free_port()]
        config = folder / "nats.conf"
        config.write_text(NATS.format(port=port, websocket=chosen[0]))
        return [built(BUILT / "python/bin/nats-server"), "-c", str(config)]

    return serving(command, folder, ready="/healthz", port=lambda: chosen[0])


MOSQUITTO = """
user root
allow_anonymous false
password_file {folder}/passwords
listener {plain} 127.0.0.1
listener {port} 127.0.0.1
protocol websockets
socket_domain ipv4
http_dir {folder}/pages
"""
"""2.0.11 does not start with a WebSocket listener alone; without socket_domain that one listens on all addresses."""


def mosquitto(folder):
    """Debian's mosquitto with one user; a page beside the WebSocket answers when it is up."""
    program, passwords = binary("mosquitto", "mosquitto"), binary("mosquitto_passwd", "mosquitto")
    (folder / "pages").mkdir()
    (folder / "pages/ready").write_text("ready")
    (folder / "passwords").touch(0o600)
    subprocess.run([passwords, "-b", str(folder / "passwords"), "probe", "good"], check=True, capture_output=True)

    def command(port):
        (folder / "mosquitto.conf").write_text(MOSQUITTO.format(folder=folder, port=port, plain=free_port()))
        return [program, "-c", str(folder / "mosquitto.conf")]

    return serving(command, folder)


SOCKETIO_PATH = "/socket.io/?EIO=4&transport=websocket"

SERVERS = {
    "socketio": _node("socketio", SOCKETIO_PATH),
    "python-socketio": _python("socketio_app", SOCKETIO_PATH),
    "graphql-ws": _node("graphql", "/graphql"),
    "strawberry": _python("strawberry_app", "/graphql"),
    "trpc": _node("trpc", "/?connectionParams=1"),
    "rpc-websockets": _node("rpc"),
    "aiohttp-jsonrpc": _python("jsonrpc_app", "/rpc"),
    "stomp-broker-js": _node("stomp", "/ws"),
    "ocpp": _python("ocpp_app", "/CP1"),
    "nats": nats,
    "mosquitto": mosquitto,
}
"""Name → a function of a folder to an async context manager of a `ProtocolServer`."""

ON_NODE = frozenset({"socketio", "graphql-ws", "trpc", "rpc-websockets", "stomp-broker-js"})
