"""A run of the refusal probe: what it asks for, and what it tells of an outage."""

import re
from dataclasses import replace

import pytest
from support import exposition, harness, virtual_clock
from support.refusals import Outcomes
from support.schedules import Nowhere, mapping

from exporter.metrics import Metrics, target_series
from exporter.profiles import FACTORY
from exporter.result import Phase, Probe, Reason, RefusalCase, RefusalOutcome, Result, Skip, SkipCause, Trigger, Verdict
from exporter.side_probes import RefusalProbe, SideRun

JOB = harness.planned(mapping(Nowhere, refusals={"cases": ["malformed"]})).jobs[0]
CLOSED = Result(
    target="staging", identity=None, run="r", depth=Probe.SEND, trigger=Trigger.SIDE_PROBE, started_at=0.0,
    verdicts={Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.FAIL}, phase=Phase.ADMISSION, reason=Reason.SERVER_ERROR,
)  # fmt: skip


def run_once(outcome, passes=(True, True)):
    """One run whose session comes to `outcome`, while the target passes before and after it; (requests, told, took)."""
    requests, sink, answers = [], Outcomes(), list(passes)

    async def open_session(request):
        requests.append(request)
        return outcome

    async def main(loop):
        (schedule,) = JOB.side_schedules
        probe = RefusalProbe(sink, lambda _: answers.pop(0))
        await probe.run(SideRun(JOB, schedule, 7), open_session)
        return loop.time()

    took = virtual_clock.run(main)
    return requests, [str(told) for _, _, told in sink.told], took


def test_a_run_asks_for_one_session_at_full_depth():
    """With the credential of its case, the trigger of side probes and its due time."""
    ((request,), told, _) = run_once(replace(CLOSED, reason=Reason.AUTH_REJECTED))

    assert (request.refusal, request.trigger, request.depth) == (RefusalCase.MALFORMED, Trigger.SIDE_PROBE, Probe.SEND)
    assert request.due == JOB.side_schedules[0].cadence.due(7)
    assert told == ["refused"]


def test_a_session_that_was_not_opened_is_a_skip():
    """The ledger or `max_sessions` had no room."""
    assert run_once(Skip("staging", SkipCause.RESTING))[1] == ["skipped"]


@pytest.mark.parametrize(
    ("passes", "outcome"),
    [((True, True), "wrong_way"), ((False, True), "inconclusive"), ((True, False), "inconclusive")],
)
def test_a_refusal_in_another_way_counts_only_while_the_target_passes(passes, outcome):
    """Before it and after the next cycle: in an outage good tokens end in another way as well."""
    _, told, took = run_once(CLOSED, passes)

    assert told == [outcome]
    assert took == (JOB.interval + JOB.open_for if passes[0] else 0)


def test_each_outcome_is_counted_and_a_decision_is_kept():
    """Absent before the first decision; an outcome without one changes neither gauge."""
    metrics = Metrics("1")
    metrics.add_target(target_series(JOB.target, FACTORY))
    lines = re.compile(r'ws_probe_refusal_(success|bypassed){target="staging",case="malformed"} (\d)')

    seen = []
    for outcome in ("skipped", "bypassed", "inconclusive", "wrong_way", "refused"):
        metrics.record_refusal("staging", RefusalCase.MALFORMED, RefusalOutcome(outcome))
        seen.append(dict(lines.findall(exposition.page(metrics))))
    metrics.record_refusal("staging", RefusalCase.EXPIRED, RefusalOutcome.REFUSED)
    metrics.record_refusal("gone", RefusalCase.MALFORMED, RefusalOutcome.REFUSED)

    decided = [{"success": success, "bypassed": bypassed} for success, bypassed in ("01", "01", "00", "10")]
    assert seen == [{}, *decided]
    assert not metrics.unexpected_series()


def test_a_target_passes_while_each_probe_of_it_does():
    """What the refusal probe asks before and after a refusal in another way; nothing is known before a verdict."""
    metrics = Metrics("1")
    metrics.add_target(target_series(JOB.target, FACTORY))
    passed = replace(CLOSED, verdicts=dict.fromkeys(Probe, Verdict.PASS), phase=None, reason=None)

    assert not metrics.passes("staging")
    metrics.record_result(passed)
    assert metrics.passes("staging")
    metrics.record_result(replace(CLOSED, trigger=Trigger.SCHEDULE))
    assert not metrics.passes("staging")
    assert not metrics.passes("gone")
