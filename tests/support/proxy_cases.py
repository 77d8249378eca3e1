"""Cells of tests/data/layers/proxies.yml: one session through real proxies, and what it says of who is at fault.

A cell is a row of the file: proxy, setup, case. The row was written down before the cell was run.
"""

import asyncio
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import yaml

from exporter.config import Profile
from exporter.result import Result
from support import certificates, harness
from support.backend_jobs import ECHO
from support.backend_servers import BUILT, HERE, built
from support.other_upstreams import OTHERS
from support.paths import DATA
from support.proxies import VERSIONS, proxy, versions
from support.proxy_upstreams import REAL, upstreams
from support.realservers import get, started, stop, until

CELLS = yaml.safe_load((DATA / "layers/proxies.yml").read_text())

UPSTREAM_SECONDS = 1
"""Seconds that the proxies wait for an upstream, instead of their default of 15 to 900."""
LONG, SHORT = "14s", "6s"
"""Timeouts of a session: above the ten seconds in which Traefik stops, and for a session that is left alone."""


@dataclass(frozen=True)
class Case:
    """What a session asks for.

    header_bytes: length of a long value in its request, such as a token
    message_bytes: length of a long value in its message, which the server sends back
    """

    path: str
    timeout: str = LONG
    header_bytes: int = 0
    message_bytes: int = 0

    @property
    def profile(self):
        """That of an echo, with a message of this size."""
        send = ECHO["send"] | {"message": ECHO["send"]["message"] | {"rest": "x" * self.message_bytes}}
        return Profile.model_validate({"send": send} if self.message_bytes else ECHO)


CLOCK_SLACK_SECONDS = 0.1
"""A proxy counts from the moment it took the request, and rounds."""

STATUSES = (401, 403, 404, 500, 502, 503, 504)
CASES = {
    "healthy": Case("raw/ws"),
    "port closed": Case("closed/ws"),
    "hangs": Case("raw/hang"),
    "hangs longer than we wait": Case("raw/hang", SHORT),
    "cuts": Case("raw/cut"),
    "dies": Case("raw/dies"),
    "resets": Case("raw/resets"),
    "TLS alert": Case("tls/ws"),
    "backlog full": Case("full/ws"),
    "backlog full, and we wait": Case("full/ws", "24s"),
    "interim 103": Case("raw/interim"),
    "interim 103, and we wait less": Case("raw/interim", SHORT),
    "interim 103 and 101 at once": Case("raw/interim-at-once"),
    **{f"close before accept of {name}": Case(f"{name}/closed") for name in ("uvicorn", "hypercorn")},
    "wrong accept": Case("raw/wrong-accept"),
    "idle": Case("raw/silent"),
    "idle, and left alone": Case("raw/silent", SHORT),
    "no route": Case("nowhere/ws"),
    **{f"{name}": Case(f"{name}/ws") for name in (*REAL, *OTHERS)},
    **{f"{status} of {name}": Case(f"{name}/status/{status}") for name in (*REAL, *OTHERS) for status in STATUSES},
    **{f"{size} KB of header": Case("aiohttp/ws", header_bytes=size * 1024) for size in (4, 9, 18, 30, 70)},
    **{f"{size} bytes of message": Case("aiohttp/ws", message_bytes=size) for size in (1440, 16384, 65536)},
}
SETUPS = {
    "plain": {},
    "tls": {"certificate": True},
    "ipv6": {"host": "[::1]", "upstream_host": "[::1]"},
    "default timeouts": {"timeout": None},
    "no upgrades": {"passes_upgrades": False},
    "no upgrade header": {"mistake": "no upgrade header"},
    "websocket in capitals": {"mistake": "websocket in capitals"},
    "no allow_connect": {"mistake": "no allow_connect"},
    "http/2 too": {"certificate": True, "alpn": ("h2", "http/1.1")},
    "http/2 alone": {"certificate": True, "alpn": ("h2",)},
}
"""Other fields of `proxy_configs.Setup`."""


@dataclass(frozen=True)
class Site:
    """A folder for proxies that change their user, and the authority of their certificate."""

    folder: object
    certificate: object = field(init=False)
    ca_file: object = field(init=False)

    def __post_init__(self):
        authority = certificates.authority()
        for name, content in {"certificate": authority.issue("localhost"), "ca_file": authority.pem}.items():
            path = self.folder / f"{name}.pem"
            path.write_bytes(content)
            object.__setattr__(self, name, path)

    def options(self, setup):
        """The fields of `proxy_configs.Setup` that a setup of this name changes."""
        options = {"timeout": UPSTREAM_SECONDS} | SETUPS[setup]
        return options | ({"certificate": self.certificate} if "certificate" in options else {})

    async def session(self, running, case):
        """One session's result."""
        tls = running.setup.certificate is not None
        address = f"localhost:{running.setup.port}" if tls else running.address
        target = {
            "name": "real",
            "url": f"{'wss' if tls else 'ws'}://{address}/{case.path}",
            "address": running.setup.host.strip("[]"),
            "profile": "own",
            "interval": "20s",
            "timeout": case.timeout,
        }
        if tls:
            target["tls"] = {"ca_file": str(self.ca_file)}
        if case.header_bytes:
            target["headers"] = {"X-Long": "x" * case.header_bytes}
        return await harness.Rig().run(harness.planned(target, profiles={"own": case.profile}).jobs[0])


