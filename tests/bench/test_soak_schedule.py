"""Ten minutes of a full schedule: no cycle is missed by the exporter's own doing (`make soak`)."""

import pytest
from bench.fidelity import run_once

TARGETS = 1000
SECONDS = 600


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_a_thousand_targets_miss_no_cycle_in_ten_minutes(tmp_path):
    """At 15 s, scraped every second and looked at: no skip of any cause, no failure, every cycle a session."""
    outcome = await run_once(targets=TARGETS, tls=False, seconds=SECONDS, folder=tmp_path)

    print(f"\n{outcome.sessions} sessions, skips {outcome.skips}, distorted {outcome.distorted:.3%}")
    assert sum(outcome.skips.values()) == 0
    assert outcome.failures == 0
    assert outcome.sessions + outcome.tokenless == pytest.approx(TARGETS * SECONDS / 15, rel=0.03)
