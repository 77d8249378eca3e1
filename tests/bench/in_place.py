"""What each part of a session costs where it stands: among all the others, 50 sessions in flight.

    python tests/bench/in_place.py [--sessions N] [--tls]

`cost.py --profile` times the parts in tight loops, in which code is two to three times as fast. Here the functions that
are a part's doors are wrapped in a clock, and a part is charged with what passes behind its doors and no other's.
"""

import argparse
import asyncio
import functools
import socket
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from selectors import DefaultSelector
from statistics import median
from unittest.mock import patch

import clients
import cost
from websockets.protocol import Protocol

from exporter import log, probing
from exporter.daemon.result_dispatcher import ResultDispatcher
from exporter.files import KeyRing
from exporter.history import History
from exporter.metrics import Metrics
from exporter.probing import ProbeRequest
from exporter.session import conversation
from exporter.session.transcript import Transcript
from exporter.state import LedgerFile
from exporter.transport import connection

ROUNDS = 5


class Timed(socket.socket):
    """The socket of a link, whose system calls can be wrapped: those of the library's own class cannot."""

    __slots__ = ()

    def connect_ex(self, address):
        return super().connect_ex(address)

    def setsockopt(self, *option):
        return super().setsockopt(*option)

    def send(self, data):
        return super().send(data)

    def recvmsg(self, *sizes):
        return super().recvmsg(*sizes)

    def close(self):
        super().close()


def opened(family):
    return Timed(family, socket.SOCK_STREAM)


DOORS = {
    "system calls: sockets": [
        (connection, "_open_socket"),
        *((Timed, name) for name in ("connect_ex", "setsockopt", "send", "recvmsg", "close")),
    ],
    "selector": [(DefaultSelector, name) for name in ("register", "unregister")],
    "websockets: request, frames": [
        *((conversation, name) for name in ("serialize_request", "find_handshake_breach", "open_protocol")),
        *((Protocol, name) for name in ("receive_data", "send_text", "send_close")),
    ],
    "token": [(KeyRing, "key"), (probing, "mint"), (probing, "carry")],
    "ledger": [
        (ProbeRequest, "session_cost"),
        (LedgerFile, "begin_transaction"),
        (probing, "admit"),
        (probing, "settle"),
        (LedgerFile, "end_transaction"),
    ],
    "messages, request": [(probing, "SessionMessages"), (probing, "SessionRequest")],
    "verdicts": [(probing, "classify")],
    "result": [(probing, "_result")],
    "metrics": [(Metrics, name) for name in ("record_result", "record_cycle", "set_open_connections")],
    "identities' gauges": [(ResultDispatcher, "update_identities")],
    "transcript": [(Transcript, name) for name in ("record_received", "record_queued", "record_sent", "frames")],
    "history": [(History, name) for name in ("add", "add_cycle")],
    "log line": [(log, "log_session")],
}
"""Part → the functions through which a session enters it."""

OURS = "phases, messages, loop and tasks"


class Clock:
    """Seconds by part. Who is inside is charged; who calls another part is not while that lasts."""

    def __init__(self):
        self.spent, self.calls = Counter(), Counter()
        self._inside, self._since = None, 0.0

    def wrapped(self, part, act):
        """The function, charging its time to the part."""
        now = time.thread_time

        @functools.wraps(act)
        def timed(*args, **kwargs):
            outer, began = self._inside, now()
            self.spent[outer] += began - self._since
            self._inside, self._since = part, began
            self.calls[part] += 1
            try:
                return act(*args, **kwargs)
            finally:
                ended = now()
                self.spent[part] += ended - self._since
                self._inside, self._since = outer, ended

        return timed

    def microseconds(self, sessions):
        """Of each part, without what the clock charges for itself: so much for a function that does nothing."""
        idle = Clock()
        nothing = idle.wrapped("nothing", lambda: None)
        for _ in range(20_000):
            nothing()
        own = idle.spent["nothing"] / idle.calls["nothing"]
        return {part: (self.spent[part] - own * self.calls[part]) / sessions * 1e6 for part in DOORS}


@contextmanager
def watched(clock):
    """All doors wrapped."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(connection, "_open_socket", opened))
        for part, doors in DOORS.items():
            for owner, name in doors:
                stack.enter_context(patch.object(owner, name, clock.wrapped(part, getattr(owner, name))))
        yield


async def measured(aim, sessions):
    """Microseconds of CPU a session: of each part in place, and of the whole with no clock in it."""
    async with cost.ours(aim) as session:
        await clients.spread(session, 2 * cost.TARGETS, aim.in_flight)
        bare = [await clients.taken(session, sessions, aim.in_flight) for _ in range(ROUNDS)]
        clock = Clock()
        with watched(clock):
            await clients.spread(session, sessions, aim.in_flight)
            clock.spent.clear()
            clock.calls.clear()
            await clients.spread(session, ROUNDS * sessions, aim.in_flight)
    parts = clock.microseconds(ROUNDS * sessions)
    whole = median(run["cpu"] for run in bare) / sessions * 1e6
    return {**parts, OURS: whole - sum(parts.values()), "whole": whole}


async def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=500, help="in each of the rounds")
    parser.add_argument("--tls", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="in-place-") as folder:
        async with clients.at_once(folder) as server:
            found = await measured(cost.aim_at(server, folder, tls=asked.tls, in_flight=50), asked.sessions)
    print(*(f"  {part:36}{spent:8.1f}" for part, spent in found.items()), sep="\n")


if __name__ == "__main__":
    asyncio.run(main())
