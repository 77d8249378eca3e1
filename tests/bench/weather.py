"""Outages in healthy weather: there must be none, with and without a sentinel, in a pool of three and of one.

On a clock that jumps: `cd tests && ../.venv/bin/python -m bench.weather [DAYS]`, 100 days by default, 25 of each.
"""

import sys
from collections.abc import Iterator

from support import virtual_clock
from support.sentinels import OFF, ON, ONE
from support.weather import SPELLS_PER_DAY, Counted, healthy

DAYS = 100.0
TARGETS = {"three": OFF, "three, sentinel": ON, "one": ONE | OFF, "one, sentinel": ONE | ON}


def measure(days: float) -> Iterator[tuple[str, Counted]]:
    """Yield each target after its share of the days."""
    spells = round(days * SPELLS_PER_DAY / len(TARGETS))
    for seed, (name, changes) in enumerate(TARGETS.items()):
        yield name, virtual_clock.run(lambda loop, seed=seed, changes=changes: healthy(loop, spells, seed, **changes))


def main(days: float = DAYS) -> None:
    """Print what was met, and how many outages."""
    print(f"{'target':18}{'sessions':>10}{'confirm runs':>14}{'failed cycles':>15}{'suspicions':>12}{'outages':>9}")
    for name, seen in measure(days):
        begun = sum(active for _, _, active in seen.outages)
        print(f"{name:18}{seen.total:10}{seen.confirm_sessions:14}{seen.failed:15}{len(seen.suspicions):12}{begun:9}")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
