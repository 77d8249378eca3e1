"""The whole fault table through the whole way of a session: each fault once, many sessions at a time.

Every session has a stand-in, a ledger and a key of its own, so that none teaches the others anything.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass

import yaml

from exporter.host import Clock
from exporter.result import Probe, Result
from exporter.standin import StandIn, Timings, parse
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
    """What came of a row: its sessions' results, and who probed with which key."""

    name: str
    results: list[Result]
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


async def meet_all(found, folder, *, carry="header", target="staging", told=lambda _result: None):
    """Meet these cases, `AT_ONCE` at a time; `told` hears every result."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number, row, over):
        async with gate:
            return await _meet(number, row, over, folder, carry=carry, target=target, told=told)

    return await asyncio.gather(*(one(number, row, over) for number, (row, over) in enumerate(found)))


async def _meet(number, row, over, folder, *, carry, target, told):
    setup, later = row.get("setup", {}), Later()
    state = LedgerFile.open(folder / f"{carry}-{number}.state", wall=later.wall)
    prober = harness.Rig(clock=Clock(wall=later.wall), state=state)
    results = []
    async with standing(number, row, over, carry=carry, target=target, wall=later.wall) as (standin, mapping):
        job, subject = harness.planned(mapping).jobs[0], mapping["identities"]["pool-001"]
        for _ in range(setup.get("session", 1)):
            results.append(await prober.run(job, depth=Probe(row["depth"])))
            told(results[-1])
            later.ahead += setup.get("apart", 0.0)
        state.close()
        return Met(f"{row['fault']} over {over}", results, standin.key, subject)


@contextlib.asynccontextmanager
async def standing(number, row, over, *, carry="header", target="staging", wall=time.time):
    """A stand-in with the row's fault, and the mapping of a target there: one user, `pool-001`, of its own."""
    subject = row.get("setup", {}).get("identity", f"staging-e2e-user-{number:03d}")
    async with StandIn.start(timings=Timings.quick(), tls_port=0 if over == "tls" else None, wall=wall) as standin:
        standin.set_fault(*_fault(row))
        yield standin, _mapping(standin, row, over, carry=carry, target=target, subject=subject)


def _fault(row):
    """Where the fault is set, and which: what acts before a path is known holds for the whole listener."""
    at_tcp = "after=tcp" in row["fault"] or "after=tls" in row["fault"] or "at=tcp" in row["fault"]
    return "*" if row["fault"].startswith(LISTENER_WIDE) or at_tcp else "/ws/row", row["fault"]


def _mapping(standin, row, over, *, carry, target, subject):
    setup = row.get("setup", {})
    mapping = harness.target(
        standin,
        "/ws/row",
        tls=over == "tls",
        name=target,
        timeout=f"{TIMEOUT}s",
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
