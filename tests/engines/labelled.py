"""The rules as an engine changes them that puts a label of its own on what rules make.

vmalert does (`-external.label`), Thanos Ruler does, the Prometheus operator does (`enforcedNamespaceLabel`), and so do
the `labels` of a group. The series that are scraped need not have that label.
"""

import yaml

EXTRA = {"cluster": "eu1"}
KINDS = {"records": ("record",), "rules": ("record", "alert")}
"""What is labelled → the key of such a rule."""


def labelled(rules, kind, extra=EXTRA):
    """The text of a file of rules with more labels on its recorded series, or on its alerts too."""
    document = yaml.safe_load(rules)
    for group in document["groups"]:
        for rule in group["rules"]:
            if any(key in rule for key in KINDS[kind]):
                rule["labels"] = {**rule.get("labels", {}), **extra}
    return yaml.safe_dump(document, sort_keys=False, width=10_000)


def case_expecting(case, kind, extra=EXTRA):
    """A case of `promtool test rules`, read from YAML as texts: its alerts have the labels of `labelled`."""
    if kind == "rules":
        for test in case["tests"]:
            for alert in (alert for one in test["alert_rule_test"] for alert in one["exp_alerts"]):
                alert["exp_labels"] |= extra
    return case
