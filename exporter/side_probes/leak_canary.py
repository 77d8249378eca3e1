"""The leak canary: rounds of connections by which a backend shows whether its slots come back (docs/canary.md)."""

import asyncio
import logging
from collections.abc import Callable

from exporter import log
from exporter.classify import CanaryLimits, CanaryOpen, LeakDetector, LeakFindings
from exporter.host import Clock
from exporter.plan import CanaryPace, Job, SideSchedule, canary_job, canary_pace
from exporter.probing import ProbeRequest
from exporter.result import Holdup, Probe, Result, Skip, Trigger
from exporter.side_probes.runner import RunSession, SideRun

_logger = logging.getLogger("exporter.side_probes")

RecordFindings = Callable[[str, LeakFindings], None]
"""Gets a target's name, and what its canary knows now."""


class LeakCanary:
    """Runs the rounds of all canaries, and keeps what each has seen."""

    def __init__(self, clock: Clock, record: RecordFindings) -> None:
        self._clock = clock
        self._record = record
        self._detectors: dict[str, tuple[SideSchedule, LeakDetector]] = {}

    async def run(self, run: SideRun, open_session: RunSession) -> None:
        """Run one round. Its connections are due by the monotonic clock, whatever the wall clock does meanwhile."""
        pace = canary_pace(run.job)
        if pace is None:
            return
        job, detector = canary_job(run.job), self._detector(run, pace)
        begin = self._clock.monotonic()
        for number in range(pace.connects):
            await asyncio.sleep(begin + number * pace.spacing - self._clock.monotonic())
            started, known = self._clock.monotonic(), detector.findings
            outcome = await open_session(_request(job, run.number, self._clock.wall()))
            findings = self._judge(detector, number, started, outcome)
            self._record(job.name, findings)
            _log_change(job, known.leaked, findings.leaked)

    def _judge(self, detector: LeakDetector, number: int, started: float, outcome: Result | Skip) -> LeakFindings:
        if isinstance(outcome, Skip):
            return detector.record_skip(number, over_budget=outcome.holdup is Holdup.SLOTS)
        log.log_session(outcome)
        return detector.record_open(CanaryOpen.of(number, started, self._clock.monotonic(), outcome))

    def _detector(self, run: SideRun, pace: CanaryPace) -> LeakDetector:
        """Return what judges the target's canary; another user, pace or limit begins without a past."""
        schedule, detector = self._detectors.get(run.job.name, (None, None))
        if detector is None or schedule != run.schedule:
            limits = run.job.limits
            permitted = CanaryLimits(limits.slots_per_identity, pace.opens, limits.slot_release, run.job.window)
            detector = LeakDetector(permitted, self._clock.monotonic())
            self._detectors[run.job.name] = run.schedule, detector
        return detector


def _request(job: Job, number: int, due: float) -> ProbeRequest:
    return ProbeRequest(job, number, Trigger.SIDE_PROBE, Probe.AUTH, job.identities[0], due=due)


def _log_change(job: Job, before: int | None, now: int | None) -> None:
    if now == before:
        return
    if now:
        _logger.warning(
            "the canary's user is refused although its slots are released: %d or more of them have not come back",
            now,
            extra={"keys": {"target": job.name}},
        )
    elif before:
        _logger.info("all slots of the canary come back again", extra={"keys": {"target": job.name}})
