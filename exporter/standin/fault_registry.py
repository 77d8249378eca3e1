"""The active faults, per path; they can change while the stand-in runs.

Rule 1: no I/O. Rule 2: a fault that acts before the path is known is set on "*"; on another path it is refused.
"""

import random
import re
from collections.abc import Iterable
from typing import Final

from exporter.standin.faults import FAULT_RANKS, LISTENER_STAGES, ActiveFault, FaultStage, parse

ALL_PATHS: Final = "*"
ALIASES: Final = {"/websocket": "/ws"}
OWN_PATH: Final = re.compile(r"/ws/[a-z0-9-]{1,63}")
MAX_PATHS: Final = 1000
"""Paths that a client may bring into being."""


def canonical(path: str) -> str:
    """The path under which a backend is kept; raises ValueError if it is none."""
    if path != ALL_PATHS and not re.fullmatch(r"/[!-~]{0,255}", path):
        raise ValueError(f"{path!r} is no path: write /ws, /ws/NAME or {ALL_PATHS} for all")
    return ALIASES.get(path, path)


class FaultRegistry:
    """Active faults per path. `rng` draws who is met by a fault with a share."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._active: dict[str, tuple[ActiveFault, ...]] = {}

    def set(self, path: str, specs: Iterable[str]) -> None:
        """Put these faults in place of the path's; raises ValueError and changes nothing if one is wrong."""
        path = canonical(path)
        active = [parse(spec) for spec in specs]
        early = next((fault for fault in active if fault.needs_listener and path != ALL_PATHS), None)
        if early is not None:
            raise ValueError(f'{early.spec} acts before a path is known: set it on "{ALL_PATHS}", not on {path}')
        self._active[path] = tuple(sorted(active, key=lambda fault: FAULT_RANKS[fault.name]))

    def clear(self, path: str) -> None:
        """Switch the path's faults off; "*": those set on "*"."""
        path = canonical(path)
        if path in self._active:
            self._active[path] = ()

    def specs(self, path: str) -> tuple[str, ...]:
        """The specs set on the path."""
        return tuple(fault.spec for fault in self._active.get(canonical(path), ()))

    def active(self) -> dict[str, list[str]]:
        """All that is switched on, by path."""
        return {path: [fault.spec for fault in faults] for path, faults in self._active.items() if faults}

    def knows(self, path: str) -> bool:
        """True if faults were ever set on the path, which makes it one of the stand-in's."""
        return path in self._active

    @property
    def refusing(self) -> bool:
        """True if the listeners must not listen."""
        return any(fault.name == "refuse" for fault in self._active.get(ALL_PATHS, ()))

    def of_listener(self) -> list[ActiveFault]:
        """The faults of a connection whose path is not yet known."""
        return self._drawn(
            fault for fault in self._active.get(ALL_PATHS, ()) if set(fault.stages) & set(LISTENER_STAGES)
        )

    def of_path(self, path: str) -> list[ActiveFault]:
        """The faults of a connection to this path, in the order of the table."""
        there = [*self._active.get(ALL_PATHS, ()), *(self._active.get(path, ()) if path != ALL_PATHS else ())]
        return self._drawn(
            sorted(
                (fault for fault in there if not set(fault.stages) & set(LISTENER_STAGES)),
                key=lambda f: FAULT_RANKS[f.name],
            )
        )

    def _drawn(self, faults: Iterable[ActiveFault]) -> list[ActiveFault]:
        return [fault for fault in faults if fault.share >= 1 or self._rng.random() < fault.share]


def at(stage: FaultStage, faults: Iterable[ActiveFault]) -> list[ActiveFault]:
    """The faults that act at this stage."""
    return [fault for fault in faults if stage in fault.stages]
