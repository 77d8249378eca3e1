"""Cells of layers, server × event: what one session of the exporter sees there, beside what was written down before."""

import asyncio
import time
from typing import NamedTuple
from urllib.parse import urlsplit

import yaml

from exporter.catalog import CATALOG
from exporter.result import Direction, Initiator, Opcode, Phase, Probe
from support import harness
from support.paths import DATA
from support.realservers import answered
from support.standin_clients import Peer

SERVER_CELLS = yaml.safe_load((DATA / "layers_servers.yml").read_text())
MESSAGE = {"event": "say", "id": "${nonce}"}
"""Nest routes by `event`."""
QUESTION = {"send": {"message": MESSAGE, "match": {"id": "${nonce}"}}}
TOO_BIG = {"send": {"message": {**MESSAGE, "rest": "x" * 2000}, "match": {"id": "${nonce}"}}}

OWN_START = frozenset({"stopped", "killed", "recycled", "worker-killed", "no-pongs", "quiet"})
"""Cases that end a server or need other options: each starts one of its own."""

MODES = {"recycled": "recycled", "worker-killed": "workers", "no-pongs": "pings", "quiet": "quiet"}
PATHS = {"too-big": "silent"}

HELD = 8.0
"""Seconds without a word after which a raw client takes a connection for one that stays open."""

BUSY = 10.0
"""Seconds by which a busy machine may be late."""

EARLY = 0.3
"""Seconds by which an end can seem too early: a session starts its clock after ours."""

WAITS = (1.5, 6.0, 20.0)
"""Seconds that a session waits for what never comes; longer again if machine or server were too late for that."""

PATIENCE = 30.0
"""Seconds that a session waits for what does come."""

FIELDS = ("verdicts", "failure", "status", "close", "ending", "answered_by")


class Cell(NamedTuple):
    """A row of layers_servers.yml, with the server that its answer names."""

    verdicts: str | None
    failure: str | None
    status: int | None
    close: str | None
    ending: str | None
    after: tuple[float, float] | None
    layer: str | None
    answered_by: str | None


def cell_of(name, case):
    """What was written down of a server and a case."""
    server = SERVER_CELLS[name]
    verdicts, failure, status, close, ending, after, layer = server["cases"][case]
    is_refused = status is not None and failure.startswith("upgrade")
    answers = set() if failure == "upgrade reset" else {status, "refusals"} if is_refused else {101}
    by = server["software"] if answers & set(server["names"]) else None
    return Cell(verdicts, failure, status, close, ending, after and tuple(after), layer, by)


async def shared_outcomes(name, kind, folder):
    """Case → what is seen of it, of all that one running server serves side by side."""
    cases = [case for case in SERVER_CELLS[name]["cases"] if case not in OWN_START | kind.fatal]
    async with kind.running(folder) as server:
        return dict(zip(cases, await asyncio.gather(*(session(server, name, case) for case in cases)), strict=True))


def own_cases(name, kind):
    """Cases that need a server of their own."""
    return [case for case in SERVER_CELLS[name]["cases"] if case in OWN_START | kind.fatal]


def differences(name, case, seen, late=BUSY):
    """Sentences about what differs from the row; `seen`: a `Cell` whose `after` is one figure. `late`: see `BUSY`."""
    cell, version = cell_of(name, case), SERVER_CELLS[name]["version"]
    least, most = cell.after or (0.0, 0.5)
    told = [
        f"{version}, {case}: {field} is {getattr(seen, field)!r}, and was {getattr(cell, field)!r}"
        for field in FIELDS
        if getattr(cell, field) not in ("any", getattr(seen, field))
    ]
    if seen.after is not None and not least - EARLY <= seen.after <= most + late:
        told.append(f"{version}, {case}: after {seen.after:.2f} s, and was after {least} to {most} s")
    return told


async def outcome(name, case, kind, folder):
    """What is seen of a case that needs a server of its own, as a `Cell`."""
    async with kind.running(folder, MODES.get(case, "")) as server:
        if case in ("no-pongs", "quiet"):
            return await _without_a_word(server, name, case)
        if case not in OWN_START:
            return await session(server, name, case)
        running = asyncio.create_task(session(server, name, case, at := []))
        await server.has_our_message()
        at.append(time.monotonic())
        await ENDS[case](server, running)
        return await running


