"""The held connection in the plan: its user, its slots, its row; what is refused stands in the museum (test_plan)."""

from exporter.budget import user_key
from exporter.config import Config
from exporter.plan import hold_job, plan, plan_lines
from exporter.profiles import BUILT_IN
from exporter.result import SideProbe

HOLD = {"identity": {"hold-001": "staging-hold-user-001"}}


def planned(**changes):
    target = {
        "name": "staging",
        "url": "wss://backend.example/ws",
        "interval": "20s",
        "identities": {"pool-001": "subject-1", "pool-002": "subject-2"},
        "auth": {"jwt": {"key_file": "/k"}},
        "hold": HOLD,
        **changes,
    }
    return plan(Config.model_validate({"targets": [target]}), BUILT_IN)


def test_off_by_default():
    """Without `hold` nothing is held."""
    (job,) = planned(hold=None).jobs
    assert job.side_schedules == ()


def test_its_user_holds_the_open_connection_and_those_that_are_not_released():
    """One a minute, each for 300 s after its end; the pool's users hold no slot more."""
    (job,), (without,) = planned().jobs, planned(hold=None).jobs
    (schedule,) = job.side_schedules
    user = user_key("backend.example:443", "staging-hold-user-001")
    assert (schedule.probe, schedule.identity, schedule.user) == (SideProbe.HOLD, "hold-001", user)
    assert (schedule.slots, schedule.sessions, schedule.interval) == (1 + 5, 1, 60)
    assert job.peaks == without.peaks
    assert job.scheduled_rate == without.scheduled_rate + 1
    assert hold_job(job).users == {"hold-001": user}
    assert hold_job(job).session_cost("r", job.probes[-1], "hold-001", "side_probe").user == user


def test_anonymous_it_takes_no_slot():
    """A profile that needs no identity."""
    (job,) = planned(profile="echo", identities={}, auth=None, hold={}).jobs
    (schedule,) = job.side_schedules
    assert (schedule.identity, schedule.user, schedule.slots) == (None, None, 0)


def test_the_check_of_a_config_shows_it():
    """Its row among the side probes."""
    assert "staging  hold        60s    1                  6 of hold-001" in plan_lines(planned())


def test_another_ping_is_another_schedule_so_that_a_reload_opens_the_connection_anew():
    """What a run that lasts was opened with belongs to its schedule."""
    (job,), (other,) = planned().jobs, planned(hold={**HOLD, "ping": "30s"}).jobs
    assert job.side_schedules != other.side_schedules
    assert job.side_schedules == planned(interval="30s").jobs[0].side_schedules
