"""The runbook of this version, which is readable when the network is not.

Rule 1: only the pages of its folder are read.
"""

from functools import cached_property
from pathlib import Path
from typing import Final

from exporter.web.page.document import runbook_document

FOLDER: Final = Path(__file__).parents[1] / "assets" / "deploy" / "runbook"
"""A link to deploy/runbook; the wheel contains the files."""


def runbook_pages() -> dict[str, str]:
    """The Markdown of each page, by the name of its alert; the overview is `README`."""
    return {file.stem: file.read_text("utf-8") for file in FOLDER.glob("*.md")}


class RunbookPages:
    """The pages as HTML."""

    def page(self, name: str) -> str | None:
        """The page of this name; None if there is no such page."""
        text = self._texts.get(name)
        return None if text is None else runbook_document(name, text)

    @cached_property
    def _texts(self) -> dict[str, str]:
        return runbook_pages()
