"""What many results show that one cannot: who is affected, and whether the sessions were real."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.report.causes import Alert
from exporter.report.check_report import passed
from exporter.report.explain import explain
from exporter.report.formatting import count
from exporter.report.series import CheckSeries
from exporter.report.summary import LivenessEvidence, SeriesSummary, summarise
from exporter.result import FactoryReason, Phase, Result

BEFORE_USERS: Final = frozenset({Phase.PREPARE, Phase.RESOLVE, Phase.TCP, Phase.TLS, Phase.UPGRADE})
"""What fails here does not depend on who asks."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence, and the alert whose page of the runbook helps with it."""

    sentence: str
    page: Alert | None = None


def findings(series: CheckSeries) -> tuple[Finding, ...]:
    """Everything that the series as a whole shows, the gravest first."""
    summary = summarise(series.results)
    who = _who(series, summary)
    return (*_unreal(summary.reality), *who, *_unseen(summary, series.shapes), *_untried(series))


def _who(series: CheckSeries, summary: SeriesSummary) -> Iterator[Finding]:
    """One identity, one shape of names, or everybody: only what is clear-cut is said, and only of admission on."""
    sound = [name for name, tally in summary.identities.items() if tally.passed and not tally.failed]
    broken = [name for name, tally in summary.identities.items() if tally.failed and not tally.passed]
    torn = len(summary.identities) > len(sound) + len(broken)
    faults = [result for result in series.results if result.identity in broken and not passed(result)]
    if torn or not broken or any(result.phase in BEFORE_USERS for result in faults):
        return
    if sound:
        yield _some(series, faults, broken, sound)
    elif len(broken) > 1:
        yield Finding(f"Every identity fails ({_list(broken)}): it is the backend, not a user.")


def _some(series: CheckSeries, faults: Sequence[Result], broken: list[str], sound: list[str]) -> Finding:
    """Slots and name shapes are known causes, with pages of their own; else it is the user."""
    shapes = series.shapes
    bad, good = {shapes.get(name, "") for name in broken}, {shapes.get(name, "") for name in sound}
    fails, passes = _plural(broken, "fails", "fail"), _plural(sound, "passes", "pass")
    only = f"Only {_list(broken)} {fails}, {_list(sound)} {passes}"
    if any(result.factory_reason is FactoryReason.SLOT_LIMIT for result in faults):
        return Finding(f"{only}: it is the slots of single users.", Alert.FACTORY_SLOTS_EXHAUSTED)
    if "" in bad | good or bad & good:
        return Finding(f"{only}: it is something about the user (rights, data).", Alert.IDENTITY_FAILING)
    return Finding(
        f"Only identities of the name shape {_list(sorted(bad))} fail ({_list(broken)}), those of "
        f"{_list(sorted(good))} pass ({_list(sound)}): it looks like a user-id check that refuses that shape.",
        explain(faults[0], series.checked.context).page,
    )


def _unreal(reality: LivenessEvidence) -> Iterator[Finding]:
    if reality.distinct < reality.welcomes:
        yield Finding(
            f"Connection ids repeat: {reality.distinct} distinct in {count(reality.welcomes, 'welcome')}. The answers "
            "are canned, or contexts are shared.",
            Alert.FACTORY_VALIDATION_FAILING,
        )
    if reality.clock_moved < reality.clock_pairs:
        stood = reality.clock_pairs - reality.clock_moved
        yield Finding(
            f"The server's clock stood still {count(stood, 'time')} between sessions 2 s apart or more.",
            Alert.FACTORY_VALIDATION_FAILING,
        )


def _unseen(summary: SeriesSummary, shapes: Mapping[str, str]) -> Iterator[Finding]:
    unseen = [name for name in shapes if name not in summary.identities]
    if unseen:
        yield Finding(f"{_list(unseen)} had no turn: nothing is said about {_plural(unseen, 'it', 'them')}.")


def _untried(series: CheckSeries) -> Iterator[Finding]:
    if series.skips:
        causes = sorted({str(skip.cause) for skip in series.skips})
        yield Finding(
            f"{count(len(series.skips), 'run')} skipped to do no harm ({_list(causes)}).",
            Alert.PROBE_BUDGET_SKIPS,
        )


def _plural(names: Sequence[str], one: str, many: str) -> str:
    return one if len(names) == 1 else many


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
