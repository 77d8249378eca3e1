"""The phases of a session as bars on one time axis."""

from collections.abc import Iterator
from typing import Final

from exporter.report.formatting import cause, seconds
from exporter.report.situation import refused_after
from exporter.result import Phase, Result

WATERFALL_COLUMNS: Final = 40
EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def waterfall(result: Result, width: int = WATERFALL_COLUMNS) -> Iterator[str]:
    """A line for each phase that was reached: name, seconds, its stretch of the whole; and where it failed."""
    until = refused_after(result)
    total, start = sum(result.phases.values()) + (until or 0.0), 0.0
    for phase in Phase:
        failed = phase is result.phase and result.reason is not None
        took = result.phases.get(phase, until if failed else None)
        if took is None and not failed:
            continue
        picture = _bar(start, took or 0.0, total, width)
        mark = f" ✗ {cause(result).partition(': ')[2]}" if failed else ""
        yield f"{phase:<10} {seconds(took):>9}  {picture}{mark}".rstrip()
        start += took or 0.0


def _bar(start: float, took: float, total: float, width: int) -> str:
    """A bar of eighths of a column, never shorter than one, that starts where the phase before it ended."""
    column = min(int(start / total * width), width - 1) if total > 0 else 0
    if took <= 0:
        return " " * column
    eighths = max(round(took / total * width * 8), 1)
    whole, rest = divmod(min(eighths, (width - column) * 8), 8)
    return " " * column + "█" * whole + EIGHTHS[rest].strip()
