"""Runs the refusal probe once for each case of a job, over a real prober and ledger."""

from exporter.side_probes import RefusalProbe, SideRun


class Outcomes:
    """A sink that keeps what it is told."""

    def __init__(self):
        self.told = []

    def record_refusal(self, target, case, outcome):
        self.told.append((target, case, outcome))


async def refused(rig, job, case):
    """What became of this case's credential in one run, as the sink is told."""
    sink = Outcomes()
    schedule = next(one for one in job.side_schedules if one.variant == case)
    run = SideRun(job, schedule, schedule.cadence.cycle_at(rig.clock.wall()))
    await RefusalProbe(sink).run(run, rig.prober.run)
    ((_, _, outcome),) = sink.told
    return outcome
