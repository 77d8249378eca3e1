"""Harness of the drill: what it calls wrong about its outcome, and what about the machine that it ran on."""

import pytest
from drill.drill import DISTORTED_SESSIONS, Outcome

DISTORTED = "WebSocketProbeDistorted/warning"


@pytest.mark.parametrize(
    ("others", "late_looks", "strays"),
    [
        ([], 0, []),
        ([DISTORTED, DISTORTED], DISTORTED_SESSIONS, []),
        ([DISTORTED], DISTORTED_SESSIONS - 1, [DISTORTED]),
        ([DISTORTED, "TargetDown/critical"], 1000, ["TargetDown/critical"]),
    ],
)
def test_an_alert_about_a_busy_machine_is_right_if_our_own_clock_says_so(others, late_looks, strays):
    """On a machine that is not late it is a defect of the exporter, and any other alert always is."""
    outcome = Outcome([], others, [], seconds=1.0, lag=0.1, late_looks=late_looks)

    assert outcome.strays == strays
    assert bool(outcome.faults) is bool(strays)
