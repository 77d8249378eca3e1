"""When each phase of a session began and ended: the only place that times."""

from exporter.result import Phase


class PhaseTimer:
    """Seconds of each completed phase, and from the start to the end of each; moments are the clock's seconds."""

    def __init__(self, start: float) -> None:
        self.started = start
        self.phase = Phase.RESOLVE
        self.phases: dict[Phase, float] = {}
        self.marks: dict[Phase, float] = {}
        self._since = start

    def begin(self, phase: Phase, at: float) -> None:
        """Enter a phase."""
        self.phase, self._since = phase, at

    def end(self, at: float) -> None:
        """Complete the phase."""
        self.phases[self.phase] = max(0.0, at - self._since)
        self.marks[self.phase] = max(0.0, at - self.started)

    def forget(self, phase: Phase) -> None:
        """Take back that a phase was completed."""
        self.phases.pop(phase, None)
        self.marks.pop(phase, None)
