"""Junk for an HTTP server: what scanners, broken scripts and the curious send, a thousand requests a second.

    python tests/bench/junk.py URL OUT [--rate 1000]

Until SIGTERM; then OUT says how many were sent and how many were answered, by status. Half of them come over a few
connections that stay, the other half each over its own; every hundredth is no HTTP at all.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import signal
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

KEPT = 4
"""Connections that stay."""
LINES = (
    "GET /.env", "GET /wp-login.php", "GET /../../etc/passwd", "GET /%2e%2e/%00", "POST /-/healthy", "PUT /",
    "DELETE /metrics", "GET /api/check?target=staging", "POST /api/check?target=nobody", "GET //metrics",
    "OPTIONS *", "HEAD /nothing", "GET /?" + "q=" * 500, "GET /-/ready", "PROPFIND /", "GET /favicon.ico",
)  # fmt: skip
NO_HTTP = (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"SSH-2.0-x\r\n", b"\x00" * 64, b"GET " + b"A" * 20_000)
LARGEST = 4 << 20
"""Bytes that a page has at most."""
TURN = 0.02
"""Seconds between two bursts."""


class Junk:
    """Sends, and counts what comes back."""

    def __init__(self, url):
        parts = urlsplit(url)
        self._where = parts.hostname, parts.port
        self.sent = 0
        self.answers = Counter()
        self._kinds = itertools.cycle(LINES)
        self._strange = itertools.cycle(NO_HTTP)
        self._kept = asyncio.Queue()
        for _ in range(KEPT):
            self._kept.put_nowait(None)

    async def one(self, number):
        """One piece of junk."""
        self.sent += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            async with asyncio.timeout(5):
                if number % 100 == 0:
                    await self._no_http()
                elif number % 2:
                    await self._over_a_kept_one()
                else:
                    await self._over_its_own()

    async def _no_http(self):
        reader, writer = await asyncio.open_connection(*self._where)
        with contextlib.closing(writer):
            writer.write(next(self._strange))
            writer.write_eof()
            self.answers["no HTTP: " + ((await reader.readline())[:12].decode("latin-1") or "closed")] += 1

    async def _over_its_own(self):
        reader, writer = await asyncio.open_connection(*self._where, limit=LARGEST)
        with contextlib.closing(writer):
            await self._ask(reader, writer, "close")

    async def _over_a_kept_one(self):
        connection = await self._kept.get()
        try:
            reader, writer = connection or await asyncio.open_connection(*self._where, limit=LARGEST)
            connection = None
            if await self._ask(reader, writer, "keep-alive"):
                connection = reader, writer
            else:
                writer.close()
        finally:
            self._kept.put_nowait(connection)

    async def _ask(self, reader, writer, connection):
        """Ask and count the answer; True if the connection can be asked again."""
        line = next(self._kinds)
        writer.write(
            f"{line} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\nContent-Length: 0\r\n"
            f"X-Junk: {'j' * 200}\r\n\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        self.answers[head[9:12]] += 1
        length = [part for part in head.split("\r\n") if part.startswith("content-length:")]
        if "transfer-encoding: chunked" in head:
            await reader.readuntil(b"\r\n0\r\n\r\n")
        elif length and not line.startswith("HEAD"):
            await reader.readexactly(int(length[0].partition(":")[2]))
        return "connection: close" not in head


async def send(url, rate, out):
    """Send until told to end."""
    junk, loop, ended = Junk(url), asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    began, pieces, tasks = loop.time(), itertools.count(1), set()
    for turn in itertools.count(1):
        for _ in range(round(rate * TURN)):
            task = asyncio.create_task(junk.one(next(pieces)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(began + turn * TURN):
                await ended.wait()
        if ended.is_set():
            break
    seconds = loop.time() - began
    for task in tuple(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    found = {"sent": junk.sent, "seconds": seconds, "answers": dict(junk.answers)}
    out.write_text(json.dumps(found), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("out", type=Path)
    parser.add_argument("--rate", type=float, default=1000.0)
    asked = parser.parse_args()
    asyncio.run(send(asked.url, asked.rate, asked.out))


if __name__ == "__main__":
    main()
