"""What an exporter has to live with: a scraper, somebody who looks at its page, a core thief, junk on its HTTP side.

    python tests/bench/underload.py fetch URL OUT --accept TYPES [--every 1]
    python tests/bench/underload.py steal CORE

Each runs as a process of its own, so that it takes time from the exporter only as its like would, until SIGTERM.
`fetch` then writes to OUT what each answer cost, and the last answer's text.
"""

import argparse
import asyncio
import contextlib
import gzip
import http.client
import json
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from support.realservers import stop

SCRAPE = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
"""What Prometheus of Debian 12 accepts."""
PAGE = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"
END = {signal.SIGTERM, signal.SIGINT}
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}


@dataclass(frozen=True)
class Fetches:
    """What fetching cost: seconds to the last byte, bytes as sent (compressed), answers that were not a 200."""

    n: int
    median: float
    max: float
    bytes: int
    failures: int
    text: str


class Load:
    """A running helper; `fetched` ends it and tells what it met."""

    def __init__(self, process, out):
        self._process = process
        self._out = out

    async def fetched(self):
        """What a fetcher met until now. It fetches no more."""
        await stop(self._process)
        found = json.loads(self._out.read_text(encoding="utf-8"))
        seconds, sizes = found["seconds"] or [0.0], found["bytes"] or [0]
        return Fetches(
            len(found["seconds"]), median(seconds), max(seconds), median(sizes), found["failures"], found["text"]
        )


@contextlib.asynccontextmanager
async def fetcher(url, accept, out):
    """A process that fetches the URL every second."""
    async with _helper("fetch", url, str(out), "--accept", accept) as process:
        yield Load(process, out)


@contextlib.asynccontextmanager
async def core_thief(_url, _folder):
    """A process that takes all it gets of the first core."""
    async with _helper("steal", str(min(os.sched_getaffinity(0)))):
        yield


@contextlib.asynccontextmanager
async def junk_sender(url, folder):
    """A process that sends a thousand requests of junk a second; what became of them is printed at its end."""
    out = folder / "junk.json"
    junk = str(Path(__file__).with_name("junk.py"))
    process = await asyncio.create_subprocess_exec(sys.executable, junk, url, str(out), env=ENVIRONMENT)
    try:
        yield
    finally:
        await stop(process)
    found = json.loads(out.read_text(encoding="utf-8"))
    answered = ", ".join(f"{words}: {number}" for words, number in sorted(found["answers"].items()))
    print(
        f"junk: {found['sent'] / found['seconds']:.0f}/s for {found['seconds']:.0f} s; answers {answered}", flush=True
    )


BESIDE = {"thief": core_thief, "junk": junk_sender}
"""What may be beside an exporter, given its URL and a folder."""


@contextlib.asynccontextmanager
async def _helper(*arguments):
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, *arguments, env=ENVIRONMENT)
    try:
        yield process
    finally:
        await stop(process)


# In the process of its own --------------------------------------------------------------------------------------------


def pause(until):
    """Let time pass to a moment of `time.monotonic`: a load is paced by the clock. True if told to end meanwhile."""
    return signal.sigtimedwait(END, max(0.0, until - time.monotonic())) is not None


class EndedError(Exception):
    """We were told to end."""


@contextlib.contextmanager
def interruptible():
    """What is done here is broken off by `EndedError`: an answer may take longer than anybody waits for us."""

    def end(*_):
        raise EndedError

    for number in END:
        signal.signal(number, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, END)


class Fetcher:
    """Asks again and again over one connection, as Prometheus does."""

    def __init__(self, url, accept):
        parts = urlsplit(url)
        self._where = parts.hostname, parts.port
        self._path = parts.path or "/"
        self._headers = {"Accept": accept, "Accept-Encoding": "gzip", "User-Agent": "Prometheus/2.42.0"}
        self._connection = None
        self.at, self.seconds, self.bytes, self.failures, self.last = [], [], [], 0, b""

    def fetch(self):
        """Ask once."""
        at, began = time.time(), time.perf_counter()
        try:
            body, encoding = self._body()
        except (OSError, http.client.HTTPException):
            self.failures += 1
            self._connection = None
            return
        self.at.append(at)
        self.seconds.append(time.perf_counter() - began)
        self.bytes.append(len(body))
        self.last = gzip.decompress(body) if encoding == "gzip" else body

    def _body(self):
        if self._connection is None:
            self._connection = http.client.HTTPConnection(*self._where, timeout=10)
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.request("GET", self._path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != http.client.OK:
            raise http.client.HTTPException(answer.status)
        return body, answer.headers.get("Content-Encoding")


def fetch_all(asked):
    """Fetch every so many seconds until told to end; then write what it cost."""
    fetcher = Fetcher(asked.url, asked.accept)
    began = time.monotonic()
    with contextlib.suppress(EndedError):
        for number in count(1):
            with interruptible():
                fetcher.fetch()
            if pause(began + number * asked.every):
                break
    found = {name: getattr(fetcher, name) for name in ("at", "seconds", "bytes", "failures")}
    asked.out.write_text(json.dumps({**found, "text": fetcher.last.decode()}), encoding="utf-8")


def steal(asked):
    """Keep a core busy until killed."""
    os.sched_setaffinity(0, {asked.core})
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END)
    while True:
        pass


def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, END)  # `pause` waits for them
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    fetch = commands.add_parser("fetch")
    fetch.add_argument("url")
    fetch.add_argument("out", type=Path)
    fetch.add_argument("--accept", required=True)
    fetch.add_argument("--every", type=float, default=1.0)
    fetch.set_defaults(act=fetch_all)
    stealing = commands.add_parser("steal")
    stealing.add_argument("core", type=int)
    stealing.set_defaults(act=steal)
    asked = parser.parse_args()
    asked.act(asked)


if __name__ == "__main__":
    main()
