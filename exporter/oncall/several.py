"""One session of each of several targets, a few at a time."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from exporter.oncall.checker import Checker
from exporter.report import CheckReport
from exporter.result import Probe

MAX_CHECKS_AT_ONCE: Final = 4
"""Sessions at a time: a hanging backend holds up a quarter of the others, and no host gets a burst."""


async def check_each(
    asked: Sequence[tuple[Checker, Probe]], tell: Callable[[CheckReport], None] = lambda _: None
) -> tuple[CheckReport, ...]:
    """The check of each, as deep as asked, in their order; `tell` gets each in this order, as soon as it is there.

    Cancelled, it closes the sessions that are open.
    """
    free = asyncio.Semaphore(MAX_CHECKS_AT_ONCE)

    async def one(on_call: Checker, depth: Probe) -> CheckReport:
        async with free:
            return await on_call.once(depth)

    tasks = [asyncio.create_task(one(*each)) for each in asked]
    checks = list[CheckReport]()
    try:
        for task in tasks:
            checks.append(await task)
            tell(checks[-1])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return tuple(checks)
