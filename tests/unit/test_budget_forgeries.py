"""Tokens that must be refused: one for each good token that was let in, apart, and none beside another login."""

import random
from itertools import pairwise

import pytest

from exporter.budget import Grant, Ledger, SessionCost, admit
from exporter.budget.forgeries import MIN_FORGERY_GAP_SECONDS
from exporter.config import BreakerSettings
from exporter.result import Holdup, SkipCause, Trigger

NOW = 1_800_000_000.0
GAP = MIN_FORGERY_GAP_SECONDS
GOOD = SessionCost("good", "b", "b:1", key="k", guards_logins=True)
FORGED = SessionCost("forged", "b", "b:1", trigger=Trigger.SIDE_PROBE, forged=True, guards_logins=True)
FACTORY_BREAKERS = (
    BreakerSettings(counts=["rejected"], opens_at=3),
    BreakerSettings(counts=["rejected", "no_token"], opens_at=5),
)


def login(ledger, cost, at, outcome, seconds=1.0):
    """One whole session; True if it was granted."""
    if not isinstance(admit(ledger, cost, at), Grant):
        return False
    ledger.release(cost, at + seconds, rejected=outcome == "rejected", outcome=outcome)
    return True


def refusal(ledger, at, cost=FORGED):
    return ledger.find_refusal(cost, at)


def test_none_is_sent_before_a_good_token_was_let_in():
    """A fresh ledger proves nothing."""
    ledger = Ledger()

    assert refusal(ledger, NOW).holdup is Holdup.FORGERY
    login(ledger, GOOD, NOW, "success")
    assert refusal(ledger, NOW + 2) is None


@pytest.mark.parametrize("breakers", [(), FACTORY_BREAKERS], ids=["no breaker", "factory"])
def test_a_second_one_waits_for_a_good_token_and_for_time(breakers):
    """Neither alone permits it; the success must have begun after the first one was over."""
    ledger, good, forged = Ledger(), GOOD._replace(breakers=breakers), FORGED._replace(breakers=breakers)
    login(ledger, good, NOW, "success")
    assert login(ledger, forged, NOW + 10, "rejected")

    assert refusal(ledger, NOW + 10 * GAP, forged).holdup is not None  # time alone
    login(ledger, good, NOW + 20, "success")
    early = refusal(ledger, NOW + 30, forged)  # a success alone
    assert (early.cause, early.holdup, early.until) == (SkipCause.RESTING, Holdup.FORGERY, NOW + 11 + GAP)
    assert refusal(ledger, NOW + 11 + GAP, forged) is None


def test_a_success_that_began_before_it_proves_nothing():
    """The backend may have judged the good token first."""
    ledger = Ledger()
    login(ledger, GOOD, NOW, "success")
    admit(ledger, GOOD._replace(run="long"), NOW + 700)
    ledger.release(GOOD._replace(run="long"), NOW + 701, outcome=None)
    assert login(ledger, FORGED, NOW + 702, "rejected")
    ledger.release(GOOD._replace(run="long"), NOW + 710, outcome="success")

    assert refusal(ledger, NOW + 702 + 2 * GAP).holdup is Holdup.FORGERY


@pytest.mark.parametrize("outcome", ["rejected", "restart", None])
def test_nothing_but_a_success_counts(outcome):
    """A rejected good token, a restart of the server or a session without a decision permits none."""
    ledger = Ledger()
    login(ledger, GOOD, NOW, "success")
    login(ledger, FORGED, NOW + 10, "rejected")
    login(ledger, GOOD, NOW + 20, outcome)

    assert refusal(ledger, NOW + 20 * GAP).holdup is Holdup.FORGERY


def test_none_is_sent_beside_another_login():
    """Not inside another session's window; that session is awaited, because it soon ends."""
    ledger = Ledger()
    login(ledger, GOOD, NOW, "success")
    admit(ledger, GOOD._replace(run="open"), NOW + 10)

    assert refusal(ledger, NOW + 11).holdup is Holdup.VERDICT


def test_another_process_and_a_restart_know_of_it():
    """By the events of the journal, and by a snapshot of them."""
    ledger = Ledger()
    login(ledger, GOOD, NOW, "success")
    login(ledger, FORGED, NOW + 10, "rejected")
    events = ledger.take_pending()
    others = (Ledger(), Ledger())
    for event in events:
        assert others[0].apply(event)
    for event in ledger.snapshot(NOW + 11):
        assert others[1].apply(event)

    for other in others:
        assert refusal(other, NOW + 20 * GAP).holdup is Holdup.FORGERY
        login(other, GOOD, NOW + 20, "success")
        assert refusal(other, NOW + 30).holdup is Holdup.FORGERY
        assert refusal(other, NOW + 11 + GAP) is None


def test_one_whose_end_was_not_seen_counts_as_sent():
    """A crash in the middle of it: the next one waits for a success after its latest possible end."""
    ledger = Ledger()
    login(ledger, GOOD, NOW, "success")
    admit(ledger, FORGED, NOW + 10)

    login(ledger, GOOD, NOW + 12, "success")
    assert refusal(ledger, NOW + 3 * 3600).holdup is Holdup.FORGERY
    login(ledger, GOOD, NOW + 3 * 3600, "success")
    assert refusal(ledger, NOW + 3 * 3600 + 2) is None


def test_a_good_token_is_not_held_up_by_it():
    """A rejected forgery is no rejection of the key: the schedule goes on."""
    ledger, good = Ledger(), GOOD._replace(breakers=FACTORY_BREAKERS)
    login(ledger, good, NOW, "success")
    login(ledger, FORGED._replace(breakers=FACTORY_BREAKERS), NOW + 10, "rejected")

    assert refusal(ledger, NOW + 12, good) is None
    assert not ledger.is_resting(good, NOW + 12)


def test_a_step_of_the_clock_moves_it_too():
    """Forward or backward, the gap stays as long."""
    for step in (86_400.0, -86_400.0):
        ledger = Ledger()
        login(ledger, GOOD, NOW, "success")
        login(ledger, FORGED, NOW + 10, "rejected")
        login(ledger, GOOD, NOW + 20, "success")
        ledger.shift_times(step, NOW + step, "me")

        assert refusal(ledger, NOW + step + GAP).holdup is Holdup.FORGERY
        assert refusal(ledger, NOW + step + 11 + GAP) is None


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_there_is_a_success_between_two(seed):
    """Random sessions of two processes that share a journal, with outages and crashes."""
    chance = random.Random(seed)
    ledgers, sent, let_in, now = (Ledger(), Ledger()), [], [], NOW
    for number in range(3000):
        now += chance.uniform(0.1, 120)
        ledger, other = chance.sample(ledgers, 2)
        forged = chance.random() < 0.5
        cost = (FORGED if forged else GOOD)._replace(run=str(number))
        if isinstance(admit(ledger, cost, now), Grant):
            outcome = chance.choice(["rejected", "success", None, "restart"])
            (sent if forged else let_in).append((now, outcome == "success"))
            if chance.random() < 0.9:
                ledger.release(cost, now + 0.05, outcome="rejected" if forged else outcome)
        for event in ledger.take_pending():
            other.apply(event)

    assert len(sent) > 5
    for (first, _), (second, _) in pairwise(sent):
        assert second - first >= GAP
        assert any(first < at < second and passed for at, passed in let_in)
