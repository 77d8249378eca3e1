"""Of this process and its machine: clocks, steps of the wall clock, how late the event loop is, what it may open.

And of systemd, if that has started us: the sockets it hands over, and what it is told of us.

Rule 1: the only package that reads a clock for others; they are handed a `Clock`, so that tests can bring their own.
Rule 2: a service manager that does not listen is no reason to stop probing.
"""

import asyncio
import gc
import os
import resource
import socket
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from exporter.threads import apart

T = TypeVar("T")

CLOCK_STEP_SECONDS: Final = 1.0
"""Seconds the wall clock may move against the monotonic one between two looks before it is a step, not a slew."""

SLICE_SECONDS: Final = 0.0005
"""Seconds of work that may be done between two turns of the event loop."""

TICK_SECONDS: Final = 0.025
"""Seconds between two looks at the loop: by so much at most a hold is longer than it looks."""

CLOCK_CHECK_SECONDS: Final = 0.5
"""Seconds between two looks at the clocks, and two tellings of how late the loop is."""

MIN_LAG_SECONDS: Final = 0.001
"""Seconds below which a look that comes late is on time."""

MAX_LAG_SAMPLES: Final = 16_384
"""Late looks that are remembered: those of more than six minutes."""

GARBAGE_CHECK_SECONDS: Final = 0.1
"""Seconds between two looks at how much garbage there may be."""

MAX_YOUNG_OBJECTS: Final = 5_000
"""Objects that have come since the last collection and not gone: as garbage they hold the loop for a millisecond."""

YOUNG_COLLECTION_SECONDS: Final = 1.0
"""Seconds between two collections of young garbage while nothing is in flight; while something is, ten times that."""

FULL_COLLECTION_SECONDS: Final = 600.0
"""Seconds between two collections of all garbage."""

LAG_SHOWN_SECONDS: Final = 60.0
"""Seconds that a late loop stays to be seen: a gauge of the last look would hide most of them from every scrape."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds: `monotonic` for durations, `wall` (unix) for moments. `kernel_stamps`: the kernel's stamps are of it."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    kernel_stamps: bool = True


class ClockStepDetector:
    """Tells steps of the wall clock against the monotonic one; a slew is followed, not told."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._apart = self._difference()

    def step(self) -> float:
        """Seconds the wall clock has stepped since the last look, 0.0 if it has not."""
        apart = self._difference()
        moved, self._apart = apart - self._apart, apart
        return moved if abs(moved) > CLOCK_STEP_SECONDS else 0.0

    def _difference(self) -> float:
        """Wall less monotonic, read again if the process was stopped in between: that would look like a step."""
        while True:
            before, wall, after = self._clock.monotonic(), self._clock.wall(), self._clock.monotonic()
            if after - before < CLOCK_STEP_SECONDS / 2:
                return wall - after


