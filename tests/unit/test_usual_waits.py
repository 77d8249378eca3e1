"""What a phase usually takes at worst: an exact quantile of bounded memory, and never a guess from few sessions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.classify.usual_waits import (
    GENERATION_SESSIONS,
    LARGEST_KEPT,
    MIN_OVERDUE_SECONDS,
    MIN_SESSIONS,
    UsualWaits,
    Wait,
)
from exporter.result import Phase


def usual(durations):
    waits = UsualWaits()
    for seconds in durations:
        waits.record({Phase.REPLY: seconds})
    return waits


def test_nothing_is_usual_before_some_sessions():
    """Neither of a phase that no session has completed."""
    assert usual([1.0] * (MIN_SESSIONS - 1)).wait(Phase.REPLY) is None
    assert usual([1.0] * MIN_SESSIONS).wait(Phase.TCP) is None


def test_a_wait_is_overdue_after_half_as_much_again_and_2_seconds_at_least():
    """A fast backend's answer is not overdue because it took a hundred milliseconds."""
    assert usual([0.01] * 30).wait(Phase.REPLY) == Wait(0.01, MIN_OVERDUE_SECONDS)
    assert usual([4.0] * 30).wait(Phase.REPLY) == Wait(4.0, 6.0)


@given(st.lists(st.floats(0, 60), min_size=MIN_SESSIONS, max_size=2 * GENERATION_SESSIONS))
def test_the_quantile_is_exact(durations):
    """As of all durations together, over two generations."""
    above = int(len(durations) * (1 - 0.995))
    assert usual(durations).wait(Phase.REPLY).usual == sorted(durations)[-1 - above]


def test_one_in_a_hundred_that_is_slow_is_usual_and_one_in_a_thousand_is_not():
    """The quantile is 99.5 %."""
    fast = [0.01] * (GENERATION_SESSIONS // 2)
    often, seldom = usual(([0.01] * 99 + [8.0]) * 8), usual([*fast, 8.0, *fast])
    assert often.wait(Phase.REPLY).usual == 8.0
    assert seldom.wait(Phase.REPLY).usual == 0.01


def test_what_was_slow_long_ago_is_forgotten():
    """Two generations later nothing of it is left."""
    waits = usual([8.0] * 100 + [0.01] * 2 * GENERATION_SESSIONS)
    assert waits.wait(Phase.REPLY).usual == pytest.approx(0.01)


def test_the_memory_is_bounded():
    """A week of sessions leaves the largest of two generations."""
    durations = usual(number / 1000 for number in range(30_000))._phases[Phase.REPLY]
    assert len(durations._largest) <= LARGEST_KEPT
    assert len(durations._earlier) <= LARGEST_KEPT
