"""How Grafana wants a dashboard written: classic JSON, schema 39, which Grafana 10.4 and later read.

Rule 1: shapes only; what is shown and why stands in `dashboard`. Rule 2: one panel, one kind, one row of `KINDS`.
"""
# ruff: noqa: INP001 - a script's folder, no package

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

SCHEMA: Final = 39
COLUMNS: Final = 24
"""The grid's width; a row's title is one unit high."""

DATASOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}

OF: Final = 'job=~"$job",instance=~"$instance",target=~"$target"'
OWN: Final = 'job=~"$job",instance=~"$instance"'
OF_RULES: Final = 'job=~"$job",target=~"$target|"'
"""Alerts are of no instance, and those of the exporter of no target: the empty alternative lets them through."""

States = Mapping[float | str, tuple[str, str]]
"""value → (word, colour)"""

Steps = tuple[tuple[float | None, str], ...]
"""(from which value on, colour); the first begins at None."""

PLAIN: Final[Steps] = ((None, "green"),)
BAD_FROM_ONE: Final[Steps] = ((None, "green"), (1, "red"))


def query(text: str) -> str:
    """The PromQL of a line of the table: `{OF` and `{OWN` are what every selector of a target, of the exporter has."""
    expanded = " ".join(text.split())
    for word, matchers in (("{OF_RULES", OF_RULES), ("{OF", OF), ("{OWN", OWN)):
        expanded = expanded.replace(word, "{" + matchers)
    return expanded


@dataclass(frozen=True)
class Query:
    """One query; `legend` names its series, in a table its column."""

    text: str
    legend: str = ""


@dataclass(frozen=True)
class Column:
    """How a table shows the field `title`. `states`: see `Panel`; `link`: where a click leads."""

    title: str
    unit: str = "short"
    steps: Steps = ()
    states: States | None = None
    link: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel. `text`: what it says and what to make of it. `width` of 24.

    `steps`: colours by value; in a graph the lines to watch. `states`: value → (word, colour). `empty`: what stands
    there when there is nothing to show, which for a filtered query is good news. `alerts`: whose runbook pages it
    links to. `link`: (title, url) of each series. `columns`, `hidden`: of a table.
    """

    kind: str
    title: str
    text: str
    unit: str
    queries: tuple[Query, ...]
    width: int = 8
    height: int = 8
    steps: Steps = PLAIN
    states: States | None = None
    empty: str = ""
    alerts: tuple[str, ...] = ()
    link: tuple[str, str] | None = None
    most: float | None = None
    least: float | None = None
    dashed: str = ""
    columns: tuple[Column, ...] = ()
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A title and the panels below it, from left to right."""

    title: str
    panels: tuple[Panel, ...]


# Kinds -----------------------------------------------------------------------------------------------------------

LAST: Final[Json] = {"calcs": ["lastNotNull"], "fields": "", "values": False}
TOOLTIP: Final[Json] = {"mode": "multi", "sort": "desc"}


