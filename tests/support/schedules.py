"""Targets of a schedule on a clock that jumps, when their cycles are due, and sessions of any length and outcome."""

import asyncio
import zlib

from exporter.result import Probe, Reason, Result, Verdict
from support import harness


def mapping(standin, **changes):
    """A target with time enough between its cycles for two confirm runs."""
    return harness.target(standin, **{"interval": "20s", "timeout": "5s", "close_timeout": "1s", **changes})


def dues(name, interval, begin, end):
    """When the cycles of a target are due, by arithmetic of our own."""
    step = round(interval * 1e6)
    offset = zlib.crc32(name.encode()) * step >> 32
    first = -((offset - round(begin * 1e6)) // step)
    last = (round(end * 1e6) - offset) // step
    return [(offset + number * step) / 1e6 for number in range(first, last + 1)]


async def instant(turn, *, verdict=Verdict.PASS, lasts=0.0):
    """A session of that length and outcome, for what no socket matters to."""
    await asyncio.sleep(lasts)
    asked = [probe for probe in Probe if probe.rank <= turn.depth.rank]
    return Result(
        target=turn.job.name, identity=turn.identity, run="r", depth=turn.depth, trigger=turn.trigger, started_at=0.0,
        verdicts=dict.fromkeys(asked, verdict), reason=None if verdict is Verdict.PASS else Reason.FACTORY,
    )  # fmt: skip


class Nowhere:
    """Where no stand-in is needed."""

    key_file = "key"

    @staticmethod
    def url(path, **_):
        return f"ws://127.0.0.1:1{path}"
