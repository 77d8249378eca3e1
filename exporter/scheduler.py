"""Makes a plan happen: one session per due cycle, confirm runs after the first failure, nothing lost unsaid.

Rule 1: knows jobs and a callback; whether a session may be opened is the ledger's word, what came of it the sinks'.
Rule 2: every cycle that falls due ends as exactly one of: a cycle told, a skip told, an impairment told.
Rule 3: jobs come, go and change one by one while cycles run. A target that changes goes over to its new job between two
cycles, so that what is told of a cycle is of the job that ran it; of a target that is gone nobody is told anything.
Rule 4: APScheduler only wakes us. Its coalescing loses runs without an event, its own instance limit drops them, and
a backward step of the wall clock stops it for the step's length: so coalescing is off, the hand-over is our own, and
a step re-plans every job.
"""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from exporter.host import Clock, ClockStepDetector
from exporter.plan import Job
from exporter.probing import ProbeRequest
from exporter.result import Probe, Reason, Result, Skip, SkipCause, Trigger, Verdict

_logger = logging.getLogger("exporter.scheduler")
logging.getLogger("apscheduler").setLevel(logging.CRITICAL)

MAX_LATE_SECONDS: Final = 5.0
"""Seconds after which a due cycle is `late`, if half its interval is not less."""

DEAD_ALARM_SECONDS: Final = 30.0
"""Seconds after which a due cycle that nobody handed over tells that the alarm is dead."""

MAX_MISSED_CYCLES: Final = 10_000
"""Due cycles of one target that are handed over at once: 14 hours of a process that was stopped, at one every 5 s."""

MAX_WAIT_SECONDS: Final = 60.0
"""Seconds that a cycle waits at most, and until the next one is due, for another target's session of its user."""

FINISH_GRACE_SECONDS: Final = 2.0
"""Seconds that running sessions get to finish by themselves at the stop, before they are told to close."""

STOP_GRACE_SECONDS: Final = 1.5
"""Seconds that sessions told to close get for it."""

NO_CONFIRM: Final = frozenset({Reason.AUTH_REJECTED, Reason.AUTH_UNAVAILABLE, Reason.RATE_LIMITED})
"""Refusals that another session would only make worse."""

RunSession = Callable[[ProbeRequest], Awaitable[Result | Skip]]


class ResultSinks(Protocol):
    """Who is told."""

    def observe(self, result: Result) -> None:
        """One finished session."""

    def cycle(self, result: Result) -> None:
        """The result that answers one scheduled cycle."""

    def skip(self, skip: Skip) -> None:
        """A scheduled cycle that opened no session."""

    def due(self, target: str, probe: Probe, at: float) -> None:
        """When a probe is next due, unix seconds."""

    def stepped(self, seconds: float) -> None:
        """The wall clock has stepped."""

    def changed(self, job: Job) -> None:
        """From now on the target of this name is run by this job."""


class _DiscardingSinks:
    """Sinks of a target that is gone."""

    def observe(self, *_: Any, **__: Any) -> None:
        """Drop it."""

    cycle = skip = due = stepped = changed = observe


@dataclass(slots=True)
class _TargetSchedule:
    """What one target is doing.

    `first`: no cycle before, unix seconds. `begun`: its cycles fall due. `queued_cycles`: cycles that fell due while
    failures were being confirmed. `passed`: probes that passed in their last cycle. `pending_job`: the job that
    replaces `job` when the target is idle. `cancelled`: set while nothing may follow the running cycle.
    """

    job: Job
    sinks: ResultSinks
    first: float = 0.0
    begun: bool = False
    task: asyncio.Task[None] | None = None
    confirming: bool = False
    queued_cycles: list[int] = field(default_factory=list)
    passed: frozenset[Probe] = frozenset()
    pending_job: Job | None = None
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def is_first_failure(self, result: Result) -> bool:
        """Note the verdicts; True if a probe failed that passed when it was last asked."""
        failed = {probe for probe, verdict in result.verdicts.items() if verdict is Verdict.FAIL}
        first = not failed.isdisjoint(self.passed)
        passed = {probe for probe, verdict in result.verdicts.items() if verdict is Verdict.PASS}
        self.passed = (self.passed | passed) - failed
        return first