def _legend(*, show: bool) -> Json:
    return {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": show}


def _graph(style: str, fill: int, stacking: str) -> Json:
    return {
        "drawStyle": style,
        "fillOpacity": fill,
        "lineWidth": 1,
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": stacking},
        "thresholdsStyle": {"mode": "off"},
    }


@dataclass(frozen=True)
class Kind:
    """A Grafana panel type: its options, the `custom` part of its fields, and what its queries ask for.

    `decimals`: of a count that `increase` extrapolates. `instant`: asks for now, not for the time range.
    """

    type: str
    options: Json
    custom: Json
    colour: str = "palette-classic"
    instant: bool = False
    format: str = "time_series"
    decimals: int | None = None


KINDS: Final[Mapping[str, Kind]] = {
    "lines": Kind("timeseries", {"legend": _legend(show=True), "tooltip": TOOLTIP}, _graph("line", 0, "none")),
    "stack": Kind("timeseries", {"legend": _legend(show=True), "tooltip": TOOLTIP}, _graph("line", 60, "normal")),
    "bars": Kind("timeseries", {"legend": _legend(show=True), "tooltip": TOOLTIP}, _graph("bars", 80, "normal")),
    "states": Kind(
        "state-timeline",
        {
            "alignValue": "left",
            "legend": _legend(show=False),
            "mergeValues": True,
            "perPage": 20,
            "rowHeight": 0.85,
            "showValue": "auto",
            "tooltip": {"mode": "single", "sort": "none"},
        },
        {"fillOpacity": 75, "lineWidth": 0},
        "thresholds",
    ),
    "figure": Kind(
        "stat",
        {
            "colorMode": "background",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": LAST,
            "textMode": "auto",
            "wideLayout": True,
        },
        {},
        "thresholds",
        instant=True,
        decimals=0,
    ),
    "gauges": Kind(
        "bargauge",
        {
            "displayMode": "basic",
            "minVizHeight": 16,
            "minVizWidth": 8,
            "namePlacement": "auto",
            "orientation": "horizontal",
            "reduceOptions": LAST,
            "showUnfilled": True,
            "sizing": "auto",
            "valueMode": "color",
        },
        {},
        "thresholds",
        instant=True,
    ),
    "table": Kind(
        "table",
        {"cellHeight": "sm", "footer": {"countRows": False, "fields": "", "reducer": ["sum"], "show": False},
         "showHeader": True},
        {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False},
        "thresholds",
        instant=True,
        format="table",
    ),
    "heatmap": Kind(
        "heatmap",
        {
            "calculate": False,
            "cellGap": 1,
            "color": {"exponent": 0.5, "fill": "dark-orange", "mode": "scheme", "reverse": False,
                      "scale": "exponential", "scheme": "Oranges", "steps": 64},
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "filterValues": {"le": 1e-09},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": False},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"},
        },
        {"hideFrom": {"legend": False, "tooltip": False, "viz": False}, "scaleDistribution": {"type": "linear"}},
        format="heatmap",
    ),
}  # fmt: skip


# Panels ----------------------------------------------------------------------------------------------------------


def dashboard(
    head: Json, variables: Sequence[Json], annotations: Sequence[Json], rows: Sequence[Row], runbook: str
) -> Json:
    """The whole of it. `head`: title, uid, links and the like; `runbook`: what stands before a page's name."""
    return {
        "annotations": {"list": list(annotations)},
        "editable": False,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "panels": list(_panels(rows, runbook)),
        "schemaVersion": SCHEMA,
        "templating": {"list": list(variables)},
        "timepicker": {},
        "version": 1,
        "weekStart": "",
        **head,
    }


def _panels(rows: Sequence[Row], runbook: str) -> Iterator[Json]:
    number = top = 0
    for row in rows:
        number += 1
        yield {
            "collapsed": False,
            "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": top},
            "id": number,
            "panels": [],
            "title": row.title,
            "type": "row",
        }
        top, left, tallest = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            number += 1
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            yield {"gridPos": place, "id": number, **_panel(panel, runbook)}
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel, runbook: str) -> Json:
    kind = KINDS[panel.kind]
    made = {
        "datasource": DATASOURCE,
        "description": " ".join(panel.text.split()),
        "fieldConfig": {"defaults": _defaults(panel, kind), "overrides": list(_overrides(panel))},
        "links": [
            {"targetBlank": True, "title": f"Runbook: {alert}", "url": f"{runbook}{alert}.md"} for alert in panel.alerts
        ],
        "options": kind.options,
        "targets": [_target(one, kind, index) for index, one in enumerate(panel.queries)],
        "title": panel.title,
        "type": kind.type,
    }
    if panel.kind == "table":
        made["transformations"] = [{"id": "merge", "options": {}}, _columns(panel)]
    return made


def _target(one: Query, kind: Kind, index: int) -> Json:
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query(one.text),
        "format": kind.format,
        "instant": kind.instant,
        "legendFormat": one.legend or "__auto",
        "range": not kind.instant,
        "refId": chr(ord("A") + index),
    }


