"""What promtool does not see in the rules, read out of the parsed expressions: the checks of pint, and our own.

A label that was aggregated away, a counter without a rate, a metric that nobody exports, a failure that no alert tells.
"""

import re
from datetime import timedelta

import promql_parser as promql
import pytest
from support.alert_rules import (
    ALERTS,
    GROUPS,
    LEVELS,
    PROFILES,
    RECORDED,
    RULES,
    agrees,
    expression_of,
    found,
    labels_of,
    matchers,
    selectors,
    unknown,
)

from exporter.classify import LEGAL_FAILURES, OutageCause, failing_phases, possible_causes
from exporter.classify.outage import FACTORY_OUTAGES, causes_of
from exporter.metrics import families
from exporter.profiles import has_factory
from exporter.result import (
    FactoryReason,
    Phase,
    Probe,
    Reason,
    Result,
    Trigger,
    Verdict,
)

SCRAPE = 15
COUNTED = ("rate", "increase")
COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")


def name_of(rule):
    return f"{rule['alert']}-{rule['labels']['severity']}" if "alert" in rule else rule["record"]


def each(rules):
    return pytest.mark.parametrize("rule", rules, ids=name_of)


# --- Reading


def queries(rule):
    """The expressions that the annotations look up, with plain words for what the template puts in."""
    for text in rule["annotations"].values():
        assert "query" not in text or "printf `" in text
        for raw in re.findall(r"query \(printf `([^`]*)`", text):
            filled = (
                raw.replace("{%s", '{job="j",target="t"')
                .replace("[%s]", "[300s]")
                .replace("level=%q", 'level="protocol"')
                .replace("%q", '"send"')
            )
            assert "%" not in filled, raw
            yield promql.parse(filled)


# --- What a live scrape has


@each(RULES)
def test_every_metric_label_and_value_is_exported(rule):
    """Pint's promql/series: what a rule names, a live scrape or another rule has."""
    assert not list(unknown(expression_of(rule)))


@each(ALERTS)
def test_what_the_annotations_look_up_is_exported(rule):
    """The queries of the texts are valid, and name what a live scrape has."""
    assert not [problem for query in queries(rule) for problem in unknown(query)]


# --- The checks of pint


@each(ALERTS)
def test_every_alert_compares(rule):
    """alerts/comparison: an expression that always has a result would always fire. But that is the watchdog's job."""
    compares = [one for one in found(expression_of(rule), promql.BinaryExpr) if str(one.node.op) in COMPARISONS]
    absent = "absent(" in rule["expr"]
    assert compares or absent or rule["alert"] == "Watchdog"


@each([rule for rule in ALERTS if "absent(" in rule["expr"]])
def test_what_is_absent_is_so_for_two_scrapes(rule):
    """alerts/absent: a restart of Prometheus is no absence."""
    assert promql.parse_duration(rule["for"]).total_seconds() >= 2 * SCRAPE


@each(ALERTS)
def test_annotations_use_labels_that_are_there(rule):
    """alerts/template: no value in a label, no label in a text that was aggregated away."""
    assert not any("{{" in value for value in rule["labels"].values())
    used = {label for text in rule["annotations"].values() for label in re.findall(r"\$labels\.(\w+)", text)}
    assert used <= labels_of(expression_of(rule))


@each(RULES)
def test_a_counter_is_read_by_its_increase_over_four_scrapes(rule):
    """promql/rate and promql/counter: counters by rate or increase, nothing else by them, never of a sum."""
    kinds = {family.name: family.kind for family in families.ALL}
    for one in found(expression_of(rule), promql.VectorSelector):
        base = re.sub(r"_(bucket|count|sum)$", "", one.node.name or "")
        counter = kinds.get(base) == "histogram" or kinds.get(one.node.name) == "counter"
        calls = [node for node in one.under(promql.Call) if node.func.name in COUNTED]
        assert bool(calls) == counter, one.node
        for call in calls:
            ranged = call.args[0]
            assert isinstance(ranged, promql.MatrixSelector)
            assert ranged.range.total_seconds() >= 4 * SCRAPE


@each(RULES)
def test_nothing_is_fragile(rule):
    """promql/fragile: no topk, and every aggregation keeps job and target, so that nothing is mixed."""
    for one in found(expression_of(rule), promql.AggregateExpr):
        assert "topk" not in str(one.node.op).lower()
        assert {"job", "target"} <= set(one.node.modifier.labels)


