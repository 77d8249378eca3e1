"""Seconds from an outage to `ws_probe_outage` and to its page, at every phase of the cycle, by settings side by side.

On a clock that jumps: `cd tests && ../.venv/bin/python -m bench.sentinel`. A scrape, an evaluation and the group of
Alertmanager are drawn uniformly. `earlier`: the defaults before early suspicion, on this build.
"""

import asyncio
import random
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from support import virtual_clock
from support.sentinels import OFF, ON, ONE, Trouble, job_of, until_phase, watched

from exporter.plan.detection import GROUP_SECONDS

PHASES = [0.25 + 0.5 * number for number in range(40)]
"""Seconds after a cycle at which an outage begins; the shipped interval is 20 s."""
DRAWS = 25
"""Pages of each outage."""
SETTINGS = {
    "earlier, 15 s": ({"confirm": {"after": "6s"}, **OFF}, 15.0),
    "defaults, 15 s": (OFF, 15.0),
    "defaults, 5 s": (OFF, 5.0),
    "sentinel, 5 s": (ON, 5.0),
}
"""Name → settings, and seconds between scrapes and between evaluations."""
ROWS = {
    "refused": (Trouble.REFUSED, {}),
    "refused at admission, factory": (Trouble.FACTORY, {}),
    "refused at admission, token": (Trouble.TOKEN, {}),
    "silent": (Trouble.SILENT, {}),
    "refused, pool of one": (Trouble.REFUSED, ONE),
    "silent, pool of one": (Trouble.SILENT, ONE),
    "turned away after the 101, pool of one": (Trouble.FACTORY, ONE),
}
"""Row → what sessions meet, and settings."""


class Measured(NamedTuple):
    """Seconds to the outage, and to its page."""

    row: str
    settings: str
    to_outage: list[float]
    to_page: list[float]


def seconds_to_outage(phase: float, trouble: Trouble, **changes: object) -> float:
    """Return the seconds to the outage, if the backend goes away that long after a cycle."""
    begun = []

    async def story(target):
        await asyncio.sleep(until_phase(target, phase))
        begun.append(asyncio.get_running_loop().time())
        target.leave(trouble)
        await asyncio.sleep(150)

    return virtual_clock.run(lambda loop: watched(loop, story, **changes)).out_at - begun[0]


def measure() -> Iterator[Measured]:
    """Yield each row with each settings."""
    dice = random.Random(17)
    for row, (trouble, pool) in ROWS.items():
        for name, (changes, step) in SETTINGS.items():
            took = [seconds_to_outage(phase, trouble, **pool, **changes) for phase in PHASES]
            pages = [
                seconds + dice.uniform(0, step) + dice.uniform(0, step) + GROUP_SECONDS
                for seconds in took
                for _ in range(DRAWS)
            ]
            yield Measured(row, name, took, pages)


def main() -> None:
    """Print median and worst of each, and what each settings cost."""
    print(f"{'outage':40}{'settings':16}{'outage: median':>15}{'worst':>7}{'page: median':>14}{'worst':>7}")
    for one in measure():
        figures = (
            f"{median(one.to_outage):15.1f}{max(one.to_outage):7.1f}{median(one.to_page):14.1f}{max(one.to_page):7.1f}"
        )
        print(f"{one.row:40}{one.settings:16}{figures}")
    print(f"\n{'settings':16}{'planned connects/min':>22}{'slots of a user':>17}{'of the pool of one':>20}")
    for name, (changes, _) in SETTINGS.items():
        job, alone = job_of(**changes), job_of(**changes, **ONE)
        slots = f"{max(job.peaks.values()):17}{max(alone.peaks.values()):20}"
        print(f"{name:16}{job.scheduled_rate:22}{slots}")


if __name__ == "__main__":
    main()
