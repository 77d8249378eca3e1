"""When each phase of a session began and ended; a session is timed here only."""

from exporter.result import Phase


class PhaseTimer:
    """Times the phases of one session by the clock of its moments, in seconds.

    `phases`: seconds of each completed phase. `marks`: seconds from the start to the end of each.
    """

    def __init__(self, start: float) -> None:
        self.started = start
        self.phase = Phase.RESOLVE
        self.phases: dict[Phase, float] = {}
        self.marks: dict[Phase, float] = {}
        self._phase_started = start

    def begin(self, phase: Phase, at: float) -> None:
        """Begin a phase."""
        self.phase, self._phase_started = phase, at

    def waited(self, at: float) -> float:
        """Return the seconds since the phase began."""
        return at - self._phase_started

    def end(self, at: float) -> None:
        """Complete the phase."""
        self.phases[self.phase] = max(0.0, at - self._phase_started)
        self.marks[self.phase] = max(0.0, at - self.started)

    def forget(self, phase: Phase) -> None:
        """Remove a completed phase."""
        self.phases.pop(phase, None)
        self.marks.pop(phase, None)
