"""The table of all cells that were run, after the tests: what they recorded as `cell`, a line each."""


def pytest_terminal_summary(terminalreporter):
    """Cells in the order of their names, with their columns aligned."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    cells = sorted(
        [_text(part) for part in value]
        for report in reports
        for name, value in report.user_properties
        if name == "cell"
    )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for cell in cells:
        terminalreporter.write_line(
            "  ".join(text.ljust(width) for text, width in zip(cell, widths, strict=True)).rstrip()
        )


def _text(part):
    return "-" if part is None else f"{part:.2f}" if isinstance(part, float) else str(part)
