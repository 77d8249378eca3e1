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
        self._ownerless = 0
        self._created = 0
        self._refused = 0

    def take(self, user: str, connection_id: str, now: float) -> bool:
        """Create a manager; False if the user is at the limit even after the emergency clean-up of that user."""
        self._background(now)
        managers = self._of_user.setdefault(user, {})
        if len(managers) >= self.limit:
            self._drop(user, [held for held, active in managers.items() if now - active > self._release])
            managers = self._of_user.setdefault(user, {})
        if len(managers) >= self.limit:
            self._refused += 1
            return False
        managers[connection_id] = now
        self._created += 1
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

    def leak_ownerless(self, count: int) -> None:
        """Add managers that are no user's: they count in the figures alone."""
        self._ownerless += count
        self._created += count

    def has(self, user: str, connection_id: str) -> bool:
        """True while the connection has its manager; without one its messages are ignored."""
        return connection_id in self._of_user.get(user, {})

    def counts(self) -> dict[str, int]:
        """How many managers each user holds."""
        return {user: len(managers) for user, managers in self._of_user.items()}

    def count(self, user: str) -> int:
        """How many managers the user holds."""
        return len(self._of_user.get(user, {}))

    def metrics(self, now: float) -> dict[str, int]:
        """The factory's own figures."""
        self._background(now)
        active = sum(map(len, self._of_user.values())) + self._ownerless
        return {
            "managers_created": self._created,
            "managers_active": active,
            "managers_cleaned_up": self._created - active,
            "users_with_active_managers": len(self._of_user),
            "resource_limit_hits": self._refused,
        }

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
