"""Rows of the table become backends of stand-ins and targets of the exporter, broken and healed at will.

Rule 1: durations are those of the table and of the shipped example; what is scaled, is scaled here (faults, pulses)
or by `scaler` (the target). What makes a session slow is not: see `scaler`, rule 3.
Rule 2: a target has users and a key of its own, so that no row teaches another's ledger.
"""

import asyncio
import shutil
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from support.harness import CLAIMS

from exporter.standin import StandIn, Timings, parse
from exporter.standin.faults import ParamKind

LOOK = 0.01
"""Seconds between two looks at whether a pulse has met its sessions."""

SLOW = {"slow_services": Timings().services, "slow_welcome": 3.0, "slow_reply": 3.0}
"""Faults whose seconds a verdict hangs on, and how many if the table does not say: a session passes, late, or a
server is known by the seconds that it takes."""

ROOMY = {"interval": "60s", "timeout": "55s"}
"""The target of such a fault: at 1/15 a session of 3 s is not cut off, and ten of them fit into ten minutes."""


def scaled_fault(spec, factor):
    """A fault whose seconds, given or by default, are multiplied."""
    fault = parse(spec)
    if fault.name in SLOW:
        return f"{fault.name}:delay={fault.values['delay'] or SLOW[fault.name]}"
    words = {"share": fault.share} if fault.share != 1 else {}
    for param in fault.fault.params:
        value = fault.values[param.name]
        if value is not None and param.kind is ParamKind.SECONDS:
            value = float(value * factor)
        elif value is not None and param.name == "retry_after":
            value = max(1, round(value * factor))
        if value not in (None, ""):
            words[param.name] = str(value).lower() if isinstance(value, bool) else value
    return fault.name + (":" if words else "") + ",".join(f"{key}={value}" for key, value in words.items())


def users(number):
    """Three users of two shapes, of their own for each number."""
    return {
        "pool-001": f"staging-e2e-user-{2 * number + 1:03}",
        "pool-002": f"staging-e2e-user-{2 * number + 2:03}",
        "uuid-001": f"6f1d0f3e-8a57-4b8e-9d0e-{number:012x}",
    }


def stats_url(url):
    """Where the stand-in tells the figures of the process behind a WebSocket's URL."""
    return url.replace("ws", "http", 1) + "/stats"


@dataclass
class Backend:
    """One row of the table: a path of a stand-in, and the target that probes it. Times in unix seconds."""

    row: dict
    standin: StandIn
    path: str
    key_file: Path
    mapping: dict
    factor: object
    broken_at: float | None = None
    healed_at: float | None = None
    pulses: list = field(default_factory=list)

    @property
    def name(self):
        return self.row["name"]

    @property
    def setup(self):
        return self.row.get("setup", {})

    @property
    def lasting(self):
        """Whether the finding stands in the config and cannot be healed without another one."""
        return bool(self.setup.get("target", {}).get("allow_auth_bypass"))

    def _set(self):
        specs = [scaled_fault(spec, self.factor) for spec in self.row["faults"]]
        early = any(parse(spec).needs_listener for spec in specs)
        assert not early or self.setup.get("own_authority"), f"{self.name} needs a stand-in of its own"
        self.standin.set_fault("*" if early else self.path, *specs)

    def break_(self):
        """The outage begins."""
        self.broken_at = time.time()
        if self.setup.get("key_file") == "gone":
            self.key_file.unlink()
        if "pulses" in self.setup:
            self.pulses.append(asyncio.create_task(self._pulse(**self.setup["pulses"])))
        else:
            self._set()

    async def heal(self):
        """The outage is over; raises what went wrong in a pulse."""
        self.healed_at = time.time()
        for task in self.pulses:
            assert task.done(), f"{self.name}: the pulses have not ended"
            await task
        self._clear()
        if self.setup.get("fresh_process"):
            self.standin.forget(self.path)
        if not self.key_file.exists():
            shutil.copy(self.standin.key_file, self.key_file)

    def _clear(self):
        for path in list(self.standin.active()):
            if path == self.path or self.setup.get("own_authority"):
                self.standin.clear(path)

    async def _pulse(self, *, sessions, apart, times):
        for left in reversed(range(times)):
            self._set()
            await self._meet(sessions)
            self._clear()
            if left:
                await asyncio.sleep(float(apart * self.factor))

    async def _meet(self, sessions):
        """Wait until the fault has met so many sessions."""
        met, known = 0, self.standin.finished
        while met < sessions:
            await asyncio.sleep(LOOK)
            new, known = self.standin.finished - known, self.standin.finished
            latest = islice(reversed(self.standin.sessions), new)
            met += sum(seen.path == self.path and bool(seen.faults) for seen in latest)

    def stop(self):
        """Forget the pulses."""
        for task in self.pulses:
            task.cancel()


class Backends:
    """The stand-ins of all rows. `async with`; `folder` takes the keys."""

    def __init__(self, folder, factor):
        self._folder, self._factor = folder, factor
        self._stack = AsyncExitStack()
        self._shared = None
        self._hosts = 1
        self.all = []
        self.standins = []

    async def __aenter__(self):
        self._shared = await self._start()
        return self

    async def __aexit__(self, *_):
        for backend in self.all:
            backend.stop()
        await asyncio.gather(*(task for backend in self.all for task in backend.pulses), return_exceptions=True)
        await self._stack.aclose()

    async def _start(self, host="127.0.0.1"):
        standin = await self._stack.enter_async_context(
            StandIn.start(host=host, timings=Timings().scaled(float(self._factor)), seed=len(self.standins))
        )
        self.standins.append(standin)
        return standin

    async def add(self, row):
        """The backend of a row, healthy."""
        setup = row.get("setup", {})
        own = setup.get("own_authority") or setup.get("own_host")
        self._hosts += 1 if setup.get("own_host") else 0
        host = f"127.0.0.{self._hosts}" if setup.get("own_host") else "127.0.0.1"
        standin = await self._start(host) if own else self._shared
        key_file = self._folder / f"{row['name']}.key"
        shutil.copy(standin.key_file, key_file)
        path = f"/ws/{row['name']}"
        mapping = {
            "name": row["name"],
            "url": standin.url(path, tls=bool(setup.get("tls"))),
            "interval": "20s",
            "timeout": "10s",
            "close_timeout": "2s",
            "auth_retry": "300s",
            "identities": dict(list(users(0 if own else len(self.all) + 1).items())[: setup.get("pool")]),
            "auth": {"jwt": {"key_file": str(key_file), "lifetime": "300s", "claims": dict(CLAIMS)}},
            "confirm": {"runs": 2, "after": "6s"},
            "limits": {"slots_per_identity": 20, "slot_release": "300s"},
        }
        if setup.get("tls"):
            mapping["tls"] = {"ca_file": str(standin.ca_file)}
        if self._factor != 1 and any(parse(spec).name in SLOW for spec in row["faults"]):
            mapping |= ROOMY
        target = dict(setup.get("target", {}))
        mapping["limits"] |= target.pop("limits", {})
        if "stats" in setup:
            mapping["stats"] = {"url": stats_url(mapping["url"]), "every": "60s", **setup["stats"]}
        backend = Backend(row, standin, path, key_file, mapping | target, self._factor)
        self.all.append(backend)
        return backend