def seen(result):
    """What a result says, as a row has it."""
    words = [result.phase, result.reason] if result.phase else ["pass"]
    words += [word for word in (result.http_status, result.handshake) if word is not None]
    words += [result.close.code, result.close.initiator] if result.close else []
    return {
        "says": " ".join(str(getattr(word, "value", word)) for word in words),
        "by": _word(result.answered_by),
        "via": sorted(software.value for software in result.via),
        "interim": result.interim_status,
        "ending": _word(result.ending),
    }


def _word(member):
    return member and member.value


def differences(row, result):
    """What differs between a row and a session's result; `ending` is compared if the row has one.

    A busy machine is late, so only the least seconds are compared here.
    """
    expected = {"by": None, "via": [], "interim": None, **row}
    expected["via"] = sorted(expected["via"])
    found = seen(result)
    names = ["says", "by", "via", "interim", *(["ending"] if "ending" in row else [])]
    wrong = [f"{name}: {expected[name]} became {found[name]}" for name in names if expected[name] != found[name]]
    least, _ = row.get("after", (0, None))
    after = result.refused_after
    if least and (after is None or after < least - CLOCK_SLACK_SECONDS):
        wrong.append(f"after: at least {least} s became {after}")
    return wrong


class Outcome(NamedTuple):
    """One cell that was run: its name as (proxy or chain, setup, case), its row, and the session's result."""

    name: tuple[str, str, str]
    row: dict
    result: Result

    def columns(self):
        """The cell as a line of a table."""
        found = seen(self.result)
        texts = (found["says"], found["by"], " ".join(found["via"]), found["interim"], found["ending"])
        return (*self.name, *texts, self.result.refused_after, self.row.get("layer"))


async def changes(outcomes):
    """Sentences about the cells that a session sees otherwise than their rows say, with the versions of the proxies."""
    return [
        f"{', '.join(outcome.name)}: {'; '.join(wrong)} ({await versions(proxies_of(outcome.name[0]))})"
        for outcome in outcomes
        if (wrong := differences(outcome.row, outcome.result))
    ]


def proxies_of(chain):
    """The proxies of a chain such as `envoy > uvicorn`."""
    return [name for name in chain.split(" > ") if name in VERSIONS]


def rows_of(names):
    """(proxy, setup) of all cells of these proxies."""
    return [(name, setup) for name in names for setup in CELLS["one proxy"][name]]


@contextmanager
def open_folder():
    """A folder that a proxy may enter after it has changed its user: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="proxies-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@asynccontextmanager
async def _upstreams_of(cases, folder, host="127.0.0.1"):
    """The upstreams that these cases need, running."""
    needed = {CASES[case].path.partition("/")[0] for case in cases}
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(upstreams(folder, sorted(needed & REAL.keys()), host=host))
        for name in sorted(needed & OTHERS.keys()):
            running.routes[name] = await stack.enter_async_context(OTHERS[name](folder))
        yield running


async def cells_of_proxy(kinds, name, setup, folder):
    """Outcomes of the cells of a proxy in this setup; all run at once."""
    site, rows = Site(folder), CELLS["one proxy"][name][setup]
    options = site.options(setup)
    async with _upstreams_of(rows, folder, options.get("upstream_host", "127.0.0.1").strip("[]")) as running:
        results = await _sessions(kinds[name], site, running, list(rows), options)
    return [Outcome((name, setup, case), rows[case], result) for case, result in zip(rows, results, strict=True)]


async def _sessions(kind, site, running, cases, options):
    """The results of the cases through one proxy, or through one for each upstream where it knows no routes."""
    if not kind.has_routes and len(cases) > 1:
        return [result for case in cases for result in await _sessions(kind, site, running, [case], options)]
    routes = running.routes
    if not kind.has_routes:
        prefix = CASES[cases[0]].path.partition("/")[0]
        routes = {prefix: running.routes[prefix]}
    async with proxy(kind, site.folder / f"proxy {cases[0]}".replace(" ", "-"), routes, **options) as front:
        return await asyncio.gather(*(site.session(front, CASES[case]) for case in cases))


# How a session in progress ends when its proxy does -----------------------------------------------------------------


def ends_of(names):
    """(proxy, setup) of all ends of these proxies."""
    return [(name, setup) for name in names for setup in CELLS["ends"][name]]


ENDS = {
    "reloaded": lambda front: front.reload(),
    "stopped gracefully": lambda front: front.stop_gracefully(),
    "stopped": lambda front: front.terminate(),
    "killed": lambda front: front.kill(),
}


async def cells_of_ends(kinds, name, setup, folder):
    """Outcomes of a session in progress at each end of a proxy in this setup; all run at once."""
    site, rows = Site(folder), CELLS["ends"][name][setup]
    async with upstreams(folder, []) as running:
        ends = (_end(kinds[name], site, setup, running, (how, row)) for how, row in rows.items())
        results = await asyncio.gather(*ends)
    return [Outcome((name, setup, how), rows[how], result) for how, result in zip(rows, results, strict=True)]


async def _end(kind, site, setup, running, cell):
    """What a session says whose proxy this happens to once the upstream has its message, and has not answered it."""
    how, row = cell
    options = {**site.options(setup), "timeout": None}
    path = f"raw/silent?{how.replace(' ', '-')}"
    case = Case(path, SHORT if row["says"].startswith("reply timeout") else LONG)
    routes = running.routes if kind.has_routes else {"raw": running.routes["raw"]}
    async with proxy(kind, site.folder / path.rpartition("?")[2], routes, **options) as front:
        session = asyncio.create_task(site.session(front, case))
        await running.heard(path)
        await ENDS[how](front)
        return await session


# Cells that only `make layers` runs ---------------------------------------------------------------------------------

SECTIONS = ("idle", "messages", "http/2")


def others_of(names):
    """(section, proxy, setup) of the other sections' cells of these proxies."""
    return [(part, name, setup) for part in SECTIONS for name in names for setup in CELLS[part].get(name, ())]


