"""Runs the cycles of all targets, one session each, and the confirm runs after a first failure."""

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC
from functools import partial
from typing import Final

from exporter.classify import OUTAGE_WINDOW_CYCLES, PHASES_OF_PROBE
from exporter.host import Clock, ClockStepDetector
from exporter.plan import Job
from exporter.probing import ProbeRequest
from exporter.result import Probe, Result, Skip, SkipCause, SuspicionOutcome, Trigger, Verdict
from exporter.scheduler.confirmation import Confirmation, Doubt, confirmable
from exporter.scheduler.repetition import Repetition, repetition
from exporter.scheduler.target_schedule import DiscardingSinks, ResultSinks, RunSession, TargetSchedule
from exporter.scheduler.wakeups import CycleTrigger, InlineExecutor, WakeupScheduler, next_due_time
from exporter.session import Overdue

_logger = logging.getLogger("exporter.scheduler")

MAX_LATE_SECONDS: Final = 5.0
"""Seconds after which a due cycle is skipped as `late`, or half its interval if that is less."""
DEAD_ALARM_SECONDS: Final = 30.0
"""Seconds after which a due cycle that was not handed over shows that APScheduler is dead."""
MAX_WAIT_SECONDS: Final = 60.0
"""Seconds that a cycle waits at most for another session of its user; it never waits beyond the next due cycle."""
FINISH_GRACE_SECONDS: Final = 2.0
"""Seconds that running sessions have at the stop to finish by themselves, before they are cancelled."""
STOP_GRACE_SECONDS: Final = 1.5
"""Seconds that cancelled sessions have to close."""
TRUSTED_CYCLES: Final = OUTAGE_WINDOW_CYCLES
"""Intervals without another suspicion after one that was not confirmed. Among the sessions that decide on an outage are
thus the failures of one blip that was looked for, beside those that the cycles met by chance."""


