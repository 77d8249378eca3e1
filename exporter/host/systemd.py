"""systemd: the sockets that it passes to this process, and the notifications that it receives."""

import asyncio
import os
import socket
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Final

FIRST_LISTEN_FD: Final = 3
LISTEN_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

NOTIFY_TIMEOUT_SECONDS: Final = 5.0
"""Seconds that systemd may take to read a notification."""

MICROSECONDS_PER_SECOND: Final = 1_000_000
KEEP_ALIVES_PER_TIMEOUT: Final = 2
"""Notifications within the time that `WatchdogSec=` grants: systemd recommends half of it (sd_watchdog_enabled(3))."""


class NoListenFdsError(Exception):
    """systemd has passed no usable sockets; the text is the end of a sentence."""


def listen_fds(environment: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Return the listening sockets that systemd opened for this process; raises NoListenFdsError.

    sd_listen_fds(3): `LISTEN_FDS` sockets from descriptor 3 on, if `LISTEN_PID` is this process. The variables are
    removed, because no child may take the sockets for its own; a second call raises.
    """
    pid, count, _ = (environment.pop(name, "") for name in LISTEN_VARIABLES)
    if pid != str(os.getpid()) or not count.isdecimal() or not int(count):
        raise NoListenFdsError("systemd has passed no socket: start the exporter by a socket unit, or omit the flag")
    sockets = []
    for descriptor in range(FIRST_LISTEN_FD, FIRST_LISTEN_FD + int(count)):
        try:
            sockets.append(socket.socket(fileno=descriptor))
            os.set_inheritable(descriptor, False)
            listens = sockets[-1].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError:
            listens = 0
        if not listens or sockets[-1].type is not socket.SOCK_STREAM:
            raise NoListenFdsError(f"descriptor {descriptor} is no listening stream socket: use ListenStream=")
    return sockets


class SystemdNotifier:
    """Notifies systemd (sd_notify(3)) for `Type=notify` and `WatchdogSec=`; idle without them."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        microseconds, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        enabled = bool(path) and microseconds.isdecimal() and pid in ("", str(os.getpid()))
        timeout_seconds = int(microseconds) / MICROSECONDS_PER_SECOND if enabled else 0.0
        self._keep_alive_seconds = timeout_seconds / KEEP_ALIVES_PER_TIMEOUT

    async def notify(self, *fields: str) -> None:
        """Send fields such as `READY=1`; never raises."""
        if not self._address:
            return
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(self._address)
            async with asyncio.timeout(NOTIFY_TIMEOUT_SECONDS):
                await asyncio.get_running_loop().sock_sendall(sock, "\n".join(fields).encode())

    async def run_watchdog(self, is_healthy: Callable[[], bool]) -> None:
        """Send `WATCHDOG=1` twice within systemd's timeout while the process is healthy, until cancelled."""
        while self._keep_alive_seconds > 0:
            if is_healthy():
                await self.notify("WATCHDOG=1")
            await asyncio.sleep(self._keep_alive_seconds)
