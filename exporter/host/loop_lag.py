"""How late the event loop runs, measured by a timer."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

TICK_SECONDS: Final = 0.025
"""Seconds between two ticks of the timer. A stall may be longer than its measured lag by up to this much."""

LAG_REPORT_SECONDS: Final = 0.5
"""Seconds between two reports of the lag."""

MIN_LAG_SECONDS: Final = 0.001
"""Seconds of lag below which a tick counts as punctual."""

MAX_LAG_SAMPLES: Final = 16_384
"""Late ticks that are remembered; they cover more than six minutes."""

LAG_SHOWN_SECONDS: Final = 60.0
"""Seconds for which a stall stays in the reports: most scrapes would miss a gauge of the last tick alone."""


class LoopLagMonitor:
    """Measures the lag of the event loop. `now`: the clock of sessions, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._late_ticks: deque[tuple[float, float]] = deque(maxlen=MAX_LAG_SAMPLES)  # (moment, lag in seconds)
        self._due: float | None = None

    def max_lag_seconds(self, since: float) -> float:
        """Return the largest lag since a moment; a stall that still lasts is included."""
        worst = 0.0 if self._due is None else max(0.0, self._now() - self._due)
        for at, lag in reversed(self._late_ticks):
            if at < since:
                break
            worst = max(worst, lag)
        return worst

    async def run(self, report: Callable[[float], None]) -> None:
        """Tick until cancelled; every `LAG_REPORT_SECONDS`, report the largest lag within `LAG_SHOWN_SECONDS`."""
        while True:
            for _ in range(round(LAG_REPORT_SECONDS / TICK_SECONDS)):
                self._due = self._now() + TICK_SECONDS
                await asyncio.sleep(TICK_SECONDS)
                at = self._now()
                if at - self._due > MIN_LAG_SECONDS:
                    self._late_ticks.append((at, at - self._due))
            report(self.max_lag_seconds(self._now() - LAG_SHOWN_SECONDS))
