"""When the figures of a backend are read, what a read costs, and what the ledger makes of its end."""

import pytest
from support import harness

from exporter.budget import Grant, Ledger, Refusal, admit, settle_read
from exporter.config import Profile
from exporter.plan import stats_cost
from exporter.plan.text import plan_lines
from exporter.profiles import BUILT_IN
from exporter.result import Holdup

NOW = 1_800_000_000.0
STATS = {"url": "https://backend.example:8443/ws/stats?all=1", "fields": {"managers": "a.managers"}}


def planned(**changes):
    return harness.planned(
        {
            "name": "staging",
            "url": "wss://backend.example/ws",
            "identities": {"one": "subject-1"},
            "auth": {"jwt": {"key_file": "/k"}},
            "limits": {"slots_per_identity": 0},
            **changes,
        }
    )


def job_with(**stats):
    return planned(stats={**STATS, **stats}).jobs[0]


def test_reads_are_connects_of_the_host_and_take_no_slot():
    """One a minute, in the table of the plan and in the connects of its host; without `stats` there are none."""
    made = planned(stats=STATS)
    (job,) = made.jobs

    (schedule,) = job.side_schedules
    assert (schedule.name, schedule.interval, schedule.user, schedule.slots) == ("stats", 60, None, 0)
    assert job.scheduled_rate == planned().jobs[0].scheduled_rate + 1
    assert any(line.split() == ["staging", "stats", "60s", "1", "none"] for line in plan_lines(made))


def test_a_read_sends_no_request_before_the_upgrade():
    """With such a request to another host, a read is no connect of that one."""
    before = {"request": "GET /ticket", "origin": "https://login.example", "keep": {"ticket": "ticket"}}
    own = Profile.model_validate({"before": before})
    job = harness.planned(
        {"name": "staging", "url": "wss://backend.example/ws?ticket=${ticket}", "profile": "own", "stats": STATS},
        built_in={**BUILT_IN, "own": own},
    ).jobs[0]

    assert (job.scheduled_rate, job.scheduled_before_rate) == (4, 3)
    assert [load.host for load in stats_cost(job, "r", NOW, "").host_loads] == ["backend.example"]


@pytest.mark.parametrize("identity", [None, "one"])
def test_only_a_read_as_somebody_costs_a_token(identity):
    """Without an identity neither key nor login is touched."""
    cost = stats_cost(job_with(identity=identity), "r", NOW, "abcd")

    assert (cost.key is not None, cost.counts_logins) == (identity is not None, identity is not None)
    assert (cost.user, cost.unscheduled) == (None, False)


def test_a_401_is_a_failed_login_and_no_verdict_on_the_token():
    """A breaker of the backend may count it; the sessions go on with the token."""
    job, ledger = job_with(identity="one"), Ledger()
    granted = admit(ledger, stats_cost(job, "r", NOW, ""), NOW)
    assert isinstance(granted, Grant)
    settle_read(ledger, granted.request, NOW + 1, status=401)

    assert ledger.cooldown(job.session_cost("s", job.probes[-1], "one", "schedule"), NOW + 1) is None
    assert ledger._state.login_streak(job.authority).failures


def test_a_429_rests_the_endpoint_of_the_figures_alone():
    """For its Retry-After; the WebSocket is another endpoint."""
    job, ledger = job_with(), Ledger()
    cost = stats_cost(job, "r", NOW, "")
    settle_read(ledger, admit(ledger, cost, NOW).request, NOW, status=429, retry_after=120.0)

    refused = admit(ledger, cost._replace(run="s"), NOW + 119)
    assert isinstance(refused, Refusal)
    assert refused.holdup is Holdup.ENDPOINT
    assert isinstance(admit(ledger, cost._replace(run="t"), NOW + 121), Grant)
    assert ledger.endpoint_cooldown_until(job.endpoint, NOW) is None
