"""Answers GET /probe: which names are known, how much time there is, and what a session says, in which form.

Rule 1: what a session proved is told with 200, pass or fail; that none proved anything is 503 and a sentence: our own
trouble is nobody's outage, and `probe_success` 0 would say so.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from math import inf
from typing import Final

from exporter import log
from exporter.daemon.on_demand import OnDemandOutcome, OnDemandProbes
from exporter.metrics import ExpositionFormat, ProbedSession, probe_page
from exporter.plan import Job
from exporter.probing import NO_LIMITS, TimeLimits
from exporter.report import FORMATS, RenderContext, explain
from exporter.result import Probe
from exporter.web import HttpReply, ProbeQuery

MIN_VERDICT_SECONDS: Final = 0.1
"""Seconds to a verdict below which a healthy backend far away would be called down."""

MAX_TARGETS_IN_ERROR: Final = 20
"""Targets that a sentence names."""


@dataclass(frozen=True, slots=True)
class _TimeBudget:
    """What a question leaves a session; `patience`: seconds after which we must have answered."""

    within: TimeLimits = NO_LIMITS
    patience: float = inf


class BadProbeQueryError(Exception):
    """A sentence: what to ask for instead."""


class ProbeEndpoint:
    """`offset`: seconds of a scrape's timeout that are left for the close, the answer and its way."""

    def __init__(
        self, jobs: Mapping[str, Job], sessions: OnDemandProbes, wall: Callable[[], float], *, offset: float
    ) -> None:
        self._jobs = jobs
        self._sessions = sessions
        self._wall = wall
        self._offset = offset

    async def answer(self, question: ProbeQuery) -> HttpReply:
        """The figures of a session, its text, or why there is none."""
        try:
            job, depth = named(self._jobs, question.target, question.probe)
            time = self._time(question.scrape_timeout)
        except BadProbeQueryError as problem:
            return HttpReply(HTTPStatus.BAD_REQUEST, f"{problem}\n")
        said = await self._sessions.shared(job, depth, time.within, time.patience)
        if isinstance(said, str) or said.checked.refusal is not None:
            sentence = said if isinstance(said, str) else said.checked.refusal
            return HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, f"{sentence}\n")
        return self._told(question, job, depth, said)

    def _time(self, scrape_timeout: float | None) -> _TimeBudget:
        """The close gets half of the offset, the answer and its way the rest; raises Wrong if nothing is left."""
        if scrape_timeout is None:
            return _TimeBudget()
        verdict = scrape_timeout - self._offset
        if verdict < MIN_VERDICT_SECONDS:
            raise BadProbeQueryError(
                f"a scrape timeout of {scrape_timeout:g} s leaves no time for a session: raise scrape_timeout to more "
                f"than {self._offset + MIN_VERDICT_SECONDS:g}s, or lower --timeout-offset ({self._offset:g} s)"
            )
        return _TimeBudget(TimeLimits(verdict, verdict + self._offset / 2), verdict + self._offset * 3 / 4)

    def _told(self, question: ProbeQuery, job: Job, depth: Probe, said: OnDemandOutcome) -> HttpReply:
        (result,) = said.checked.results
        text = FORMATS["text"](said.checked, RenderContext(self._wall())) if question.debug else ""
        if result.void or result.impairment is not None:
            why = explain(result, said.checked.context)
            sentence = text or f"{why.sentence} {why.next_step}\n"
            return HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, _fit_to_be_seen(sentence))
        timeout = job.target.timeout if said.checked.timeout is None else said.checked.timeout
        probed = ProbedSession(result, depth, job.profile, took=said.took, timeout=timeout)
        if not question.debug:
            return HttpReply(HTTPStatus.OK, probe_page(probed, question.form))
        figures = probe_page(probed, ExpositionFormat.TEXT)
        return HttpReply(HTTPStatus.OK, _fit_to_be_seen(f"{text}\nWithout debug=true this is:\n\n{figures}"))


def named(jobs: Mapping[str, Job], target: str, probe: str) -> tuple[Job, Probe]:
    """The job and the depth of these names, "" for the deepest; raises Wrong."""
    job = jobs.get(target)
    if job is None and "/" in target:
        raise BadProbeQueryError(
            f"target must be the name of a target of the config, never a URL; known are {_some(jobs)}"
        )
    if job is None:
        raise BadProbeQueryError(f"unknown target; known are {_some(jobs)}")
    if probe and probe not in job.probes:
        raise BadProbeQueryError(f"the target has the probes {', '.join(job.probes)}")
    return job, Probe(probe) if probe else job.probes[-1]


def _some(names: Iterable[str]) -> str:
    """The first names, and how many there are beside them."""
    rest = iter(names)
    first = ", ".join(islice(rest, MAX_TARGETS_IN_ERROR))
    others = sum(1 for _ in rest)
    return f"{first} and {others} more" if others else first or "none"


def _fit_to_be_seen(text: str) -> str:
    """Without what looks like a secret, line by line: the second line of defence, as in the log."""
    return "".join(f"{log.printable(log.redacted(line))}\n" for line in text.splitlines())
