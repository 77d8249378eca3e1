"""Heartbeats and ends of a held connection, by their moments and ages alone."""

import pytest

from exporter.classify import Cuts, EndLearner, HeartbeatCadence, find_cuts


def learned(*ages, survived=None):
    """A learner that has met cuts at these ages, then perhaps a connection whose time was over."""
    learner = EndLearner()
    for age in ages:
        learner.record_cut(age)
    if survived is not None:
        learner.record_over(survived)
    return learner


@pytest.mark.parametrize(
    ("ages", "usual"),
    [
        ((600, 600), None),
        ((600, 601, 600.5), 600.5),
        ((1, 2, 3), 2),
        ((10, 100, 1000), None),
        ((600, 5, 600, 80, 600), 600),
        ((600, 600, 600, 1, 2, 3), 2),
        ((60, 60, 60, 600), None),
        ((60, 65, 70), 65),
        ((60, 65, 80), None),
    ],
)
def test_three_ends_of_the_last_five_at_one_age_make_it_usual(ages, usual):
    """Within 10 % or 2 s; a connection that lives clearly longer ends what was usual."""
    assert learned(*ages).usual == usual


def test_an_end_is_usual_near_the_usual_age_and_at_no_other():
    """A crash in between is none."""
    learner = learned(600, 600, 600)
    assert learner.is_usual(645)
    assert not learner.is_usual(400)
    assert not learned(600, 600).is_usual(600)


def test_what_a_connection_outlives_is_no_limit_any_more():
    """Somebody has set the proxy's timeout higher."""
    learner = learned(60, 60, 60)
    learner.record_age(63)
    assert learner.usual == 60
    learner.record_age(100)
    assert learner.usual is None


@pytest.mark.parametrize(
    ("busy", "quiet", "cuts"),
    [
        (learned(), learned(), Cuts(None, None)),
        (learned(survived=3600), learned(), Cuts(None, 0)),
        (learned(survived=3600), learned(survived=360), Cuts(0, 0)),
        (learned(), learned(60, 60, 60), Cuts(None, None)),
        (learned(survived=3600), learned(60, 60, 60), Cuts(60, 0)),
        (learned(600, 600, 600), learned(60, 60, 60), Cuts(60, 600)),
        (learned(60, 60, 60), learned(61, 61, 61), Cuts(0, 60)),
        (learned(600, 600, 600), learned(survived=360), Cuts(0, 600)),
    ],
)
def test_a_quiet_connection_is_cut_for_idleness_if_others_live_longer(busy, quiet, cuts):
    """Cut at the same age as all others, it is the age; with nothing to compare it with, it is not known."""
    assert find_cuts(busy, quiet) == cuts


def beaten(*moments, announced=None, begin=0.0):
    cadence = HeartbeatCadence(announced)
    cadence.begin(begin)
    for moment in moments:
        cadence.record(moment)
    return cadence


def test_a_cadence_is_announced_or_learned_from_three_intervals():
    """The median: one late heartbeat is none."""
    assert beaten(25).interval is None
    assert beaten(10, 35, 60, 100).interval == 25
    assert beaten(announced=25).interval == 25


def test_heartbeats_are_lost_three_intervals_after_the_last_or_after_the_begin():
    """And found again by the next one, whose interval is not learned from."""
    cadence = beaten(10, 35, 60, 85)
    assert cadence.lost_at == 85 + 75
    cadence.lost = True
    assert cadence.lost_at is None
    cadence.record(500)
    assert (cadence.lost, cadence.interval, cadence.lost_at) == (False, 25, 575)
    cadence.begin(1000)
    assert cadence.lost_at == 1075


def test_what_a_whole_connection_did_not_bring_is_not_expected_of_the_next():
    """Somebody has switched them off; what is announced stays expected."""
    cadence = beaten(10, 35, 60, 85)
    for begin in (1000, 2000):
        cadence.begin(begin)
    assert cadence.lost_at is None
    announced = beaten(announced=25)
    announced.begin(1000)
    assert announced.lost_at == 1075
