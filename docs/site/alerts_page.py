"""alerts.md: each alert of alerts.yml, what it waits for, and what mutes it by deploy/alertmanager.yml."""

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import yaml
from cells import code, page, table

ROOT: Final = Path(__file__).parents[2]
GROUPS: Final = yaml.safe_load((ROOT / "alerts.yml").read_text("utf-8"))["groups"]
ALERTMANAGER: Final = yaml.safe_load((ROOT / "deploy/alertmanager.yml").read_text("utf-8"))
RULES: Final[list[Mapping[str, Any]]] = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
MATCHER: Final = re.compile(r'(\w+)(=~|=)"(.*)"')
CAUSE: Final = re.compile(r'ws_probe_outage\{cause="(\w+)"\}')
SEVERITIES: Final = {"critical": "page", "warning": "ticket", "none": "heartbeat"}

INTRO: Final = """\
The rules are in `alerts.yml`, the routes and inhibitions in `deploy/alertmanager.yml`. A **page** has the severity
`critical`, a **ticket** `warning`. Some alerts exist as both: a page for an outage, a ticket for less. Which incident
raises which alert, and the order in which they mute each other, is tested and listed in the
[runbook](../deploy/runbook/README.md).

Rules that read `ws_probe_outage` wait for nothing: the exporter has judged the outage over several sessions already
([Outages](design.md#outages)). An alert is muted only on the same job and target as the alert that mutes it."""


def alerts_page() -> str:
    """The whole page."""
    return page("Alerts", INTRO, *_overview(), *_alerts())


def _overview() -> Iterator[str]:
    yield table(
        ("alert", "severity", "summary"),
        [
            (
                f"[{rule['alert']}](#{rule['alert'].lower()})",
                SEVERITIES[_severity(rule)],
                rule["annotations"]["summary"],
            )
            for rule in RULES
        ],
    )


def _alerts() -> Iterator[str]:
    ordered = sorted(RULES, key=lambda rule: _first(rule["alert"]))
    for name, rules in groupby(ordered, key=lambda rule: rule["alert"]):
        yield f"## {name}"
        for rule in rules:
            yield from _rule(rule)
        yield f"What to do: [runbook](../deploy/runbook/{name}.md)."


def _first(name: str) -> int:
    return next(number for number, rule in enumerate(RULES) if rule["alert"] == name)


def _severity(rule: Mapping[str, Any]) -> str:
    return str(rule["labels"]["severity"])


def _rule(rule: Mapping[str, Any]) -> Iterator[str]:
    yield f"**{SEVERITIES[_severity(rule)].capitalize()}.** {rule['annotations']['summary']}"
    rows = [("waits for", _waits(rule)), ("muted by", _names(muting(rule)))]
    if "keep_firing_for" in rule:
        rows.append(("stays for", f"{rule['keep_firing_for']} after the condition has ended"))
    yield table(("", ""), rows)
    yield f"```promql\n{rule['expr'].strip()}\n```"


def _waits(rule: Mapping[str, Any]) -> str:
    held = (
        f"the condition to hold for {rule['for']}" if "for" in rule else "nothing: it fires with the first evaluation"
    )
    condition, _, _ = rule["expr"].partition("unless ")  # what follows holds an alert back
    cause = CAUSE.search(condition)
    if cause is None or "for" in rule:
        return held
    return f"an outage of cause {code(cause[1])} ([judged by the exporter](design.md#outages))"


def _names(found: list[Mapping[str, Any]]) -> str:
    each = dict.fromkeys((rule["alert"], SEVERITIES[_severity(rule)]) for rule in found)
    return ", ".join(f"[{name}](#{name.lower()}) ({severity})" for name, severity in each) or "nothing"


def muting(rule: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rules whose alerts mute those of this one."""
    found = []
    for inhibition in ALERTMANAGER["inhibit_rules"]:
        if _meets(inhibition["target_matchers"], rule):
            found += [
                one
                for one in RULES
                if one is not rule and _meets(inhibition["source_matchers"], one) and _agree(inhibition, one, rule)
            ]
    return found


def _agree(inhibition: Mapping[str, Any], one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return "alertname" not in inhibition.get("equal", ()) or one["alert"] == other["alert"]


def _meets(matchers: list[str], rule: Mapping[str, Any]) -> bool:
    labels = {**rule["labels"], "alertname": rule["alert"]}
    for matcher in matchers:
        found = MATCHER.fullmatch(matcher)
        if found is None:
            raise ValueError(f"deploy/alertmanager.yml: {matcher}: a matcher that this page cannot read")
        name, operator, wanted = found.groups()
        pattern = wanted if operator == "=~" else re.escape(wanted)
        if not re.fullmatch(pattern, labels.get(name, "")):
            return False
    return True
