"""A check as GitHub workflow commands: an annotation for each session, escaped by the rules of GitHub's toolkit.

The job summary is Markdown: `markdown` gives it, `commands` appends it to the file of GITHUB_STEP_SUMMARY.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from exporter.report.check_report import (
    CheckReport,
    CheckStatus,
    RenderContext,
    explanations,
    refusal_of,
    session_status,
)
from exporter.report.escape import command_data, command_property, plain
from exporter.report.explain import Explanation
from exporter.report.formatting import cause

COMMAND_OF_STATUS: Final[Mapping[CheckStatus, str]] = {
    CheckStatus.OK: "notice",
    CheckStatus.WARNING: "warning",
    CheckStatus.CRITICAL: "error",
    CheckStatus.UNKNOWN: "warning",
}


def github(checked: CheckReport, view: RenderContext) -> str:
    """One command a line: `::error title=staging%3A send failed::…`."""
    return "".join(f"{line}\n" for line in _commands(checked, view))


def _commands(checked: CheckReport, view: RenderContext) -> Iterator[str]:
    for result in checked.results:
        grave = session_status(result, checked.thresholds)
        title = f"{checked.target}, {result.identity or 'no identity'}: {cause(result) or grave.name}"
        yield command(view, grave, title, *explanations(result, checked))
    refusal = refusal_of(checked)
    if refusal is not None:
        yield command(view, CheckStatus.UNKNOWN, f"{checked.target}: not checked", refusal)


def command(view: RenderContext, found: CheckStatus, title: str, *said: Explanation) -> str:
    """One annotation, with what is said in its message."""
    words = (
        part for each in said for part in (each.sentence, each.next_step, each.page and f"See {view.page(each.page)}")
    )
    message = "\n".join(plain(part) for part in words if part)
    return f"::{COMMAND_OF_STATUS[found]} title={command_property(plain(title))}::{command_data(message)}"
