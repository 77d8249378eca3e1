"""The query of `/api/results`, and the results that match it.

Rule 1: text of a client is quoted only if `evidence_text` passes it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappush, heapreplace
from itertools import count
from typing import Any, Final

from exporter.config import seconds
from exporter.host import cooperatively
from exporter.report import UNKNOWN_CONTEXT, TargetContext, passed
from exporter.result import FactoryReason, Impairment, Probe, Reason, Result, Verdict, evidence_text

DEFAULT_RESULTS: Final = 50
MAX_RESULTS: Final = 500
MAX_AGE_OF_RESULTS_SECONDS: Final = 100 * 31_536_000.0
"""Seconds: a hundred years."""
MAX_NAMES_IN_ERROR: Final = 20


@dataclass(frozen=True, slots=True)
class ResultSource:
    """All targets: their `names`, and functions of a name for its `results` and `context`. `now` in unix seconds."""

    names: Sequence[str]
    results: Callable[[str], Sequence[Result]]
    now: float
    context: Callable[[str], TargetContext] = lambda _: UNKNOWN_CONTEXT


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """The conditions of a query; None matches everything. `since` in unix seconds."""

    target: str | None = None
    verdict: Verdict | None = None
    probe: Probe | None = None
    reason: str | None = None
    since: float | None = None
    limit: int = DEFAULT_RESULTS

    def matches(self, result: Result) -> bool:
        """Whether all conditions but `since` hold; `verdict` is that of `probe`, or else of the whole session."""
        if self.reason is not None and self.reason not in (result.reason, result.factory_reason, result.impairment):
            return False
        if self.probe is not None:
            verdict = result.verdicts.get(self.probe, Verdict.NONE)
            return verdict is self.verdict if self.verdict else verdict is not Verdict.NONE
        return self.verdict is None or (result.failed if self.verdict is Verdict.FAIL else passed(result))


class BadFilterError(Exception):
    """The query is wrong; the text is a sentence with the mistake and the known values."""


VERDICT_FILTERS: Final = {"pass": Verdict.PASS, "fail": Verdict.FAIL, "any": None}
KNOWN_REASONS: Final = dict.fromkeys(word.value for word in (*Reason, *FactoryReason, *Impairment))

ParseValue = Callable[[str, ResultSource], object]


def parse_filter(query: Iterable[tuple[str, str]], source: ResultSource) -> ResultFilter:
    """The filter of a query's names and values; raises BadFilterError."""
    conditions: dict[str, Any] = {}
    for name, value in query:
        if name not in FILTER_PARAMETERS:
            raise BadFilterError(f"{_quote(name)}: unknown parameter; known are {', '.join(FILTER_PARAMETERS)}")
        if name in conditions:
            raise BadFilterError(f"{name}: is given more than once")
        conditions[name] = FILTER_PARAMETERS[name](value, source)
    return ResultFilter(**conditions)


def _one_of(name: str, value: str, known: Mapping[str, object]) -> str:
    if value not in known:
        raise BadFilterError(f"{name}: {_quote(value)} is unknown; known are {', '.join(known)}")
    return value


def _target(value: str, source: ResultSource) -> str:
    if value in source.names:
        return value
    names = ", ".join(source.names[:MAX_NAMES_IN_ERROR])
    more = len(source.names) - MAX_NAMES_IN_ERROR
    raise BadFilterError(
        f"target: {_quote(value)} is unknown; known are {names}" + (f", and {more} others" if more > 0 else "")
    )


def _since(value: str, source: ResultSource) -> float:
    if value.isascii() and value.replace(".", "", 1).isdecimal():
        return float(value)
    try:
        return source.now - seconds(value, MAX_AGE_OF_RESULTS_SECONDS)
    except ValueError as problem:
        raise BadFilterError(f"since: {problem}, or unix seconds; days and weeks: 2d, 1w") from None


def _limit(value: str, _: ResultSource) -> int:
    if value.isascii() and value.isdecimal() and 1 <= int(value[: len(str(MAX_RESULTS)) + 1]) <= MAX_RESULTS:
        return int(value)
    raise BadFilterError(f"limit: must be 1 to {MAX_RESULTS}")


def _quote(text: str) -> str:
    return evidence_text(text) or "what was given"


FILTER_PARAMETERS: Final[Mapping[str, ParseValue]] = {
    "target": _target,
    "verdict": lambda value, _: VERDICT_FILTERS[_one_of("verdict", value, VERDICT_FILTERS)],
    "probe": lambda value, _: Probe(_one_of("probe", value, dict.fromkeys(Probe))),
    "reason": lambda value, _: _one_of("reason", value, KNOWN_REASONS),
    "since": _since,
    "limit": _limit,
}


async def select_results(wanted: ResultFilter, source: ResultSource) -> tuple[list[Result], bool]:
    """The matching results, newest first and at most `limit`, and whether there are more."""
    newest: list[tuple[float, int, Result]] = []
    numbers = count()
    async for name in cooperatively(source.names if wanted.target is None else (wanted.target,)):
        for result in source.results(name):
            at, is_full = result.started_at, len(newest) > wanted.limit
            is_old = (wanted.since is not None and at < wanted.since) or (is_full and at <= newest[0][0])
            if not is_old and wanted.matches(result):
                (heapreplace if is_full else heappush)(newest, (at, -next(numbers), result))
    ordered = [result for _, _, result in sorted(newest, reverse=True)]
    return ordered[: wanted.limit], len(ordered) > wanted.limit