@each(RULES)
def test_regular_expressions_are_needed(rule):
    """promql/regexp: one that is a plain word is an equality; Prometheus anchors them."""
    for selector in selectors(expression_of(rule)):
        for _, op, wanted in matchers(selector):
            if op in ("Re", "NotRe"):
                assert re.compile(wanted)
                assert re.search(r"[|.*+?(\[]", wanted)
                assert not wanted.startswith("^")


@each([rule for rule in RULES if "record" in rule])
def test_recording_rules_are_named_level_metric_operation(rule):
    """The convention of Prometheus; an aggregate's labels are those of its level."""
    level, metric, operation = rule["record"].split(":")
    assert metric.startswith("ws_")
    assert operation
    assert labels_of(expression_of(rule)) == set(LEVELS.get(level, ("job", "target")))


def test_no_rule_is_there_twice():
    """rule/duplicate: one rule for an alert of one severity, one for a recorded name, and no expression twice."""
    names = [name_of(rule) for rule in RULES]
    assert len(names) == len(set(names))
    assert len({re.sub(r"\s", "", rule["expr"]) for rule in RULES}) == len(RULES)


# --- Our own


def kept_by(expression):
    """Selectors of an expression whose labels all reach its result: those under no aggregation."""
    return [one.node.name for one in found(expression, promql.VectorSelector) if not one.under(promql.AggregateExpr)]


def is_number(expression):
    return isinstance(expression, promql.NumberLiteral) or not selectors(expression)


@each(RULES)
def test_what_rules_make_is_joined_by_labels_that_are_named(rule):
    """An engine may put a label of its own on recorded series and on ALERTS, and then nothing else matches them."""
    made = RECORDED | {"ALERTS"}
    for one in found(expression_of(rule), promql.BinaryExpr):
        node = one.node
        if is_number(node.lhs) or is_number(node.rhs) or str(node.op) == "or":
            continue
        by_name = node.modifier is not None and node.modifier.matching is not None
        if by_name:
            assert node.modifier.matching.type == promql.LabelModifierType.Include, node
        else:
            assert not made & {*kept_by(node.lhs), *kept_by(node.rhs)}, node


@each(RULES)
def test_what_is_put_together_by_or_is_aggregated(rule):
    """`or` matches by all labels too, unless it names them: an aggregation makes one of them again."""
    for one in found(expression_of(rule), promql.BinaryExpr):
        if str(one.node.op) == "or":
            assert one.under(promql.AggregateExpr), one.node


@each(ALERTS)
def test_an_increase_is_compared_with_at_least(rule):
    """Extrapolation gives 3.2 for 3, and another figure in Prometheus 3: never `>`, `==` or `<` a count."""
    for one in found(expression_of(rule), promql.BinaryExpr):
        left = str(one.node.lhs)
        if str(one.node.op) in COMPARISONS and "increase(" in left and "histogram_quantile" not in left:
            assert str(one.node.op) == ">=", one.node


@each(ALERTS)
def test_no_rule_names_a_bound_of_a_histogram(rule):
    """`le` is "2.0" when it is scraped and "2" when a collector or Telegraf pushes it; and a quantile is a guess."""
    expressions = [expression_of(rule), *queries(rule)]
    assert "le" not in {name for one in expressions for part in selectors(one) for name, _, _ in matchers(part)}
    assert "histogram_quantile" not in rule["expr"]


def counts(expression):
    """Whether it reads counters over a window, or what another rule recorded of them."""
    called = {call.node.func.name for call in found(expression, promql.Call)}
    return bool(called & set(COUNTED)) or any("ws_probe_cycle" in (one.name or "") for one in selectors(expression))


def test_a_page_of_an_outage_waits_for_nothing():
    """The exporter has counted already: one scrape and one evaluation are all that is left."""
    pages = [rule for rule in ALERTS if rule["labels"]["severity"] == "critical" and "ws_probe_outage" in rule["expr"]]
    assert len(pages) >= 8
    assert not [rule["alert"] for rule in pages if "for" in rule]


OFTEN = timedelta(minutes=1)
"""A group that is evaluated more often reads no more than an hour of what every target has."""


def test_what_is_evaluated_often_reads_no_days_of_every_target():
    """At a scrape of 5 s, a window of 3 days is 52,000 samples of each series, each time."""
    for group in GROUPS:
        if promql.parse_duration(group["interval"]) >= OFTEN:
            continue
        for rule in group["rules"]:
            for one in found(expression_of(rule), promql.MatrixSelector):
                name = one.node.vector_selector.name
                few = name in RECORDED or name == "ws_factory_slots_leaked"  # of what fires; of canaries
                assert few or one.node.range <= timedelta(hours=1), (name_of(rule), str(one.node))


