"""When each credential that must be refused is sent.

Rule 1: each case has a cadence of its own. The rare ones take turns, evenly spread over `rare_every`.
Rule 2: a rare case may take a slot if the backend lets it in; as the plan says, it never finds none left.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from exporter.budget import user_key
from exporter.config import rare_cases
from exporter.plan.cadence import Cadence, to_microseconds
from exporter.plan.side_schedule import SideContext, SideSchedule
from exporter.result import RefusalCase, SideProbe

FIELD: Final = "refusals"


def refusal_schedules(context: SideContext) -> Iterator[SideSchedule]:
    """Yield the schedule of each case of the target."""
    target, refusals = context.target, context.target.refusals
    if refusals is None:
        return
    rare = rare_cases(target)
    for case in refusals.cases:
        if case not in rare:
            cadence = Cadence.of(f"{target.name}/{case}", refusals.every)
            yield SideSchedule(SideProbe.REFUSAL, case, FIELD, cadence)
    turns = Cadence.of(f"{target.name}/{FIELD}", refusals.rare_every)
    for number, case in enumerate(rare):
        offset_us = (turns.offset_us + number * turns.interval_us // len(rare)) % turns.interval_us
        cadence = Cadence(turns.interval_us, offset_us)
        yield _with_user(context, case, SideSchedule(SideProbe.REFUSAL, case, FIELD, cadence), number, len(rare))


def _with_user(
    context: SideContext, case: RefusalCase, schedule: SideSchedule, number: int, count: int
) -> SideSchedule:
    """Return the schedule with its user; of those that share one, as many count a slot as may hold one at once."""
    target, limits = context.target, context.limits
    if case is RefusalCase.DISABLED_USER and target.refusals is not None and target.refusals.disabled is not None:
        return replace(schedule, user=user_key(context.authority, target.refusals.disabled), slots=1)
    if not target.identities:
        return schedule
    alias, subject = next(iter(target.identities.items()))
    gap_us = schedule.cadence.interval_us // count
    window_us = to_microseconds(limits.slot_release + target.timeout + target.close_timeout)
    slots = int(number * gap_us <= window_us)
    return replace(schedule, identity=alias, user=user_key(context.authority, subject), slots=slots)
