"""Answers GET /probe: resolves the names, divides the scrape's timeout, and turns the session's result into a reply.

Rule 1: a pass or a failure is a 200. If no session proved anything, the reply is a 503 and a sentence: a failure of the
exporter is not an outage of the backend, as `probe_success` 0 would claim.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from math import inf
from typing import Final

from exporter import log
from exporter.daemon.on_demand import OnDemandOutcome, OnDemandProbes
from exporter.daemon.services import Services
from exporter.metrics import ExpositionFormat, ProbedSession, probe_page
from exporter.plan import Job
from exporter.probing import NO_LIMITS, TimeLimits
from exporter.report import FORMATS, RenderContext, explain
from exporter.result import Probe
from exporter.web import HttpReply, ProbeQuery

MIN_VERDICT_SECONDS: Final = 0.1
"""Seconds to a verdict below which a healthy backend far away would count as down."""

MAX_TARGETS_IN_ERROR: Final = 20


@dataclass(frozen=True, slots=True)
class _TimeBudget:
    """The time that a query leaves the session; `patience`: seconds until the reply must be sent."""

    limits: TimeLimits = NO_LIMITS
    patience: float = inf


class BadProbeQueryError(Exception):
    """The query names no target or probe, or leaves no time; the text says what to ask for instead."""


class ProbeEndpoint:
    """`offset`: seconds of a scrape's timeout that are reserved for the close and for the reply's way back."""

    def __init__(self, services: Services, on_demand: OnDemandProbes, *, offset: float) -> None:
        self._jobs = services.jobs
        self._on_demand = on_demand
        self._wall = services.clock.wall
        self._links = services.links
        self._offset = offset

    async def answer(self, query: ProbeQuery) -> HttpReply:
        """Run or join a session and reply with its metrics, its text, or the sentence why there is no result."""
        try:
            job, depth = job_and_depth(self._jobs, query.target, query.probe)
            time = self._time_budget(query.scrape_timeout)
        except BadProbeQueryError as problem:
            return HttpReply(HTTPStatus.BAD_REQUEST, f"{problem}\n")
        outcome = await self._on_demand.run_or_join(job, depth, time.limits, time.patience)
        if isinstance(outcome, str) or outcome.report.refusal is not None:
            sentence = outcome if isinstance(outcome, str) else outcome.report.refusal
            return HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, f"{sentence}\n")
        return self._reply(query, job, depth, outcome)

    def _time_budget(self, scrape_timeout: float | None) -> _TimeBudget:
        """Half of the offset is for the close, half for the reply; raises BadProbeQueryError if no time is left."""
        if scrape_timeout is None:
            return _TimeBudget()
        verdict = scrape_timeout - self._offset
        if verdict < MIN_VERDICT_SECONDS:
            raise BadProbeQueryError(
                f"a scrape timeout of {scrape_timeout:g} s leaves no time for a session: raise scrape_timeout to more "
                f"than {self._offset + MIN_VERDICT_SECONDS:g}s, or lower --timeout-offset ({self._offset:g} s)"
            )
        return _TimeBudget(TimeLimits(verdict, verdict + self._offset / 2), verdict + self._offset * 3 / 4)

    def _reply(self, query: ProbeQuery, job: Job, depth: Probe, outcome: OnDemandOutcome) -> HttpReply:
        report = outcome.report
        (result,) = report.results
        view = RenderContext(self._wall()).with_runbook_at(self._links.runbook_url)
        text = FORMATS["text"](report, view) if query.debug else ""
        if result.void or result.impairment is not None:
            explanation = explain(result, report.context)
            sentence = text or f"{explanation.sentence} {explanation.next_step}\n"
            return HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, _redact(sentence))
        timeout = job.target.timeout if report.timeout is None else report.timeout
        probed = ProbedSession(result, depth, job.profile, took=outcome.took, timeout=timeout)
        if not query.debug:
            return HttpReply(HTTPStatus.OK, probe_page(probed, query.form))
        page = probe_page(probed, ExpositionFormat.TEXT)
        return HttpReply(HTTPStatus.OK, _redact(f"{text}\nWithout debug=true this is:\n\n{page}"))


def job_and_depth(jobs: Mapping[str, Job], target: str, probe: str) -> tuple[Job, Probe]:
    """The job and the depth of these names, "" for the deepest; raises BadProbeQueryError."""
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
    """The first names, and the number of others."""
    rest = iter(names)
    first = ", ".join(islice(rest, MAX_TARGETS_IN_ERROR))
    others = sum(1 for _ in rest)
    return f"{first} and {others} more" if others else first or "none"


def _redact(text: str) -> str:
    """Replace whatever looks like a secret, line by line: the second line of defence, as in the log."""
    return "".join(f"{log.escape_unprintable(log.redact(line))}\n" for line in text.splitlines())
