"""A command of ours as a process: what it has said so far, and how it ended."""

import asyncio
import contextlib
import os
import re
import sys

PATIENCE = 120.0
"""Seconds that a line or an end may take on a busy machine."""


def value_of(line, key):
    """The value of a key in a logfmt line."""
    return re.search(rf"\b{key}=(\S+)", line)[1]


class Command:
    """A running `ws-factory-exporter`; `out` and `err` are its lines so far."""

    def __init__(self, process):
        self.process = process
        self.out, self.err = [], []
        self._news = asyncio.Event()
        self._readers = [
            asyncio.ensure_future(self._read(stream, lines))
            for stream, lines in ((process.stdout, self.out), (process.stderr, self.err))
            if stream is not None
        ]

    async def _read(self, stream, lines):
        while line := await stream.readline():
            lines.append(line.decode().rstrip("\n"))
            self._news.set()
        self._news.set()

    async def said(self, text, times=1):
        """The lines that hold the text, once there are so many; fails if the process ends or is silent before."""
        async with asyncio.timeout(PATIENCE):
            while len(found := [line for line in (*self.out, *self.err) if text in line]) < times:
                assert not all(reader.done() for reader in self._readers), (self.out, self.err)
                self._news.clear()
                await self._news.wait()
        return found

    async def ended(self):
        """Its exit code, once it has one and all it said is read."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._readers)
            return await self.process.wait()

    async def signalled(self, number):
        """Exit code, and seconds from the signal to the end, by `OwnClock`."""
        with OwnClock() as clock:
            self.process.send_signal(number)
            return await self.ended(), clock.seconds


class OwnClock:
    """A clock of the event loop's own turns: it stands still while the machine lets this process wait for its turn.

    So a promise of seconds can be held on a busy machine, which makes the exporter wait as long.
    """

    STEP = 0.02

    def __init__(self):
        self._turns, self._timer = 0, None

    @property
    def seconds(self):
        """Seconds since the begin."""
        return self._turns * self.STEP

    def __enter__(self):
        self._turn()
        return self

    def __exit__(self, *_):
        self._timer.cancel()

    def _turn(self):
        self._timer = asyncio.get_running_loop().call_later(self.STEP, self._turn_over)

    def _turn_over(self):
        self._turns += 1
        self._turn()


@contextlib.asynccontextmanager
async def command(*arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, **environment):
    """`ws-factory-exporter` with these arguments; killed if it is still there at the end."""
    program = [sys.executable, "-m", "exporter", *arguments]
    async with program_running(program, stdout=stdout, stderr=stderr, **environment) as running:
        yield running


@contextlib.asynccontextmanager
async def program_running(program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, **environment):
    """Any program as a `Command`; killed if it is still there at the end."""
    process = await asyncio.create_subprocess_exec(
        *program, stdin=asyncio.subprocess.DEVNULL, stdout=stdout, stderr=stderr, env={**os.environ, **environment}
    )
    running = Command(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await running.ended()
