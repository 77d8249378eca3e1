"""A target whose backend goes away and comes back, with or without a sentinel, on a clock that jumps.

Scheduler, side probes, outage detector and the watch over long waits are the real ones; sessions only last and end.
"""

import asyncio
import contextlib
from collections import Counter
from enum import StrEnum

from exporter.classify import OutageDetector, UsualWaits
from exporter.classify.usual_waits import MIN_SESSIONS
from exporter.metrics.series import outage_policy, target_series
from exporter.probing import ProbeRequest
from exporter.result import (
    EXTRA_RUNS,
    FactoryReason,
    Phase,
    Probe,
    Reason,
    Result,
    SideProbe,
    Skip,
    SkipCause,
    Trigger,
    Verdict,
)
from exporter.scheduler import Scheduler
from exporter.session import WaitRule
from exporter.session.overdue import OverdueWatch
from exporter.session.phase_timer import PhaseTimer
from exporter.side_probes import ConnectSentinel, SideProbes
from support import harness
from support.schedules import Nowhere

SHIPPED = {"interval": "20s", "timeout": "10s", "close_timeout": "2s"}
ON, OFF = {"sentinel": {"every": "5s"}}, {}
"""The factory's breaker permits no connect every 5 s: it is left out."""
ONE = {"identities": {"only": "staging-e2e-user-001"}}
USUAL_SECONDS = 0.01


class Trouble(StrEnum):
    """What sessions meet while the backend is away."""

    REFUSED = "refused"
    SILENT = "silent"
    LOST = "silent, and what was sent meanwhile is never answered"
    UNWELCOME = "silent after the 101"
    FACTORY = "refused at admission, by the factory"
    TOKEN = "refused at admission, the token"


WAITS_IN = {Trouble.SILENT: Phase.UPGRADE, Trouble.LOST: Phase.UPGRADE, Trouble.UNWELCOME: Phase.ADMISSION}
ENDS = {
    Trouble.REFUSED: (Phase.TCP, Reason.REFUSED),
    Trouble.SILENT: (Phase.UPGRADE, Reason.TIMEOUT),
    Trouble.LOST: (Phase.UPGRADE, Reason.TIMEOUT),
    Trouble.UNWELCOME: (Phase.ADMISSION, Reason.TIMEOUT),
    Trouble.FACTORY: (Phase.ADMISSION, Reason.FACTORY),
    Trouble.TOKEN: (Phase.ADMISSION, Reason.AUTH_REJECTED),
}


ALWAYS_LOGS_IN = {
    **harness.UNGUARDED,
    "factory": harness.UNGUARDED["factory"].model_copy(update={"connect_without_token": False}),
}
"""Profiles by which no session connects anonymously."""


def job_of(built_in=harness.UNGUARDED, **changes):
    mapping = harness.target(Nowhere, **SHIPPED | changes)
    return harness.planned(mapping, built_in=built_in).jobs[0]


class Watched(harness.Recorder):
    """One target under a scheduler and its side probes; what they recorded and when each outage began or ended.

    `trouble`: what sessions meet, None: nothing; `slow`: seconds that the next session takes. `spare`: whether there
    are slots for confirm runs. `sessions`: (begin, request).
    """

    def __init__(self, loop, job):
        super().__init__()
        self._loop, self.job = loop, job
        self.trouble, self.slow, self.spare = None, lambda: USUAL_SECONDS, True
        self.sessions, self.outages, self.outcomes = [], [], []
        self.usual = UsualWaits()
        for _ in range(MIN_SESSIONS):
            self.usual.record(dict.fromkeys(Phase, USUAL_SECONDS))
        self._busy = Counter()
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
        """When the first outage was established, seconds of the loop; None: there was none."""
        return next((at for at, _, active in self.outages if active), None)

    def wall(self):
        return self._loop.wall()

    def begin(self):
        self.scheduler.start()
        self.side_probes.begin(self.job)

    async def stop(self):
        await self.side_probes.stop()
        await self.scheduler.stop()

    def leave(self, trouble=Trouble.REFUSED):
        """The backend goes away."""
        self.trouble = trouble
        self._back.clear()

    def come_back(self):
        self.trouble = None
        self._back.set()

    async def _session(self, request: ProbeRequest):
        begun = self._loop.time()
        if self._busy[request.identity] and request.identity is not None:
            return Skip(self.job.name, SkipCause.OVERLAP)
        if request.identity is not None and request.trigger in EXTRA_RUNS and not self.spare:
            return Skip(self.job.name, SkipCause.BUDGET)
        self.sessions.append((begun, request))
        self._busy[request.identity] += 1
        try:
            met, seconds = await self._meet(request)
        finally:
            self._busy[request.identity] -= 1
        phase, reason = (None, None) if met is None else ENDS[met]
        if request.depth is Probe.CONNECT and phase is Phase.ADMISSION:
            phase = reason = None
        if reason is None:
            self.usual.record({Phase.UPGRADE: seconds, Phase.ADMISSION: seconds})
        asked = [probe for probe in Probe if probe.rank <= request.depth.rank]
        verdicts = dict.fromkeys(asked, Verdict.PASS if reason is None else Verdict.FAIL)
        if phase is Phase.ADMISSION:
            verdicts |= {Probe.CONNECT: Verdict.PASS}
        if reason is Reason.FACTORY:
            verdicts |= {Probe.AUTH: Verdict.NONE}
        return Result(
            target=self.job.name, identity=request.identity, run="r", depth=request.depth, trigger=request.trigger,
            started_at=begun, verdicts=verdicts, phase=phase, reason=reason,
            factory_reason=FactoryReason.OTHER if reason is Reason.FACTORY else None,
        )  # fmt: skip

    async def _meet(self, request):
        """What one session meets, and how long it takes."""
        begun, phase = self._loop.time(), WAITS_IN.get(self.trouble, Phase.UPGRADE)
        timer, report = PhaseTimer(begun), request.report_overdue
        timer.begin(phase, begun)
        with OverdueWatch(timer, report and WaitRule(self.usual.wait, report), self._loop.time):
            met = self.trouble
            if met in WAITS_IN and (phase is Phase.UPGRADE or request.depth is not Probe.CONNECT):
                back = self._back if met is not Trouble.LOST else asyncio.Event()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(back.wait(), request.timeout)
                    met = None
            if met is None or met not in WAITS_IN:
                await asyncio.sleep(min(self.slow(), request.timeout))
        return met, self._loop.time() - begun

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
