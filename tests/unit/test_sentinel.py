"""What a sentinel's connect comes to, how it is planned, and what the metrics show of it."""

from dataclasses import replace

import pytest
from support import exposition, harness
from support.schedules import Nowhere
from support.sentinels import OFF, ON, SHIPPED, job_of

from exporter.config import Target
from exporter.metrics import Metrics, target_series
from exporter.plan import plan_lines
from exporter.profiles import FACTORY
from exporter.result import (
    Impairment,
    Phase,
    Probe,
    Reason,
    Result,
    SentinelOutcome,
    SideProbe,
    Skip,
    SkipCause,
    SuspicionOutcome,
    Trigger,
    Verdict,
)
from exporter.side_probes.sentinel import sentinel_outcome


def connect(verdict, **changes):
    result = Result(
        target="staging", identity=None, run="r", depth=Probe.CONNECT, trigger=Trigger.SIDE_PROBE, started_at=0.0,
        verdicts={Probe.CONNECT: verdict},
    )  # fmt: skip
    return replace(result, **changes)


def failed(phase, reason, **changes):
    return connect(Verdict.FAIL, phase=phase, reason=reason, **changes)


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (connect(Verdict.PASS), SentinelOutcome.PASSED),
        (failed(Phase.TCP, Reason.REFUSED), SentinelOutcome.FAILED),
        (failed(Phase.TLS, Reason.TLS_CERTIFICATE), SentinelOutcome.FAILED),
        (failed(Phase.UPGRADE, Reason.HTTP_STATUS), SentinelOutcome.FAILED),
        (failed(Phase.UPGRADE, Reason.RATE_LIMITED), SentinelOutcome.INCONCLUSIVE),
        (failed(Phase.UPGRADE, Reason.AUTH_REJECTED), SentinelOutcome.INCONCLUSIVE),
        (failed(Phase.TCP, Reason.TIMEOUT, distorted=True), SentinelOutcome.INCONCLUSIVE),
        (connect(Verdict.NONE, void=True), SentinelOutcome.INCONCLUSIVE),
        (connect(Verdict.NONE, phase=Phase.PREPARE, impairment=Impairment.INTERNAL), SentinelOutcome.INCONCLUSIVE),
        (Skip("staging", SkipCause.RATE), SentinelOutcome.SKIPPED),
    ],
)
def test_only_a_connect_that_clearly_failed_is_a_reason_to_look(result, outcome):
    """A rate limit, a refused stranger and our own faults are none."""
    assert sentinel_outcome(result) is outcome


def test_the_plan_counts_its_connects_and_no_slot():
    """Twelve connects a minute, three of them by cycles; the table has its row; off by default."""
    mapping = harness.target(Nowhere, **SHIPPED | ON, url="wss://backend.example/ws")
    plan = harness.planned(mapping, built_in=harness.UNGUARDED)
    (job,) = plan.jobs
    (schedule,) = job.side_schedules

    assert (schedule.probe, schedule.interval, schedule.sessions, schedule.slots) == (SideProbe.SENTINEL, 5.0, 1, 0)
    assert job.scheduled_rate == 3 + 9
    assert "sentinel" in "\n".join(plan_lines(plan))
    assert job_of(**OFF).side_schedules == ()


def test_it_waits_no_longer_than_until_the_next_one_is_due():
    """The lesser of its interval and the target's timeout."""
    assert job_of(**ON).sentinel_limit == 5.0
    assert job_of(timeout="2s", **ON).sentinel_limit == 2.0


def shown(metrics):
    return [line for line in exposition.page(metrics).splitlines() if "sentinel" in line or "suspicions" in line]


def series(**changes):
    fields = {"name": "staging", "url": "wss://localhost/ws", "interval": "20s", "identities": {"a": "u"}, **changes}
    return target_series(Target.model_validate(fields), FACTORY)


def test_the_metrics_have_its_series_only_where_there_is_one():
    """Counters start at 0, the gauge is absent until a connect has passed or failed, and again with another URL."""
    metrics = Metrics("1")
    metrics.add_target(series())
    metrics.record_sentinel("staging", SentinelOutcome.FAILED)
    metrics.record_suspicion("staging", SuspicionOutcome.CONFIRMED)
    assert not [line for line in shown(metrics) if not line.startswith("#")]

    metrics.add_target(series(sentinel={"every": "10s"}))
    metrics.record_sentinel("staging", SentinelOutcome.SKIPPED)
    assert 'ws_probe_suspicions_total{target="staging",outcome="confirmed"} 0' in "\n".join(shown(metrics))
    assert not [line for line in shown(metrics) if line.startswith("ws_probe_sentinel_success")]

    for outcome in (SentinelOutcome.PASSED, SentinelOutcome.FAILED):
        metrics.record_sentinel("staging", outcome)
        value = int(outcome is SentinelOutcome.PASSED)
        assert f'ws_probe_sentinel_success{{target="staging"}} {value}' in "\n".join(shown(metrics))
    metrics.record_suspicion("staging", SuspicionOutcome.CONFIRMED)
    assert 'ws_probe_suspicions_total{target="staging",outcome="confirmed"} 1' in "\n".join(shown(metrics))
    metrics.clear_learned("staging")
    assert not [line for line in shown(metrics) if line.startswith("ws_probe_sentinel_success")]
    metrics.record_sentinel("removed", SentinelOutcome.FAILED)
    metrics.record_suspicion("removed", SuspicionOutcome.CONFIRMED)
