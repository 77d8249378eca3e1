"""The leak canary in the plan: its user, its load, its row; what is refused stands in the museum (test_plan)."""

import pytest

from exporter.budget import user_key
from exporter.config import Config
from exporter.plan import canary_job, canary_pace, plan, plan_lines, plan_notes
from exporter.profiles import BUILT_IN
from exporter.result import Probe, SideProbe, Trigger

CANARY = {"identity": {"canary-001": "staging-canary-user-001"}, "every": "30m"}


def planned(**changes):
    target = {
        "name": "staging",
        "url": "wss://backend.example/ws",
        "interval": "20s",
        "identities": {f"pool-00{number}": f"subject-{number}" for number in (1, 2, 3)},
        "auth": {"jwt": {"key_file": "/k"}},
        "canary": CANARY,
        **changes,
    }
    return plan(Config.model_validate({"targets": [target]}), BUILT_IN)


def test_off_by_default():
    """Without `canary` a target has no side probe and no pace."""
    (job,) = planned(canary=None).jobs
    assert job.side_schedules == ()
    assert canary_pace(job) is None


def test_the_schedule_has_the_canarys_user_its_slots_and_its_connects_of_a_minute():
    """19 of 20 slots, four connections a minute; what the schedule needs of the host has them in it."""
    (job,) = planned().jobs
    (schedule,) = job.side_schedules
    user = user_key("backend.example:443", "staging-canary-user-001")
    assert (schedule.probe, schedule.identity, schedule.user) == (SideProbe.CANARY, "canary-001", user)
    assert (schedule.slots, schedule.sessions, schedule.interval) == (19, 4, 1800)
    assert job.scheduled_rate == 3 + 4


def test_the_sessions_speak_as_the_canary_and_anonymous_else():
    """The user that the ledger counts is the canary's, and the pool is not in its job."""
    (job,) = planned().jobs
    canary = canary_job(job)
    cost = canary.session_cost("run", Probe.AUTH, "canary-001", Trigger.SIDE_PROBE)
    assert canary.identities == ("canary-001",)
    assert cost.user == job.side_schedules[0].user
    assert cost.user not in job.users.values()
    assert (cost.slots, cost.reserve, cost.unscheduled) == (20, 1, False)


@pytest.mark.parametrize("reserve", [1, 5, 18])
def test_the_pace_follows_the_slots_less_the_reserve(reserve):
    """Fewer slots, longer pauses: within one window never more connections than allowed slots."""
    (job,) = planned(limits={"reserve": reserve}, interval="60s").jobs
    pace = canary_pace(job)
    assert pace.opens == 20 - reserve
    assert pace.opens * pace.spacing >= job.window


def test_a_canary_that_connects_less_often_than_a_user_of_the_pool_is_a_note():
    """60 an hour by each user of the pool, 38 by the canary: behind a balancer it may be late, unless it walks more."""
    canary = CANARY | {"every": "1h"}
    (note,) = [note for note in plan_notes(planned(canary=canary).jobs) if note.path.endswith("canary.every")]
    assert note.sentence == (
        "a user of the pool connects 60 times an hour, the canary 38 times: behind a balancer without affinity the "
        "user may be refused before the canary sees the leak; with every 2280s it connects as often"
    )
    for silent in (CANARY | {"every": "2280s"}, None):
        assert not [note for note in plan_notes(planned(canary=silent).jobs) if "canary" in note.path]


def test_config_check_prints_its_row():
    """What it costs is on the page of `--config.check`."""
    lines = plan_lines(planned())
    row = next(line for line in lines if "canary" in line)
    assert row.split() == ["staging", "canary", "1800s", "4", "19", "of", "canary-001"]
