"""Adds the runbook to the site: it stands in deploy/, from where the exporter ships it."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

RUNBOOK = Path(__file__).parents[2] / "deploy" / "runbook"
OUTSIDE = re.compile(r"\]\((?:\.\./)+deploy/runbook/")
"""A link to a page of the runbook, as it is followed in the repository."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the runbook under `runbook/`."""
    for page in sorted(RUNBOOK.glob("*.md")):
        files.append(File.generated(config, f"runbook/{page.name}", abs_src_path=str(page)))
    return files


def on_page_markdown(markdown: str, **_more: object) -> str:
    """Lead links to the runbook to its pages on the site."""
    return OUTSIDE.sub("](runbook/", markdown)
