"""Notices while a session runs that it waits longer than the sessions of its target do at worst."""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, Self

from exporter.classify import Wait
from exporter.result import Phase
from exporter.session.phase_timer import PhaseTimer
from exporter.transport import Clock

LOOK_SECONDS: Final = 0.25
"""Seconds between two looks at a session that waits."""
LATE_LOOK_SECONDS: Final = 0.1
"""A look that is later than this proves nothing: the exporter was held up, and the answer may lie unread."""


class Overdue(NamedTuple):
    """An answer that is overdue. `seconds`: since the moment by which it usually comes."""

    phase: Phase
    seconds: float


class WaitRule(NamedTuple):
    """`usual`: what a phase may take; None: unknown. `report`: called once, with what is overdue."""

    usual: Callable[[Phase], Wait | None]
    report: Callable[[Overdue], None]


class OverdueWatch:
    """Watches a session until it is left; without a rule it does nothing."""

    def __init__(self, timer: PhaseTimer, rule: WaitRule | None, clock: Clock) -> None:
        self._timer = timer
        self._rule = rule
        self._clock = clock
        self._handle: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        if self._rule is not None:
            self._look_later(self._rule)
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _look_later(self, rule: WaitRule) -> None:
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(LOOK_SECONDS, self._look, rule, loop.time() + LOOK_SECONDS)

    def _look(self, rule: WaitRule, due: float) -> None:
        phase, late = self._timer.phase, asyncio.get_running_loop().time() - due > LATE_LOOK_SECONDS
        wait, waited = rule.usual(phase), self._timer.waited(self._clock())
        if late or wait is None or waited < wait.overdue_after:
            self._look_later(rule)
        else:
            rule.report(Overdue(phase, waited - wait.usual))
