"""What all connections of a stand-in share: processes, faults, clocks, random numbers.

Rule 1: no I/O; `connection` and `server` do it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from exporter.standin.backend import Backend
from exporter.standin.fault_registry import ALIASES, ALL_PATHS, MAX_PATHS, OWN_PATH, FaultRegistry, canonical
from exporter.standin.timings import Timings
from exporter.standin.transport_paths import TRANSPORT_PATHS


@dataclass(slots=True)
class ServerState:
    """The state behind the sockets. `key`: the HMAC secret. `slots`: managers per user and path.

    `login_breaker`: each endpoint has a circuit breaker of its own. `ids`, `rng`: random numbers of ids and of faults.
    """

    key: bytes = field(repr=False)
    timings: Timings
    slots: int
    clock: Callable[[], float]
    wall: Callable[[], float]
    ids: random.Random
    rng: random.Random
    fault_registry: FaultRegistry
    login_breaker: bool = False
    backends: dict[str, Backend] = field(default_factory=dict)

    def backend(self, path: str) -> Backend | None:
        """The process behind a path, started on its first use; None if no process serves it."""
        path = ALIASES.get(path, path)
        if path not in self.backends and self._serves(path):
            self.backends[path] = Backend(
                self.key,
                slots=self.slots,
                timings=self.timings,
                rng=self.ids,
                now=self.clock(),
                login_breaker=self.login_breaker,
            )
        return self.backends.get(path)

    def _serves(self, path: str) -> bool:
        if path == ALL_PATHS:
            return False
        if path == "/ws" or path in TRANSPORT_PATHS or self.fault_registry.knows(path):
            return True
        return OWN_PATH.fullmatch(path) is not None and len(self.backends) < MAX_PATHS

    def forget(self, path: str) -> None:
        """A fresh process behind the path ("*": behind all): managers, breaker and cache are gone."""
        path = canonical(path)
        if path == ALL_PATHS:
            self.backends.clear()
        else:
            self.backends.pop(path, None)
