"""How many requests are answered: a bucket of permissions that fills as time goes.

Rule 1: time comes in.
"""

from exporter.config import RateLimit


class RequestRateLimit:
    """`burst` at once, one more after each `interval`, for all clients together, as in the exporter-toolkit."""

    def __init__(self, settings: RateLimit) -> None:
        self.settings = settings
        self._there = float(settings.burst)
        self._at: float | None = None

    def wait(self, now: float) -> float:
        """Take a permission: 0.0; or seconds until there is one."""
        if self._at is not None:
            self._there = min(float(self.settings.burst), self._there + (now - self._at) / self.settings.interval)
        self._at = now
        if self._there < 1:
            return (1 - self._there) * self.settings.interval
        self._there -= 1
        return 0.0
