"""Raw servers on loopback that send exactly what a test says, and sessions against them.

A `Peer` is one client as the server sees it: every frame and the end are kept, so that a test asks the server, not us.
"""

import asyncio
import contextlib
import functools
import inspect
import json
import socket
import struct
import time
from pathlib import Path

import pytest
import uvloop
from websockets.frames import Frame, Opcode
from websockets.utils import accept_key, apply_mask

from exporter.classify import (
    LEGAL_FAILURES,
    ClassifyContext,
    WelcomeReplayDetector,
    classify,
    close_label,
    legal_closes,
)
from exporter.config import Profile
from exporter.profiles import MessageMatcher, SessionMessages
from exporter.resolver import Resolver
from exporter.result import Probe, ProbeError
from exporter.session import Session, SessionRequest

NONCE = "n0nce"
SUBJECT = "user-1"
VALUES = {"nonce": NONCE, "identity": SUBJECT, "token": "t0ken"}
SLACK = 3.0
"""Seconds that a busy machine may add to a bound."""

CHAT = Profile.model_validate(
    {
        "welcome": {"match": {"type": "hello"}},
        "send": {
            "message": {"type": "echo", "id": "${nonce}"},
            "match": {"type": "echo_reply", "id": "${nonce}"},
            "expect": {"ok": True},
        },
        "noise": [{"kind": "ping", "match": {"type": "ping"}, "answer": {"type": "pong"}}],
        "error": {"type": "error"},
        "errors": [{"match": {"type": "error", "code": "full"}, "factory": "slot_limit", "proves_auth": True}],
        "max_message_size": 65_536,
    }
)
AUTHED = CHAT.model_copy(
    update={
        "auth": Profile.model_validate(
            {"auth": {"message": {"type": "auth", "token": "${token}"}, "match": {"type": "auth_ok"}}}
        ).auth
    }
)
ECHO_REPLY = {"type": "echo_reply", "id": NONCE, "ok": True}


