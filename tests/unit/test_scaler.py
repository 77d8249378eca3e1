"""The scaler of the drill changes every duration of our files, and nothing else."""

import re
from fractions import Fraction
from functools import cache

import promql_parser
import pytest
import yaml
from drill.backends import scaled_fault
from drill.drill import FACTOR, LEAST, signatures
from drill.pace import PATIENT
from drill.scaler import ROWS, duration, scaled, seconds
from drill.stack import ROOT, ROUTES
from engines.engines import RULES, SCRAPES

from exporter.config import seconds as exporter_seconds
from exporter.standin import parse

FILES = {
    "alerts": RULES,
    "prometheus": SCRAPES,
    "alertmanager": ROUTES,
    "exporter": ROOT / "tests/data/valid-full.yml",
}
KEYS = re.compile(r"(for|interval|keep_firing_for|after|timeout|lifetime|slot_release|[a-z]+_(interval|timeout|wait))")
DURATION = re.compile(r"(\d+(ms|[smhdw]))+")
AHEAD = re.compile(r"(?<=, )\d+(?=\))")
"""The seconds that `predict_linear` looks ahead."""
RANGE = re.compile(r"\[([0-9a-z:]+)\]")


@cache
def parsed(kind, factor):
    return yaml.load(scaled(kind, FILES[kind].read_text(), factor), Loader=yaml.CSafeLoader)


def durations(node, path=()):
    """Every value of a YAML tree that is a duration by its look: path and seconds."""
    if isinstance(node, dict):
        return [found for key, value in node.items() for found in durations(value, (*path, key))]
    if isinstance(node, list):
        return [found for number, value in enumerate(node) for found in durations(value, (*path, number))]
    is_one = isinstance(node, str) and DURATION.fullmatch(node)
    return [(path, seconds(node))] if is_one else []


def rules(factor):
    return [rule for group in parsed("alerts", factor)["groups"] for rule in group["rules"]]


def ranges(text):
    """Every range of a template or an expression, in seconds."""
    return [seconds(found) for found in RANGE.findall(text)]


@pytest.mark.parametrize("kind", ROWS)
def test_factor_one_reproduces_the_file(kind):
    """By factor 1 not a byte changes."""
    text = FILES[kind].read_text()
    assert scaled(kind, text, Fraction(1)) == text


@pytest.mark.parametrize("kind", ROWS)
def test_every_value_that_is_a_duration_is_scaled(kind):
    """What looks like a duration is multiplied, to the millisecond, and its key is one of time."""
    before, after = durations(parsed(kind, Fraction(1))), durations(parsed(kind, FACTOR))
    assert before
    assert [(path, round(was * FACTOR * 1000)) for path, was in before] == [(path, now * 1000) for path, now in after]
    for path, _ in before:
        assert KEYS.fullmatch(str(path[-1])), path


def test_every_range_of_every_expression_is_scaled():
    """All ranges of all expressions and template queries are multiplied, and none is lost."""
    seen = 0
    for was, now in zip(rules(Fraction(1)), rules(FACTOR), strict=True):
        for before, after in zip(texts(was), texts(now), strict=True):
            assert [span * FACTOR for span in ranges(before)] == ranges(after)
            assert len(ranges(before)) == before.count("[") - before.count("[%s]") - before.count("[.]")
            seen += len(ranges(before))
    assert seen >= 50


def texts(rule):
    return [rule["expr"], *rule.get("annotations", {}).values()]


@pytest.mark.parametrize("factor", [Fraction(1), FACTOR])
def test_scaled_expressions_are_promql(factor):
    """Each expression is still read by a PromQL parser."""
    for rule in rules(factor):
        assert promql_parser.parse(rule["expr"])


def test_nothing_but_durations_changes():
    """With digits and units of durations taken out, the scaled rules are the shipped ones; names of series too."""
    bare = re.compile(r"\d[\d.e-]*(ms|[smhdw])?\b")
    before, after = (scaled("alerts", RULES.read_text(), factor) for factor in (Fraction(1), FACTOR))
    assert bare.sub("", before) == bare.sub("", after)
    names = [[rule.get("record", rule.get("alert")) for rule in rules(factor)] for factor in (Fraction(1), FACTOR)]
    assert names[0] == names[1]


