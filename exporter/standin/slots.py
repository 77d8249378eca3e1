"""The manager factory's memory: one manager per connection, leaked however cleanly it ends.

Source: docs/backend-protocol.md#the-manager-factory.

Rule 1: no clock: the time comes in, in seconds of any monotonic clock. Rule 2: nothing is ever taken out because a
connection ended; that is the fault of the incident.
"""

import math
from typing import Final


class UserManagers:
    """Managers of one process, per user and connection, with the time of their last activity.

    Activity is connect, disconnect and server push; what the client sends is none. Live but idle connections lose
    their manager like leaked ones.
    """

    def __init__(self, limit: int, *, release: float, idle: float, cleanup: float, now: float) -> None:
        self.limit: Final = limit
        self._release = release
        self._idle = idle
        self._cleanup = cleanup
        self._started = now
        self._passes = 0
        self._of_user: dict[str, dict[str, float]] = {}

    def take(self, user: str, connection_id: str, now: float) -> bool:
        """Make a manager; False if the user's limit is met, even after the emergency clean-up of that user."""
        self._background(now)
        mine = self._of_user.setdefault(user, {})
        if len(mine) >= self.limit:
            self._drop(user, [held for held, active in mine.items() if now - active > self._release])
            mine = self._of_user.setdefault(user, {})
        if len(mine) >= self.limit:
            return False
        mine[connection_id] = now
        return True

    def touch(self, user: str, connection_id: str, now: float) -> None:
        """Note activity, if the manager is still there."""
        self._background(now)
        mine = self._of_user.get(user, {})
        if connection_id in mine:
            mine[connection_id] = now

    def has(self, user: str, connection_id: str) -> bool:
        """True while the connection has its manager; without one it is deaf."""
        return connection_id in self._of_user.get(user, {})

    def count(self, user: str) -> int:
        """How many managers the user holds."""
        return len(self._of_user.get(user, {}))

    def _background(self, now: float) -> None:
        """Do what the last pass before `now` did: nothing has happened since, or it would have been done then."""
        passes = math.floor((now - self._started) / self._cleanup) if self._cleanup > 0 else 0
        if passes <= self._passes:
            return
        self._passes = passes
        at = self._started + passes * self._cleanup
        for user, mine in list(self._of_user.items()):
            self._drop(user, [held for held, active in mine.items() if at - active > self._idle])

    def _drop(self, user: str, connection_ids: list[str]) -> None:
        mine = self._of_user[user]
        for connection_id in connection_ids:
            del mine[connection_id]
        if not mine:
            del self._of_user[user]
