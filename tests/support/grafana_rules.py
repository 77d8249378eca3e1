"""What a dashboard must keep: the rules of Grafana's dashboard-linter, and our own.

Each is a function from a dashboard to (title of the panel or variable, what is wrong with it). The linter's stand in
docs/rules of github.com/grafana/dashboard-linter.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path

import promql_parser as promql

from exporter.metrics import families
from support.alert_rules import ALERTS, RULES, agrees, exported, expression_of, labels_of, scraped, unknown
from support.paths import ROOT

SCHEMAS = (39, 40, 41)
UID = "ws-factory"
DATASOURCE = "${datasource}"
OF_GRAFANA = "-- Grafana --"
VARIABLES = ("job", "instance", "target")
ON_TIME_RANGE_CHANGE = 2
UNITS = ("none", "short", "percentunit", "s", "d", "cpm")
"""Ids of Grafana's units (grafana-data, valueFormats/categories.ts) that mean something here; cpm: counts a minute."""
SHORTEST_TEXT = 3
"""Words."""
COLUMNS = 24
WHOLE = "the dashboard"

RATE_INTERVAL, RANGE = "11277964s", "22555928s"
"""Durations that nobody writes, in place of Grafana's own."""
READS_COUNTERS = ("rate", "irate", "increase")
BUILT_IN = {"$__rate_interval": RATE_INTERVAL, "$__range": RANGE}
NAMES_OF_THE_CONFIG = ("job", "instance", "target", "identity")


# --- Reading


