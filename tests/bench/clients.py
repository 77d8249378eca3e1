"""The peers of the cost bench, the server, and the process in which a contender runs.

    connect · upgrade with a token · welcome · a message with a nonce · its ack · a clean close

is the conversation that all contenders have with the same server. A contender is an async context that is given an
`Aim` and gives `session(lane)`: one conversation, and whether it was complete. Sessions of a lane follow each other.

    python tests/bench/clients.py NAME

is a peer's process: it reads its aim (a line of JSON) from stdin, then numbers of sessions, and answers each with what
they took. What it does not need it does not import: garbage collection pays for every object that is there.
"""

import asyncio
import json
import os
import secrets
import shutil
import ssl
import sys
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import conftest  # noqa: F401 - run as a program, this file needs the folder of the tests on its path too
from support.realservers import started, stop

WELCOME = "connection_established"
PATIENCE = 10.0
"""Seconds that a contender gets to end by itself."""


@asynccontextmanager
async def at_once(folder, *, truth=False):
    """The reference backend, which answers without delay here."""
    from backend import reference  # noqa: PLC0415 - see the top

    async with reference(Path(folder), admission=(0.0, 0.0), reply=(0.0, 0.0), truth=truth) as server:
        os.utime(server.key_file, (0, 0))  # a file of just now is read for every token
        yield server


@dataclass(frozen=True)
class Aim:
    """What to talk to, `in_flight` sessions at a time. `token` is ready, `key_file` signs; `folder` is for files."""

    url: str
    ca_file: str
    token: str
    key_file: str
    folder: str
    in_flight: int

    @property
    def tls(self):
        return self.url.startswith("wss:")

    @property
    def headers(self):
        return {"Authorization": f"Bearer {self.token}"}

    def context(self):
        """A client's TLS context; None without TLS."""
        return ssl.create_default_context(cafile=self.ca_file) if self.tls else None


def is_welcome(message):
    return message.get("data", {}).get("event") == WELCOME


def is_ack(message, asked):
    return message["type"] == "ack" and message["received_type"] == asked


@asynccontextmanager
async def websockets(aim):
    """The client of `websockets`, as its manual shows it."""
    from websockets.asyncio.client import connect  # noqa: PLC0415 - see the top

    context = aim.context()
    options = {"compression": None, "proxy": None, "ping_interval": None}

    async def session(_lane):
        asked = f"ws_factory_exporter_{secrets.token_hex(8)}"
        async with connect(aim.url, ssl=context, additional_headers=aim.headers, **options) as socket:
            while not is_welcome(json.loads(await socket.recv())):
                pass
            await socket.send(json.dumps({"type": asked}))
            while not is_ack(json.loads(await socket.recv()), asked):
                pass
        return socket.close_code == 1000

    yield session


@asynccontextmanager
async def aiohttp(aim):
    """The client of `aiohttp`, as its manual shows it: one session object for all."""
    from aiohttp import ClientSession  # noqa: PLC0415 - see the top

    context = aim.context() or True
    async with ClientSession() as client:

        async def session(_lane):
            asked = f"ws_factory_exporter_{secrets.token_hex(8)}"
            async with client.ws_connect(aim.url, headers=aim.headers, ssl=context) as socket:
                while not is_welcome(await socket.receive_json()):
                    pass
                await socket.send_json({"type": asked})
                while not is_ack(await socket.receive_json(), asked):
                    pass
            return socket.close_code == 1000

        yield session


PEERS = {"websockets": websockets, "aiohttp": aiohttp}

# A contender's process ------------------------------------------------------------------------------------------------


async def spread(session, sessions, in_flight):
    """Run so many sessions, so many at a time; how many were complete."""

    async def lane(number):
        return sum([await session(number) for _ in range(number, sessions, in_flight)])

    return sum(await asyncio.gather(*map(lane, range(in_flight))))


async def taken(session, sessions, in_flight, cpu=time.process_time):
    """What the sessions take of `cpu()` and of the clock, in seconds."""
    began, spent = time.perf_counter(), cpu()
    completed = await spread(session, sessions, in_flight)
    spent, lasted = cpu() - spent, time.perf_counter() - began
    return {"sessions": sessions, "completed": completed, "cpu": spent, "wall": lasted}


async def serve(contender):
    """Be a contender's process, until stdin ends."""
    aim = Aim(**json.loads(sys.stdin.readline()))
    async with contender(aim) as session:
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await taken(session, int(line), aim.in_flight)), flush=True)


