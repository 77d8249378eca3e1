"""When each credential that must be refused is sent, and what it adds to the plan."""

from itertools import pairwise

import pytest

from exporter.config import Config
from exporter.plan import Plan, plan
from exporter.plan.text import plan_lines
from exporter.profiles import BUILT_IN

RARE = ["expired", "wrong_audience", "unsigned", "other_key", "disabled_user"]
JWT = {"jwt": {"key_file": "/k", "claims": {"aud": "them"}}}


def planned(refusals, **changes):
    target = {
        "name": "staging",
        "url": "wss://backend.example/ws",
        "identities": {"one": "subject-1", "two": "subject-2"},
        "auth": JWT,
        "refusals": refusals,
    }
    top = {name: changes.pop(name) for name in list(changes) if name.startswith("max_")}
    return plan(Config.model_validate({"targets": [target | changes], **top}), BUILT_IN)


def test_without_refusals_nothing_is_sent():
    """Off by default: no schedule, and no login is recorded for it."""
    (job,) = planned(None).jobs

    assert (job.side_schedules, job.guards_logins) == ((), False)


def test_the_harmless_cases_have_their_own_cadence():
    """Each every 5 minutes, anonymous, without a slot."""
    (job,) = planned({}).jobs

    assert [(one.variant, one.interval, one.user, one.slots) for one in job.side_schedules] == [
        ("no_token", 300, None, 0),
        ("malformed", 300, None, 0),
    ]
    assert not job.guards_logins


def test_the_rare_cases_take_turns():
    """Evenly spread over `rare_every`, each as the first identity, or as the disabled user."""
    made = planned({"cases": RARE, "rare_every": "1h", "disabled": "gone"}, profile="echo")
    (job,) = made.jobs

    offsets = sorted(one.cadence.offset_us for one in job.side_schedules)
    gaps = {later - earlier for earlier, later in pairwise([*offsets, offsets[0] + 3_600_000_000])}
    assert max(gaps) - min(gaps) <= 5
    assert [one.identity for one in job.side_schedules] == ["one"] * 4 + [None]
    assert job.side_schedules[-1].user not in {*job.users.values(), None}
    assert job.guards_logins


@pytest.mark.parametrize(("rare_every", "slots"), [("1h", 1), ("24h", 1)])
def test_a_rare_case_counts_the_slots_that_it_may_hold_at_once(rare_every, slots):
    """Those whose windows overlap, not one for each case."""
    (job,) = planned({"cases": RARE[:4], "rare_every": rare_every}).jobs

    assert sum(one.slots for one in job.side_schedules) == slots
    assert job.peaks["one"] - job.peaks["two"] == slots


def test_a_malformed_secret_is_a_wrong_password():
    """It is a rare case then."""
    (job,) = planned({}, auth={"secret_file": "/k"}, profile="echo").jobs

    assert [(one.variant, one.interval) for one in job.side_schedules] == [("no_token", 300), ("malformed", 21_600)]


def test_the_plan_says_what_refusals_add():
    """A row for each case, and the host's connects with them."""
    lines = plan_lines(planned({"cases": ["no_token", "expired"]}))

    assert lines[3:6] == [
        "target   side probe        every   connects a minute  slots",
        "staging  refusal no_token  300s    1                  none",
        "staging  refusal expired   21600s  1                  1 of one",
    ]
    assert lines[-1].split() == ["backend.example", "5", "60"]


def test_refusals_beyond_the_budget_are_refused():
    """The sentence names the setting, the target and what to change."""
    (problem,) = planned({}, max_connects_per_minute=3)

    assert str(problem).startswith("targets[0] (staging).refusals: backend.example would see up to 4 connects a minute")
    assert isinstance(planned({}, max_connects_per_minute=4), Plan)