async def cooperatively(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, with a turn for everybody else whenever `SLICE_SECONDS` is over."""
    now = asyncio.get_running_loop().time
    end = now() + SLICE_SECONDS
    for item in items:
        yield item
        if now() >= end:
            await asyncio.sleep(0)
            end = now() + SLICE_SECONDS


async def run_in_thread(work: Callable[[], T]) -> T:
    """Do work in a thread that gives Python's lock to the event loop after `SLICE_SECONDS`, not after 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SLICE_SECONDS)
    try:
        return await apart(work)
    finally:
        sys.setswitchinterval(before)


class LoopLagMonitor:
    """How late the event loop is, seen by a timer. `now`: the clock of sessions, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._late: deque[tuple[float, float]] = deque(maxlen=MAX_LAG_SAMPLES)
        self._due: float | None = None

    def worst(self, since: float) -> float:
        """By how many seconds the loop was late at worst since a moment, the present one included."""
        worst = 0.0 if self._due is None else max(0.0, self._now() - self._due)
        for at, late in reversed(self._late):
            if at < since:
                break
            worst = max(worst, late)
        return worst

    async def run(self, told: Callable[[float], None]) -> None:
        """Look until cancelled; tell the worst within `LAG_SHOWN_SECONDS` every `CLOCK_CHECK_SECONDS` seconds."""
        while True:
            for _ in range(round(CLOCK_CHECK_SECONDS / TICK_SECONDS)):
                self._due = self._now() + TICK_SECONDS
                await asyncio.sleep(TICK_SECONDS)
                at = self._now()
                if at - self._due > MIN_LAG_SECONDS:
                    self._late.append((at, at - self._due))
            told(self.worst(self._now() - LAG_SHOWN_SECONDS))


async def collect_garbage(is_idle: Callable[[], bool], is_crowded: Callable[[], bool] = lambda: False) -> None:
    """Take Python's collector out of sessions, until cancelled.

    What is there now is never looked at again; the rest when nothing is in flight, when it has become much, or at last
    all the same. A session leaves no cycles behind unless something broke, but every connection to our HTTP server
    does. `is_crowded`: just now there is much that will go by itself, and to look at it would hold the loop (23 ms
    while the config of 1,000 targets is read).
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    now = asyncio.get_running_loop().time
    young = old = now()
    try:
        while True:
            await asyncio.sleep(GARBAGE_CHECK_SECONDS)
            if is_crowded():
                continue
            at = now()
            if at - old >= FULL_COLLECTION_SECONDS:
                gc.collect()
                young = old = at
            elif at - young >= (YOUNG_COLLECTION_SECONDS if is_idle() else 10 * YOUNG_COLLECTION_SECONDS):
                gc.collect(1)
                young = at
            elif gc.get_count()[0] > MAX_YOUNG_OBJECTS:
                gc.collect(0)
    finally:
        gc.enable()
        gc.unfreeze()


def descriptors() -> int:
    """How many descriptors this process may have, after asking for all that it may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def no_core_dumps() -> None:
    """A crash leaves no image of this process on the disk: keys and tokens are in its memory."""
    with suppress(OSError):  # a sandbox may forbid to ask, and then sees to it itself
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


# systemd --------------------------------------------------------------------------------------------------------------

FIRST_LISTEN_FD: Final = 3
LISTEN_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

NOTIFY_TIMEOUT_SECONDS: Final = 5.0
"""Seconds that systemd may take to read what we tell it."""


class NoListenFdsError(Exception):
    """Why there are no sockets of systemd, as the end of a sentence."""


def listen_fds(environment: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """The listening sockets that systemd has opened for us; raises NothingHandedOver. They can be asked for once.

    sd_listen_fds(3): so many as LISTEN_FDS says, from descriptor 3 on, if LISTEN_PID is us. The variables are taken
    away: no child is meant by them.
    """
    pid, count, _ = (environment.pop(name, "") for name in LISTEN_VARIABLES)
    if pid != str(os.getpid()) or not count.isdecimal() or not int(count):
        raise NoListenFdsError("systemd has handed over no socket: start us by a socket unit, or leave the flag out")
    found = []
    for descriptor in range(FIRST_LISTEN_FD, FIRST_LISTEN_FD + int(count)):
        try:
            found.append(socket.socket(fileno=descriptor))
            os.set_inheritable(descriptor, False)
            listens = found[-1].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError:
            listens = 0
        if not listens or found[-1].type is not socket.SOCK_STREAM:
            raise NoListenFdsError(f"descriptor {descriptor} is no listening stream socket: use ListenStream=")
    return found


class SystemdNotifier:
    """Tells systemd how we are, if it wants to know: sd_notify(3), `Type=notify` and `WatchdogSec=` of a unit."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        ours = bool(path) and usec.isdecimal() and pid in ("", str(os.getpid()))
        self._sign_of_life = int(usec) / 2_000_000 if ours else 0.0

    async def tell(self, *fields: str) -> None:
        """Send fields such as `READY=1`; never fails."""
        if not self._address:
            return
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(self._address)
            async with asyncio.timeout(NOTIFY_TIMEOUT_SECONDS):
                await asyncio.get_running_loop().sock_sendall(sock, "\n".join(fields).encode())

    async def watchdog(self, healthy: Callable[[], bool]) -> None:
        """Give signs of life, twice in the time that systemd waits for one, while we are healthy; until cancelled."""
        while self._sign_of_life > 0:
            if healthy():
                await self.tell("WATCHDOG=1")
            await asyncio.sleep(self._sign_of_life)
