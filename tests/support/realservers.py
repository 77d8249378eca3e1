"""Real servers of Debian for the tests: started on free loopback ports, with their own folders, and stopped.

A server that is not installed is a failure with a sentence, never a skip: what it proves would go unproved.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

from support.paths import ROOT

ENGINES = ROOT / ".engines"
"""What tests/engines/unpack.py unpacks."""

PATIENCE = 120.0
"""Seconds until a server must be up, or a condition be met."""

STEP = 0.05
TRIES = 5
GLANCE = 2.0
"""Seconds that one question whether a server is up may take: whoever took its port meanwhile may never answer."""


def binary(name, package):
    """The path of a program, or a failure that says what to install."""
    found = shutil.which(name)
    assert found, f"{name} is not installed: apt-get install {package}, or make packages"
    return found


def newer(name, suite):
    """The path of a program of a newer Debian than the machine's, unpacked beside it, or a failure that says how."""
    found = ENGINES / suite / "usr/bin" / name
    assert found.exists(), f"{found} is not there: {sys.executable} tests/engines/unpack.py, or make test"
    return str(found)


def free_port():
    """A loopback port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def get(url, patience=PATIENCE, *, any_status=False):
    """The body of a page as text, or None if nobody answers 200, or anything, within `patience` seconds."""

    def fetch():
        try:
            with urlopen(url, timeout=patience) as answer:
                return answer.read().decode()
        except HTTPError as answer:
            if any_status:
                return answer.read().decode()
            raise

    try:
        return await asyncio.to_thread(fetch)
    except (URLError, HTTPException, ConnectionError, TimeoutError):
        return None


async def answered(url, **headers):
    """Status and body of a page, whatever the status; it takes no thread: for clocks that jump, and for crowds."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "x", **headers}.items())
    writer.write(f"GET {url.partition(place.netloc)[2]} HTTP/1.0\r\n{lines}\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split(" ")[1]), body


async def until(ask, patience=PATIENCE, step=STEP):
    """What `ask()` (awaited every `step` seconds) gives as soon as it is true; fails after `patience` seconds."""
    async with asyncio.timeout(patience):
        while not (answer := await ask()):
            await asyncio.sleep(step)
        return answer


async def stop(process):
    """End a process we started, by force if it takes too long."""
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(10):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def started(arguments_for, ready_path, log, *, patience=PATIENCE, port=None, **options):
    """A process and its URL, once `ready_path` answers 200 within `patience` seconds.

    If it ends before, another port is tried, or `port` again. `arguments_for(port)`: the command line. What it writes
    goes to the file `log`. `options`: of the subprocess. `ready_path` None: any HTTP answer will do.
    """
    wanted = port
    for _ in range(TRIES):
        port = wanted or free_port()
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(*arguments_for(port), stdout=out, stderr=out, **options)
        url = f"http://127.0.0.1:{port}"

        async def up(process=process, url=url):
            if process.returncode is not None:
                return True
            return await get(url + (ready_path or "/"), GLANCE, any_status=ready_path is None) is not None

        try:
            await until(up, patience)
        except BaseException:
            await stop(process)
            if options.get("start_new_session"):  # what it started would stay
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            raise
        if process.returncode is None:
            return process, url
        await stop(process)
    raise AssertionError(f"does not start: {log.read_text()[-2000:]}")


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    async def query(self, expr):
        """The instant vector of an expression: a list of (labels, value)."""
        body = await get(f"{self.url}/api/v1/query?{urlencode({'query': expr})}")
        result = json.loads(body)["data"]["result"] if body else []
        return [(sample["metric"], float(sample["value"][1])) for sample in result]

    async def until(self, expr, patience=PATIENCE):
        """The vector of an expression as soon as it is not empty."""
        return await until(lambda: self.query(expr), patience)


@asynccontextmanager
async def prometheus(config_text, tmp_path, *flags, program=None):
    """Debian's Prometheus, or `program`, with this config and more flags, in `tmp_path`."""
    program = program or binary("prometheus", "prometheus")
    config = tmp_path / "prometheus.yml"
    config.write_text(config_text)

    def arguments(port):
        return [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
            *flags,
        ]

    process, url = await started(arguments, "/-/ready", tmp_path / "prometheus.log")
    try:
        yield Prometheus(url)
    finally:
        await stop(process)


@asynccontextmanager
async def victoria_metrics(folder):
    """Debian's newest VictoriaMetrics, without a scrape; `folder/scrape.yml` may name one later."""
    (folder / "scrape.yml").write_text("scrape_configs: []\n")

    def keeping(port):
        return [
            newer("victoria-metrics", "sid"),
            f"-storageDataPath={folder / 'data'}",
            f"-httpListenAddr=127.0.0.1:{port}",
            f"-promscrape.config={folder / 'scrape.yml'}",
            "-promscrape.configCheckInterval=1s",
            "-search.latencyOffset=0s",
            "-loggerLevel=WARN",
        ]

    process, url = await started(keeping, "/health", folder / "victoria-metrics.log")
    try:
        yield Prometheus(url)
    finally:
        await stop(process)


@asynccontextmanager
async def alertmanager(config_text, tmp_path, program=None):
    """Debian's Alertmanager, or `program`, with this config, in `tmp_path`, alone and without a cluster; its URL."""
    program = program or binary("prometheus-alertmanager", "prometheus-alertmanager")
    config = tmp_path / "alertmanager.yml"
    config.write_text(config_text)

    def arguments(port):
        return [
            program,
            f"--config.file={config}",
            f"--storage.path={tmp_path / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]

    process, url = await started(arguments, "/-/ready", tmp_path / "alertmanager.log")
    try:
        yield url
    finally:
        await stop(process)


NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  scgi_temp_path {folder}/scgi;
  uwsgi_temp_path {folder}/uwsgi;
  server {{
    listen 127.0.0.1:{port};
    location = /ready {{ return 200; }}
  }}
{http}
}}
"""
"""One process, without a master: what is stopped leaves no worker behind, and nothing changes its user."""


@dataclass(frozen=True)
class Nginx:
    """A running nginx. `ports`: those that its config asked for; `stop` ends it at once, as SIGTERM does."""

    ports: tuple[int, ...]
    process: asyncio.subprocess.Process

    async def stop(self):
        await stop(self.process)


@asynccontextmanager
async def nginx(http, tmp_path, *, ports=1):
    """Debian's nginx with `http(*ports)` in its http block, on that many free ports, in a folder of `tmp_path`."""
    program = binary("nginx", "nginx-light")
    folder = tmp_path / "nginx"
    folder.mkdir()
    chosen = []

    def arguments(port):
        chosen[:] = [free_port() for _ in range(ports)]
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, port=port, http=http(*chosen)))
        return [program, "-p", str(folder), "-e", "stderr", "-c", str(config)]

    process, _ = await started(arguments, "/ready", folder / "log")
    try:
        yield Nginx(tuple(chosen), process)
    finally:
        await stop(process)
