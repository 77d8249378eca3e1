"""systemd: socket activation and notifications, by its own tools and over real sockets."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys

import pytest
import yaml
from support import harness, realservers
from support.commands import command

from exporter.host import SystemdNotifier

PATIENCE = 30.0


def write(folder):
    """A config whose only target is never there."""
    target = {"name": "staging", "url": "ws://127.0.0.1:1/ws", "profile": "echo"}
    file = folder / "exporter.yml"
    file.write_text(yaml.safe_dump({"targets": [target]}))
    return file


# Sockets ------------------------------------------------------------------------------------------------------------


async def ready(reach):
    """What a request for readiness gets, over a connection that `reach()` makes; None while nobody answers."""
    answer = b""
    with contextlib.suppress(OSError):
        reader, writer = await reach()
        writer.write(b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
    return answer.decode() or None


@contextlib.asynccontextmanager
async def activated(folder, *listen, flags=("--web.systemd-socket",)):
    """`run`, started by systemd's own tool at the first connection to one of its sockets; what it says, by pipe."""
    words = [realservers.binary("systemd-socket-activate", "systemd"), *(f"--listen={where}" for where in listen)]
    program = [sys.executable, "-m", "exporter", "run", f"--config.file={write(folder)}", "--startup.delay=1h", *flags]
    process = await asyncio.create_subprocess_exec(
        *words, *program, stderr=asyncio.subprocess.PIPE, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    try:
        yield process
    finally:
        await realservers.stop(process)


async def test_sockets_of_systemd_are_served(tmp_path):
    """A TCP and a Unix socket, opened by systemd before we were there: the first connection is answered, as others."""
    port, path = realservers.free_port(), tmp_path / "web.sock"
    async with activated(tmp_path, f"127.0.0.1:{port}", str(path)) as process:
        reaches = (lambda: asyncio.open_connection("127.0.0.1", port), lambda: asyncio.open_unix_connection(path))
        for reach in reaches:
            answer = await realservers.until(lambda reach=reach: ready(reach))
            assert answer.startswith("HTTP/1.1 200")
        async with asyncio.timeout(PATIENCE):
            while b"msg=listening" not in (line := await process.stderr.readline()):
                assert line
        assert f"url=http://127.0.0.1:{port}" in line.decode()
    assert path.is_socket(), "it is systemd's: it stays for the next start"


SCRIPT = """
import os, socket, json
from exporter.host import NoListenFdsError, listen_fds
os.environ["LISTEN_PID"] = {pid}
{more}
outcomes = []
for _ in range(2):
    try:
        outcomes.append([[sock.getsockname()[1], sock.get_inheritable()] for sock in listen_fds()])
    except NoListenFdsError as error:
        outcomes.append(str(error))
print(json.dumps([outcomes, sorted(name for name in os.environ if name.startswith("LISTEN"))]))
"""
MINE = "str(os.getpid())"
NONE = "systemd has passed no socket: start the exporter by a socket unit, or omit the flag"
NO_STREAM = "descriptor 3 is no listening stream socket: use ListenStream="


def call_listen_fds(more="", pid=MINE, sock=None):
    """Call `listen_fds` twice in a process: both outcomes, and the variables that are left."""
    script = SCRIPT.format(pid=pid, more=more)
    if sock is not None:
        script = f"import os; os.dup2({sock.fileno()}, 3)\n" + script
    passed = () if sock is None else (sock.fileno(),)
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, pass_fds=passed
    )
    return json.loads(process.stdout)


def test_listen_fds_returns_the_sockets_once():
    """The first call removes the variables, and no child inherits a socket."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        outcomes = call_listen_fds('os.environ["LISTEN_FDS"] = "1"\nos.environ["LISTEN_FDNAMES"] = "web"', sock=sock)
    assert outcomes == [[[[port, False]], NONE], []]


@pytest.mark.parametrize("count", ["", "0", "-1", "x"])
def test_listen_fds_without_sockets_is_an_error(count):
    """LISTEN_FDS is missing, zero or no number, or LISTEN_PID is another process."""
    assert call_listen_fds(f'os.environ["LISTEN_FDS"] = "{count}"')[0] == [NONE, NONE]
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert call_listen_fds('os.environ["LISTEN_FDS"] = "1"', pid="'1'", sock=sock)[0] == [NONE, NONE]


def test_a_descriptor_that_is_no_listening_stream_socket_is_refused():
    """The error names the descriptor of a datagram socket, of a socket that does not listen, and of a file."""
    one = 'os.environ["LISTEN_FDS"] = "1"'
    with socket.socket(type=socket.SOCK_DGRAM) as datagram, socket.socket() as silent, open(os.devnull) as file:  # noqa: PTH123
        assert [call_listen_fds(one, sock=found)[0][0] for found in (datagram, silent, file)] == [NO_STREAM] * 3


async def test_the_flag_without_systemd_is_an_error(tmp_path):
    """The exit code is 1 and the error names the flag; together with an address as well."""
    config = f"--config.file={write(tmp_path)}"
    async with command("run", config, "--web.systemd-socket") as alone:
        assert await alone.ended() == 1
        assert alone.err[-1] == f"ws-factory-exporter: --web.systemd-socket: {NONE}"
    async with command("run", config, "--web.systemd-socket", "--web.listen-address=:0") as beside:
        assert await beside.ended() == 1
        assert "--web.systemd-socket: not together with --web.listen-address" in beside.err[-1]


# Notifications --------------------------------------------------------------------------------------------------------


class Manager:
    """Systemd's end of the notification socket."""

    def __init__(self, address):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address)
        self.sock.setblocking(False)

    async def received(self, field):
        """The fields of the next message that has this one."""
        async with asyncio.timeout(PATIENCE):
            while True:
                fields = (await asyncio.get_running_loop().sock_recv(self.sock, 4096)).decode().split("\n")
                if field in fields:
                    return fields