async def cells_of_section(kinds, section, name, setup, folder):
    """Outcomes of the cells of another section than `one proxy`; all run at once."""
    site, rows = Site(folder), CELLS[section][name][setup]
    options = {**site.options(setup), "idle": UPSTREAM_SECONDS}
    async with upstreams(folder, ["aiohttp"]) as running:
        results = await _sessions(kinds[name], site, running, list(rows), options)
    return [Outcome((name, setup, case), rows[case], result) for case, result in zip(rows, results, strict=True)]


# Two proxies in a row -----------------------------------------------------------------------------------------------


async def cells_of_chain(kinds, chain, folder):
    """Outcomes of the cells of a chain such as `nginx > envoy`, of which the first has the clients."""
    site, rows = Site(folder), CELLS["chains"][chain]
    first, second = chain.split(" > ")
    async with (
        upstreams(folder, ["aiohttp"]) as running,
        proxy(kinds[second], folder / "second", running.routes, timeout=UPSTREAM_SECONDS) as back,
        proxy(kinds[first], folder / "first", dict.fromkeys(running.routes, back.setup.port)) as front,
    ):
        standing = {case: row for case, row in rows.items() if case in CASES}
        results = dict(
            zip(standing, await asyncio.gather(*(site.session(front, CASES[case]) for case in standing)), strict=True)
        )
        await back.stop()
        results["second stopped"] = await site.session(front, CASES["healthy"])
    return [Outcome((chain, "plain", case), row, results[case]) for case, row in rows.items()]


# HTTP/2 behind the proxy ---------------------------------------------------------------------------------------------


async def cells_of_http2(kinds, chain, folder):
    """Outcomes of the cells of `envoy > nginx`, `envoy > envoy, no upgrades` or `envoy > uvicorn`, a proxy or a server.

    The first has clients of HTTP/1.1, and speaks HTTP/2 without negotiation to what is behind it.
    """
    site, rows = Site(folder), CELLS["http/2 behind"][chain]
    names, _, setup = chain.partition(", ")
    first, second = names.split(" > ")
    async with AsyncExitStack() as stack:
        routes = (await stack.enter_async_context(_upstreams_of(rows, folder))).routes
        if second in kinds:
            options = {**site.options(setup or "plain"), "takes_http2": True}
            back = await stack.enter_async_context(proxy(kinds[second], folder / "second", routes, **options))
            routes = dict.fromkeys(routes, back.setup.port)
        front = await stack.enter_async_context(proxy(kinds[first], folder / "first", routes, asks_http2=True))
        results = await asyncio.gather(*(site.session(front, CASES[case]) for case in rows))
    return [Outcome((names, setup or "plain", case), rows[case], one) for case, one in zip(rows, results, strict=True)]


# A real server behind all of them that is killed --------------------------------------------------------------------


async def cells_of_kill(kinds, folder):
    """Outcomes of sessions in progress, one through each proxy, whose one server is killed."""
    site, rows = Site(folder), {name: row for name, row in CELLS["server killed"].items() if name in kinds}
    process, url = await started(
        lambda port: [built(BUILT / "python/bin/python"), str(HERE / "statuses_app.py"), str(port)],
        "/ready",
        folder / "server.log",
    )
    routes = {"uvicorn": urlsplit(url).port}
    try:
        async with AsyncExitStack() as stack:
            fronts = [await stack.enter_async_context(proxy(kinds[name], folder / name, routes)) for name in rows]
            sessions = [asyncio.create_task(site.session(front, Case("uvicorn/silent"))) for front in fronts]

            async def all_have_spoken():
                return await get(f"{url}/silenced") == str(len(rows))

            await until(all_have_spoken)
            process.kill()
            results = await asyncio.gather(*sessions)
    finally:
        await stop(process)
    return [Outcome((name, "plain", "server killed"), rows[name], one) for name, one in zip(rows, results, strict=True)]
