"""The drill on every engine, and one table: make engines, or python -m engines.table in tests/.

All of them judge the same exporters, so that their seconds can be compared. What VictoriaMetrics has scraped can be
queried a second or two later, whatever the factor: so it is larger than that of `make drill`.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

from drill.drill import play_beside, table
from engines.engines import ALL

SHORT = 28
"""Letters of a row's name."""


def summary(judged):
    """A line for each engine, then the seconds to page of each signature beside each other."""
    head = ("engine", "signatures right", "median s to page", "worst", "stand-ins late, s")
    rows = [head, *(_line(engine, outcome) for engine, outcome in judged)]
    numbers = "  ".join(f"{number:>4}" for number in range(1, len(judged) + 1))
    beside = [f"{'s to notification on engine'.ljust(SHORT)}  {numbers}"]
    beside += [
        f"{column[0].name[:SHORT].ljust(SHORT)}  {'  '.join(_cell(one) for one in column)}".rstrip()
        for column in zip(*(outcome.played for _, outcome in judged), strict=True)
    ]
    return "\n".join([*_aligned(rows), "", *beside])


def _line(engine, outcome):
    right = sum(not one.faults for one in outcome.played)
    pages = sorted(one.took for one in outcome.played if one.took is not None and one.notify[0].endswith("critical"))
    median, worst = (f"{statistics.median(pages):.0f}", f"{pages[-1]:.0f}") if pages else ("-", "-")
    return engine.title, f"{right} of {len(outcome.played)}", median, worst, f"{outcome.lag:.1f}"


def _cell(one):
    return f"{'-' if one.took is None else format(one.took, '.0f')}{'!' if one.faults else ' '}".rjust(5)[1:]


def _aligned(rows):
    numbered = [("#" if number == 0 else str(number), *row) for number, row in enumerate(rows)]
    widths = [max(len(row[column]) for row in numbered) for column in range(len(numbered[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in numbered]


async def main(arguments):
    """Play the drill; whether all signatures are right on all engines."""
    engines = [one for one in ALL if not arguments.engine or one.name in arguments.engine]
    with tempfile.TemporaryDirectory(prefix="engines-") as folder:
        outcomes = await play_beside(Path(folder), engines, arguments.factor, arguments.only)
    judged = list(zip(engines, outcomes, strict=True))
    for engine, outcome in judged:
        print(f"\n{engine.title}\n{table(outcome)}")
    print(f"\n{summary(judged)}")
    if any(outcome.busy for outcome in outcomes):
        print("this machine was too busy: play it again with a larger factor (make engines DRILL_FACTOR=1/3)")
    return all(not outcome.faults for outcome in outcomes)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--engine", action="append", choices=[one.name for one in ALL], help="repeat it for several")
    options.add_argument("--only", action="append", help="a signature; repeat it for several")
    options.add_argument("--factor", type=Fraction, default=Fraction(1, 5), help="of the real time; default 1/5")
    sys.exit(not asyncio.run(main(options.parse_args())))
