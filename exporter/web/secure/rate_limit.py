"""The limit on the rate of requests: a token bucket.

Rule 1: time is an argument.
"""

from exporter.config import RateLimit


class RequestRateLimit:
    """`burst` requests at once, one more per `interval`, for all clients together, as in the exporter-toolkit."""

    def __init__(self, settings: RateLimit) -> None:
        self.settings = settings
        self._tokens = float(settings.burst)
        self._updated_at: float | None = None

    def wait(self, now: float) -> float:
        """Take a token and return 0.0, or return the seconds until there is one."""
        if self._updated_at is not None:
            gained = (now - self._updated_at) / self.settings.interval
            self._tokens = min(float(self.settings.burst), self._tokens + gained)
        self._updated_at = now
        if self._tokens < 1:
            return (1 - self._tokens) * self.settings.interval
        self._tokens -= 1
        return 0.0
