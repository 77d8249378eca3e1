"""A backend whose delays are known per session: what the exporter says of them can be checked.

    python tests/bench/reference.py --seed 1 --truth FILE [--tls-cert F --tls-key F] [--admission A:B] [--reply A:B]

Prints `{"port": …, "tls_port": …}` once it listens, and serves until SIGTERM. It speaks just enough of the `factory`
profile: 101, after a random delay the welcome and a ping, after another one the ack of the client's message. It shares
no code with the exporter, so that both cannot be wrong in the same way; and without `--truth` it stamps and remembers
nothing, which is the cheapest server this file can be.

The truth of a session is what this session met, not what was asked for, in seconds, a JSON line each:

    admission         from the 101 to the welcome, both as given to the kernel, by our monotonic clock
    reply             from the request's arrival to the ack, likewise
    admission_kernel, reply_kernel      the same between two of the kernel's own stamps (CLOCK_REALTIME)

The kernel's figure is the truth wherever there is one. Its stamps are taken in the network stack, when a segment
leaves (SCM_TSTAMP_SND) or comes in, so they hold neither this interpreter's time between a clock and a system call
nor, what is worse on a busy machine, the time for which we were not scheduled between the two. Our own clock is read
immediately before `send`; the request's arrival is corrected by the age of its kernel stamp. Over TLS a stamp is that
of the segment that carries the record. A figure that was not reached, or whose stamp is in doubt, is null:

- a sent stamp counts only if its OPT_ID is the offset of the very byte that ended our write;
- the client's pong follows its request at once, and the kernel keeps one stamp per buffer, the last one. We therefore
  read as many bytes as the request has and no more; if what follows it has the same stamp, the two shared a buffer
  and the request's own stamp is lost. Our own clock then takes the pong's arrival for the request's: that truth is
  too short, and an error held against it looks larger than it is. (Two segments share a buffer only if the first is
  acknowledged before the second comes. So the welcome and the ping go in one write: a ping of its own, sent after the
  request has come, would acknowledge it, and bring the pong.)
"""

import argparse
import base64
import gc
import hashlib
import heapq
import json
import random
import re
import select
import signal
import socket
import ssl
import struct
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from stamped import CHUNK, Moment, Wire, between, stamping_kept_on

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
KEY = re.compile(rb"\r\nsec-websocket-key: *(\S+)\r\n", re.IGNORECASE)
TOKEN = re.compile(rb"\r\nauthorization: *bearer +[\w-]+\.([\w-]+)\.[\w-]*\r\n", re.IGNORECASE)
REQUEST = re.compile(rb'"type": *"(ws_factory_exporter_[\w-]+)"')
MASKED_HEAD = 6
TEXT, CLOSE = 0x81, 0x88

SWITCHING = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n"
)
NO_UPGRADE = b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
WELCOME = (
    '{{"type":"system_message","data":{{"event":"connection_established","connection_id":"ref_{number}","user_id":{user},'
    '"server_time":"{iso}","connection_ready":true,"environment":"staging","startup_complete":true,"config":'
    '{{"heartbeat_interval":25,"max_message_size":8192}},"factory_pattern_enabled":true}},"timestamp":{now:.6f},'
    '"server_id":null,"correlation_id":null}}'
)
PING = '{{"type":"ping","data":{{"timestamp":{now:.6f}}},"timestamp":{now:.6f},"server_id":null,"correlation_id":null}}'
ACK = '{{"type":"ack","received_type":"{echo}","timestamp":{now:.6f},"user_id":{user},"status":"acknowledged"}}'

NO_TOKEN = (
    b'{"type":"error_message","error_code":"NO_TOKEN","error_message":"","details":{},"recovery_suggestions":null}'
)
POLICY_VIOLATION = (1008).to_bytes(2, "big")
"""The exporter sends no second token before the first one's verdict: such a cycle goes connect-deep without one."""

FLUSH = 4_000
"""Sessions whose truth is kept in memory before it is written: once a minute at 1000 targets, in a millisecond."""


def frame(first, payload):
    """A server's frame: final, not masked (RFC 6455 section 5.2)."""
    size = len(payload)
    return (bytes((first, size)) if size < 126 else struct.pack("!BBH", first, 126, size)) + payload


