"""A client of the stand-in that shows every byte: frames as they are on the wire, legal or not."""

import asyncio
import base64
import contextlib
import json
import ssl
import struct

from exporter.config import Jwt
from exporter.tokens import load_key, mint

CLAIMS = {"iss": "netra-auth-service", "aud": "netra-platform", "token_type": "access"}
USER = "staging-e2e-user-001"
IDLE = 15.0  # virtual seconds after which a connection counts as silent: before the first keepalive ping
OPCODES = {0: "cont", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
NONCE = "nonce-1"
_NUMBERS = iter(range(1, 1_000_000_000))


def token(key, now, subject=USER, claims=None, lifetime=300.0):
    """A token minted by the exporter's own code, each with an id of its own."""
    spec = Jwt(key_env="KEY", claims=CLAIMS if claims is None else claims, lifetime=f"{lifetime:.0f}s")
    return mint(spec, load_key(spec, key), subject, now, f"id-{next(_NUMBERS)}")


class Peer:
    """One connection. `frame` gives (kind, value); the ends are kinds too: `eof`, `reset`, `silence`."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        self.head = ""
        self.parts = []

    @classmethod
    async def connect(cls, standin, *, tls=False, client=False):
        context = None
        if tls:
            context = ssl.create_default_context(cafile=standin.ca_file)
            if client:
                context.load_cert_chain(standin.client_cert_file, standin.client_key_file)
        port = int(standin.url(tls=tls).rpartition(":")[2].partition("/")[0])
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=2**23))

    async def upgrade(self, path="/ws", headers=(), key="MDEyMzQ1Njc4OWFiY2RlZg=="):
        """Ask for the upgrade; the first answer's status line as a word: the status, or how it ended."""
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: localhost",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        return await self.status()

    async def status(self):
        try:
            async with asyncio.timeout(IDLE):
                head = await self.reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return "silence"
        except asyncio.IncompleteReadError as error:
            return "garbage" if error.partial else "eof"
        except (ConnectionError, ssl.SSLError) as error:
            return _end(error)
        self.head = head.decode("latin-1")
        words = self.head.partition("\r\n")[0].split(" ")
        return words[1] if words[0] in ("HTTP/1.1", "HTTP/1.0") else "garbage"

    async def body(self):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE):
                return (await self.reader.read()).decode()
        return None

    async def frame(self, idle=IDLE):
        """The next frame: kind and value (a JSON value, bytes, or `code reason` of a close)."""
        try:
            async with asyncio.timeout(idle):
                return await self._frame()
        except TimeoutError:
            return "silence", None
        except asyncio.IncompleteReadError:
            return "eof", None
        except (ConnectionError, ssl.SSLError) as error:
            return _end(error), None

    async def _frame(self):
        first, second = await self.reader.readexactly(2)
        kind = OPCODES.get(first & 0x0F, f"opcode{first & 0x0F}")
        length = second & 0x7F
        if kind.startswith("opcode") or second & 0x80 or first & 0x70:
            return "illegal", first
        if length >= 126:
            length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8), "big")
        data = await self.reader.readexactly(length)
        if kind == "close":
            code = struct.unpack("!H", data[:2])[0] if data else 1005
            return kind, f"{code} {data[2:].decode()}".rstrip()
        if not first & 0x80:
            kind = f"{kind}..."
        return kind, data

    def send(self, kind, data=b"", *, fin=True):
        opcode = {name: number for number, name in OPCODES.items()}[kind]
        mask = b"\x01\x02\x03\x04"
        size = len(data)
        length = (
            bytes([0x80 | size])
            if size < 126
            else (b"\xfe" + size.to_bytes(2, "big") if size < 65536 else b"\xff" + size.to_bytes(8, "big"))
        )
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        self.writer.write(bytes([(0x80 if fin else 0) | opcode]) + length + mask + masked)

    def send_json(self, value):
        self.send("text", json.dumps(value).encode())

    def send_close(self, code=1000):
        self.send("close", struct.pack("!H", code))

    async def word(self, idle=IDLE):
        """The next frame as a word for a table; a protocol ping is answered."""
        kind, value = await self.frame(idle)
        if kind == "ping":
            self.send("pong", value)
            return "PING"
        if kind == "cont":
            return _word("text", b"".join(self.parts) + value)
        if kind.endswith("..."):
            self.parts = [value] if kind == "text..." else [*self.parts, value]
            return kind
        return _word(kind, value)

    async def close(self):
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            await self.writer.wait_closed()


def _end(error):
    return "reset" if isinstance(error, ConnectionError) else f"tls:{error.reason}"


def _word(kind, value):
    if kind == "close":
        return f"close {value}"
    if kind != "text":
        return kind
    try:
        message = json.loads(value)
    except UnicodeDecodeError:
        return "not_utf8"
    except ValueError:
        return "not_json"
    return word_of(message)


def word_of(message):
    if message.get("type") == "error_message":
        return message["error_code"]
    data = message.get("data") or {}
    if data.get("event") == "connection_established":
        return "welcome"
    if message.get("type") == "ack" and message.get("received_type") == NONCE:
        return "ack"
    return data.get("event") or data.get("status") or message.get("type") or "rpc"


ENDS = ("eof", "reset", "silence", "close", "tls", "illegal")


async def until(peer, *wanted, ends=ENDS):
    """Words up to the wanted one, or to an end."""
    words = []
    while True:
        words.append(await peer.word())
        if words[-1] in wanted or words[-1].startswith(ends):
            return words


def over(words):
    return words[-1].startswith(("eof", "reset", "tls"))


async def story(standin, path="/ws", *, tls=False, subject=USER, headers=None, now=0.0, client=False):
    """A whole session in words: `upgrade > admission > reply > close`."""
    try:
        peer = await Peer.connect(standin, tls=tls, client=client)
    except ConnectionRefusedError:
        return "refused"
    except ConnectionError:
        return "reset"
    except ssl.SSLError as error:
        return f"tls:{error.reason}"
    if headers is None:
        headers = [f"Authorization: Bearer {token(standin.key, now, subject)}"]
    parts = [[await peer.upgrade(path, headers)]]
    if parts[0][0] == "103":
        parts[0].append(await peer.status())
    if parts[0][-1] == "101":
        parts += await _talk(peer)
    await peer.close()
    return " > ".join(" ".join(part) for part in parts)


async def _talk(peer):
    yield_parts = [await until(peer, "welcome")]
    if yield_parts[-1][-1] == "welcome":
        peer.send_json({"type": NONCE})
        yield_parts.append(await until(peer, "ack"))
    last = yield_parts[-1]
    if last[-1].startswith("close"):
        peer.send_close()
        last += await until(peer)
    elif not over(last) and last[-1] != "illegal":
        peer.send_close()
        answer = await until(peer)
        yield_parts.append(answer + (await until(peer) if answer[-1].startswith("close") else []))
    return yield_parts


def offer(text):
    """A token as a subprotocol offer."""
    return "jwt." + base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
