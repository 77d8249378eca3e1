"""Makes jobs from a config: when, how deep and as whom sessions run; the schedule is proved safe.

Rule 1: the same config gives the same plan, after every restart and on every machine; time is an argument.
Rule 2: depth and identity of a cycle depend only on its absolute number, so a restart cannot bunch up the sessions of
an identity.
Rule 3: an unsafe schedule is not a plan but a problem that names a safe schedule (docs/design.md#budget).
"""

from exporter.plan.advice import plan_notes, plan_warnings
from exporter.plan.cadence import BetweenCycles, Cadence, SlotPattern
from exporter.plan.canary import canary_job, canary_pace
from exporter.plan.canary_schedule import CanaryPace
from exporter.plan.difference import PlanDiff, plan_diff
from exporter.plan.hold import hold_job
from exporter.plan.job import DEFAULT_PORTS, Job
from exporter.plan.planning import Plan, plan
from exporter.plan.refusal_cost import refusal_cost
from exporter.plan.sharding import Shard, shard_of
from exporter.plan.side_schedule import SideSchedule
from exporter.plan.stats_cost import stats_cost
from exporter.plan.text import plan_lines

__all__ = [
    "DEFAULT_PORTS",
    "BetweenCycles",
    "Cadence",
    "CanaryPace",
    "Job",
    "Plan",
    "PlanDiff",
    "Shard",
    "SideSchedule",
    "SlotPattern",
    "canary_job",
    "canary_pace",
    "hold_job",
    "plan",
    "plan_diff",
    "plan_lines",
    "plan_notes",
    "plan_warnings",
    "refusal_cost",
    "shard_of",
    "stats_cost",
]
