"""A target whose backend goes away and comes back, with or without a sentinel, on a clock that jumps.

Scheduler, side probes and outage detector are the real ones; sessions only last and end.
"""

import asyncio
import contextlib

from exporter.classify import OutageCause, OutageDetector
from exporter.metrics.series import outage_policy, target_series
from exporter.probing import ProbeRequest
from exporter.result import Phase, Probe, Reason, Result, SideProbe, Trigger, Verdict
from exporter.scheduler import Scheduler
from exporter.side_probes import ConnectSentinel, SideProbes
from support import harness
from support.schedules import Nowhere

SHIPPED = {"interval": "20s", "timeout": "10s", "close_timeout": "2s"}
ON, OFF = {"sentinel": {"every": "5s"}}, {}
"""The factory's breaker permits no connect every 5 s: it is left out."""


def job_of(**changes):
    mapping = harness.target(Nowhere, **SHIPPED | changes)
    return harness.planned(mapping, built_in=harness.UNGUARDED).jobs[0]


class Watched(harness.Recorder):
    """One target under a scheduler and its side probes; what they recorded and when each outage began or ended.

    `down`: the backend is away; `silent`: it then answers nothing instead of refusing. `sessions`: (begin, request).
    """

    def __init__(self, loop, job):
        super().__init__()
        self._loop, self.job = loop, job
        self.down, self.silent = False, False
        self.sessions, self.outages, self.outcomes = [], [], []
        self._detector = OutageDetector(outage_policy(target_series(job.target, job.profile)))
        self._back = asyncio.Event()
        self.scheduler = Scheduler([job], self._session, self, loop.clock)
        sentinel = ConnectSentinel(self.scheduler.suspect, lambda _, outcome: self.outcomes.append(outcome))
        self.side_probes = SideProbes(self._session, {SideProbe.SENTINEL: sentinel.run}, loop.clock)

    def record_result(self, result):
        super().record_result(result)
        for cause, active in self._detector.record_result(result).items():
            self.outages.append((self._loop.time(), cause, active))

    @property
    def out_at(self):
        """When the first connect outage was established, seconds of the loop; None: there was none."""
        return next((at for at, cause, active in self.outages if cause is OutageCause.CONNECT and active), None)

    def wall(self):
        return self._loop.wall()

    def begin(self):
        self.scheduler.start()
        self.side_probes.begin(self.job)

    async def stop(self):
        await self.side_probes.stop()
        await self.scheduler.stop()

    def leave(self, *, silent=False):
        """The backend goes away."""
        self.down, self.silent = True, silent
        self._back.clear()

    def come_back(self):
        self.down = False
        self._back.set()

    async def _session(self, request: ProbeRequest):
        begun = self._loop.time()
        self.sessions.append((begun, request))
        if self.down and self.silent:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._back.wait(), request.timeout)
        failed = self.down
        await asyncio.sleep(0.01)
        verdict = Verdict.FAIL if failed else Verdict.PASS
        asked = [probe for probe in Probe if probe.rank <= request.depth.rank]
        return Result(
            target=self.job.name, identity=request.identity, run="r", depth=request.depth, trigger=request.trigger,
            started_at=begun, verdicts=dict.fromkeys(asked, verdict), phase=Phase.TCP if failed else None,
            reason=(Reason.TIMEOUT if self.silent else Reason.REFUSED) if failed else None,
        )  # fmt: skip

    def begun(self, trigger):
        """When sessions of this trigger began, seconds of the loop."""
        return [at for at, request in self.sessions if request.trigger is trigger]

    @property
    def confirm_runs(self):
        return self.begun(Trigger.CONFIRM)


async def watched(loop, story, **changes):
    """Run `story(target)` on a target of these settings and stop; the target."""
    target = Watched(loop, job_of(**changes))
    target.begin()
    await story(target)
    await target.stop()
    return target


def until_phase(target, phase):
    """Seconds until a cycle will have been due `phase` seconds before; one or two cycles lie between."""
    wall = target.wall()
    return target.job.due(target.job.cycle_at(wall) + 2) + phase - wall
