"""Real proxies before real upstreams: each on a free loopback port, in a folder of its own, reloaded and stopped.

`PROXIES` are those of `make test`; `make layers` adds those of tests/layers/more_proxies.py.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import ssl
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from support import proxy_configs
from support.proxy_configs import Setup
from support.realservers import TRIES, free_port, stop, until


@dataclass(frozen=True)
class Kind:
    """How a proxy is started and spoken to.

    command: writes its configuration and returns its command line
    reload, graceful: signals that its documentation names for a reload and for a stop that waits; None: it has none
    reload_command: of a proxy that is reloaded by a command instead
    loads_routes_late: whether it answers 404 for a moment between the opening of its port and the loading of its routes
    has_routes: False: it passes bytes on to one upstream
    """

    command: Callable[[Setup], list[str]]
    reload: signal.Signals | None = None
    graceful: signal.Signals | None = None
    reload_command: Callable[[Setup], list[str]] | None = None
    loads_routes_late: bool = False
    has_routes: bool = True


def _reload_caddy(setup):
    files = ["--adapter", "caddyfile", "--config", str(setup.folder / "Caddyfile")]
    return [proxy_configs.wheel("caddy"), "reload", "--force", "--address", f"unix/{setup.folder}/admin", *files]


PROXIES = {
    "nginx": Kind(proxy_configs.nginx, reload=signal.SIGHUP, graceful=signal.SIGQUIT),
    "haproxy": Kind(proxy_configs.haproxy, reload=signal.SIGUSR2, graceful=signal.SIGUSR1),
    "apache": Kind(proxy_configs.apache, reload=signal.SIGUSR1, graceful=signal.SIGWINCH),
    "caddy": Kind(proxy_configs.caddy, reload_command=_reload_caddy),
    "envoy": Kind(proxy_configs.envoy),
}


VERSIONS = {
    "nginx": ("nginx", "-v"),
    "haproxy": ("haproxy", "-v"),
    "apache": ("apache2", "-v"),
    "caddy": ("caddy", "version"),
    "envoy": ("envoy", "--version"),
    "traefik": ("traefik", "version"),
    "varnish": ("varnishd", "-V"),
    "squid": ("squid", "-v"),
    "lighttpd": ("lighttpd", "-v"),
    "nghttpx": ("nghttpx", "--version"),
    "stunnel": ("stunnel4", "-version"),
}


async def versions(names):
    """What the proxies of these names print as their version: the first line that has one, for each."""
    found = []
    for name in names:
        program, flag = VERSIONS[name]
        path = shutil.which(program) or proxy_configs.wheel(program)
        process = await asyncio.create_subprocess_exec(path, flag, stdout=PIPE, stderr=STDOUT)
        output, _ = await process.communicate()
        lines = [line for line in output.decode(errors="replace").splitlines() if re.search(r"\d+\.\d+", line)]
        found.append(lines[0].strip() if lines else f"{name} without a version")
    return ", ".join(found)


@dataclass(frozen=True)
class Proxy:
    """A running proxy."""

    kind: Kind
    setup: Setup
    process: Process = field(repr=False)

    @property
    def address(self):
        """Host and port, as a URL has them."""
        return f"{self.setup.host}:{self.setup.port}"

    async def reload(self):
        """Load the same configuration again; returns once the proxy has taken the request."""
        if self.kind.reload_command is None:
            self.process.send_signal(self.kind.reload)
            return
        command = self.kind.reload_command(self.setup)
        process = await _run(command, self.setup)
        assert await process.wait() == 0, _log(self.setup)

    async def stop(self):
        """End it as SIGTERM does."""
        await stop(self.process)

    async def terminate(self):
        """Ask it to end, as SIGTERM does, and wait for nothing."""
        self.process.send_signal(signal.SIGTERM)

    async def stop_gracefully(self):
        """Ask it to end once its connections have."""
        self.process.send_signal(self.kind.graceful)

    async def kill(self):
        """End all its processes at once."""
        _kill_group(self.process)


@asynccontextmanager
async def proxy(kind, folder, routes, **options):
    """A running proxy of this kind before the routes; `options`: other fields of `Setup`."""
    for attempt in range(TRIES):
        place = folder / f"proxy-{attempt}"
        place.mkdir(parents=True)
        setup = Setup(free_port(), place, routes, **options)
        process = await _run(kind.command(setup), setup)
        try:
            if await _is_up(process, kind, setup):
                yield Proxy(kind, setup, process)
                return
        finally:
            _kill_group(process)
            await process.wait()
    raise AssertionError(f"does not start: {_log(setup)}")


async def _run(command, setup):
    """The command in a process group of its own: workers end with their master, whatever happens to it."""
    homes = {name: str(setup.folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TMPDIR")}
    with (setup.folder / "output.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *command, stdout=log, stderr=log, env=os.environ | homes, cwd=setup.folder, start_new_session=True
        )


async def _is_up(process, kind, setup):
    """True as soon as it takes connections and knows its routes, False if it ended before."""

    async def settled():
        if process.returncode is not None:
            return True
        with contextlib.suppress(OSError):
            return await (_knows_route(setup) if kind.loads_routes_late else _takes_connections(setup))
        return False

    await until(settled)
    return process.returncode is None


async def _takes_connections(setup):
    _, writer = await asyncio.open_connection(setup.host.strip("[]"), setup.port)
    writer.close()
    return True


async def _knows_route(setup):
    tls = ssl._create_unverified_context() if setup.certificate else None
    reader, writer = await asyncio.open_connection(setup.host.strip("[]"), setup.port, ssl=tls)
    writer.write(b"GET /closed/ HTTP/1.0\r\nHost: localhost\r\n\r\n")
    status_line = await reader.readline()
    writer.close()
    return bool(status_line) and b" 404 " not in status_line


def _kill_group(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _log(setup):
    return (setup.folder / "output.log").read_text()[-2000:]