@pytest.fixture
def manager(tmp_path):
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.sock.close()


async def test_systemd_receives_ready_watchdog_and_stopping(manager, tmp_path):
    """READY=1 and a STATUS once it listens, WATCHDOG=1 while it is healthy, STOPPING=1 at the end."""
    config = f"--config.file={write(tmp_path)}"
    flags = (config, "--web.listen-address=127.0.0.1:0", "--startup.delay=1h")
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    async with command("run", *flags, **environment) as running:
        fields = await manager.received("READY=1")
        (listening,) = await running.said("msg=listening")
        assert fields[1].startswith("STATUS=1 target, listening on http://127.0.0.1:")
        assert fields[1].rsplit(" ", 1)[1] in listening
        for _ in range(3):
            await manager.received("WATCHDOG=1")
        running.process.terminate()
        await manager.received("STOPPING=1")
        assert await running.ended() == 0


async def test_systemd_receives_the_outcome_of_a_reload(manager, tmp_path):
    """`systemctl reload` never fails, so STATUS= says how many targets there are, or that the file is refused."""
    file = write(tmp_path)
    flags = (f"--config.file={file}", "--web.listen-address=127.0.0.1:0", "--startup.delay=1h")
    async with command("run", *flags, NOTIFY_SOCKET=str(tmp_path / "notify")) as running:
        where = (await manager.received("READY=1"))[1].removeprefix("STATUS=1 target, ")
        good = yaml.safe_load(file.read_text())
        file.write_text("targets: 1")
        running.process.send_signal(signal.SIGHUP)
        await manager.received(f"STATUS=1 target, {where}; the config is not reloaded, the one before stays in force")
        file.write_text(yaml.safe_dump({"targets": [*good["targets"], {**good["targets"][0], "name": "second"}]}))
        running.process.send_signal(signal.SIGHUP)
        await manager.received(f"STATUS=2 targets, {where}")


async def test_an_abstract_notify_socket_is_used():
    """A NOTIFY_SOCKET that begins with `@` is an abstract socket."""
    name = f"ws-factory-exporter-{os.getpid()}"
    manager = Manager(f"\0{name}")
    await SystemdNotifier({"NOTIFY_SOCKET": f"@{name}"}).notify("READY=1", "STATUS=x")
    assert await manager.received("READY=1") == ["READY=1", "STATUS=x"]
    manager.sock.close()


async def test_an_unhealthy_process_sends_no_watchdog(manager, tmp_path):
    """WATCHDOG=1 is sent only while the process is healthy; otherwise systemd restarts it."""
    checks = 0

    def is_healthy():
        nonlocal checks
        checks += 1
        return checks == 4

    notifier = SystemdNotifier(
        {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000", "WATCHDOG_PID": ""}
    )
    watchdog = asyncio.create_task(notifier.run_watchdog(is_healthy))
    await manager.received("WATCHDOG=1")
    assert checks == 4
    await harness.until(lambda: checks > 6, PATIENCE)
    with pytest.raises(BlockingIOError):
        manager.sock.recv(4096)
    watchdog.cancel()
    await asyncio.gather(watchdog, return_exceptions=True)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "x" * 500},
        {"NOTIFY_SOCKET": "a\0b"},
    ],
    ids=str,
)
async def test_without_systemd_nothing_is_sent_and_nothing_fails(environment):
    """Without a socket, or with another process's watchdog, the notifier returns at once and raises nothing."""
    notifier = SystemdNotifier(environment)
    async with asyncio.timeout(PATIENCE):
        await notifier.notify("READY=1")
        await notifier.run_watchdog(lambda: True)


async def test_a_systemd_that_does_not_read_delays_nothing(monkeypatch, tmp_path):
    """A notification to a full socket is given up after `NOTIFY_TIMEOUT_SECONDS`."""
    monkeypatch.setattr("exporter.host.systemd.NOTIFY_TIMEOUT_SECONDS", 0.2)
    manager = Manager(str(tmp_path / "notify"))
    notifier = SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(notifier.notify("STATUS=" + "x" * 2000) for _ in range(300)))
    manager.sock.close()