class Scheduler:
    """Runs the cycles of all jobs from `start` to `stop`, with at most `max_sessions` sessions `in_flight`.

    `other_sessions`: returns the number of open unscheduled sessions, which count too.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        run: RunSession,
        sinks: ResultSinks,
        clock: Clock,
        *,
        max_sessions: int = sys.maxsize,
        other_sessions: Callable[[], int] = lambda: 0,
    ) -> None:
        self._run_session = run
        self.max_sessions = max_sessions
        self._other_sessions = other_sessions
        self.in_flight = 0
        self._sinks = sinks
        self._clock = clock
        self._targets = {job.name: TargetSchedule(job, sinks) for job in jobs}
        self._removed_tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._clock_steps = ClockStepDetector(clock)
        self._planned_at = 0.0
        self._wakeups = WakeupScheduler(
            self.check_clock_step,
            timezone=UTC,
            executors={"default": InlineExecutor(self._on_due)},
            job_defaults={"misfire_grace_time": None, "coalesce": False},
        )

    @property
    def alive(self) -> bool:
        """False if APScheduler is dead: a cycle is overdue that it has not handed over."""
        self.check_clock_step()
        overdue = self._clock.wall() - DEAD_ALARM_SECONDS
        return all(job.next_run_time.timestamp() > overdue for job in self._wakeups.get_jobs())

    def announce(self, first: float) -> None:
        """Report when each probe is first due, if cycles begin at `first` (unix seconds)."""
        for target in self._targets.values():
            target.first = first
            self._report_due(target, first)

    def start(self) -> None:
        """Start the cycles of all targets."""
        for name in self._targets:
            self.begin(name)

    def begin(self, name: str) -> None:
        """Start the cycles of this target, unless they have started or the target was removed."""
        target = self._targets.get(name)
        if self._draining or target is None or target.started:
            return
        now = self._clock.wall()
        if not self._wakeups.running:
            self._planned_at = now
            self._wakeups.start()
        target.started = True
        self._wakeups.add_job(
            lambda: None, CycleTrigger(target.job), id=name, next_run_time=next_due_time(target.job, now)
        )
        self._report_due(target, now)

    def check_clock_step(self) -> None:
        """Check for a step of the wall clock; report it and re-plan every job if there is one."""
        step = self._clock_steps.detect_step_seconds()
        if not step:
            return
        self._sinks.clock_stepped(step)
        now = self._planned_at = self._clock.wall()
        for target in self._targets.values() if self._wakeups.running else ():
            if target.started:
                self._wakeups.modify_job(target.job.name, next_run_time=next_due_time(target.job, now))
                self._report_due(target, now)

    async def stop(self) -> None:
        """Open no more sessions; running ones finish or, after `FINISH_GRACE_SECONDS`, are closed with 1000.

        A second call waits for the end of the first one.
        """
        already_stopping, self._draining = self._draining, True
        if already_stopping:
            await self._wait_for_tasks(None)
            return
        if self._wakeups.running:
            self._wakeups.shutdown(wait=False)
        for target in self._targets.values():
            if target.keeps_due_cycles and target.task is not None:
                target.task.cancel()
        await self._wait_for_tasks(FINISH_GRACE_SECONDS)
        for seconds in (STOP_GRACE_SECONDS, None):
            for task in self._tasks():
                task.cancel()
            await self._wait_for_tasks(seconds)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [*self._removed_tasks, *(target.task for target in self._targets.values() if target.task is not None)]

    async def _wait_for_tasks(self, seconds: float | None) -> None:
        """Wait until no task runs, for `seconds` at most."""
        tasks = self._tasks()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    # Other jobs -----------------------------------------------------------------------------------------------------

    def add(self, job: Job, first: float) -> None:
        """Add a target; its cycles wait for `begin`, which is expected at `first` (unix seconds)."""
        target = self._targets[job.name] = TargetSchedule(job, self._sinks, first)
        self._report_due(target, first)

    def remove(self, name: str) -> None:
        """Remove a target: its running session finishes, and neither that session nor a due cycle is recorded."""
        target = self._targets.pop(name)
        target.sinks, target.pending_job = DiscardingSinks(), None
        target.cancel()
        if target.started and self._wakeups.running:
            self._wakeups.remove_job(name)
        if target.task is not None:
            self._removed_tasks.add(target.task)
            target.task.add_done_callback(self._removed_tasks.discard)

    def change(self, job: Job) -> None:
        """Replace the job of the target of this name, now or when its running session is over."""
        target = self._targets[job.name]
        target.pending_job = job
        target.cancel()
        self._switch_job(target)

    def recompute(self, job: Job) -> None:
        """As `change`, for a job that differs only in what other targets leave to it: it takes effect at once."""
        target = self._targets[job.name]
        if target.pending_job is not None:
            target.pending_job = job
        else:
            target.job = job
            target.sinks.job_changed(job)

    def _switch_job(self, target: TargetSchedule) -> None:
        """Switch to the pending job, unless a cycle runs, or is due and not handed over and so would be lost."""
        job, now = target.pending_job, self._clock.wall()
        if job is None or self._draining or target.task is not None or self._has_due_cycle(target, now):
            return
        moved = job.cadence != target.job.cadence
        target.job, target.pending_job = job, None
        target.cancelled = False
        target.sinks.job_changed(job)
        if target.started:
            reschedule = {"next_run_time": next_due_time(job, now)} if moved else {}
            self._wakeups.modify_job(job.name, trigger=CycleTrigger(job), **reschedule)
        self._report_due(target, now if target.started else max(now, target.first))

    def _has_due_cycle(self, target: TargetSchedule, now: float) -> bool:
        return target.started and bool(self._wakeups.get_job(target.job.name).next_run_time.timestamp() <= now)

    def _switch_job_soon(self, target: TargetSchedule) -> None:
        """Switch after APScheduler has noted the next due time, or after the task has ended."""
        if target.pending_job is not None:
            asyncio.get_running_loop().call_soon(self._switch_job, target)

    # Due ----------------------------------------------------------------------------------------------------------

    def _on_due(self, name: str, moment: float) -> None:
        """Handle one due cycle: run it, leave it to a confirm run, or record why neither happens."""
        target = self._targets[name]
        job, now = target.job, self._clock.wall()
        self.check_clock_step()
        if moment < self._planned_at:
            return  # planned before a clock step
        self._report_due(target, now)
        cycle = job.cycle_at(moment)
        cause = self._obstacle(target, now - moment)
        if cause is not None:
            self._skip(target, cause)
        elif target.keeps_due_cycles:
            target.queued_cycles.append(cycle)
            target.due_or_over.set()
        else:
            target.queued_cycles = [cycle]
            target.task = asyncio.get_running_loop().create_task(self._run_target(target), name=f"cycle-{name}")
        self._switch_job_soon(target)

    def _obstacle(self, target: TargetSchedule, late_by: float) -> SkipCause | None:
        if self._draining:
            return SkipCause.DRAINING
        if late_by > min(MAX_LATE_SECONDS, target.job.interval / 2):
            return SkipCause.LATE
        return SkipCause.OVERLAP if target.task is not None and not target.keeps_due_cycles else None

    @staticmethod
    def _report_due(target: TargetSchedule, now: float) -> None:
        for probe, at in target.job.next_due(now).items():
            target.sinks.set_next_due(target.job.name, probe, at)

    # Running ------------------------------------------------------------------------------------------------------

    async def _run_target(self, target: TargetSchedule, suspicion: Confirmation | None = None) -> None:
        """Check a suspicion, then run the queued cycles: extra runs follow, and cycles that fell due meanwhile."""
        over = False
        try:
            if suspicion is not None:
                await self._check_suspicion(target, suspicion)
                over = target.cancelled
            while (target.queued_cycles or target.repetition) and not self._draining and not over:
                if target.queued_cycles:
                    (*missed, latest), target.queued_cycles = target.queued_cycles, []
                    self._skip(target, SkipCause.OVERLAP, len(missed))
                    await self._cycle(target, latest)
                elif target.repetition is not None:
                    await self._repeat(target, target.repetition)
                over = target.cancelled
        finally:
            target.repetition = None
            self._skip(target, SkipCause.DRAINING if self._draining else SkipCause.OVERLAP, len(target.queued_cycles))
            target.task, target.queued_cycles = None, []
            self._switch_job_soon(target)

    def suspect(self, name: str, overdue_seconds: float = 0.0) -> None:
        """Start the confirm runs of a target now, because a connect between its cycles failed or is overdue.

        Nothing happens while a cycle or a confirm run is under way, unless `connect` passed when it last ran, and for
        `TRUSTED_CYCLES` after a suspicion that was not confirmed: a flapping path costs a bounded number of sessions.
        """
        target, loop = self._targets.get(name), asyncio.get_running_loop()
        if target is None or self._draining or target.task is not None or not target.may_be_suspected(loop.time()):
            return
        doubt = Doubt(loop.time() - overdue_seconds, target.job.probes[-1], first_number=0)
        suspicion = self._doubted(target, doubt)
        if suspicion is not None:
            target.task = loop.create_task(self._run_target(target, suspicion), name=f"suspicion-{name}")

    def _suspect_waiting(
        self, target: TargetSchedule, request: ProbeRequest, group: asyncio.TaskGroup, overdue: Overdue
    ) -> None:
        """Start the confirm runs of a cycle whose session waits longer than usual; it goes on waiting."""
        now = asyncio.get_running_loop().time()
        if self._draining or not target.may_be_suspected(now, request.depth):
            return
        of_connects = overdue.phase in PHASES_OF_PROBE[Probe.CONNECT]
        doubt = Doubt(now - overdue.seconds, request.depth, request.identity, of_connects, waiting=True)
        suspicion = target.early = self._doubted(target, doubt)
        if suspicion is not None:
            group.create_task(self._check_suspicion(target, suspicion))

    async def _check_suspicion(self, target: TargetSchedule, suspicion: Confirmation) -> None:
        """Run the confirm runs of a suspicion; without their unanimous failure the target is as good as before."""
        passed, confirmed = target.passed, False
        try:
            confirmed = await self._confirm(target, suspicion)
        except Exception:
            _logger.exception("a suspicion of %s broke: please report this", target.job.name)
        if not confirmed:
            target.passed |= passed
            if target.cancelled:
                return
            target.trusted_until = asyncio.get_running_loop().time() + TRUSTED_CYCLES * target.job.interval
        outcome = SuspicionOutcome.CONFIRMED if confirmed else SuspicionOutcome.UNCONFIRMED
        target.sinks.record_suspicion(target.job.name, outcome)

    async def _cycle(self, target: TargetSchedule, cycle: int) -> None:
        """Run a cycle, and the confirm runs of its failure, unless those of its long wait have answered already.

        Where no confirm run may follow, repeat runs may.
        """
        target.early = None
        try:
            async with asyncio.TaskGroup() as group:
                failed = await self._run_scheduled(target, cycle, group)
            early = target.early
            if early is not None and early.results:
                target.passed |= early.passed
            elif failed is not None and not self._draining and not await self._confirm_failure(target, failed):
                target.repetition = repetition(target.job, failed, asyncio.get_running_loop().time())
            if target.repetition is not None and target.repetition.has_passed(target.passed):
                target.repetition = None
        except Exception:
            _logger.exception("a cycle of %s broke: please report this", target.job.name)

    async def _confirm_failure(self, target: TargetSchedule, failed: Result) -> bool:
        """Run the confirm runs of a failed cycle; False if none may follow it."""
        of_connects = failed.verdicts.get(Probe.CONNECT) is Verdict.FAIL
        doubt = Doubt(asyncio.get_running_loop().time(), failed.depth, failed.identity, of_connects)
        confirmation = self._doubted(target, doubt) if confirmable(failed) else None
        if confirmation is not None:
            await self._confirm(target, confirmation)
        return confirmation is not None

    async def _repeat(self, target: TargetSchedule, run: Repetition) -> None:
        """Wait for a repeat run's time, or for a cycle that falls due before it, and run it if it has come."""
        target.due_or_over.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(run.at):
                await target.due_or_over.wait()
        if target.due_or_over.is_set():
            return
        try:
            result = await self._repeat_once(target, run)
        except Exception:
            result = None
            _logger.exception("a repeat run of %s broke: please report this", target.job.name)
        now = asyncio.get_running_loop().time()
        target.repetition = None if result is None else run.after(result, target.job, now)

    async def _repeat_once(self, target: TargetSchedule, run: Repetition) -> Result | None:
        """Run it as the first identity that has room; None if none has."""
        self.check_clock_step()
        job = target.job
        for identity in run.identities(job):
            cycle = job.cycle_at(self._clock.wall())
            outcome = await self._run(ProbeRequest(job, cycle, Trigger.REPEAT, run.failed.depth, identity))
            if isinstance(outcome, Result):
                target.sinks.record_result(outcome)
                if outcome.decided:
                    target.is_first_failure(outcome)
                return outcome
        return None

    def _skip(self, target: TargetSchedule, cause: SkipCause, times: int = 1) -> None:
        for _ in range(times):
            target.sinks.record_skip(Skip(target.job.name, cause))

    async def _run(self, request: ProbeRequest) -> Result | Skip:
        """Run one session, if `max_sessions` permits one more."""
        if self.in_flight + self._other_sessions() >= self.max_sessions:
            return Skip(request.job.name, SkipCause.CAPACITY)
        self.in_flight += 1
        try:
            return await self._run_session(request)
        finally:
            self.in_flight -= 1

    async def _run_scheduled(self, target: TargetSchedule, cycle: int, group: asyncio.TaskGroup) -> Result | None:
        """Run a cycle; return its result if it is the first failure after a pass.

        `group` runs what begins while the session waits.
        """
        job = target.job
        patience = min(job.interval, MAX_WAIT_SECONDS)
        request = ProbeRequest(job, cycle, Trigger.SCHEDULE, job.depth(cycle), job.identity(cycle), patience=patience)
        report = partial(self._suspect_waiting, target, request, group)
        try:
            outcome = await self._run(request._replace(report_overdue=report))
        except asyncio.CancelledError:
            self._skip(target, SkipCause.DRAINING)
            raise
        if isinstance(outcome, Skip):
            target.sinks.record_skip(outcome)
            return None
        if target.confirmation is not None:
            target.confirmation.settle(outcome)
        target.sinks.record_result(outcome)
        if outcome.impairment is not None:
            return None
        if not outcome.decided:  # the exporter stalled, or the server asked for the withheld token
            self._skip(target, SkipCause.DISTORTED if outcome.void else SkipCause.RESTING)
            return None
        target.sinks.record_cycle(outcome)
        return outcome if target.is_first_failure(outcome) else None

    def _doubted(self, target: TargetSchedule, doubt: Doubt) -> Confirmation | None:
        """Return the confirm runs of a doubt, which cycles that fall due now wait for; None: nobody can run one."""
        confirmation = Confirmation(
            target.job, doubt, partial(self._open_confirm_run, target), partial(self._record_confirm_run, target)
        )
        if not confirmation.is_possible or target.cancelled:
            return None
        target.confirmation = confirmation
        return confirmation

    async def _confirm(self, target: TargetSchedule, confirmation: Confirmation) -> bool:
        """Run the confirm runs, which answer queued cycles; True if all of them failed."""
        try:
            return await confirmation.run()
        finally:
            target.confirmation = None
            target.passed |= confirmation.passed
            if confirmation.skip is not None:  # the cycles that waited for it are skipped for the same cause
                missed, target.queued_cycles = target.queued_cycles[:-1], target.queued_cycles[-1:]
                self._skip(target, confirmation.skip.cause, len(missed))

    async def _open_confirm_run(self, target: TargetSchedule, depth: Probe, identity: str | None) -> Result | Skip:
        job = target.job
        self.check_clock_step()  # with an outdated clock the ledger may take held slots for free
        if identity is not None or not job.identities:
            depth = max([depth, *map(job.depth, target.queued_cycles)], key=lambda probe: probe.rank)
        return await self._run(ProbeRequest(job, job.cycle_at(self._clock.wall()), Trigger.CONFIRM, depth, identity))

    def _record_confirm_run(self, target: TargetSchedule, result: Result) -> None:
        target.sinks.record_result(result)
        if result.decided:
            self._answer_queued_cycles(target, result)

    def _answer_queued_cycles(self, target: TargetSchedule, result: Result) -> None:
        """Record the result for queued cycles of its depth or less; deeper ones stay queued."""
        target.is_first_failure(result)
        queued_cycles, target.queued_cycles = target.queued_cycles, []
        for cycle in queued_cycles:
            depth = target.job.depth(cycle)
            if depth.rank <= result.depth.rank:
                target.sinks.record_cycle(_limited_to(depth, result))
            else:
                target.queued_cycles.append(cycle)


def _limited_to(depth: Probe, result: Result) -> Result:
    """Return the result as a cycle of this depth sees it."""
    verdicts = {probe: verdict for probe, verdict in result.verdicts.items() if probe.rank <= depth.rank}
    return replace(result, depth=depth, verdicts=verdicts)
