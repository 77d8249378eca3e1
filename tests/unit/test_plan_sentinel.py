"""The sentinel in the plan: it connects where no cycle does, and what breakers count of it at one backend."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config import Config
from exporter.plan import BetweenCycles, Cadence, planning, sentinel
from exporter.plan.cadence import max_connects
from exporter.profiles import BUILT_IN
from exporter.result import Probe, SideProbe

START = 1_700_000_000


def planned(*targets):
    fields = {
        "url": "wss://backend.example/ws",
        "identities": {"one": "subject-1", "two": "subject-2", "three": "subject-3"},
        "auth": {"jwt": {"key_file": "/k"}},
    }
    return planning.plan(Config.model_validate({"targets": [fields | target for target in targets]}), BUILT_IN)


@st.composite
def cadences(draw):
    interval = draw(st.integers(1_000, 90_000_000))
    cycles = Cadence(interval, draw(st.integers(0, interval - 1)))
    return BetweenCycles(cycles, draw(st.integers(max(1, interval // 40), interval - 1)))


@settings(deadline=None)
@given(between=cadences(), moment=st.integers(START, 4_000_000_000))
def test_cycles_and_sentinel_are_nowhere_further_apart_than_it_says(between, moment):
    """And it never falls on a cycle; a due moment has its number, whatever comes before the next one."""
    number = between.cycle_at(moment)
    cycle = between.cycles.cycle_at(between.due(number))
    runs = [between.due(run) for run in range(number, number + 2 * between.runs + 1)]
    due = [between.cycles.due(one) for one in range(cycle, cycle + 4)]

    assert not set(runs) & set(due)
    moments = [moment for moment in sorted({*runs, *due}) if runs[0] <= moment <= runs[-1]]
    assert max(later - sooner for sooner, later in pairwise(moments)) <= between.every_us / 1e6 + 1e-5
    for run, (sooner, later) in enumerate(pairwise(runs), number):
        assert between.cycle_at(sooner) == run
        assert between.cycle_at(sooner + (later - sooner) / 2) == run


@settings(deadline=None)
@given(between=cadences(), start=st.integers(0, 10**6))
def test_its_parts_have_its_due_times(between, start):
    """Of three intervals, each moment by exactly one part."""
    numbers = range(start * between.runs, (start + 3) * between.runs)
    parts = [part.due(turn) for part in between.parts() for turn in range(start, start + 3)]

    assert sorted(parts) == pytest.approx([between.due(number) for number in numbers], abs=1e-6)
    assert max_connects([between], between.cycles.interval_us) == between.runs


TARGETS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.uuids().map(str),
            "interval": st.sampled_from(["15s", "20s", "30s"]),
            "timeout": st.just("5s"),
            "sentinel": st.none() | st.sampled_from([{"every": "5s"}, {"every": "7s"}, {"every": "11s"}]),
            "probes": st.sampled_from([{}, {"auth": {"every": 2}, "send": {"every": 4}}]),
        }
    ),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=60)
@given(targets=TARGETS, moments=st.sampled_from([sentinel.MAX_MOMENTS, 1]))
def test_as_many_connects_as_a_simulation_finds_between_two_logins(targets, moments):
    """Exactly, over all targets of a backend; at least, where the schedules repeat too late to look at all of it."""
    made = planned(*({"limits": {"slots_per_identity": 0}, **target} for target in targets))
    jobs = dict(enumerate(made.jobs)) if isinstance(made, planning.Plan) else None
    if jobs is None:
        assert all(problem.path.endswith(".sentinel.every") for problem in made)
        return
    guarded = [number for number, job in jobs.items() if job.target.sentinel is not None]
    simulated = longest_run(jobs.values())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentinel, "MAX_MOMENTS", moments)
        found = sentinel._most_connects(jobs, guarded)

    assert found == simulated if moments > 1 else found >= simulated
    assert simulated <= 2 or not guarded


def longest_run(jobs):
    """Ten minutes and more, connect by connect."""
    events = []
    for job in jobs:
        first = job.cycle_at(START)
        cycles = range(first, first + int(1200 / job.interval))
        events += [(job.due(cycle), job.depth(cycle) is not Probe.CONNECT) for cycle in cycles]
        for schedule in (one for one in job.side_schedules if one.probe is SideProbe.SENTINEL):
            number = schedule.cadence.cycle_at(START) + 1
            while (due := schedule.cadence.due(number)) < START + 1200:
                events.append((due, False))
                number += 1
    longest = run = 0
    logins = [at for at, is_login in events if is_login]
    for at, is_login in sorted(events):
        if min(logins) <= at <= max(logins):
            run = 0 if is_login else run + 1
            longest = max(longest, run)
    return longest


def test_targets_of_one_backend_share_its_breaker():
    """Five sentinels beside five cycles, which log in between them, are safe; one too many is named."""
    fitting = [
        {"name": f"t{number}", "sentinel": {"every": "10s"}, "identities": {"a": f"u{number}"}} for number in range(8)
    ]
    for count in range(1, 7):
        assert isinstance(planned(*fitting[:count]), planning.Plan), count

    (problem,) = planned(*fitting)
    assert problem.path == "targets[6] (t6).sentinel.every"
    assert "together with 7 other targets at backend.example:443" in problem.sentence
    assert problem.sentence.endswith(
        "Safe: only the sentinels of targets before this one at this backend, or more frequent logins"
    )
