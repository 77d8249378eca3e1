"""What an exporter reported, held against what happened: log lines and truth, joined by run."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from bench.percentiles import Figures

PHASES = ("admission", "reply")
PROBES = ("connect", "auth", "send")
WORST = 10


@dataclass(frozen=True)
class Sample:
    """One phase of one session, in seconds. `kernel` is None where the kernel's stamps are in doubt."""

    run: str
    target: str
    phase: str
    logged: str
    reported: float
    own: float
    kernel: float | None
    distorted: bool
    start_up: bool

    @property
    def error(self):
        """What was reported less the truth: the kernel's, else the reference's own."""
        return self.reported - (self.own if self.kernel is None else self.kernel)

    def plain(self):
        """As a mapping, with the error."""
        return {**asdict(self), "error": self.error}


@dataclass(frozen=True)
class Errors:
    """The errors of one phase over all samples, and over those of the first cycle alone.

    By the truth (the kernel's stamps; in `unstamped` samples, which have none, the reference's own clock), and by the
    reference's own clock throughout. `own_clock`: how far that one is from the kernel's stamps, `bias` > 0: longer.
    """

    truth: Figures
    own: Figures
    start_up_truth: Figures
    start_up_own: Figures
    unstamped: int
    own_clock: Figures

    @classmethod
    def of(cls, samples):
        """The errors of these samples."""
        first = [sample for sample in samples if sample.start_up]
        stamped = [sample for sample in samples if sample.kernel is not None]
        return cls(
            Figures.of(sample.error for sample in samples),
            Figures.of(sample.reported - sample.own for sample in samples),
            Figures.of(sample.error for sample in first),
            Figures.of(sample.reported - sample.own for sample in first),
            len(samples) - len(stamped),
            Figures.of(sample.own - sample.kernel for sample in stamped),
        )


@dataclass(frozen=True)
class Reckoning:
    """All that the join tells.

    `failures`: verdicts other than a pass, of sessions that sent a token. `tokenless`: sessions without one, which
    the exporter opens while it waits for the first verdict on its key, and which have no run here. `worst`: the
    samples with the largest errors, the largest first.
    """

    sessions: int
    tokenless: int
    failures: int
    without_truth: int
    without_session: int
    distorted: float
    samples: list
    worst: list

    def errors(self, phase):
        """The errors of one phase."""
        return Errors.of([sample for sample in self.samples if sample.phase == phase])


def reckon(log_file, truth, interval):
    """Join a log of JSON lines with the truth; the first cycle ends `interval` seconds after `listening`."""
    lines = [json.loads(line) for line in log_file.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    listening = next(_moment(line) for line in lines if line["msg"] == "listening")
    start_up_ends = listening + timedelta(seconds=interval)
    all_sessions = [line for line in lines if line["msg"] == "session"]
    sessions = [line for line in all_sessions if line["probe_depth"] != "connect"]
    samples = [
        sample
        for line in sessions
        if line["run"] in truth
        for sample in _samples(line, truth[line["run"]], start_up=_moment(line) < start_up_ends)
    ]
    known = {line["run"] for line in sessions}
    return Reckoning(
        sessions=len(sessions),
        tokenless=len(all_sessions) - len(sessions),
        failures=sum(line[probe] != "pass" for line in sessions for probe in PROBES),
        without_truth=len(known - truth.keys()),
        without_session=len(truth.keys() - known),
        distorted=sum(line["distorted"] for line in sessions) / max(1, len(sessions)),
        samples=samples,
        worst=[sample.plain() for sample in sorted(samples, key=lambda sample: -abs(sample.error))[:WORST]],
    )


def _moment(line):
    return datetime.fromisoformat(line["time"])


def _samples(line, truth, *, start_up):
    """The phases that both sides completed: one that only one of them did is a failure, and counted as that."""
    for phase in PHASES:
        if phase in line["phases"] and truth[phase] is not None:
            yield Sample(
                run=line["run"],
                target=line["target"],
                phase=phase,
                logged=line["time"],
                reported=line["phases"][phase],
                own=truth[phase],
                kernel=truth[f"{phase}_kernel"],
                distorted=line["distorted"],
                start_up=start_up,
            )
