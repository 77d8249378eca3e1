"""The tables of all cells that were run, after the tests: what they recorded as `cell`, a line each."""

from itertools import groupby


def pytest_terminal_summary(terminalreporter):
    """Cells in the order of their names, with their columns aligned; proxies have more of them than servers."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    cells = sorted(
        [_text(part) for part in value]
        for report in reports
        for name, value in report.user_properties
        if name == "cell"
    )
    for _, table in groupby(sorted(cells, key=len), key=len):
        lines = list(table)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            aligned = "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
            terminalreporter.write_line(aligned.rstrip())


def _text(part):
    return "-" if part is None else f"{part:.2f}" if isinstance(part, float) else str(part)
