"""Seconds from an outage that stays to `ws_probe_outage`, with and without a sentinel, at every phase of the cycle.

On a clock that jumps: `cd tests && ../.venv/bin/python -m bench.sentinel`. A scrape and an evaluation come on top.
"""

import asyncio
from collections.abc import Iterator
from statistics import median

from support import virtual_clock
from support.sentinels import OFF, ON, until_phase, watched

PHASES = [0.25 + 0.5 * number for number in range(40)]
"""Seconds after a cycle at which an outage begins; the shipped interval is 20 s."""
ONE = {"identities": {"only": "staging-e2e-user-001"}}
ROWS = {
    "refused": (False, {}),
    "silent": (True, {}),
    "refused, pool of one": (False, ONE),
    "refused, confirm.after 5s": (False, {"confirm": {"after": "5s"}}),
}
"""Row → whether the backend is silent instead of refusing, and settings."""


def seconds_to_outage(phase: float, *, silent: bool, **changes: object) -> float:
    """Return the seconds to the outage, if the backend goes away that long after a cycle."""
    begun = []

    async def story(target):
        await asyncio.sleep(until_phase(target, phase))
        begun.append(asyncio.get_running_loop().time())
        target.leave(silent=silent)
        await asyncio.sleep(150)

    return virtual_clock.run(lambda loop: watched(loop, story, **changes)).out_at - begun[0]


def measure() -> Iterator[tuple[str, list[float], list[float]]]:
    """Yield row, seconds without, and seconds with a sentinel every 5 s."""
    for row, (silent, changes) in ROWS.items():
        off, on = ([seconds_to_outage(at, silent=silent, **changes, **each) for at in PHASES] for each in (OFF, ON))
        yield row, off, on


def main() -> None:
    """Print median and worst, side by side."""
    print(f"{'outage':28}{'without: median':>16}{'worst':>8}{'with: median':>16}{'worst':>8}")
    for row, off, on in measure():
        print(f"{row:28}{median(off):16.1f}{max(off):8.1f}{median(on):16.1f}{max(on):8.1f}")


if __name__ == "__main__":
    main()
