"""Checks of several targets in one report: a line for each, and the whole explanation of those that are not OK."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from exporter.report.check_report import CheckReport, CheckStatus, RenderContext, status, tolerated, worst
from exporter.report.document import SCHEMA_VERSION, TOOL, check_document, written
from exporter.report.escape import fit, perf, plain
from exporter.report.formatting import cause, count, iso
from exporter.report.github import github
from exporter.report.junit import junit_of
from exporter.report.line import line
from exporter.report.markdown import markdown
from exporter.report.nagios import MAX_LINE_CHARACTERS, MAX_NAME_COLUMNS, nagios
from exporter.report.text import TEXT_COLUMNS, text

STATUS_COLUMNS: Final = max(len(each.name) for each in CheckStatus)
SeveralFormat = Callable[[Sequence[CheckReport], RenderContext], str]


def several_exit_code(checks: Sequence[CheckReport], view: RenderContext) -> int:
    """The exit code of the gravest."""
    return int(tolerated(worst(status(each) for each in checks), view.fail_on))


def target_line(checked: CheckReport, width: int) -> str:
    """One target in a line of at most 100 columns; `width`: columns of its name."""
    shown = f"{status(checked).name:<{STATUS_COLUMNS}}  {plain(checked.target):<{width}}  "
    return fit(shown + "; ".join(map(plain, _outcomes(checked))), TEXT_COLUMNS)


def explained(checks: Sequence[CheckReport], view: RenderContext) -> str:
    """The whole explanation of each target that is not OK."""
    return "".join(f"\n{text(each, view)}" for each in _wrong(checks))


def _outcomes(checked: CheckReport) -> Iterator[str]:
    for result in checked.results:
        yield line(result)
    if checked.refusal is not None:
        yield f"not checked: {checked.refusal}"


def _wrong(checks: Sequence[CheckReport]) -> list[CheckReport]:
    return [each for each in checks if status(each) is not CheckStatus.OK]


def _text(checks: Sequence[CheckReport], view: RenderContext) -> str:
    width = max(len(plain(each.target)) for each in checks)
    return "".join(f"{target_line(each, width)}\n" for each in checks) + explained(checks, view)


def _json(checks: Sequence[CheckReport], view: RenderContext) -> str:
    return written(
        {
            "schema_version": SCHEMA_VERSION,
            "tool": TOOL,
            "version": checks[0].version,
            "kind": "checks",
            "written_at": iso(view.now),
            "status": worst(status(each) for each in checks).name.lower(),
            "exit_code": several_exit_code(checks, view),
            "checks": [check_document(each, view) for each in checks],
        }
    )


def _nagios(checks: Sequence[CheckReport], view: RenderContext) -> str:
    """The first line tells the gravest status and who has it; a line for each target follows, without figures."""
    word = tolerated(worst(status(each) for each in checks), view.fail_on).name
    wrong = _wrong(checks)
    named = ", ".join(f"{fit(each.target, MAX_NAME_COLUMNS)} ({_cause_of(each)})" for each in wrong)
    passing = f"{len(checks) - len(wrong)} of {count(len(checks), 'target')} OK"
    figures = f"'ok'={len(checks) - len(wrong)};;;0;{len(checks)}"
    first = perf(fit(f"{passing}{f': {named}' if named else ''}", MAX_LINE_CHARACTERS))
    rest = "".join(nagios(each, view).partition(" | ")[0].rstrip("\n") + "\n" for each in checks)
    return f"WEBSOCKET {word} - {first} | {figures}\n{rest}"


def _cause_of(checked: CheckReport) -> str:
    said = (cause(result) or str(result.factory_reason or result.impairment or "") for result in checked.results)
    return next(filter(None, said), "not checked" if checked.refusal is not None else "nothing was proved")


def _joined(format_: Callable[[CheckReport, RenderContext], str], between: str) -> SeveralFormat:
    return lambda checks, view: between.join(format_(each, view) for each in checks)


SEVERAL_FORMATS: Final[Mapping[str, SeveralFormat]] = {
    "text": _text,
    "json": _json,
    "nagios": _nagios,
    "markdown": _joined(markdown, "\n"),
    "junit": junit_of,
    "github": _joined(github, ""),
}