async def _stopped(server, _):
    server.stop()


async def _killed(server, _):
    server.kill()


async def _worker_killed(server, _):
    server.kill_workers()


async def _recycled(server, running):
    """Requests until the session is over: a worker is recycled after so many."""
    while not running.done():
        try:
            await answered(server.url.replace("ws", "http", 1) + "/ready")
        except (OSError, ValueError, IndexError):
            return


ENDS = {"stopped": _stopped, "killed": _killed, "recycled": _recycled, "worker-killed": _worker_killed}


async def session(server, name, case, event_at=()):
    """What one session sees of this case, as a `Cell`. `event_at[0]`: when something was done to the server."""
    expected = cell_of(name, case).failure
    waits = (expected or "").endswith("timeout")
    profile = TOO_BIG if case == "too-big" else QUESTION
    for seconds in WAITS if waits else (PATIENCE,):
        job = harness.planned(_target(server, case, seconds), built_in=CATALOG, profiles={"own": profile}).jobs[0]
        begun = time.monotonic()
        result = await harness.Rig().run(job)
        over = time.monotonic() - begun
        if not result.void and _failure(result) == expected:
            break
    end = _end_of(result, over)
    since = event_at[0] - begun if event_at else _last_of_ours(result, end)
    return Cell(
        "/".join(str(result.verdicts[probe].value) for probe in Probe),
        _failure(result),
        result.http_status or result.stream_status,
        result.close and f"{int(result.close.code)} {result.close.initiator.value}",
        result.ending and result.ending.value,
        None if waits or not result.failed else end - since,
        None,
        result.answered_by and result.answered_by.value,
    )


def _failure(result):
    return result.phase and f"{result.phase.value} {result.reason.value}"


def _target(server, case, seconds):
    path = "silent" if case in OWN_START else PATHS.get(case, case)
    secret = server.log.with_name("secret")
    secret.write_text("good")
    return {
        "name": "real",
        "url": server.url_of(path),
        "profile": server.kind.profile or "own",
        "interval": "60s",
        "timeout": f"{seconds * 1000:.0f}ms",
        "close_timeout": "3s",
        "identities": {"pool-001": "probe"},
        "auth": {"secret_file": str(secret)},
    }


def _last_of_ours(result, end):
    """Seconds from the start to our last message before the end; to our request, if there was none."""
    ours = [frame for frame in result.transcript if frame.direction is Direction.OUT and frame.opcode is Opcode.TEXT]
    sent = [frame.at for frame in ours if frame.at <= end]
    return sent[-1] if sent else sum(result.phases.get(phase, 0.0) for phase in (Phase.RESOLVE, Phase.TCP))


def _end_of(result, over):
    """Seconds from the start to the server's close frame, its refusal or the loss of the connection; at most `over`."""
    closed = result.close and result.close.initiator is Initiator.REMOTE
    came = [f.at for f in result.transcript if f.direction is Direction.IN and f.opcode is Opcode.CLOSE and closed]
    return came[0] if came else over if result.refused_after is None else result.refused_after


async def _without_a_word(server, name, case):
    """How a connection ends whose client says nothing; only a close code and a time can be seen there."""
    place = urlsplit(server.url)
    peer = Peer(*await asyncio.open_connection(place.hostname, place.port))
    assert await peer.upgrade(f"{place.path}/silent") == "101", peer.head
    begun, ended, close, kind = time.monotonic(), 0.0, None, None
    while kind not in ("eof", "reset", "silence"):
        kind, value = await peer.frame(HELD)
        if close is None:
            ended = time.monotonic() - begun
        close = close or (f"{value.split(' ')[0]} remote" if kind == "close" else None)
    await peer.close()
    ending = {"eof": "fin", "reset": "reset"}.get(kind)
    by = cell_of(name, case).answered_by
    return Cell(None, None, None, close or (ending and "1006 none"), ending, ended, None, by)