def take_frame(buffer):
    """The first frame of a client, as (first byte, payload), taken out of the buffer; None if it is not complete."""
    if len(buffer) < MASKED_HEAD:
        return None
    size, start = buffer[1] & 0x7F, 2
    if size == 126:
        size, start = int.from_bytes(buffer[2:4], "big"), 4
    if size == 127 or not buffer[1] & 0x80:
        raise ValueError("a frame that no exporter sends")
    end = start + 4 + size
    if len(buffer) < end:
        return None
    mask = int.from_bytes((bytes(buffer[start : start + 4]) * (size // 4 + 1))[:size], "big")
    payload = (int.from_bytes(buffer[start + 4 : end], "big") ^ mask).to_bytes(size, "big")
    first = buffer[0]
    del buffer[:end]
    return first, payload


def claims_of(payload):
    """The claims in a token's middle part; nobody verifies them here."""
    return json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))


class Session:
    """One connection from its request to its close."""

    def __init__(self, wire, server):
        self.wire = wire
        self.open = True
        self.run = self.path = None
        self._server = server
        self._buffer = bytearray()
        self._expected = CHUNK
        self._user = self._echo = ""
        self._switched = self._welcomed = self._asked = self._acked = None

    def readable(self):
        """Read once, and do what it asks for. Raises EOFError, OSError, ValueError, KeyError, ssl.SSLError."""
        data, stamp = self.wire.receive(self._expected)
        self._buffer += data
        if self._switched is None:
            self._upgrade()
        else:
            self._messages(stamp)

    def _upgrade(self):
        end = self._buffer.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        key, token = KEY.search(head), TOKEN.search(head)
        if key is None:
            self.wire.send(NO_UPGRADE)
            raise EOFError
        accept = base64.b64encode(hashlib.sha1(key[1] + MAGIC).digest()).decode()
        self._switched = self.wire.send(SWITCHING.format(accept).encode(), stamped=True)
        if token is None:
            self.wire.send(frame(TEXT, NO_TOKEN) + frame(CLOSE, POLICY_VIOLATION))
            return
        claims = claims_of(token[1])
        self.run, self._user = claims["jti"], json.dumps(claims["sub"])
        self.path = head.split(b" ", 2)[1].decode()
        if self.wire.stamps:
            request = MASKED_HEAD + len(f'{{"type":"ws_factory_exporter_{self.run}"}}')
            self._expected = request + self.wire.overhead()
        self._server.after(self._server.admission, self, self._welcome)

    def _welcome(self):
        """Let the client in, and ping it."""
        now = time.time()
        iso = datetime.fromtimestamp(now, UTC).isoformat()
        text = WELCOME.format(number=self._server.number(), user=self._user, iso=iso, now=now)
        welcome, ping = frame(TEXT, text.encode()), frame(TEXT, PING.format(now=now).encode())
        self._welcomed = self.wire.send(welcome + ping, stamped=True)

    def _messages(self, stamp):
        while self.open and (taken := take_frame(self._buffer)) is not None:
            first, payload = taken
            request = REQUEST.search(payload) if first == TEXT and self._asked is None else None
            if request is not None:
                self._asked = self._arrival(stamp)
                self._expected = CHUNK
                self._echo = request[1].decode()
                self._server.after(self._server.reply, self, self._ack)
            elif first == CLOSE:
                self.wire.send(frame(CLOSE, payload))
                raise EOFError

    def _arrival(self, stamp):
        own = time.monotonic()
        if not stamp:
            return Moment(own)
        own -= (time.time_ns() - stamp) / 1e9
        return Moment(own, None if self._buffer or self.wire.shares(stamp) else stamp)

    def _ack(self):
        text = ACK.format(echo=self._echo, user=self._user, now=time.time())
        self._acked = self.wire.send(frame(TEXT, text.encode()), stamped=True)

    def truth(self):
        """What this session met, as a JSON object in text."""
        admission, admission_kernel = between(self._switched, self._welcomed)
        reply, reply_kernel = between(self._asked, self._acked)
        fields = {
            "run": self.run,
            "path": self.path,
            "admission": admission,
            "reply": reply,
            "admission_kernel": admission_kernel,
            "reply_kernel": reply_kernel,
        }
        return json.dumps(fields)


class Server:
    """Listens, wakes sessions and keeps their truth. `admission` and `reply`: (least, most) seconds of delay."""

    def __init__(self, *, seed, admission, reply, truth):
        self.admission, self.reply = admission, reply
        self._random = random.Random(seed)
        self._truth = truth
        self._lines = []
        self._sessions = {}
        self._listeners = {}
        self._timers = []
        self._number = 0
        self._epoll = select.epoll()
        self._keeper = None if truth is None else stamping_kept_on()

    def number(self):
        """A number not given before."""
        self._number += 1
        return self._number

    def listen(self, tls=None):
        """Listen on a free loopback port; the port. Sockets come with their first bytes, and send without delay."""
        sock = socket.create_server(("127.0.0.1", 0), backlog=4096)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
        self._listeners[sock.fileno()] = sock, tls
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        return sock.getsockname()[1]

    def after(self, limits, session, act):
        """Do a session's work after a random delay within the limits; at once if there is none."""
        least, most = limits
        if most == 0:
            act()
            return
        due = time.monotonic() + self._random.uniform(least, most)
        heapq.heappush(self._timers, (due, self.number(), session, act))

    def serve(self, until):
        """Serve until something arrives on the descriptor `until`; then write the truth of all that was."""
        self._epoll.register(until, select.EPOLLIN)
        while True:
            wait = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1
            for descriptor, events in self._epoll.poll(wait):
                if descriptor == until:
                    self._end()
                    return
                if descriptor in self._listeners:
                    self._accept(*self._listeners[descriptor])
                elif descriptor in self._sessions:
                    self._wake(self._sessions[descriptor], events)
            self._strike()

    def _accept(self, listener, tls):
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        sock.setblocking(False)
        session = Session(Wire(sock, tls, stamps=self._truth is not None), self)
        self._sessions[sock.fileno()] = session
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._wake(session, select.EPOLLIN)

    def _wake(self, session, events):
        if events != select.EPOLLERR or not session.wire.collect_any():
            self._guarded(session, session.readable)

    def _strike(self):
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, session, act = heapq.heappop(self._timers)
            if session.open:
                self._guarded(session, act)

    def _guarded(self, session, act):
        """Do a session's work; whatever ends it ends this session alone."""
        try:
            with suppress(BlockingIOError):
                act()
            session.wire.collect()  # on loopback a segment has passed the device, stamped, before `sendmsg` returns
        except (EOFError, OSError, ValueError, KeyError, ssl.SSLError):
            self._forget(session)

    def _forget(self, session):
        del self._sessions[session.wire.sock.fileno()]
        session.open = False
        session.wire.close()
        self._remember(session)

    def _remember(self, session):
        if self._truth is None or session.run is None:
            return
        self._lines.append(session.truth())
        if len(self._lines) >= FLUSH:
            self._flush()

    def _flush(self):
        with self._truth.open("a", encoding="ascii") as file:
            file.write("".join(f"{line}\n" for line in self._lines))
        self._lines.clear()

    def _end(self):
        for session in list(self._sessions.values()):
            self._forget(session)
        if self._truth is not None:
            self._flush()


def limits(text):
    """`A:B`, seconds, as two numbers."""
    least, most = map(float, text.split(":"))
    if not 0 <= least <= most:
        raise argparse.ArgumentTypeError("A:B with 0 <= A <= B, seconds")
    return least, most


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--admission", type=limits, default=(0.005, 0.1), metavar="A:B")
    parser.add_argument("--reply", type=limits, default=(0.002, 0.05), metavar="A:B")
    parser.add_argument("--truth", type=Path)
    return parser.parse_args()


def told_to_stop():
    """A descriptor on which something arrives with SIGTERM or SIGINT."""
    ours, kernels = socket.socketpair()
    kernels.setblocking(False)
    signal.set_wakeup_fd(kernels.detach())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return ours.detach()


def main():
    """Serve until told to stop."""
    asked = options()
    stop = told_to_stop()
    server = Server(seed=asked.seed, admission=asked.admission, reply=asked.reply, truth=asked.truth)
    ports = {"port": server.listen()}
    if asked.tls_cert is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(asked.tls_cert, asked.tls_key)
        ports["tls_port"] = server.listen(context)
    gc.disable()  # a pause would be in the truth of nobody; sessions that end leave no circle behind
    print(json.dumps(ports), flush=True)
    server.serve(stop)


if __name__ == "__main__":
    main()
