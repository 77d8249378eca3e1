"""What many results show that one cannot: who is affected, and whether the sessions were real."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from exporter.report.causes import Alert, page
from exporter.report.series import Series
from exporter.report.summary import Reality, Summary, summarise
from exporter.report.words import count


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence, and the runbook page that helps with it."""

    sentence: str
    page: str | None = None


def findings(series: Series) -> tuple[Finding, ...]:
    """Everything that the series as a whole shows, the gravest first."""
    summary = summarise(series.results)
    who = _who(summary, series.shapes)
    return (*_unreal(summary.reality), *who, *_unseen(summary, series.shapes), *_untried(series))


def _who(summary: Summary, shapes: Mapping[str, str]) -> Iterator[Finding]:
    """One identity, one shape of names, or everybody: only what is clear-cut is said."""
    sound = [name for name, tally in summary.identities.items() if tally.passed and not tally.failed]
    broken = [name for name, tally in summary.identities.items() if tally.failed and not tally.passed]
    torn = [name for name, tally in summary.identities.items() if tally.failed and tally.passed]
    if broken and not sound and not torn and len(broken) > 1:
        yield Finding(f"Every identity fails ({_list(broken)}): it is the backend, not a user.")
    if not broken or not sound or torn:
        return
    bad, good = {shapes.get(name, "") for name in broken}, {shapes.get(name, "") for name in sound}
    if "" not in bad | good and not bad & good:
        yield Finding(
            f"Only identities of the name shape {_list(sorted(bad))} fail ({_list(broken)}), those of "
            f"{_list(sorted(good))} pass ({_list(sound)}): a user-id check of the backend refuses that shape.",
            page(Alert.IDENTITY_FAILING),
        )
    else:
        yield Finding(
            f"Only {_list(broken)} {'fails' if len(broken) == 1 else 'fail'}, {_list(sound)} "
            f"{'passes' if len(sound) == 1 else 'pass'}: it is something about the user (slots, rights, account).",
            page(Alert.IDENTITY_FAILING),
        )


def _unreal(reality: Reality) -> Iterator[Finding]:
    if reality.distinct < reality.welcomes:
        yield Finding(
            f"Connection ids repeat: {reality.distinct} distinct in {count(reality.welcomes, 'welcome')}. The answers "
            "are canned, or contexts are shared.",
            page(Alert.FACTORY_VALIDATION_FAILING),
        )
    if reality.clock_moved < reality.clock_pairs:
        stood = reality.clock_pairs - reality.clock_moved
        yield Finding(
            f"The server's clock stood still {count(stood, 'time')} between sessions 2 s apart or more.",
            page(Alert.FACTORY_VALIDATION_FAILING),
        )


def _unseen(summary: Summary, shapes: Mapping[str, str]) -> Iterator[Finding]:
    unseen = [name for name in shapes if name not in summary.identities]
    if unseen:
        yield Finding(f"{_list(unseen)} had no turn: nothing is said about {'it' if len(unseen) == 1 else 'them'}.")


def _untried(series: Series) -> Iterator[Finding]:
    if series.skips:
        causes = sorted({str(skip.cause) for skip in series.skips})
        yield Finding(
            f"{count(len(series.skips), 'run')} skipped to do no harm ({_list(causes)}).",
            page(Alert.PROBE_BUDGET_SKIPS),
        )


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
