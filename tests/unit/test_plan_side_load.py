"""What side probes add to the load is in the plan, and a plan that it makes unsafe is refused with a way out."""

from dataclasses import replace

import pytest

from exporter.budget import user_key
from exporter.config import Config
from exporter.plan import Cadence, Plan, SideSchedule, planning, side_schedulers
from exporter.plan.side_load import side_rate_problems, side_slot_problems, with_side_connects, with_side_slots
from exporter.plan.text import plan_lines
from exporter.profiles import BUILT_IN
from exporter.result import SideProbe, Trigger

USERS = {"one": "subject-1", "two": "subject-2", "three": "subject-3"}


def planned(*targets, **top):
    fields = {"url": "wss://backend.example/ws", "identities": USERS, "auth": {"jwt": {"key_file": "/k"}}}
    return planning.plan(Config.model_validate({"targets": [fields | target for target in targets], **top}), BUILT_IN)


@pytest.fixture
def asked(monkeypatch):
    """Every target has one side probe, every 5 minutes, as its first identity."""

    def schedules(context):
        user = user_key(context.authority, context.target.identities["one"])
        due = cadence(context.target.name)
        yield SideSchedule(SideProbe.REFUSAL, "expired", "refusals", due, 2, "one", user, slots=1)

    monkeypatch.setattr(side_schedulers, "SCHEDULERS", (schedules,))


def cadence(name):
    return Cadence.of(f"{name}/expired", 300)


@pytest.mark.usefixtures("asked")
def test_the_plan_counts_connects_and_slots_of_side_probes():
    """A run of two sessions adds two connects to its host's busiest minute, and its slot to its user's peak."""
    made = planned({"name": "staging"})

    (job,) = made.jobs
    assert (job.scheduled_rate, job.peaks) == (3 + 2, {"one": 6 + 1, "two": 6, "three": 6})


@pytest.mark.usefixtures("asked")
def test_the_table_has_a_row_for_each_side_probe():
    """How often it runs, what it adds to the host's minute, and which identity's slot it takes."""
    lines = plan_lines(planned({"name": "staging"}))

    assert lines[3:5] == [
        "target   side probe       every  connects a minute  slots",
        "staging  refusal expired  300s   2                  1 of one",
    ]
    assert lines[-1].split() == ["backend.example", "5", "60"]


def test_without_side_probes_the_table_is_the_old_one():
    """No heading without rows."""
    assert not [line for line in plan_lines(planned({"name": "staging"})) if "side probe" in line]


@pytest.mark.usefixtures("asked")
def test_connects_of_side_probes_beyond_the_rate_are_refused():
    """The sentence has the connects of both kinds, the target, the setting, and what to change."""
    (problem,) = planned({"name": "staging"}, max_connects_per_minute=4)

    assert str(problem) == (
        "targets[0] (staging).refusals: backend.example would see up to 5 connects a minute, 3 of them by cycles and "
        "the others by refusal of staging, but max_connects_per_minute is 4. Safe: a side probe less, a longer "
        "interval of a target on this host, or max_connects_per_minute 5 if the host permits it"
    )


@pytest.mark.usefixtures("asked")
def test_a_slot_of_a_side_probe_beyond_the_limit_is_refused():
    """The sentence has the slots of the user, the target, the setting, and what to change."""
    (problem,) = planned({"name": "staging", "limits": {"slots_per_identity": 7}})

    assert str(problem) == (
        "targets[0] (staging).refusals: refusal expired may hold 1 of the slots of one user, and with everything else "
        "that speaks as this user it is 7 at once, but slots_per_identity 7 less reserve 1 allows 6. Safe: one more "
        "identity, or a longer interval of the target"
    )


@pytest.mark.usefixtures("asked")
def test_cycles_that_are_too_many_are_told_first():
    """A schedule that is unsafe by itself is told in its own words, not in those of its side probes."""
    (problem,) = planned({"name": "staging"}, max_connects_per_minute=2)

    assert problem.path.endswith(".interval")


@pytest.mark.usefixtures("asked")
def test_a_backend_without_limits_has_no_problem_of_slots():
    """Unlimited slots, and loopback without a rate."""
    job = planned({"name": "staging", "url": "ws://127.0.0.1:1", "limits": {"slots_per_identity": 0}}).jobs[0]

    assert not list(side_slot_problems([job], with_side_slots({}, [job])))
    assert not list(side_rate_problems([job], {}, with_side_connects([job])))


@pytest.mark.usefixtures("asked")
def test_a_side_session_is_planned_and_never_shallower_than_asked():
    """The ledger counts it with the cycles; it reserves nothing as a check does."""
    job = planned({"name": "staging"}).jobs[0]

    costs = {trigger: job.session_cost("r", job.probes[-1], "one", trigger) for trigger in Trigger}

    assert [trigger for trigger, cost in costs.items() if cost.unscheduled] == [
        Trigger.CONFIRM,
        Trigger.REPEAT,
        Trigger.CHECK,
    ]


@pytest.mark.usefixtures("asked")
def test_equal_side_schedules_make_equal_jobs():
    """A reload that changes no side probe changes no job."""
    first, second = (planned({"name": "staging"}).jobs[0] for _ in range(2))

    assert isinstance(planned({"name": "staging"}), Plan)
    assert first == second
    assert replace(first, side_schedules=()) != first