class Scheduler:
    """Runs the cycles of all jobs from `start` to `stop`, with at most `most` sessions `in_flight`.

    `others`: how many sessions that no schedule asked for are open beside them; they count too.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        run: RunSession,
        sinks: ResultSinks,
        clock: Clock,
        *,
        most: int = sys.maxsize,
        others: Callable[[], int] = lambda: 0,
    ) -> None:
        self._run_session = run
        self.most = most
        self._others = others
        self.in_flight = 0
        self._sinks = sinks
        self._clock = clock
        self._lanes = {job.name: _TargetSchedule(job, sinks) for job in jobs}
        self._leaving: set[asyncio.Task[None]] = set()
        self._draining = False
        self._steps = ClockStepDetector(clock)
        self._planned = 0.0
        self._alarm = _WakeupScheduler(
            self.look,
            timezone=UTC,
            executors={"default": _InlineExecutor(self._on_due)},
            job_defaults={"misfire_grace_time": None, "coalesce": False},
        )

    @property
    def alive(self) -> bool:
        """False if a cycle fell due that the alarm has not handed over: it is dead, and so are we."""
        self.look()
        overdue = self._clock.wall() - DEAD_ALARM_SECONDS
        return all(job.next_run_time.timestamp() > overdue for job in self._alarm.get_jobs())

    def announce(self, first: float) -> None:
        """Tell when each probe is first due, if cycles begin at `first` (unix seconds)."""
        for lane in self._lanes.values():
            lane.first = first
            self._tell_due(lane, first)

    def start(self) -> None:
        """From now on cycles of all targets are due."""
        for name in self._lanes:
            self.begin(name)

    def begin(self, name: str) -> None:
        """From now on cycles of this target are due; nothing happens if it has begun, or is gone."""
        lane = self._lanes.get(name)
        if self._draining or lane is None or lane.begun:
            return
        now = self._clock.wall()
        if not self._alarm.running:
            self._planned = now
            self._alarm.start()
        lane.begun = True
        self._alarm.add_job(lambda: None, _CycleTrigger(lane.job), id=name, next_run_time=_next(lane.job, now))
        self._tell_due(lane, now)

    def look(self) -> None:
        """Look for a step of the wall clock; tell it and re-plan every job if there is one."""
        step = self._steps.detect_step_seconds()
        if not step:
            return
        self._sinks.stepped(step)
        now = self._planned = self._clock.wall()
        for lane in self._lanes.values() if self._alarm.running else ():
            if lane.begun:
                self._alarm.modify_job(lane.job.name, next_run_time=_next(lane.job, now))
                self._tell_due(lane, now)

    async def stop(self) -> None:
        """No new session; those that run finish, or are closed with 1000 within `PATIENCE + CLOSING` seconds.

        A second call waits for the first one's end.
        """
        again, self._draining = self._draining, True
        if again:
            await self._ended(None)
            return
        if self._alarm.running:
            self._alarm.shutdown(wait=False)
        for lane in self._lanes.values():
            if lane.confirming and lane.task is not None:
                lane.task.cancel()
        await self._ended(FINISH_GRACE_SECONDS)
        for seconds in (STOP_GRACE_SECONDS, None):
            for task in self._tasks():
                task.cancel()
            await self._ended(seconds)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [*self._leaving, *(lane.task for lane in self._lanes.values() if lane.task is not None)]

    async def _ended(self, seconds: float | None) -> None:
        """Wait until nothing runs any more, but so long at most."""
        tasks = self._tasks()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    # Other jobs -----------------------------------------------------------------------------------------------------

    def add(self, job: Job, first: float) -> None:
        """One target more; its cycles wait for `begin`, which is expected at `first` (unix seconds)."""
        lane = self._lanes[job.name] = _TargetSchedule(job, self._sinks, first)
        self._tell_due(lane, first)

    def remove(self, name: str) -> None:
        """One target less: a session of it finishes, and neither it nor a cycle that is due is told to anybody."""
        lane = self._lanes.pop(name)
        lane.sinks, lane.pending_job = _DiscardingSinks(), None
        lane.cancelled.set()
        if lane.begun and self._alarm.running:
            self._alarm.remove_job(name)
        if lane.task is not None:
            self._leaving.add(lane.task)
            lane.task.add_done_callback(self._leaving.discard)

    def change(self, job: Job) -> None:
        """Run the target of this name by this job: from now on, or when its running session is over."""
        lane = self._lanes[job.name]
        lane.pending_job = job
        lane.cancelled.set()
        self._switch_job(lane)

    def adjust(self, job: Job) -> None:
        """As `change`, of a job that differs in nothing but what others leave it: no session need be over for that."""
        lane = self._lanes[job.name]
        if lane.pending_job is not None:
            lane.pending_job = job
        else:
            lane.job = job
            lane.sinks.changed(job)

    def _switch_job(self, lane: _TargetSchedule) -> None:
        """Take the coming job, unless a cycle runs, or is due and not handed over: it would be lost unsaid."""
        job, now = lane.pending_job, self._clock.wall()
        if job is None or self._draining or lane.task is not None or self._owes(lane, now):
            return
        moved = job.grid != lane.job.grid
        lane.job, lane.pending_job = job, None
        lane.cancelled.clear()
        lane.sinks.changed(job)
        if lane.begun:
            anew = {"next_run_time": _next(job, now)} if moved else {}
            self._alarm.modify_job(job.name, trigger=_CycleTrigger(job), **anew)
        self._tell_due(lane, now if lane.begun else max(now, lane.first))

    def _owes(self, lane: _TargetSchedule, now: float) -> bool:
        return lane.begun and bool(self._alarm.get_job(lane.job.name).next_run_time.timestamp() <= now)

    def _switch_job_soon(self, lane: _TargetSchedule) -> None:
        """APScheduler is about to write down when the job is next due, or the task to end: after that."""
        if lane.pending_job is not None:
            asyncio.get_running_loop().call_soon(self._switch_job, lane)

    # Due ----------------------------------------------------------------------------------------------------------

    def _on_due(self, name: str, moment: float) -> None:
        """One cycle is due: run it, let a confirm run answer it, or say why not."""
        lane = self._lanes[name]
        job, now = lane.job, self._clock.wall()
        self.look()
        if moment < self._planned:
            return  # it belongs to a clock that is no more
        self._tell_due(lane, now)
        cycle = job.cycle_at(moment)
        cause = self._obstacle(lane, now - moment)
        if cause is not None:
            self._skip(lane, cause)
        elif lane.confirming:
            lane.queued_cycles.append(cycle)
        else:
            lane.task = asyncio.get_running_loop().create_task(self._run_cycle(lane, cycle), name=f"cycle-{name}")
        self._switch_job_soon(lane)

    def _obstacle(self, lane: _TargetSchedule, late: float) -> SkipCause | None:
        if self._draining:
            return SkipCause.DRAINING
        if late > min(MAX_LATE_SECONDS, lane.job.interval / 2):
            return SkipCause.LATE
        return SkipCause.OVERLAP if lane.task is not None and not lane.confirming else None

    @staticmethod
    def _tell_due(lane: _TargetSchedule, now: float) -> None:
        for probe, at in lane.job.next_due(now).items():
            lane.sinks.due(lane.job.name, probe, at)

    # Running ------------------------------------------------------------------------------------------------------

    async def _run_cycle(self, lane: _TargetSchedule, cycle: int) -> None:
        """A cycle, and what follows from it: confirm runs, and cycles that fell due meanwhile and are still owed."""
        lane.queued_cycles = [cycle]
        try:
            while lane.queued_cycles and not self._draining:
                (*missed, latest), lane.queued_cycles = lane.queued_cycles, []
                self._skip(lane, SkipCause.OVERLAP, len(missed))
                await self._cycle(lane, latest)
                if lane.cancelled.is_set():
                    break
        finally:
            self._skip(lane, SkipCause.DRAINING if self._draining else SkipCause.OVERLAP, len(lane.queued_cycles))
            lane.task, lane.queued_cycles = None, []
            self._switch_job_soon(lane)

    async def _cycle(self, lane: _TargetSchedule, cycle: int) -> None:
        try:
            failed = await self._scheduled(lane, cycle)
            if failed is not None and not self._draining:
                await self._confirm(lane, failed)
        except Exception:
            _logger.exception("a cycle of %s broke: please report this", lane.job.name)

    def _skip(self, lane: _TargetSchedule, cause: SkipCause, times: int = 1) -> None:
        for _ in range(times):
            lane.sinks.skip(Skip(lane.job.name, cause))

    async def _run(self, turn: ProbeRequest) -> Result | Skip:
        """One session, if there is room for one more."""
        if self.in_flight + self._others() >= self.most:
            return Skip(turn.job.name, SkipCause.CAPACITY)
        self.in_flight += 1
        try:
            return await self._run_session(turn)
        finally:
            self.in_flight -= 1

    async def _scheduled(self, lane: _TargetSchedule, cycle: int) -> Result | None:
        """Run a cycle; its result if it is the first failure after a pass and another session may confirm it."""
        job = lane.job
        patience = min(job.interval, MAX_WAIT_SECONDS)
        turn = ProbeRequest(job, cycle, Trigger.SCHEDULE, job.depth(cycle), job.identity(cycle), patience=patience)
        try:
            outcome = await self._run(turn)
        except asyncio.CancelledError:
            self._skip(lane, SkipCause.DRAINING)
            raise
        if isinstance(outcome, Skip):
            lane.sinks.skip(outcome)
            return None
        lane.sinks.observe(outcome)
        if outcome.impairment is not None:
            return None
        if not outcome.decided:  # we slept through its deadline, or it was asked for the token that it kept back
            self._skip(lane, SkipCause.DISTORTED if outcome.void else SkipCause.RESTING)
            return None
        lane.sinks.cycle(outcome)
        return outcome if lane.is_first_failure(outcome) and outcome.reason not in NO_CONFIRM else None

    async def _confirm(self, lane: _TargetSchedule, failed: Result) -> None:
        """Run up to two sessions as other identities; they answer cycles due then (docs/design.md#confirm-runs)."""
        others = list(lane.job.others(failed.identity))
        if not others:
            return
        lane.confirming = True
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            for number in range(1, lane.job.confirm_runs + 1):
                if await self._called_off(lane, start + number * lane.job.confirm_after - loop.time()):
                    return
                result = await self._another(lane, failed.depth, others)
                if isinstance(result, Skip):  # what kept the confirm run away is what those that waited for it lack
                    missed, lane.queued_cycles = lane.queued_cycles[:-1], lane.queued_cycles[-1:]
                    self._skip(lane, result.cause, len(missed))
                    return
                if not result.decided:
                    return
                self._answer(lane, result)
                if not result.failed or result.reason in NO_CONFIRM:
                    return
        finally:
            lane.confirming = False

    @staticmethod
    async def _called_off(lane: _TargetSchedule, seconds: float) -> bool:
        """Wait so long; True, at once, if nothing more is to follow from the cycle."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await lane.cancelled.wait()
        return lane.cancelled.is_set()

    async def _another(self, lane: _TargetSchedule, depth: Probe, others: list[str | None]) -> Result | Skip:
        """One confirm run on the first of `others` with a spare slot, who then stands last; a skip if there is none."""
        job, outcome = lane.job, Skip(lane.job.name, SkipCause.BUDGET)
        self.look()  # a ledger of yesterday's clock would think slots free
        for alias in tuple(others):
            deepest = max([depth, *map(job.depth, lane.queued_cycles)], key=lambda probe: probe.rank)
            turn = ProbeRequest(job, job.cycle_at(self._clock.wall()), Trigger.CONFIRM, deepest, alias)
            answer = await self._run(turn)
            if isinstance(answer, Result):
                lane.sinks.observe(answer)
                others.remove(alias)
                others.append(alias)
                return answer
            outcome = answer
        return outcome

    def _answer(self, lane: _TargetSchedule, result: Result) -> None:
        """Tell the owed cycles that asked no more than this session did; deeper ones are still owed."""
        lane.is_first_failure(result)
        queued_cycles, lane.queued_cycles = lane.queued_cycles, []
        for cycle in queued_cycles:
            depth = lane.job.depth(cycle)
            if depth.rank <= result.depth.rank:
                lane.sinks.cycle(_up_to(depth, result))
            else:
                lane.queued_cycles.append(cycle)


def _up_to(depth: Probe, result: Result) -> Result:
    """What the session says of the probes that a cycle of this depth asked."""
    asked = {probe: verdict for probe, verdict in result.verdicts.items() if probe.rank <= depth.rank}
    return replace(result, depth=depth, verdicts=asked)


def _next(job: Job, now: float) -> datetime:
    cycle = job.cycle_at(now)
    return _moment(job, cycle if job.due(cycle) >= now else cycle + 1)


def _moment(job: Job, cycle: int) -> datetime:
    return datetime.fromtimestamp(job.due(cycle), UTC)


class _WakeupScheduler(AsyncIOScheduler):  # type: ignore[misc]
    """Woken within the loop: APScheduler's own way there is for other threads, and costs two system calls a cycle.

    It looks for a step of the wall clock (`look`) before it lists what is due: after a step of 40 days that list would
    hold every cycle of 40 days, and walking it holds the loop for minutes.
    """

    def __init__(self, look: Callable[[], None], **options: Any) -> None:
        super().__init__(**options)
        self._look = look

    def wakeup(self) -> None:
        asyncio.get_running_loop().call_soon(AsyncIOScheduler.wakeup.__wrapped__, self)

    def _process_jobs(self) -> Any:
        self._look()
        return super()._process_jobs()


class _CycleTrigger(BaseTrigger):  # type: ignore[misc]
    """The moments of a job's cycles, one after the other, without drift.

    APScheduler asks for them from the last one it handed over up to `now`; of a gap only the last `MAX_MISSED_CYCLES`
    are given, so that a clock that steps at the wrong moment cannot make a list without end.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        if previous is None:
            return _next(self._job, now.timestamp())
        # A datetime keeps microseconds: half an interval on, the cycle is beyond doubt.
        following = self._job.cycle_at(previous.timestamp() + self._job.interval / 2) + 1
        return _moment(self._job, max(following, self._job.cycle_at(now.timestamp()) - MAX_MISSED_CYCLES))


class _InlineExecutor(BaseExecutor):  # type: ignore[misc]
    """Hands every due moment to us at once; APScheduler's own limits and events are left out."""

    def __init__(self, on_due: Callable[[str, float], None]) -> None:
        super().__init__()
        self._on_due = on_due

    def submit_job(self, job: Any, run_times: list[datetime]) -> None:
        for moment in run_times:
            try:
                self._on_due(job.id, moment.timestamp() + 1e-6)
            except Exception:  # APScheduler would log it to its own logger, which is silent
                _logger.exception("a due cycle of %s broke: please report this", job.id)

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        raise AssertionError(f"unreachable: submit_job hands over itself: {job.id}, {run_times}")
