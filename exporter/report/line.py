"""One session, or one skipped cycle, in a line."""

from exporter.report.formatting import INITIATOR_TEXTS, cause
from exporter.report.resting import held_up
from exporter.result import Close, Holdup, Probe, Result, Skip, Verdict


def line(result: Result, resting: tuple[Holdup, float | None] | None = None) -> str:
    """One session in a line: verdict and seconds of each probe, where and why it failed, how it ended.

    `resting`: why the identity's next turns send no token, and until when.
    """
    parts = [result.identity or "-", *(_probe(result, probe) for probe in Probe if probe.rank <= result.depth.rank)]
    if result.impairment is not None:
        parts.append(f"our own failure: {result.impairment}")
    if result.reason is not None:
        parts.append(cause(result))
    if result.close is not None:
        parts.append(_close(result.close))
    if resting is not None:
        parts.append(f"no token: {held_up(*resting)}")
    return "  ".join(parts)


def skip_line(skip: Skip) -> str:
    """One skipped cycle in a line, and what the ledger said."""
    why = "" if skip.holdup is None else f" ({held_up(skip.holdup, skip.until)})"
    return f"-  skipped: {skip.cause}{why}"


def _probe(result: Result, probe: Probe) -> str:
    verdict = result.verdicts.get(probe, Verdict.NONE)
    seconds = result.durations.get(probe)
    took = f" {seconds:.3f}s" if seconds is not None else ""
    return f"{probe} {verdict.upper() if verdict is Verdict.FAIL else verdict}{took}"


def _close(close: Close) -> str:
    return f"closed {close.code} {INITIATOR_TEXTS[close.initiator]}"