def both_loops(test):
    """Run an async test on asyncio's loop and on uvloop."""

    @functools.wraps(test)
    def on_one(new_loop, **arguments):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(test(**arguments))

    own = inspect.signature(test)
    loop = inspect.Parameter("new_loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    on_one.__signature__ = own.replace(parameters=[loop, *own.parameters.values()])
    del on_one.__wrapped__
    loops = [asyncio.new_event_loop, uvloop.new_event_loop]
    return pytest.mark.parametrize("new_loop", loops, ids=["asyncio", "uvloop"])(on_one)


async def after(seconds):
    """A server that takes its time."""
    done = asyncio.get_running_loop().create_future()
    handle = asyncio.get_running_loop().call_later(seconds, lambda: done.done() or done.set_result(None))
    try:
        await done
    finally:
        handle.cancel()


def busy(seconds):
    """Hold the event loop."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def until(condition, timeout=60.0):
    """Turn the loop until a condition is true; fails after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await after(0.001)


@contextlib.asynccontextmanager
async def leaves_nothing():
    """The block leaves no task and no descriptor behind."""
    tasks, before = asyncio.all_tasks(), open_fds()
    yield
    await until(lambda: asyncio.all_tasks() <= tasks and open_fds() <= before)


def open_fds():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def frame(opcode, payload=b"", *, fin=True, rsv1=False):
    """A server's frame, unmasked and unchecked but for its length."""
    checked = Frame(Opcode.TEXT, payload).serialize(mask=False)
    return bytes([fin << 7 | rsv1 << 6 | opcode]) + checked[1:]


def text(value):
    """A text frame of a JSON value."""
    return frame(Opcode.TEXT, json.dumps(value).encode())


def close(code=1000, reason=""):
    return frame(Opcode.CLOSE, struct.pack("!H", code) + reason.encode())


WELCOME = text({"type": "hello"})
REPLY = text(ECHO_REPLY)


class Peer:
    """One client; `frames` are (opcode, payload) as they came, `ended` is `eof` or `reset` once it has."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        self.line = ""
        self.headers = {}
        self.names = []
        self.frames = []
        self.ended = None
        self.closing = False

    @property
    def codes(self):
        """Codes of the close frames that came."""
        closes = [payload for opcode, payload in self.frames if opcode == Opcode.CLOSE]
        return [struct.unpack("!H", payload[:2])[0] if payload else 1005 for payload in closes]

    @property
    def messages(self):
        return [json.loads(payload) for opcode, payload in self.frames if opcode == Opcode.TEXT]

    async def request(self):
        """Read the client's request; returns the bytes of a 101 that accepts it."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        self.line, *lines = head.strip().split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        self.names = [name.lower() for name, _ in pairs]
        self.headers = {name.lower(): value for name, value in pairs}
        return self.switching()

    def switching(self, extra=""):
        accept = accept_key(self.headers["sec-websocket-key"])
        return (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n{extra}\r\n"
        ).encode()

    async def upgrade(self, *after_it):
        self.send(await self.request(), *after_it)

    def send(self, *parts):
        """One write, so one segment; nothing if the client has gone."""
        if not self.writer.is_closing():
            self.writer.write(b"".join(parts))

    def close(self, code=1000, reason=""):
        self.closing = True
        self.send(close(code, reason))

    async def frame(self):
        """The client's next frame."""
        head = await self.reader.readexactly(2)
        length = head[1] & 0x7F
        if length == 126:
            length = int.from_bytes(await self.reader.readexactly(2), "big")
        assert head[1] & 0x80, "a client's frame must be masked"
        mask = await self.reader.readexactly(4)
        payload = apply_mask(await self.reader.readexactly(length), mask) if length else b""
        self.frames.append((head[0] & 0x0F, payload))
        return self.frames[-1]

    async def message(self):
        """The client's next text message, read as JSON."""
        while True:
            opcode, payload = await self.frame()
            if opcode == Opcode.TEXT:
                return json.loads(payload)

    async def to_the_end(self, *, answer=True):
        """Read until the client ends; a close frame is echoed and the connection ended, as RFC 6455 wants it."""
        try:
            while True:
                opcode, payload = await self.frame()
                if opcode == Opcode.CLOSE and answer:
                    self.send(b"" if self.closing else frame(Opcode.CLOSE, payload))
                    self.writer.close()
        except asyncio.IncompleteReadError:
            self.ended = "eof"
        except ConnectionError:
            self.ended = "reset"

    async def raw_to_the_end(self):
        """Read a client that has not asked for an upgrade until it ends."""
        try:
            while await self.reader.read(65_536):
                pass
            self.ended = "eof"
        except ConnectionError:
            self.ended = "reset"

    def end(self):
        self.writer.close()

    def half_close(self):
        with contextlib.suppress(OSError, RuntimeError):
            self.writer.write_eof()

    def reset(self):
        """End the connection by RST."""
        if not self.writer.is_closing():
            linger = struct.pack("ii", 1, 0)
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.abort()

    def abort(self):
        with contextlib.suppress(RuntimeError):  # uvloop's, for a transport that is closed already
            self.writer.transport.abort()


class Server:
    """A handle on a listening socket: `port`, and every `Peer` that came."""

    def __init__(self, script):
        self._script = script
        self._tasks = []
        self.port = 0
        self.peers = []

    @property
    def peer(self):
        assert len(self.peers) == 1
        return self.peers[0]

    def connected(self, reader, writer):
        peer = Peer(reader, writer)
        self.peers.append(peer)
        self._tasks.append(asyncio.ensure_future(self._serve(peer)))

    async def _serve(self, peer):
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._script(peer)
            if not peer.writer.is_closing():
                await (peer.to_the_end() if peer.headers else peer.raw_to_the_end())
        finally:
            peer.abort() if peer.ended is None else peer.writer.close()

    async def over(self):
        """Wait until every peer's script has ended; raises what a script raised."""
        if self._tasks:
            done, _ = await asyncio.wait(self._tasks, timeout=60)
            assert len(done) == len(self._tasks), "a peer's script did not end"
            for task in done:
                task.result()

    async def stop(self):
        """End all scripts and connections; raises what a script raised."""
        for task in self._tasks:
            task.cancel()
        answers = await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            peer.abort()
            with contextlib.suppress(OSError):
                await peer.writer.wait_closed()
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer


@contextlib.asynccontextmanager
async def serving(script, *, tls=None, host="127.0.0.1"):
    """A server that plays `script(peer)` to every client, then reads it to its end."""
    server = Server(script)
    listener = await asyncio.start_server(server.connected, host, 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        for _ in range(5):  # who is at the door comes in: asyncio drops a socket that it accepts while it closes
            await asyncio.sleep(0)
        listener.close()
        await server.stop()


def order(port, *, profile=CHAT, depth=Probe.SEND, timeout=5.0, close_timeout=0.5, host="127.0.0.1", **more):
    return SessionRequest(
        host=host,
        port=port,
        resource=more.pop("resource", "/ws?a=b"),
        session_messages=more.pop("session_messages", None) or SessionMessages(MessageMatcher(profile), VALUES),
        depth=depth,
        timeout=timeout,
        close_timeout=close_timeout,
        **more,
    )


async def converse(server, *, resolver=None, slack=SLACK, **wanted):
    """One session's facts, within its time and of a kind that the tables know."""
    asked = order(server.port, **wanted)
    started = time.monotonic()
    facts = await Session(asked, resolver or Resolver(), time.monotonic).run()
    assert time.monotonic() - started <= asked.timeout + asked.close_timeout + slack
    judged(facts, asked)
    return facts


def judged(facts, asked):
    """The judgement of these facts, which must be one that the closed lists know."""
    profile, tls = asked.session_messages.profile, asked.tls is not None
    judgement = classify(facts, ClassifyContext(profile, asked.depth, time.time(), WelcomeReplayDetector(), SUBJECT))
    if judgement.reason is not None or judgement.phase is not None:
        assert judgement.reason in LEGAL_FAILURES[judgement.phase], (judgement.phase, judgement.reason)
    if facts.close is not None:
        closed = (facts.close.phase, close_label(facts.close.code, profile), facts.close.initiator)
        assert closed in set(legal_closes(profile, tls=tls)), closed
    assert set(facts.phases) == set(facts.marks)
    assert all(seconds >= 0 for seconds in facts.phases.values())
    return judgement


def ending(facts):
    """(phase, kind) of the fault, (code, initiator, phase) of the close: what most tests ask for."""
    fault = None if facts.fault is None else (str(facts.fault.phase or facts.ended), str(facts.fault.kind))
    shut = None if facts.close is None else (facts.close.code, str(facts.close.initiator), str(facts.close.phase))
    return fault, shut


def plays(*steps):
    """A script: bytes are sent, `MESSAGE` waits for the client's next one, a function is called with the peer."""

    async def script(peer):
        for step in steps:
            if isinstance(step, bytes):
                peer.send(step)
                await peer.writer.drain()
            elif step is MESSAGE:
                await peer.message()
            else:
                done = step(peer)
                if inspect.isawaitable(done):
                    await done

    return script


MESSAGE = object()
UPGRADE = Peer.upgrade
END = Peer.end
RESET = Peer.reset
HALF_CLOSE = Peer.half_close


def upgrade_with(*after_it):
    """Accept the upgrade; what follows comes in the same segment."""
    return lambda peer: peer.upgrade(*after_it)


async def read_all(link):
    """All bytes up to the end of the stream or its breaking, and how it ended."""
    whole = bytearray()
    async with asyncio.timeout(60):
        while True:
            try:
                data, _ = await link.read()
            except ProbeError as fault:
                return bytes(whole), fault.kind
            if not data:
                return bytes(whole), None
            whole += data
