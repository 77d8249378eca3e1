"""Writes the pages that are made from the code: `python docs/site/generate.py`, or `make docs-pages`."""

from functools import partial
from pathlib import Path
from typing import Final

from alerts_page import alerts_page
from commands_page import commands_page
from configuration_page import configuration_page
from metrics_page import metrics_page
from protocol_pages import TEXTS, examples_page, protocol_page
from software_page import servers_page

DOCS: Final = Path(__file__).parents[1]
PAGES: Final = {
    "configuration.md": configuration_page,
    "metrics.md": metrics_page,
    "alerts.md": alerts_page,
    "commands.md": commands_page,
    "../deploy/runbook/servers.md": servers_page,
    "protocols/examples.md": examples_page,
    **{f"protocols/{name}.md": partial(protocol_page, name) for name in TEXTS},
}

if __name__ == "__main__":
    for name, made in PAGES.items():
        (DOCS / name).write_text(made(), encoding="utf-8")
