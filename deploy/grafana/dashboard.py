"""The dashboard: the order of its rows, its variables and marks.

    python deploy/grafana/dashboard.py [FILE]      writes dashboards/ws-factory.json, or FILE

Rule 1: no panel here: they stand in `on_call` and `in_depth`, in the order of need.
"""
# ruff: noqa: INP001 - a script, no package

import json
import sys
from pathlib import Path
from typing import Final

from in_depth import BUDGET, FACTORY, FINDINGS, HOW_LONG
from on_call import FIVE_SECONDS, US_OR_THEM, WHAT_FAILS
from panel_json import annotation, dashboard, datasource_variable, label_variable, page_link
from vocabulary import FIRING, RUNBOOK

STATUS_PAGE: Final = "http://127.0.0.1:11011/"
"""Where the exporter is seen by those who read this; a panel's own link asks the instance."""

ROWS: Final = (FIVE_SECONDS, US_OR_THEM, WHAT_FAILS, FACTORY, HOW_LONG, BUDGET, FINDINGS)

VARIABLES: Final = (
    datasource_variable(),
    label_variable("job", "ws_exporter_build_info"),
    label_variable("instance", 'ws_exporter_build_info{job=~"$job"}'),
    label_variable("target", "ws_probe_interval_seconds{OWN}"),
)

ANNOTATIONS: Final = (
    annotation(
        "Alerts",
        f"{FIRING}}}",
        colour="red",
        title="{{alertname}}",
        body="{{target}}",
        tags="severity,alertname",
    ),
    annotation(
        "Versions of the exporter",
        """count by (job, instance, version) (ws_exporter_build_info{OWN})
        unless count by (job, instance, version) (ws_exporter_build_info{OWN} offset 5m)""",
        colour="blue",
        title="{{version}}",
        body="{{instance}}",
        tags="version",
    ),
)

HEAD: Final = {
    "description": (
        "Whether clients connect, are let in, get replies and get a valid context from the WebSocket backends, and if "
        "not, in which phase and why."
    ),
    "links": [
        page_link("Runbook", f"{RUNBOOK}README.md", "doc", "Which alert says what, and what to do"),
        page_link("Status page", STATUS_PAGE, "external link", "The exporter's own word: last sessions and failures"),
    ],
    "refresh": "30s",
    "tags": ["ws-factory-exporter", "websocket"],
    "time": {"from": "now-3h", "to": "now"},
    "timezone": "utc",
    "title": "WebSocket factory exporter",
    "uid": "ws-factory",
}


def text() -> str:
    """The file, as it is committed."""
    made = dashboard(HEAD, VARIABLES, ANNOTATIONS, ROWS, RUNBOOK)
    return json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    default = Path(__file__).parent / "dashboards" / "ws-factory.json"
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    file.write_text(text(), encoding="utf-8")