FOLDER = ROOT / "deploy/grafana"
FILE = FOLDER / "dashboards/ws-factory.json"
DASHBOARD = json.loads(FILE.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Asked:
    """A query: where it stands, its text and legend; `panel` {} for an annotation."""

    title: str
    text: str
    legend: str
    panel: dict
    source: dict

    @property
    def expression(self):
        """Parsed, with durations for Grafana's; None if it cannot be."""
        return parsed(filled(self.text, BUILT_IN))


def filled(text, values):
    """A text with values for Grafana's variables, the longest names first."""
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(name, values[name])
    return text


@cache
def parsed(text):
    try:
        return promql.parse(text)
    except ValueError:
        return None


def panels(dashboard):
    """Those that show something, also in a folded row."""
    for panel in dashboard["panels"]:
        yield from (panel,) if panel["type"] != "row" else panel.get("panels", ())


def annotations(dashboard):
    return [one for one in dashboard["annotations"]["list"] if one["datasource"].get("uid") != OF_GRAFANA]


def queries(dashboard) -> Iterator[Asked]:
    """Of panels and annotations."""
    for panel in panels(dashboard):
        for one in panel.get("targets", ()):
            yield Asked(panel["title"], one["expr"], one.get("legendFormat", ""), panel, one)
    for one in annotations(dashboard):
        yield Asked(one["name"], one["expr"], one["titleFormat"] + one["textFormat"], {}, one)


def nodes(expression, above=()):
    """Every node of an expression, with those above it, the nearest last."""
    yield expression, above
    parts = [getattr(expression, field, None) for field in ("expr", "lhs", "rhs", "param", "vector_selector")]
    for part in [*parts, *(getattr(expression, "args", None) or [])]:
        if part is not None and not isinstance(part, str | int | float):
            yield from nodes(part, (*above, expression))


def selectors(dashboard):
    """(query, selector, nodes above it) of every query that can be read."""
    for asked in queries(dashboard):
        for node, above in nodes(asked.expression) if asked.expression else ():
            if isinstance(node, promql.VectorSelector):
                yield asked, node, above


def matchers(selector):
    return [(one.name, str(one.op).rpartition(".")[2], one.value) for one in selector.matchers.matchers]


ALERT_LABELS = {"alertname", "alertstate", "severity"}.union(*(labels_of(expression_of(rule)) for rule in ALERTS))


@cache
def series():
    """Metric → the labels of each of its series, without those that Prometheus adds."""
    there = {"up": [{"job": "ws-factory-exporter"}]}
    for name, labels in scraped():
        there.setdefault(name, []).append(labels)
    for rule in RULES:
        own = {"alertname": rule["alert"], "alertstate": "firing"} | rule["labels"] if "alert" in rule else {}
        there.setdefault(rule.get("record", "ALERTS"), []).append(own)
    return there


def labels_there(name):
    """The labels that series of a metric can have."""
    if name == "ALERTS":
        return ALERT_LABELS
    recorded = next((rule for rule in RULES if rule.get("record") == name), None)
    return labels_of(expression_of(recorded)) if recorded else {*exported().get(name, ()), "job", "instance"}


def labels_after(node):
    """The labels that the result of an expression has."""
    match node:
        case promql.VectorSelector():
            return set(labels_there(node.name))
        case promql.MatrixSelector():
            return set(labels_there(node.vector_selector.name))
        case promql.AggregateExpr():
            return set(node.modifier.labels) if node.modifier else set()
        case promql.BinaryExpr():
            left = labels_after(node.lhs)
            return labels_after(node.rhs) if left is None else left
        case promql.Call() if node.func.name in ("vector", "absent"):
            return set()
        case promql.Call():
            inner = [labels for labels in map(labels_after, node.args) if labels is not None]
            less = {"le"} if node.func.name == "histogram_quantile" else set()
            return inner[-1] - less if inner else None
        case promql.ParenExpr() | promql.UnaryExpr():
            return labels_after(node.expr)
    return None


# --- The rules of the linter


def is_classic_json(dashboard):
    """A form that Grafana imports and provisions: no inputs to answer, an id of its own, not to be edited."""
    wanted = {"schemaVersion": SCHEMAS, "uid": (UID,), "id": (None,), "editable": (False,)}
    yield from ((WHOLE, f"{key} is {dashboard.get(key)}") for key, good in wanted.items() if dashboard[key] not in good)
    yield from ((WHOLE, f"has {key}") for key in ("__inputs", "__requires", "__elements") if key in dashboard)


def has_one_datasource_variable(dashboard):
    """template-datasource-rule: named datasource, labelled Data source."""
    found = [one for one in dashboard["templating"]["list"] if one["type"] == "datasource"]
    if len(found) != 1:
        yield WHOLE, f"{len(found)} datasource variables"
    for one in found:
        if (one["name"], one["label"], one["query"]) != ("datasource", "Data source", "prometheus"):
            yield one["name"], "is not the data source of a Prometheus"


def has_the_label_variables(dashboard):
    """template-job-rule, template-instance-rule, and the same for target."""
    found = {one["name"]: one for one in dashboard["templating"]["list"]}
    for name in VARIABLES:
        one = found.get(name, {})
        wanted = {"type": "query", "label": name, "multi": True, "includeAll": True, "allValue": ".+"}
        yield from ((name, f"{key} is {one.get(key)!r}") for key, good in wanted.items() if one.get(key) != good)


def variables_are_read_again(dashboard):
    """template-on-time-change-reload-rule, template-label-promql-rule."""
    for one in dashboard["templating"]["list"]:
        if one["type"] != "query":
            continue
        if one["refresh"] != ON_TIME_RANGE_CHANGE:
            yield one["name"], "is not read again when the time range changes"
        read = re.fullmatch(r"label_values\((.+), (\w+)\)", one["query"]["query"])
        expression = parsed(read[1]) if read else None
        if not isinstance(expression, promql.VectorSelector) or read[2] not in labels_there(expression.name):
            yield one["name"], "reads no label of a series"
        elif list(unknown(expression)):
            yield one["name"], str(list(unknown(expression)))


def asks_the_datasource_variable(dashboard):
    """panel-datasource-rule, for panels, their queries, variables and annotations."""
    named = [(panel["title"], panel) for panel in panels(dashboard)]
    named += [(asked.title, asked.source) for asked in queries(dashboard)]
    named += [(one["name"], one) for one in dashboard["templating"]["list"] if one["type"] == "query"]
    for title, one in named:
        if one.get("datasource") != {"type": "prometheus", "uid": DATASOURCE}:
            yield title, "does not ask the chosen data source"


def says_what_it_shows(dashboard):
    """panel-title-description-rule, panel-units-rule."""
    for panel in panels(dashboard):
        if not panel["title"] or len(panel["description"].split()) < SHORTEST_TEXT:
            yield panel["title"], "has no title or no description"
        if panel["fieldConfig"]["defaults"].get("unit") not in UNITS:
            yield panel["title"], "has no unit"


def asks_valid_promql(dashboard):
    """panel-no-targets-rule, target-promql-rule; each query of a panel has a letter of its own."""
    for panel in panels(dashboard):
        letters = [one["refId"] for one in panel.get("targets", ())]
        if not letters or len(letters) != len(set(letters)):
            yield panel["title"], "asks nothing, or two queries by one letter"
    yield from (
        (asked.title, f"cannot be parsed: {asked.text}") for asked in queries(dashboard) if not asked.expression
    )


def counts_over_the_rate_interval(dashboard):
    """target-rate-interval-rule, for increase too."""
    for asked in queries(dashboard):
        for node, above in nodes(asked.expression) if asked.expression else ():
            read = isinstance(node, promql.MatrixSelector) and above and above[-1].func.name in READS_COUNTERS
            if read and node.range != promql.parse_duration(RATE_INTERVAL):
                yield asked.title, f"counts over another window than $__rate_interval: {asked.text}"


def _asks_for(dashboard, label, extra=()):
    for asked, selector, _ in selectors(dashboard):
        given = {value for name, op, value in matchers(selector) if (name, op) == (label, "Re")}
        if label in labels_there(selector.name) and not given & {f"${label}", *extra}:
            yield asked.title, f'{selector.name} without {label}=~"${label}"'


def asks_for_the_job(dashboard):
    """target-job-rule."""
    yield from _asks_for(dashboard, "job")


def asks_for_the_instance(dashboard):
    """target-instance-rule."""
    yield from _asks_for(dashboard, "instance")


def asks_for_the_target(dashboard):
    """As for job and instance, where a series has a target. Alerts of the exporter have none: `$target|` keeps them."""
    yield from _asks_for(dashboard, "target", ("$target|",))


def reads_counters_by_rate(dashboard):
    """target-counter-agg-rule; and nothing else by rate."""
    kinds = {family.name: family.kind for family in families.ALL}
    for asked, selector, above in selectors(dashboard):
        histogram = kinds.get(re.sub(r"_(bucket|count|sum)$", "", selector.name)) == "histogram"
        counter = histogram or kinds.get(selector.name) == "counter"
        by_rate = len(above) > 1 and isinstance(above[-2], promql.Call) and above[-2].func.name in READS_COUNTERS
        if counter != by_rate:
            yield asked.title, f"{selector.name} is {'a counter' if counter else 'no counter'}"


def reads_buckets_as_histograms(dashboard):
    """target-histogram-rule: buckets are for quantiles and heatmaps."""
    for asked, selector, above in selectors(dashboard):
        quantile = any(isinstance(node, promql.Call) and node.func.name == "histogram_quantile" for node in above)
        heatmap = asked.panel.get("type") == "heatmap" and asked.source["format"] == "heatmap"
        if selector.name.endswith("_bucket") and not quantile and not heatmap:
            yield asked.title, f"{selector.name} is shown as if its buckets were series"


LINTER = {
    counts_over_the_rate_interval: "target-rate-interval-rule",
    asks_for_the_job: "target-job-rule",
    asks_for_the_instance: "target-instance-rule",
}
"""Rules from which .lint may except a panel, and how the linter calls them."""


# --- Our own


def asks_for_what_is_there(dashboard):
    """A selector names a metric, labels and words of closed lists that are, and together: a series can match it."""
    for asked, selector, _ in selectors(dashboard):
        words = list(unknown(selector))
        yield from ((asked.title, word) for word in words)
        closed = [one for one in matchers(selector) if one[0] not in NAMES_OF_THE_CONFIG]
        if not words and not any(
            all(agrees(labels.get(name, ""), op, value) for name, op, value in closed)
            for labels in series()[selector.name]
        ):
            yield asked.title, f"no series can match {selector}"


def names_labels_that_are_there(dashboard):
    """What a query groups by, what its legend names and what its links need."""
    for asked in queries(dashboard):
        for node, _ in nodes(asked.expression) if asked.expression else ():
            if isinstance(node, promql.AggregateExpr) and node.modifier:
                gone = set(node.modifier.labels) - (labels_after(node.expr) or set())
                yield from ((asked.title, f"groups by {label}, which is not there") for label in sorted(gone))
        links = [one["url"] for one in asked.panel.get("fieldConfig", {}).get("defaults", {}).get("links", ())]
        wanted = set(re.findall(r"\{\{(\w+)\}\}", asked.legend)) | set(
            re.findall(r"__field\.labels\.(\w+)", str(links))
        )
        shown = (labels_after(asked.expression) if asked.expression else None) or set()
        yield from ((asked.title, f"shows {label}, which is not there") for label in sorted(wanted - shown))


def names_columns_that_are_there(dashboard):
    """What a table says of a column is of a query's name or of a label."""
    for panel in panels(dashboard):
        if panel["type"] != "table":
            continue
        named = {one["legendFormat"] for one in panel["targets"]}
        labels = {label for one in panel["targets"] for label in labels_after(parsed(filled(one["expr"], BUILT_IN)))}
        for override in panel["fieldConfig"]["overrides"]:
            if override["matcher"]["options"] not in named | labels:
                yield panel["title"], f"has no column {override['matcher']['options']}"


def lies_on_the_grid(dashboard):
    """Nothing over another, nothing outside; ids and titles are of one panel each, because .lint goes by titles."""
    laid = [(one["title"], one["gridPos"]) for one in dashboard["panels"]]
    for title, place in laid:
        if place["x"] < 0 or place["w"] < 1 or place["h"] < 1 or place["x"] + place["w"] > COLUMNS:
            yield title, "is outside"
    for (_, one), (title, other) in combinations(laid, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        if not beside and not apart:
            yield title, "lies over another"
    for key in ("id", "title"):
        twice = Counter(one[key] for one in dashboard["panels"])
        yield from ((str(value), f"is the {key} of {count}") for value, count in twice.items() if count > 1)


def _pages(dashboard):
    """(where, address) of every link into the runbook."""
    for panel in panels(dashboard):
        yield from ((panel["title"], one["url"]) for one in panel.get("links", ()))
        for link in re.findall(r"'url': '([^']*runbook[^']*)'", str(panel["fieldConfig"])):
            yield panel["title"], link
    yield from ((WHOLE, one["url"]) for one in dashboard["links"] if one["title"] == "Runbook")


def links_to_pages_that_are_there(dashboard):
    """As in alerts.yml: relative to the repository, to be replaced by the same command."""
    for where, url in _pages(dashboard):
        if "${__value.text}" not in url and not (ROOT / url).is_file():
            yield where, f"links to {url}"
        if not url.startswith("deploy/runbook/"):
            yield where, f"links to {url}, which the command of alerts.yml does not find"


def every_alert_has_its_panel(dashboard):
    """Who is paged finds a panel that links to the same page; the dead man's switch is no finding."""
    linked = {Path(url).stem for _, url in _pages(dashboard)}
    wanted = {rule["alert"] for rule in ALERTS} - {"Watchdog"}
    yield from ((WHOLE, f"no panel links to {alert}") for alert in sorted(wanted - linked))


RULES_OF_DASHBOARDS = (
    is_classic_json,
    has_one_datasource_variable,
    has_the_label_variables,
    variables_are_read_again,
    asks_the_datasource_variable,
    says_what_it_shows,
    asks_valid_promql,
    counts_over_the_rate_interval,
    asks_for_the_job,
    asks_for_the_instance,
    asks_for_the_target,
    reads_counters_by_rate,
    reads_buckets_as_histograms,
    asks_for_what_is_there,
    names_labels_that_are_there,
    names_columns_that_are_there,
    lies_on_the_grid,
    links_to_pages_that_are_there,
    every_alert_has_its_panel,
)
