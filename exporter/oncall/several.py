"""One session of each of several targets, a few at a time."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from exporter.oncall.checker import Checker
from exporter.report import CheckReport
from exporter.result import Probe

MAX_CHECKS_AT_ONCE: Final = 4
"""Sessions open at a time: a hanging backend delays a quarter of the others at most, and no host gets a burst."""


async def check_each(
    checkers: Sequence[tuple[Checker, Probe]], on_report: Callable[[CheckReport], None] = lambda _: None
) -> tuple[CheckReport, ...]:
    """The check of each target at its depth, in their order; `on_report` gets each in this order, when it is there.

    A cancelled call closes the sessions that are open.
    """
    semaphore = asyncio.Semaphore(MAX_CHECKS_AT_ONCE)

    async def check(checker: Checker, depth: Probe) -> CheckReport:
        async with semaphore:
            return await checker.check_once(depth)

    tasks = [asyncio.create_task(check(*pair)) for pair in checkers]
    reports = list[CheckReport]()
    try:
        for task in tasks:
            reports.append(await task)
            on_report(reports[-1])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return tuple(reports)
