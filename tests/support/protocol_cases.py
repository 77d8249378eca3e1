"""Cases of tests/data/protocols.yml: one session with a built-in profile, through a relay that ends the server."""

import asyncio
from collections import ChainMap
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import yaml

from exporter.catalog import CATALOG
from exporter.config import Profile
from exporter.result import Probe
from support import harness
from support.paths import DATA

CASES = yaml.safe_load((DATA / "protocols.yml").read_text())
EXAMPLES = {
    name: Profile.model_validate(profile)
    for name, profile in yaml.safe_load((DATA / "protocol_examples.yml").read_text()).items()
}
PROFILES = ChainMap(EXAMPLES, CATALOG)
SUBPROTOCOLS = {"no subprotocol": [], "foreign subprotocol": ["junk"]}
WITHOUT_LOGIN = frozenset({"jsonrpc", "pusher", "ocpp16", "signalr"})
ENDS = frozenset({"stopped", "killed", "paused"})


def cases_of(servers):
    """(server, case) of each row about these servers."""
    return [(name, case) for name in servers for case in CASES[name]["cases"]]


def expected(name, case):
    """Verdicts, phase, reason, and close of a row."""
    return tuple(CASES[name]["cases"][case])


def seen(result):
    """The same of a session's result."""
    verdicts = "/".join(str(result.verdicts[probe].value) for probe in Probe)
    close = result.close and f"{result.close.code} {result.close.initiator.value}"
    return verdicts, result.phase and result.phase.value, result.reason and result.reason.value, close


def job(server, name, case, folder, url, **changes):
    """The job of a target of the case: its profile, and the login that the case is about; `changes` add fields."""
    word = CASES[name]["profile"]
    profile = PROFILES[word]
    if case in SUBPROTOCOLS:
        profile = profile.model_copy(update={"subprotocols": SUBPROTOCOLS[case]})
    login = {"refused": server.bad, "unknown user": server.unknown}.get(case, server.good)
    target = {
        "name": "real",
        "url": url.replace(server.good.subject, login.subject) if word == "pusher" else url,
        "profile": "own",
        "interval": "20s",
        "timeout": "6s" if case in {"paused", "no subprotocol"} else "10s",
        "close_timeout": "500ms" if case == "paused" else "2s",
    }
    if word not in WITHOUT_LOGIN and case != "no login":
        (folder / "secret").write_text(login.secret)
        file = str(folder / "secret")
        target["identities"] = {"pool-001": login.subject}
        target["auth"] = {"jwt": {"key_file": file}} if word == "centrifugo" else {"secret_file": file}
        target["auth"] |= {"carry": "header"} if profile.before is not None else {}
    return harness.planned(target | changes, profiles={"own": profile}).jobs[0]


async def outcome(servers, name, case, folder):
    """What one session says of a server of `servers` in this case, as `expected` has it."""
    async with servers[name](folder) as server:
        if case not in ENDS:
            return seen(await harness.Rig().run(job(server, name, case, folder, server.url)))
        let_in, drains = CASES[name]["let_in"].encode("latin-1"), case == "stopped" and expected(name, case)[1] is None
        async with relayed(server, let_in, case, drains=drains) as url:
            return seen(await harness.Rig().run(job(server, name, case, folder, url)))


@asynccontextmanager
async def relayed(server, let_in, case, *, drains):
    """The URL of a relay to the server: as soon as the server's bytes hold `let_in`, it does what the case says.

    Those bytes are passed on once the server has said goodbye or is gone, unless it `drains`: answers its clients until
    they leave. What the session sends next therefore meets a server that has been told.
    """
    place, ended = urlsplit(server.url), asyncio.Event()

    async def passes_on(reader, writer):
        there, back = await asyncio.open_connection(place.hostname, place.port)
        upwards = asyncio.create_task(_copy(reader, back))
        try:
            while data := await there.read(65_536):
                if let_in in data and not ended.is_set():
                    ended.set()
                    data += await _end(server, case, there, drains=drains)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            upwards.cancel()
            for stream in (writer, back):
                stream.close()

    relay = await asyncio.start_server(passes_on, "127.0.0.1", 0)
    try:
        yield server.url.replace(str(place.port), str(relay.sockets[0].getsockname()[1]), 1)
        assert ended.is_set(), "the server has not said what shows that we are in"
    finally:
        relay.close()


async def _copy(reader, writer):
    while data := await reader.read(65_536):
        writer.write(data)
    writer.write_eof()


async def _end(server, case, reader, *, drains):
    """End the server, and return what it said before it was gone."""
    if case == "paused":
        await server.pause()
        return b""
    (server.kill if case == "killed" else server.stop)()
    try:
        return b"" if drains else await reader.read(65_536)
    except ConnectionError:
        return b""
