"""Healthy weather: blips shorter than 10 s, deploys, cold starts and slow hours, which must page nobody.

On a clock that jumps, over scheduler, side probes and outage detector (`support.sentinels`). Blips are some minutes
apart: two within six cycles are a flapping path, and may be an outage.
"""

import asyncio
import random

from support.sentinels import USUAL_SECONDS, Trouble, Watched, job_of

SPELL_SECONDS = 600.0
"""Each holds one trouble."""
LATEST_SECONDS = 380.0
"""Into a spell, at which its trouble begins at the latest: the next one's is more than six cycles later."""
LONGEST_BLIP_SECONDS = 9.9
SLOW_SECONDS = 8.0
"""Of one session in fifty in a slow hour, and at most in a cold start: 80 % of the shipped timeout."""
COLD_SECONDS = 40.0
SPELLS_PER_DAY = 144
DEPLOY_SPELLS = range(20, SPELLS_PER_DAY, 48)
SLOW_SPELLS = range(24, 30)
"""Spells of a day with a deploy and a cold start, and those of an hour in which the backend is slow; else blips."""


async def days(target: "Counted", dice: random.Random, spells: int) -> None:
    """Let so many spells pass."""
    for spell in range(spells):
        of_day = spell % SPELLS_PER_DAY
        target.slow = (lambda: SLOW_SECONDS if dice.random() < 0.02 else 0.2) if of_day in SLOW_SPELLS else usual
        before, lasts = dice.uniform(0, LATEST_SECONDS), dice.uniform(0.1, LONGEST_BLIP_SECONDS)
        await asyncio.sleep(before)
        deploys = of_day in DEPLOY_SPELLS
        target.leave(Trouble.REFUSED if deploys else dice.choice([*Trouble]))
        await asyncio.sleep(lasts)
        if deploys:
            target.slow = lambda: dice.uniform(1.0, SLOW_SECONDS)
        target.come_back()
        await asyncio.sleep(COLD_SECONDS)
        if deploys:
            target.slow = usual
        await asyncio.sleep(SPELL_SECONDS - before - lasts - COLD_SECONDS)
        target.forget()


def usual() -> float:
    """The seconds of a session of a healthy backend."""
    return USUAL_SECONDS


class Counted(Watched):
    """A target that keeps numbers and no results. `failed`, `suspected`, `confirm_sessions`, `total`: counted."""

    def __init__(self, loop, job):
        super().__init__(loop, job)
        self.failed = self.total = self.confirm_sessions = 0

    def forget(self):
        """Count what has come, and drop it."""
        self.failed += sum(result.failed for result in self.cycles)
        self.total += len(self.sessions)
        self.confirm_sessions += len(self.confirm_runs)
        for kept in (self.results, self.cycles, self.sessions, self.outcomes, self.skips):
            kept.clear()


async def healthy(loop, spells: int, seed: int, **changes) -> Counted:
    """Run a target of these settings for so many spells of healthy weather."""
    target = Counted(loop, job_of(**changes))
    target.begin()
    await days(target, random.Random(seed), spells)
    await target.stop()
    return target
