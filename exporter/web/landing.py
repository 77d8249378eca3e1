"""The landing page: what this is, where the rest is, how each target does.

Rule 1: no script, nothing from elsewhere: the policy below lets nothing else in. Rule 2: every text is escaped.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "table{border-collapse:collapse}th,td{text-align:left;padding:.2rem 1.5rem .2rem 0;border-bottom:1px solid #ccc}"
)
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LINKS: Final = {"-/healthy": "health", "-/ready": "readiness"}
"""Relative: whatever stands before this page stands before them."""


@dataclass(frozen=True, slots=True)
class LandingTarget:
    """One row: a target's name, its state in a word or two, and a sentence or nothing."""

    name: str
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LandingData:
    """What the page shows."""

    version: str
    targets: Sequence[LandingTarget] = ()


def page(data: LandingData, metrics: str = "metrics") -> bytes:
    """The page as HTML in UTF-8. `metrics`: the link to them."""
    links = " · ".join(f'<a href="{escape(path)}">{name}</a>' for path, name in {metrics: "metrics", **LINKS}.items())
    rows = "".join(_row(target) for target in data.targets)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>ws-factory-exporter</title>'
        f"<style>{STYLE}</style></head><body><h1>ws-factory-exporter {escape(data.version)}</h1><p>{links}</p>"
        f"<table><thead><tr><th>target</th><th>state</th><th></th></tr></thead><tbody>{rows}</tbody></table>"
        "</body></html>\n"
    ).encode("utf-8", "replace")


def _row(target: LandingTarget) -> str:
    cells = (target.name, target.state, target.detail)
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