def test_counters_need_no_for():
    """The window is the memory: `for` would only delay. Those that wait for what has been told, say why.

    On vmalert a rule sees what others recorded and which alerts fire an evaluation later, at each step of three.
    """
    waiting = {name_of(rule) for rule in ALERTS if "for" in rule and counts(expression_of(rule))}
    assert waiting == {
        "WebSocketInternalErrorSpike-warning",
        "WebSocketServerRestarting-warning",
        "WebSocketErrorBudgetBurn-critical",
        "WebSocketErrorBudgetBurn-warning",
    }


@each([rule for rule in ALERTS if "_alerts:max" in rule["expr"] and "for" in rule])
def test_a_rule_that_waits_for_what_has_been_told_outlasts_vmalert(rule):
    """Four evaluations and half a minute of delay, by default, and one evaluation to spare."""
    assert promql.parse_duration(rule["for"]).total_seconds() >= 5 * SCRAPE + 30


def test_a_window_that_decides_a_page_is_two_minutes():
    """Six cycles of 20 s: the shortest window over which a rule that pages counts sessions."""
    for rule in ALERTS:
        windows = [one.node for one in found(expression_of(rule), promql.MatrixSelector)]
        counted = [window for window in windows if window.vector_selector.name.endswith("_total")]
        shortest = min((window.range.total_seconds() for window in counted), default=120)
        named = rule["alert"].removeprefix("WebSocket") in ("FactorySlotsExhausted", "ErrorBudgetBurn")
        assert rule["labels"]["severity"] != "critical" or named or shortest == 120, rule["alert"]


def fired_by(expression):
    """The part of an expression that makes it fire: without what `unless` takes away."""
    while isinstance(expression, promql.BinaryExpr) and str(expression.op) == "unless":
        expression = expression.lhs
    return expression


def tells(rule, metric, **labels):
    """True if a selector of the rule counts this series of the metric."""
    return any(
        selector.name == metric
        and all(agrees(labels[name], op, wanted) for name, op, wanted in matchers(selector) if name in labels)
        for selector in selectors(fired_by(expression_of(rule)))
    )


@pytest.mark.parametrize("cause", OutageCause)
def test_every_cause_of_an_outage_is_told_by_one_alert(cause):
    """And by one rule: a page, but for a context that is worse than it should be, which is a ticket."""
    told = [rule for rule in ALERTS if tells(rule, "ws_probe_outage", cause=cause.value)]
    severity = "warning" if cause is OutageCause.FACTORY_DEGRADED else "critical"
    assert [rule["labels"]["severity"] for rule in told] == [severity]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_failure_is_a_sign_of_one_outage_or_of_a_limit(profile):
    """Each legal (phase, reason) has a cause that the profile's targets have a series for; a rate limit a ticket."""
    possible = possible_causes(PROFILES[profile], tls=True, factory=has_factory(PROFILES[profile]))
    for phase in failing_phases(Probe.SEND, PROFILES[profile], tls=True):
        for reason in LEGAL_FAILURES[phase] - {Reason.FACTORY}:
            causes = causes_of(failed(phase=phase, reason=reason))
            if reason is Reason.RATE_LIMITED:
                series = {"probe": "send", "phase": phase.value, "reason": reason.value}
                told = [rule["alert"] for rule in ALERTS if tells(rule, "ws_probe_failures_total", **series)]
                assert (causes, told) == (frozenset(), ["WebSocketRateLimited"])
            else:
                assert len(causes & set(possible)) == 1, (phase, reason)


def test_every_factory_reason_is_a_sign_of_one_outage():
    """Slots, what pages, what is a ticket: nothing falls between, and nothing of it is seen without a factory."""
    for reason in FactoryReason:
        causes = causes_of(failed(phase=Phase.ADMISSION, reason=Reason.FACTORY, factory_reason=reason))
        assert len(causes) == 1, reason
        assert causes <= FACTORY_OUTAGES


def failed(**fields):
    return Result(
        target="t", identity=None, run="r", depth=Probe.SEND, trigger=Trigger.SCHEDULE, started_at=1.0,
        verdicts=dict.fromkeys(Probe, Verdict.FAIL), **fields,
    )  # fmt: skip
