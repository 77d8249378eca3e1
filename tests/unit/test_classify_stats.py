"""What an answer with the backend's own figures holds, and which series it makes."""

import json

import pytest
from support import exposition

from exporter.classify import StatsReading, read_figures
from exporter.config import Stats, Target
from exporter.metrics import Metrics, target_series
from exporter.profiles import ECHO
from exporter.result import StatsOutcome

STATS = Stats.model_validate(
    {
        "url": "http://backend.example/ws/stats",
        "fields": {"managers": "a.managers", "users": "a.users"},
        "limits": {"managers": "a.limit", "users": 50},
    }
)
GOOD = {"a": {"managers": 7, "users": 2.5, "limit": 100}, "isolation_keys": ["somebody"]}


def test_figures_and_their_limits_are_read_by_their_paths():
    """A limit is a number of the config, or of the same answer."""
    reading = read_figures(STATS, json.dumps(GOOD).encode())

    assert reading == StatsReading(
        StatsOutcome.READ, {"managers": 7.0, "users": 2.5}, {"managers": 100.0, "users": 50.0}
    )


@pytest.mark.parametrize(
    "value",
    ["true", "null", '"7"', "[7]", "{}", "1e999", "NaN", "-Infinity", "9" * 400],
)
def test_only_finite_numbers_are_taken(value):
    """Whatever else stands there: that figure is unknown, and the read says so."""
    reading = read_figures(STATS, f'{{"a": {{"managers": {value}, "users": 2, "limit": 100}}}}'.encode())

    assert reading.outcome is StatsOutcome.UNREADABLE
    assert "managers" not in reading.values


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"{}{}", b"[" * 5000, b"7", b'{"a": 7}'])
def test_what_is_not_the_expected_json_has_no_figures(body):
    """No answer raises."""
    reading = read_figures(STATS, body)

    assert (reading.outcome, reading.values) == (StatsOutcome.UNREADABLE, {})


def test_a_figure_is_a_series_under_its_name_in_the_config():
    """Absent until read and after a read without it; a read that was not made leaves it; reads are counted."""
    metrics = Metrics("1.2.3")
    fields = {"name": "staging", "url": "ws://backend.example/ws", "stats": STATS.model_dump() | {"every": "60s"}}
    metrics.add_target(target_series(Target.model_validate(fields), ECHO))
    assert not {name for name, _ in exposition.samples(metrics)} & {"ws_stats_value", "ws_stats_limit"}

    metrics.record_stats("staging", read_figures(STATS, json.dumps(GOOD).encode()))
    metrics.record_stats("staging", StatsReading(StatsOutcome.SKIPPED))
    assert exposition.value(metrics, "ws_stats_value", target="staging", field="managers") == 7
    assert exposition.value(metrics, "ws_stats_limit", target="staging", field="users") == 50
    assert exposition.value(metrics, "ws_stats_reads_total", target="staging", outcome="skipped") == 1

    metrics.record_stats("staging", StatsReading(StatsOutcome.HTTP_STATUS))
    assert not {name for name, _ in exposition.samples(metrics)} & {"ws_stats_value", "ws_stats_limit"}
    metrics.record_stats("removed", read_figures(STATS, json.dumps(GOOD).encode()))
    assert not metrics.unexpected_series()
