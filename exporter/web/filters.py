"""What `/api/results` is asked for, and what of the history fits.

Rule 1: what a client wrote is quoted only if it is fit to be shown.
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
"""Seconds: a hundred years ago is before any result."""
MAX_NAMES_IN_ERROR: Final = 20
"""Targets that a sentence names at most."""


@dataclass(frozen=True, slots=True)
class ResultSource:
    """What there is to ask for: `results` and `context` of a target, by name. `now` in unix seconds."""

    names: Sequence[str]
    results: Callable[[str], Sequence[Result]]
    now: float
    context: Callable[[str], TargetContext] = lambda _: UNKNOWN_CONTEXT


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """What is asked for; None: whatever it is. `since` in unix seconds."""

    target: str | None = None
    verdict: Verdict | None = None
    probe: Probe | None = None
    reason: str | None = None
    since: float | None = None
    limit: int = DEFAULT_RESULTS

    def fits(self, result: Result) -> bool:
        """True for a result that is asked for; how it did is the word of `probe`, or else of the whole session."""
        if self.reason is not None and self.reason not in (result.reason, result.factory_reason, result.impairment):
            return False
        if self.probe is not None:
            said = result.verdicts.get(self.probe, Verdict.NONE)
            return said is self.verdict if self.verdict else said is not Verdict.NONE
        return self.verdict is None or (result.failed if self.verdict is Verdict.FAIL else passed(result))


class BadFilterError(Exception):
    """A sentence: what is wrong with a query, and what is known."""


VERDICT_FILTERS: Final = {"pass": Verdict.PASS, "fail": Verdict.FAIL, "any": None}
KNOWN_REASONS: Final = dict.fromkeys(word.value for word in (*Reason, *FactoryReason, *Impairment))

Read = Callable[[str, ResultSource], object]


def asked(query: Iterable[tuple[str, str]], recent: ResultSource) -> ResultFilter:
    """What a query asks for, from its names and values; raises Wrong."""
    wanted: dict[str, Any] = {}
    for name, value in query:
        if name not in FILTER_PARAMETERS:
            raise BadFilterError(f"{_shown(name)}: unknown parameter; known are {', '.join(FILTER_PARAMETERS)}")
        if name in wanted:
            raise BadFilterError(f"{name}: is given more than once")
        wanted[name] = FILTER_PARAMETERS[name](value, recent)
    return ResultFilter(**wanted)


def _one_of(name: str, value: str, known: Mapping[str, object]) -> str:
    if value not in known:
        raise BadFilterError(f"{name}: {_shown(value)} is unknown; known are {', '.join(known)}")
    return value


def _target(value: str, recent: ResultSource) -> str:
    if value in recent.names:
        return value
    names = ", ".join(recent.names[:MAX_NAMES_IN_ERROR])
    more = len(recent.names) - MAX_NAMES_IN_ERROR
    raise BadFilterError(
        f"target: {_shown(value)} is unknown; known are {names}" + (f", and {more} others" if more > 0 else "")
    )


def _since(value: str, recent: ResultSource) -> float:
    if value.isascii() and value.replace(".", "", 1).isdecimal():
        return float(value)
    try:
        return recent.now - seconds(value, MAX_AGE_OF_RESULTS_SECONDS)
    except ValueError as problem:
        raise BadFilterError(f"since: {problem}, or unix seconds; days and weeks: 2d, 1w") from None


def _limit(value: str, _: ResultSource) -> int:
    if value.isascii() and value.isdecimal() and 1 <= int(value[: len(str(MAX_RESULTS)) + 1]) <= MAX_RESULTS:
        return int(value)
    raise BadFilterError(f"limit: must be 1 to {MAX_RESULTS}")


def _shown(text: str) -> str:
    """What a client wrote, if it is fit to be shown."""
    return evidence_text(text) or "what was given"


FILTER_PARAMETERS: Final[Mapping[str, Read]] = {
    "target": _target,
    "verdict": lambda value, _: VERDICT_FILTERS[_one_of("verdict", value, VERDICT_FILTERS)],
    "probe": lambda value, _: Probe(_one_of("probe", value, dict.fromkeys(Probe))),
    "reason": lambda value, _: _one_of("reason", value, KNOWN_REASONS),
    "since": _since,
    "limit": _limit,
}


async def found(wanted: ResultFilter, recent: ResultSource) -> tuple[list[Result], bool]:
    """The results that fit, newest first, and whether there are more of them than may be told."""
    newest: list[tuple[float, int, Result]] = []
    numbers = count()
    async for name in cooperatively(recent.names if wanted.target is None else (wanted.target,)):
        for result in recent.results(name):
            at, is_full = result.started_at, len(newest) > wanted.limit
            is_old = (wanted.since is not None and at < wanted.since) or (is_full and at <= newest[0][0])
            if not is_old and wanted.fits(result):
                (heapreplace if is_full else heappush)(newest, (at, -next(numbers), result))
    ordered = [result for _, _, result in sorted(newest, reverse=True)]
    return ordered[: wanted.limit], len(ordered) > wanted.limit
