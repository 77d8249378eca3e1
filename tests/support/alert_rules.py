"""The alert rules, read out of their parsed expressions, and what a live scrape has."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import promql_parser as promql
import yaml

from exporter.classify import Cuts, LeakFindings, StatsReading
from exporter.config import Profile, Target
from exporter.metrics import Metrics, families, target_series
from exporter.profiles import BUILT_IN, probes_of
from exporter.result import (
    Evidence,
    HoldEnd,
    LineLevel,
    Phase,
    Probe,
    RefusalCase,
    RefusalOutcome,
    Result,
    SentinelOutcome,
    StatsOutcome,
    Trigger,
    Verdict,
)
from support import exposition
from support.paths import ROOT

GROUPS = yaml.safe_load((ROOT / "alerts.yml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
LEVELS = {
    "instance_target_probe": ("job", "instance", "target", "probe"),
    "target_field": ("job", "target", "field"),
}
"""First part of a recorded name → labels that the series has, where it has more than `job` and `target`."""
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
OF_PROMETHEUS = {
    **{
        name: {"job": {"ws-factory-exporter"}, "instance": set()}
        for name in ("up", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling")
    },
    "ALERTS": {
        "alertname": {rule["alert"] for rule in ALERTS},
        "alertstate": {"firing"},
        "job": set(),
        "target": set(),
        "severity": {rule["labels"]["severity"] for rule in ALERTS},
    },
}
CHAT = {
    "auth": {"message": {"type": "login", "token": "${token}"}, "match": {"type": "welcome"}},
    "send": {"message": {"nonce": "${nonce}"}, "match": {"nonce": "${nonce}"}},
}
PROFILES = {"factory": BUILT_IN["factory"], "chat": Profile.model_validate(CHAT)}
"""The backend of profile `factory`, and one where users log in by a message."""


@dataclass(frozen=True)
class Found:
    """A node of an expression and those above it, the root first."""

    node: object
    above: tuple

    def under(self, kind):
        return [node for node in self.above if isinstance(node, kind)]


def every_second(text):
    """The rules, each group of them evaluated every second."""
    return re.sub(r"(?m)^(    interval: ).*$", r"\g<1>1s", text)


def nodes(expression, above=()) -> Iterator[Found]:
    """Every node, whatever it hangs on."""
    yield Found(expression, above)
    parts = [getattr(expression, field, None) for field in ("expr", "lhs", "rhs", "param", "vector_selector")]
    for part in [*parts, *(getattr(expression, "args", None) or [])]:
        if part is not None and not isinstance(part, str | int | float):
            yield from nodes(part, (*above, expression))


def found(expression, kind):
    return [one for one in nodes(expression) if isinstance(one.node, kind)]


def selectors(expression):
    return [one.node for one in found(expression, promql.VectorSelector)]


def matchers(selector):
    return [(one.name, str(one.op).rpartition(".")[2], one.value) for one in selector.matchers.matchers]


def expression_of(rule):
    return promql.parse(rule["expr"])


def labels_of(expression):
    """The labels that a result has; None: all that its series have."""
    if isinstance(expression, promql.AggregateExpr):
        modifier = expression.modifier
        assert modifier is None or modifier.type == promql.AggModifierType.By
        return set() if modifier is None else set(modifier.labels)
    if isinstance(expression, promql.BinaryExpr):
        left = labels_of(expression.lhs)
        return labels_of(expression.rhs) if isinstance(expression.lhs, promql.NumberLiteral) else left
    if isinstance(expression, promql.ParenExpr):
        return labels_of(expression.expr)
    if isinstance(expression, promql.Call) and expression.func.name == "vector":
        return set()
    inner = found(expression, promql.VectorSelector)[0].node
    if inner.name in RECORDED:
        return set(LEVELS.get(inner.name.partition(":")[0], ("job", "target")))
    if isinstance(expression, promql.Call) and expression.func.name == "absent":
        return {name for name, op, _ in matchers(inner) if op == "Equal"}
    family = next((one for one in families.ALL if inner.name == one.name), None)
    return {"job", "instance", *(family.labels if family else ())}


@cache
def scraped():
    """(metric, labels) of every sample: a factory over TLS, a target that logs in by message, one passed session."""
    metrics = Metrics("1.2.3")
    identities = {"pool-001": "u1", "uuid-001": "u2"}
    for name, profile in (("staging", "factory"), ("chat", "chat")):
        fields = {"name": name, "url": "wss://127.0.0.1:1/ws", "identities": identities}
        canary = {"identity": {"canary-001": "u3"}} if profile == "factory" else None
        refusals = {"cases": ["malformed", "other_key"]}
        stats = {"url": "https://127.0.0.1/stats", "fields": {"managers": "managers"}, "limits": {"managers": 9}}
        hold = {"identity": {"hold-001": "u4"}}
        more = {"canary": canary, "refusals": refusals, "sentinel": {}, "stats": stats, "hold": hold}
        target = Target.model_validate(fields | more)
        metrics.add_target(target_series(target, PROFILES[profile]))
        for probe in probes_of(PROFILES[profile]):
            metrics.set_due(name, probe, 1.0)
    evidence = Evidence(clock_skew=0.5, certificate_expiry=2e9, heartbeat_interval=25.0, max_message_size=8192.0)
    passed = Result(
        target="staging", identity="pool-001", run="r", depth=Probe.SEND, trigger=Trigger.SCHEDULE, started_at=1.0,
        verdicts=dict.fromkeys(Probe, Verdict.PASS), durations=dict.fromkeys(Probe, 0.1), evidence=evidence,
        phases=dict.fromkeys(Phase, 0.01), slot_limit=5,
    )  # fmt: skip
    metrics.record_result(passed)
    metrics.set_identity("staging", "pool-001", held=1, budget=4, resting=False)
    metrics.set_leak_findings("staging", LeakFindings(0, 328.0))
    metrics.record_refusal("staging", RefusalCase.MALFORMED, RefusalOutcome.REFUSED)
    metrics.record_sentinel("staging", SentinelOutcome.PASSED)
    metrics.record_stats("staging", StatsReading(StatsOutcome.READ, {"managers": 7}, {"managers": 9}))
    metrics.record_hold_end("staging", HoldEnd.OVER, Cuts(60.0, 600.0))
    metrics.set_hold_open("staging", 1.0)
    metrics.set_hold_deaf("staging", deaf=False)
    for level in LineLevel:
        metrics.set_heartbeats("staging", level, 25.0, lost=False)
    metrics.record_reload(1.0, successful=True)
    return [
        (sample.name, dict(sample.labels))
        for family in exposition.families(metrics, whole=True)
        for sample in family.samples
    ]


@cache
def exported():
    """Metric → label → values, of that scrape and of Prometheus itself."""
    scrape: dict[str, dict[str, set[str]]] = {name: dict(labels) for name, labels in OF_PROMETHEUS.items()}
    for name, labels in scraped():
        known = scrape.setdefault(name, {"job": set(), "instance": set()})
        for label, value in labels.items():
            known.setdefault(label, set()).add(value)
    return scrape


def agrees(value, op, wanted):
    same = re.fullmatch(wanted, value) is not None if op in ("Re", "NotRe") else value == wanted
    return same if op in ("Equal", "Re") else not same


NAMES_OF_THE_CONFIG = {"target", "identity", "field", "job", "instance"}


def unknown(expression):
    """Names, labels and values of an expression that no scrape has."""
    for selector in selectors(expression):
        if selector.name in RECORDED:
            continue
        labels = exported().get(selector.name)
        if labels is None:
            yield f"no metric {selector.name}"
            continue
        for name, op, wanted in matchers(selector):
            words = wanted.split("|") if op in ("Re", "NotRe") and "(" not in wanted else [wanted]
            if name not in labels:
                yield f"{selector.name} has no label {name}"
            elif name not in NAMES_OF_THE_CONFIG or (name == "job" and "ws-" in wanted):
                known = labels[name] | ({"ws-factory-exporter"} if name == "job" else set())
                yield from (
                    f"{selector.name} has no {name} {word!r}"
                    for word in words
                    if not any(agrees(value, "Re", word) for value in known)
                )
