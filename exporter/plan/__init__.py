"""Config → jobs: when, how deep, as whom; and the proof that the schedule does no harm (docs/design.md#budget).

Rule 1: same config, same plan, after every restart and on every machine. No clock: time comes in.
Rule 2: which cycle goes how deep with which identity is a function of the cycle's absolute number, never of what ran
before: a restart cannot make an identity's turns crowd.
Rule 3: a schedule that could do harm is no plan but a problem that says which schedule is safe.
"""

from exporter.plan.advice import plan_notes, plan_warnings
from exporter.plan.cadence import Cadence, SlotPattern
from exporter.plan.difference import PlanDiff, plan_diff
from exporter.plan.job import Job
from exporter.plan.planning import Plan, plan
from exporter.plan.sharding import Shard, shard_of
from exporter.plan.text import plan_lines

__all__ = [
    "Cadence",
    "Job",
    "Plan",
    "PlanDiff",
    "Shard",
    "SlotPattern",
    "plan",
    "plan_diff",
    "plan_lines",
    "plan_notes",
    "plan_warnings",
    "shard_of",
]
