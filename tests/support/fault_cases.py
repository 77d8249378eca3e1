"""The whole fault table through the whole way of a session: each fault once, many sessions at a time.

Every session has a stand-in, a ledger and a key of its own, so that none teaches the others anything.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass

import yaml

from exporter.host import Clock
from exporter.plan import Job
from exporter.result import Probe, Result
from exporter.standin import StandIn, Timings, parse
from exporter.standin.connection_record import ConnectionRecord
from exporter.state import LedgerFile
from support import harness
from support.paths import DATA

ROWS = yaml.safe_load((DATA / "faults.yml").read_text(encoding="utf-8"))
LISTENER_WIDE = ("refuse", "tls_", "not_tls")
AT_ONCE = 8
TIMEOUT = 1.0


SHORT = {"http:status=429": "http:status=429,retry_after=0", "rate_limit_close": "rate_limit_close:retry_after=0"}
"""A 429 rests the host for as long as it says: here for no time, or nothing would be left to probe."""


@dataclass(frozen=True)
class Met:
    """What came of a row: its sessions' results, what the ledger rests then, what the stand-in saw, as whom."""

    name: str
    job: Job
    results: list[Result]
    rests: dict[str, bool]
    sessions: list[ConnectionRecord]
    key: bytes
    subject: str


class Later:
    """A wall clock that can be put forward, so that sessions lie seconds apart without waiting."""

    def __init__(self):
        self.ahead = 0.0

    def wall(self):
        return time.time() + self.ahead


def cases(*transports, depths=tuple(Probe)):
    """(row, transport) of the table, in its order."""
    return [(row, over) for row in ROWS for over in transports if over in row["over"] and row["depth"] in depths]


async def meet_all(found, folder, *, told=lambda _result: None, **settings):
    """Meet these cases, `AT_ONCE` at a time; `told` hears every result; `settings` as of `standing`."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number, row, over):
        async with gate:
            return await meet(row, over, folder, number=number, told=told, **settings)

    return await asyncio.gather(*(one(number, row, over) for number, (row, over) in enumerate(found)))


async def meet(row, over, folder, *, number=0, told=lambda _result: None, timeout=TIMEOUT, **settings):
    """The sessions of one case, which a state file in `folder` serves.

    If the machine was so late that a session proved nothing, they are played anew, with four times the time.
    """
    for attempt in range(3):
        name = f"{number}-{settings.get('carry', 'header')}-{attempt}.state"
        met = await _meet_once(row, over, folder / name, number=number, told=told, timeout=timeout, **settings)
        if not any(result.void for result in met.results):
            break
        timeout *= 4
    return met


async def _meet_once(row, over, path, *, number, told, **settings):
    setup, later = row.get("setup", {}), Later()
    state = LedgerFile.open(path, wall=later.wall)
    prober = harness.Rig(clock=Clock(wall=later.wall), state=state)
    results = []
    async with standing(number, row, over, wall=later.wall, **settings) as (standin, mapping):
        (job,) = harness.planned(mapping).jobs
        for _ in range(setup.get("session", 1)):
            results.append(await prober.run(job, depth=Probe(row["depth"])))
            told(results[-1])
            later.ahead += setup.get("apart", 0.0)
        assert prober.open == 0
        rests = {
            "identity_rests": state.ledger.is_identity_resting(job.users["pool-001"], later.wall()),
            "host_rests": state.ledger.endpoint_cooldown_until(job.endpoint, later.wall()) is not None,
        }
        state.close()
        name, subject = f"{row['fault']} over {over}", mapping["identities"]["pool-001"]
        return Met(name, job, results, rests, list(standin.sessions), standin.key, subject)


@contextlib.asynccontextmanager
async def standing(number, row, over, *, carry="header", target="staging", timeout=TIMEOUT, wall=time.time):
    """A stand-in with the row's fault, and the mapping of a target there: one user, `pool-001`, of its own."""
    subject = row.get("setup", {}).get("identity", f"staging-e2e-user-{number:03d}")
    async with StandIn.start(timings=Timings.quick(), tls_port=0 if over == "tls" else None, wall=wall) as standin:
        standin.set_fault(place_of(row), row["fault"])
        yield standin, _mapping(standin, row, over, carry=carry, target=target, subject=subject, timeout=timeout)


def place_of(row):
    """Where the fault is set: what acts before a path is known holds for the whole listener."""
    at_tcp = "after=tcp" in row["fault"] or "after=tls" in row["fault"] or "at=tcp" in row["fault"]
    return "*" if row["fault"].startswith(LISTENER_WIDE) or at_tcp else "/ws/row"


def _mapping(standin, row, over, *, carry, target, subject, timeout):
    setup = row.get("setup", {})
    seconds = float(setup.get("timeout", timeout))
    mapping = harness.target(
        standin,
        "/ws/row",
        tls=over == "tls",
        name=target,
        timeout=f"{seconds}s",
        interval=f"{2 * seconds + 2:.0f}s",
        identities={"pool-001": subject},
        environment=setup.get("environment"),
    )
    mapping["auth"]["carry"] = carry
    if setup.get("key_file") == "gone":
        mapping["auth"]["jwt"]["key_file"] += ".gone"
    return mapping


def drawable():
    """Every fault of the table that acts on a path, once; without those that rest the host."""
    specs = sorted({SHORT.get(row["fault"], row["fault"]) for row in ROWS} - {"none"})
    faults = {spec: parse(spec) for spec in specs}
    return [spec for spec, fault in faults.items() if not fault.needs_listener and not _rests_the_host(fault)]


def _rests_the_host(fault):
    status, wait = fault.values.get("status"), fault.values.get("retry_after")
    limits = status == 429 or fault.name == "rate_limit_close" or (status == 503 and wait is not None)
    return limits and wait != 0
