"""A result in words, for people.

Rule 1: pure: a `Result` goes in, text comes out; colours and columns are the terminal's business in `__main__`.
"""

from exporter.result import Close, Initiator, Probe, Result, Skip, Verdict

WHO = {Initiator.REMOTE: "by the server", Initiator.LOCAL: "by us", Initiator.NONE: "without a close frame"}


def line(result: Result) -> str:
    """One session in a line: verdict and seconds of each probe, where and why it failed, how it ended."""
    parts = [result.identity or "-", *(_probe(result, probe) for probe in Probe if probe.rank <= result.depth.rank)]
    if result.impairment is not None:
        parts.append(f"our own failure: {result.impairment}")
    if result.reason is not None:
        factory = f" ({result.factory_reason})" if result.factory_reason else ""
        parts.append(f"{result.phase}: {result.reason}{factory}")
    if result.close is not None:
        parts.append(_close(result.close))
    return "  ".join(parts)


def skip_line(skip: Skip) -> str:
    """One skipped cycle in a line."""
    return f"-  skipped: {skip.cause}"


def _probe(result: Result, probe: Probe) -> str:
    verdict = result.verdicts.get(probe, Verdict.NONE)
    seconds = result.durations.get(probe)
    took = f" {seconds:.3f}s" if seconds is not None else ""
    return f"{probe} {verdict.upper() if verdict is Verdict.FAIL else verdict}{took}"


def _close(close: Close) -> str:
    return f"closed {close.code} {WHO[close.initiator]}"
