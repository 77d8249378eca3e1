"""The state of one target, and since when."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from exporter.result import Probe, Result, Verdict


class StateKind(StrEnum):
    """How a target does, in a word."""

    PASSING = "passing"
    FAILING = "failing"
    IMPAIRED = "impaired"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TargetState:
    """How a target does. `since`: unix seconds at which the first session began that said so; 0.0 if none has.

    `probe`: the shallowest that fails, if one does. `result`: the session that says so; None when it is not kept.
    """

    word: StateKind
    since: float = 0.0
    probe: Probe | None = None
    result: Result | None = None


UNKNOWN_STATE: Final = TargetState(StateKind.UNKNOWN)

_PASSING, _FAILING, _FAIL, _NONE = StateKind.PASSING, StateKind.FAILING, Verdict.FAIL, Verdict.NONE
"""At hand: to look a member up in its enum costs as much as a line of `Standing.add`, which every session runs."""


class TargetStateTracker:
    """A target by the last verdict of each of its probes: a session that only connected does not mend `send`.

    Our own failures hide what was proved, and change nothing of it: when they are over, it is as old as it was.
    """

    __slots__ = ("_asked", "_decided", "_impaired_since", "_latest", "_since", "_word")

    def __init__(self) -> None:
        self._latest: Result | None = None
        self._asked: tuple[Probe, ...] = tuple(Probe)
        self._decided: dict[Probe, tuple[Verdict, Result | None]] = {}
        self._word = StateKind.UNKNOWN
        self._since = 0.0
        self._impaired_since: float | None = None

    @property
    def latest(self) -> Result | None:
        """The last session, whatever came of it."""
        return self._latest

    @property
    def verdicts(self) -> Mapping[Probe, Verdict]:
        """The last verdict of each probe that ever had one."""
        return {probe: verdict for probe, (verdict, _) in self._decided.items()}

    @property
    def since(self) -> float:
        """Since when the proved state is what it is."""
        return self._since

    @property
    def impaired_since(self) -> float | None:
        """Since when we fail ourselves; None if we do not."""
        return self._impaired_since

    def add(self, result: Result) -> None:
        """Take in the newest session."""
        self._latest = result
        for probe, verdict in result.verdicts.items():
            if verdict is not _NONE:
                self._decided[probe] = verdict, result
        word = self._proved()
        if word is not self._word:
            self._word, self._since = word, result.started_at
        if result.impairment is None:
            self._impaired_since = None
        elif self._impaired_since is None:
            self._impaired_since = result.started_at

    def expect(self, probes: tuple[Probe, ...]) -> None:
        """What is asked from now on: what another probe said last counts no more."""
        self._asked = probes
        self._decided = {probe: said for probe, said in self._decided.items() if probe in probes}
        word = self._proved()
        if word is not self._word and self._latest is not None:
            self._word, self._since = word, self._latest.started_at

    def recall(self, verdicts: Mapping[Probe, Verdict], since: float, impaired_since: float | None) -> None:
        """Go on where an earlier process ended."""
        known = {probe: verdict for probe, verdict in verdicts.items() if verdict is not _NONE}
        self._decided = {probe: (verdict, None) for probe, verdict in known.items() if probe in self._asked}
        self._word, self._since, self._impaired_since = self._proved(), since, impaired_since

    def remember(self, result: Result) -> None:
        """Know a session again that the recalled state has taken in."""
        self._latest = result
        for probe, verdict in result.verdicts.items():
            if probe in self._decided and self._decided[probe][0] is verdict:
                self._decided[probe] = verdict, result

    def state(self) -> TargetState:
        """The state of this moment."""
        if self._impaired_since is not None:
            return TargetState(StateKind.IMPAIRED, self._impaired_since, result=self._latest)
        for probe in Probe:
            verdict, result = self._decided.get(probe, (_NONE, None))
            if verdict is _FAIL:
                return TargetState(self._word, self._since, probe, result)
        return TargetState(self._word, self._since, result=self._latest)

    def _proved(self) -> StateKind:
        for verdict, _ in self._decided.values():
            if verdict is _FAIL:
                return _FAILING
        return _PASSING if self._decided else StateKind.UNKNOWN
