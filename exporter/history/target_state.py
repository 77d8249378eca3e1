"""The state of one target, and since when."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from exporter.result import Probe, Result, Verdict


class StateKind(StrEnum):
    """The state of a target in one word."""

    PASSING = "passing"
    FAILING = "failing"
    IMPAIRED = "impaired"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TargetState:
    """The state of a target.

    `since`: unix seconds at which the first session with this state began; 0.0 if there was none.
    `probe`: the shallowest probe that fails; None if none does.
    `result`: the session that shows the state; None if it is no longer in memory.
    """

    kind: StateKind
    since: float = 0.0
    probe: Probe | None = None
    result: Result | None = None


UNKNOWN_STATE: Final = TargetState(StateKind.UNKNOWN)

_PASSING, _FAILING, _FAIL, _NONE = StateKind.PASSING, StateKind.FAILING, Verdict.FAIL, Verdict.NONE
"""Bound to names because every session runs `TargetStateTracker.add`, and a look-up in an enum costs as much as a line
of it."""


class TargetStateTracker:
    """Derives the state from the last verdict of each probe: a session that only connects does not clear `send`.

    A failure of the exporter hides the proved state without changing it: afterwards `since` is what it was before.
    """

    __slots__ = ("_impaired_since", "_kind", "_latest", "_probes", "_since", "_verdicts")

    def __init__(self) -> None:
        self._latest: Result | None = None
        self._probes: tuple[Probe, ...] = tuple(Probe)
        self._verdicts: dict[Probe, tuple[Verdict, Result | None]] = {}
        self._kind = StateKind.UNKNOWN
        self._since = 0.0
        self._impaired_since: float | None = None

    @property
    def latest(self) -> Result | None:
        """The last session, whatever its outcome."""
        return self._latest

    @property
    def verdicts(self) -> Mapping[Probe, Verdict]:
        """The last verdict of each probe that ever had one."""
        return {probe: verdict for probe, (verdict, _) in self._verdicts.items()}

    @property
    def since(self) -> float:
        """Unix seconds since when the proved state is what it is."""
        return self._since

    @property
    def impaired_since(self) -> float | None:
        """Unix seconds since when the exporter itself fails; None if it does not."""
        return self._impaired_since

    def add(self, result: Result) -> None:
        """Record the newest session."""
        self._latest = result
        for probe, verdict in result.verdicts.items():
            if verdict is not _NONE:
                self._verdicts[probe] = verdict, result
        kind = self._proved_kind()
        if kind is not self._kind:
            self._kind, self._since = kind, result.started_at
        if result.impairment is None:
            self._impaired_since = None
        elif self._impaired_since is None:
            self._impaired_since = result.started_at

    def set_probes(self, probes: tuple[Probe, ...]) -> None:
        """Set the probes that count from now on; verdicts of other probes are dropped."""
        self._probes = probes
        self._verdicts = {probe: verdict for probe, verdict in self._verdicts.items() if probe in probes}
        kind = self._proved_kind()
        if kind is not self._kind and self._latest is not None:
            self._kind, self._since = kind, self._latest.started_at

    def restore(self, verdicts: Mapping[Probe, Verdict], since: float, impaired_since: float | None) -> None:
        """Continue from the state of an earlier process."""
        decided = {probe: verdict for probe, verdict in verdicts.items() if verdict is not _NONE}
        self._verdicts = {probe: (verdict, None) for probe, verdict in decided.items() if probe in self._probes}
        self._kind, self._since, self._impaired_since = self._proved_kind(), since, impaired_since

    def attach_result(self, result: Result) -> None:
        """Attach a session that the restored state already counts, so that the state can show it."""
        self._latest = result
        for probe, verdict in result.verdicts.items():
            if probe in self._verdicts and self._verdicts[probe][0] is verdict:
                self._verdicts[probe] = verdict, result

    def state(self) -> TargetState:
        """The state now."""
        if self._impaired_since is not None:
            return TargetState(StateKind.IMPAIRED, self._impaired_since, result=self._latest)
        for probe in Probe:
            verdict, result = self._verdicts.get(probe, (_NONE, None))
            if verdict is _FAIL:
                return TargetState(self._kind, self._since, probe, result)
        return TargetState(self._kind, self._since, result=self._latest)

    def _proved_kind(self) -> StateKind:
        for verdict, _ in self._verdicts.values():
            if verdict is _FAIL:
                return _FAILING
        return _PASSING if self._verdicts else StateKind.UNKNOWN