def _defaults(panel: Panel, kind: Kind) -> Json:
    custom = dict(kind.custom)
    if kind.type == "timeseries" and len(panel.steps) > 1:
        custom["thresholdsStyle"] = {"mode": "dashed"}
    given = {"decimals": kind.decimals, "max": panel.most, "min": panel.least, "noValue": panel.empty or None}
    return {
        "color": {"mode": kind.colour},
        "custom": custom,
        "links": [_link(*panel.link)] if panel.link else [],
        "mappings": _mappings(panel.states),
        "thresholds": _thresholds(panel.steps),
        "unit": panel.unit,
        **{key: value for key, value in given.items() if value is not None},
    }


def _link(title: str, url: str) -> Json:
    return {"targetBlank": not url.startswith("/d/"), "title": title, "url": url}


def _thresholds(steps: Steps) -> Json:
    return {"mode": "absolute", "steps": [{"color": colour, "value": value} for value, colour in steps]}


def _mappings(states: States | None) -> list[Json]:
    options = {
        str(value): {"color": colour, "index": index, "text": word}
        for index, (value, (word, colour)) in enumerate((states or {}).items())
    }
    return [{"options": options, "type": "value"}] if options else []


def _overrides(panel: Panel) -> Iterator[Json]:
    if panel.dashed:
        yield _override(
            "byRegexp", panel.dashed, {"custom.lineStyle": {"dash": [8, 8], "fill": "dash"}, "custom.fillOpacity": 0}
        )
    for column in panel.columns:
        shown: Json = {"unit": column.unit}
        if column.steps:
            shown |= {"thresholds": _thresholds(column.steps), "custom.cellOptions": {"type": "color-text"}}
        if column.states:
            shown |= {"mappings": _mappings(column.states), "custom.cellOptions": {"type": "color-background"}}
        if column.link:
            shown["links"] = [_link("Runbook", column.link)]
        yield _override("byName", column.title, shown)


def _override(how: str, which: str, properties: Json) -> Json:
    return {
        "matcher": {"id": how, "options": which},
        "properties": [{"id": name, "value": value} for name, value in properties.items()],
    }


def _columns(panel: Panel) -> Json:
    """Names for the columns `Value #A` …, after the labels as the first query groups by them; `hidden` ones away."""
    labels = re.findall(r"\w+", panel.queries[0].text.partition("by (")[2].partition(")")[0])
    single = len(panel.queries) == 1
    values = {("Value" if single else f"Value #{chr(ord('A') + i)}"): q.legend for i, q in enumerate(panel.queries)}
    return {
        "id": "organize",
        "options": {
            "excludeByName": dict.fromkeys(("Time", *panel.hidden), True),
            "indexByName": {field: index for index, field in enumerate((*labels, *values))},
            "renameByName": {field: title for field, title in values.items() if title},
        },
    }


# Links, variables, annotations ---------------------------------------------------------------------------------------


def page_link(title: str, url: str, icon: str, tooltip: str) -> Json:
    """A link at the top of the dashboard."""
    return {
        "asDropdown": False,
        "icon": icon,
        "includeVars": False,
        "keepTime": False,
        "tags": [],
        "targetBlank": True,
        "title": title,
        "tooltip": tooltip,
        "type": "link",
        "url": url,
    }


def datasource_variable() -> Json:
    """Which Prometheus to ask."""
    return {
        "current": {},
        "hide": 0,
        "includeAll": False,
        "label": "Data source",
        "multi": False,
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
        "type": "datasource",
    }


def label_variable(name: str, series: str) -> Json:
    """The values of a label, read again when the time range changes: all of them, or some."""
    asked = f"label_values({query(series)}, {name})"
    return {
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "datasource": DATASOURCE,
        "definition": asked,
        "hide": 0,
        "includeAll": True,
        "label": name,
        "multi": True,
        "name": name,
        "options": [],
        "query": {"query": asked, "refId": name},
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 1,
        "type": "query",
    }


def annotation(name: str, text: str, *, colour: str, title: str, tags: str, body: str = "") -> Json:
    """Marks in every graph, at each sample of a query; samples a step apart are one mark."""
    return {
        "datasource": DATASOURCE,
        "enable": True,
        "expr": query(text),
        "hide": False,
        "iconColor": colour,
        "name": name,
        "step": "60s",
        "tagKeys": tags,
        "textFormat": body,
        "titleFormat": title,
    }
