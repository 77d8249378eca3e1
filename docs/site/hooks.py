"""Adds what stands in deploy/, where it is shipped, to the site: runbook, incidents, deployment."""

import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
FOLDERS: Final = ("runbook", "incidents")
ADDED: Final = {
    "deployment.md": DEPLOY / "README.md",
    **{f"{folder}/{page.name}": page for folder in FOLDERS for page in sorted((DEPLOY / folder).glob("*.md"))},
}
"""Page of the site → file."""

OUTSIDE: Final = (
    (re.compile(r"\]\(\.\./deploy/runbook/"), "](runbook/"),
    (re.compile(r"\]\(\.\./deploy/incidents/"), "](incidents/"),
    (re.compile(r"\]\(\.\./\.\./docs/"), "](../"),
    (re.compile(r"\]\(\.\./deploy/README\.md"), "](deployment.md"),
)
"""Links as they are followed in the repository, and as on the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for name, file in ADDED.items():
        files.append(File.generated(config, name, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, **_more: object) -> str:
    """Lead the links to the pages."""
    for pattern, place in OUTSIDE:
        markdown = pattern.sub(place, markdown)
    return markdown
