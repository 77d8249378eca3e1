"""The runbook, as it was when this version was made: its pages must be at hand when the network is not.

Rule 1: what is no page of the folder is not read.
"""

from functools import cached_property
from pathlib import Path
from typing import Final

from exporter.web.page.document import reading

FOLDER: Final = Path(__file__).parents[1] / "assets" / "deploy" / "runbook"
"""A link to deploy/runbook, whose files are packed with the wheel."""


def runbook_pages() -> dict[str, str]:
    """The Markdown of each page, by the name of its alert; the overview is `README`."""
    return {file.stem: file.read_text("utf-8") for file in FOLDER.glob("*.md")}


class RunbookPages:
    """Its pages as HTML, by the name of the alert."""

    def page(self, name: str) -> str | None:
        """A page; None if there is none of this name."""
        text = self._texts.get(name)
        return None if text is None else reading(name, text)

    @cached_property
    def _texts(self) -> dict[str, str]:
        return runbook_pages()
