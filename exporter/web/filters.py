"""What `/api/results` is asked for, and what of the history fits.

Rule 1: what a client wrote is quoted only if it is fit to be shown.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappush, heapreplace
from itertools import count
from typing import Any, Final

from exporter.config import seconds
from exporter.host import in_slices
from exporter.report import NEUTRAL, Context, passed
from exporter.result import FactoryReason, Impairment, Probe, Reason, Result, Verdict, evidence_text

LIMIT: Final = 50
MOST: Final = 500
OLDEST: Final = 100 * 31_536_000.0
"""Seconds: a hundred years ago is before any result."""
NAMED: Final = 20
"""Targets that a sentence names at most."""


@dataclass(frozen=True, slots=True)
class Recent:
    """What there is to ask for: `results` and `context` of a target, by name. `now` in unix seconds."""

    names: Sequence[str]
    results: Callable[[str], Sequence[Result]]
    now: float
    context: Callable[[str], Context] = lambda _: NEUTRAL


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; None: whatever it is. `since` in unix seconds."""

    target: str | None = None
    verdict: Verdict | None = None
    probe: Probe | None = None
    reason: str | None = None
    since: float | None = None
    limit: int = LIMIT

    def fits(self, result: Result) -> bool:
        """True for a result that is asked for; how it did is the word of `probe`, or else of the whole session."""
        if self.reason is not None and self.reason not in (result.reason, result.factory_reason, result.impairment):
            return False
        if self.probe is not None:
            said = result.verdicts.get(self.probe, Verdict.NONE)
            return said is self.verdict if self.verdict else said is not Verdict.NONE
        return self.verdict is None or (result.failed if self.verdict is Verdict.FAIL else passed(result))


class Wrong(Exception):  # noqa: N818
    """A sentence: what is wrong with a query, and what is known."""


VERDICTS: Final = {"pass": Verdict.PASS, "fail": Verdict.FAIL, "any": None}
REASONS: Final = dict.fromkeys(word.value for word in (*Reason, *FactoryReason, *Impairment))

Read = Callable[[str, Recent], object]


def asked(query: Iterable[tuple[str, str]], recent: Recent) -> Wanted:
    """What a query asks for, from its names and values; raises Wrong."""
    wanted: dict[str, Any] = {}
    for name, value in query:
        if name not in PARAMETERS:
            raise Wrong(f"{_shown(name)}: unknown parameter; known are {', '.join(PARAMETERS)}")
        if name in wanted:
            raise Wrong(f"{name}: is given more than once")
        wanted[name] = PARAMETERS[name](value, recent)
    return Wanted(**wanted)


def _one_of(name: str, value: str, known: Mapping[str, object]) -> str:
    if value not in known:
        raise Wrong(f"{name}: {_shown(value)} is unknown; known are {', '.join(known)}")
    return value


def _target(value: str, recent: Recent) -> str:
    if value in recent.names:
        return value
    names = ", ".join(recent.names[:NAMED])
    more = len(recent.names) - NAMED
    raise Wrong(f"target: {_shown(value)} is unknown; known are {names}" + (f", and {more} others" if more > 0 else ""))


def _since(value: str, recent: Recent) -> float:
    if value.isascii() and value.replace(".", "", 1).isdecimal():
        return float(value)
    try:
        return recent.now - seconds(value, OLDEST)
    except ValueError as problem:
        raise Wrong(f"since: {problem}, or unix seconds; days and weeks: 2d, 1w") from None


def _limit(value: str, _: Recent) -> int:
    if value.isascii() and value.isdecimal() and 1 <= int(value[: len(str(MOST)) + 1]) <= MOST:
        return int(value)
    raise Wrong(f"limit: must be 1 to {MOST}")


def _shown(text: str) -> str:
    """What a client wrote, if it is fit to be shown."""
    return evidence_text(text) or "what was given"


PARAMETERS: Final[Mapping[str, Read]] = {
    "target": _target,
    "verdict": lambda value, _: VERDICTS[_one_of("verdict", value, VERDICTS)],
    "probe": lambda value, _: Probe(_one_of("probe", value, dict.fromkeys(Probe))),
    "reason": lambda value, _: _one_of("reason", value, REASONS),
    "since": _since,
    "limit": _limit,
}


async def found(wanted: Wanted, recent: Recent) -> tuple[list[Result], bool]:
    """The results that fit, newest first, and whether there are more of them than may be told."""
    newest: list[tuple[float, int, Result]] = []
    numbers = count()
    async for name in in_slices(recent.names if wanted.target is None else (wanted.target,)):
        for result in recent.results(name):
            at, is_full = result.started_at, len(newest) > wanted.limit
            is_old = (wanted.since is not None and at < wanted.since) or (is_full and at <= newest[0][0])
            if not is_old and wanted.fits(result):
                (heapreplace if is_full else heappush)(newest, (at, -next(numbers), result))
    ordered = [result for _, _, result in sorted(newest, reverse=True)]
    return ordered[: wanted.limit], len(ordered) > wanted.limit
