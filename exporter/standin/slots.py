"""The manager factory's memory: one manager per connection, leaked however cleanly it ends.

Source: docs/backend-protocol.md#the-manager-factory.

Rule 1: no clock: the time is an argument, in seconds of any monotonic clock.
Rule 2: the end of a connection removes nothing; that is the defect of the incident.
"""

import math
from typing import Final


class UserManagers:
    """Managers of one process, per user and connection, with the time of their last activity.

    Connect, disconnect and server push are activity; messages of the client are not. A live but idle connection loses
    its manager like a leaked one.
    """

    def __init__(self, limit: int, *, release: float, idle: float, cleanup: float, now: float) -> None:
        self.limit: Final = limit
        self._release = release
        self._idle = idle
        self._cleanup = cleanup
        self._started = now
        self._passes = 0
        self._of_user: dict[str, dict[str, float]] = {}
        self._leaked: set[str] = set()

    def take(self, user: str, connection_id: str, now: float) -> bool:
        """Create a manager; False if the user is at the limit even after the emergency clean-up of that user."""
        self._background(now)
        managers = self._of_user.setdefault(user, {})
        if len(managers) >= self.limit:
            self._drop(user, [held for held, active in managers.items() if now - active > self._release])
            managers = self._of_user.setdefault(user, {})
        if len(managers) >= self.limit:
            return False
        managers[connection_id] = now
        return True

    def touch(self, user: str, connection_id: str, now: float) -> None:
        """Record activity, if the manager still exists."""
        self._background(now)
        managers = self._of_user.get(user, {})
        if connection_id in managers:
            managers[connection_id] = now

    def leak(self, connection_id: str) -> None:
        """Let no clean-up drop this manager any more: it goes with the process."""
        self._leaked.add(connection_id)

    def has(self, user: str, connection_id: str) -> bool:
        """True while the connection has its manager; without one its messages are ignored."""
        return connection_id in self._of_user.get(user, {})

    def count(self, user: str) -> int:
        """How many managers the user holds."""
        return len(self._of_user.get(user, {}))

    def _background(self, now: float) -> None:
        """Run the last clean-up that was due before `now`; every change runs this first, so none came in between."""
        passes = math.floor((now - self._started) / self._cleanup) if self._cleanup > 0 else 0
        if passes <= self._passes:
            return
        self._passes = passes
        at = self._started + passes * self._cleanup
        for user, managers in list(self._of_user.items()):
            self._drop(user, [held for held, active in managers.items() if at - active > self._idle])

    def _drop(self, user: str, connection_ids: list[str]) -> None:
        managers = self._of_user[user]
        for connection_id in set(connection_ids) - self._leaked:
            del managers[connection_id]
        if not managers:
            del self._of_user[user]