@asynccontextmanager
async def in_a_process(program, name, aim):
    """A contender in a fresh process: `run(sessions)` gives what they took. `program`: the file that serves `name`."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, program, name, stdin=pipe, stdout=pipe)

    async def run(sessions):
        process.stdin.write(f"{sessions}\n".encode())
        answer = await process.stdout.readline()
        assert answer, f"the process of {name} has ended"
        return json.loads(answer)

    try:
        process.stdin.write(f"{json.dumps(asdict(aim))}\n".encode())
        yield run
    finally:
        process.stdin.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), PATIENCE)
        await stop(process)


# blackbox_exporter ----------------------------------------------------------------------------------------------------

PROGRAMS = ("blackbox_exporter", "prometheus-blackbox-exporter")
ASKED = "ws_factory_exporter_bench"
ANSWERS = [200, 401, 404, 426]
"""What a WebSocket server may say to a plain GET: that it answers is all that is asked."""

EXCHANGES = {
    "websocket": "upgrade, welcome, ping and ack by regular expressions; no nonce, no closing handshake",
    "tcp": "TCP, the upgrade request, the status line of the 101; neither welcome nor reply nor close",
    "http": "one GET and its answer; no upgrade",
}
"""What its probers can do of our conversation. `websocket` is on its main branch only."""


def modules(aim):
    """Its modules by prober: settings, and the target as that prober wants it."""
    trust = {"tls_config": {"ca_file": aim.ca_file}} if aim.tls else {}
    authority, _, path = aim.url.partition("://")[2].partition("/")
    upgrade = {
        "Host": authority,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **aim.headers,
    }
    request = f"GET /{path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in upgrade.items())
    talk = [
        {"expect": WELCOME, "send": json.dumps({"type": ASKED})},
        {"expect": '"type": ?"ping"'},
        {"expect": f'"received_type": ?"{ASKED}"'},
    ]
    return {
        "websocket": ({"http_config": {"bearer_token": aim.token, **trust}, "query_response": talk}, aim.url),
        "tcp": (
            {"query_response": [{"send": f"{request}\r"}, {"expect": "^HTTP/1.1 101"}], "tls": aim.tls, **trust},
            authority,
        ),
        "http": ({"valid_status_codes": ANSWERS, **trust}, aim.url.replace("ws", "http", 1)),
    }


def binary(program):
    """The path of blackbox_exporter, by this path or name or on PATH; None if it is not at hand."""
    names = (program,) if program else PROGRAMS
    return next((path for path in map(shutil.which, names) if path), None)


async def probers(program, aim):
    """What this binary can do of our conversation: its WebSocket prober, or else the two that come nearest.

    Prober → (config file, target).
    """
    known = {}
    for prober, (settings, target) in modules(aim).items():
        config = Path(aim.folder) / f"blackbox-{prober}-{'tls' if aim.tls else 'plain'}.yml"
        module = {"prober": prober, "timeout": "5s", prober: settings}
        config.write_text(json.dumps({"modules": {prober: module}}))
        quiet = dict.fromkeys(("stdout", "stderr"), asyncio.subprocess.DEVNULL)
        check = await asyncio.create_subprocess_exec(program, f"--config.file={config}", "--config.check", **quiet)
        if await check.wait() == 0:
            known[prober] = config, target
    return {"websocket": known["websocket"]} if "websocket" in known else known


def cpu_seconds(pid):
    """CPU that a process has used, with all the threads it has and had; its clock is that of clock_getcpuclockid(3)."""
    return time.clock_gettime(~pid << 3 | 2)


@asynccontextmanager
async def blackbox(program, prober, config, target, aim):
    """blackbox_exporter, asked over HTTP as Prometheus asks it: `run(sessions)` gives what they took of *its* CPU."""
    from aiohttp import ClientSession  # noqa: PLC0415 - see the top

    def arguments(port):
        return [program, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]

    process, url = await started(arguments, "/-/healthy", Path(aim.folder) / "blackbox.log")
    try:
        async with ClientSession() as client:

            async def session(_lane):
                async with client.get(f"{url}/probe", params={"module": prober, "target": target}) as answer:
                    told = await answer.text()
                return "\nprobe_success 1" in told and "failed_due_to_regex 1" not in told

            async def run(sessions):
                return await taken(session, sessions, aim.in_flight, partial(cpu_seconds, process.pid))

            yield run
    finally:
        await stop(process)


if __name__ == "__main__":
    asyncio.run(serve(PEERS[sys.argv[1]]))