def test_no_number_without_a_unit_changes():
    """Counts, ratios, thresholds and buckets stay what they are."""
    number = re.compile(r"(?<![\w.\[])\d+(?:\.\d+)?(?:e-\d+)?(?![\w.])")
    for was, now in zip(rules(Fraction(1)), rules(FACTOR), strict=True):
        without = [AHEAD.sub("", rule["expr"]) for rule in (was, now)]
        assert number.findall(without[0]) == number.findall(without[1])


def test_what_is_predicted_and_offset_is_scaled():
    """A prediction looks ahead, and an offset back, by the same part of its time."""
    text = "predict_linear(a:b:max[10m], 3600) > b offset 1h30m"

    assert scaled("alerts", text, Fraction(1, 12)) == "predict_linear(a:b:max[50s], 300) > b offset 450s"
    assert any(AHEAD.search(rule["expr"]) for rule in rules(Fraction(1)))


def test_no_scrape_and_no_evaluation_is_more_often_than_once_a_second():
    """The least factor of the drill is as small as Prometheus bears."""
    assert FACTOR >= LEAST
    text = scaled("prometheus", PATIENT.scrapes(SCRAPES.read_text()), LEAST)
    assert min(at for _, at in durations(yaml.safe_load(text))) == 1
    groups = yaml.safe_load(scaled("alerts", PATIENT.rules(RULES.read_text()), LEAST))["groups"]
    assert min(seconds(group["interval"]) for group in groups) == 1


@pytest.mark.parametrize(
    ("text", "factor", "written"),
    [
        ("15m", Fraction(1), "15m"),
        ("1h30m", Fraction(1), "1h30m"),
        ("15m", Fraction(1, 15), "60s"),
        ("20s", Fraction(1, 15), "1333ms"),
        ("2s", Fraction(1, 15), "133ms"),
        ("0s", Fraction(1, 15), "0s"),
        ("1d", Fraction(1, 10), "8640s"),
        ("10s", Fraction(2), "20s"),
    ],
)
def test_durations(text, factor, written):
    """A duration is written as it was if it is the same, else in seconds or milliseconds, which our exporter reads."""
    assert duration(text, factor) == written
    assert exporter_seconds(duration("6s", factor)) == pytest.approx(float(6 * factor), abs=0.001)


def test_a_duration_that_would_vanish_is_refused():
    """No interval becomes 0."""
    with pytest.raises(AssertionError, match="no time at all"):
        duration("1ms", Fraction(1, 15))


@pytest.mark.parametrize(
    ("spec", "became"),
    [
        ("slow_upgrade:delay=150", "slow_upgrade:delay=10.0"),
        ("slow_welcome", "slow_welcome:delay=3.0"),
        ("slow_services", "slow_services:delay=3.0"),
        ("http:status=429,retry_after=600", "http:status=429,kind=plain,retry_after=40"),
        ("rate_limit_close", "rate_limit_close:retry_after=2"),
        ("refuse", "refuse"),
    ],
)
def test_faults_are_scaled(spec, became):
    """The seconds of a fault are multiplied, those it has by default too; what is no time stays."""
    assert scaled_fault(spec, Fraction(1, 15)).removesuffix(",location=https://elsewhere.invalid/ws") == became


def test_faults_of_the_table_are_the_same_at_factor_one():
    """What the drill hands to a stand-in means what the table says."""
    incidents, quiet = signatures()
    for row in [*incidents, *quiet]:
        for spec in row["faults"]:
            before, after = parse(spec), parse(scaled_fault(spec, Fraction(1)))
            told = {key: value for key, value in before.values.items() if value is not None}
            assert (before.name, before.share) == (after.name, after.share)
            assert told.items() <= dict(after.values).items()
