"""Every fault of the stand-in, over plain and TLS, through the whole way of a session: what must come of it.

The expectations stand in `data/faults.yml`, written from what is known of the backend, before the code.
"""

import asyncio
import time

import pytest
import yaml
from support import harness, virtual_clock
from support.paths import DATA

from exporter.classify import LEGAL_FAILURES, close_label, legal_closes
from exporter.host import Clock
from exporter.result import Phase, Probe, Result, Trigger
from exporter.standin import StandIn, Timings

ROWS = yaml.safe_load((DATA / "faults.yml").read_text(encoding="utf-8"))
CASES = [(row, over) for row in ROWS for over in row["over"]]
ONLY_ONE = {"session", "identity", "timeout", "key_file"}  # setups of a single session: nothing follows from them
FOLLOWED = [
    row
    for row in ROWS
    if "confirm" in row.get("next", {})
    and "plain" in row["over"]
    and row["depth"] == "send"
    and not ONLY_ONE & set(row.get("setup", {}))
]
LISTENER_WIDE = ("refuse", "tls_", "not_tls")
FIELDS = ("phase", "reason", "factory_reason", "slot_limit", "http_status", "impairment")


def name_of(row):
    setup = ",".join(f"{key}={value}" for key, value in row.get("setup", {}).items())
    return f"{row['fault']}-{row['depth']}{'-' + setup if setup else ''}"


def place_of(row):
    """Where the fault is set: what acts before a path is known holds for the whole listener."""
    at_tcp = "after=tcp" in row["fault"] or "after=tls" in row["fault"] or "at=tcp" in row["fault"]
    return "*" if row["fault"].startswith(LISTENER_WIDE) or at_tcp else "/ws/row"


class Later:
    """A wall clock that can be put forward, so that sessions lie seconds apart without waiting."""

    def __init__(self):
        self.ahead = 0.0

    def wall(self):
        return time.time() + self.ahead


def mapping(standin, row, over):
    setup = row.get("setup", {})
    changes = {}
    if "environment" in setup:
        changes["environment"] = setup["environment"]
    if "identity" in setup:
        changes["identities"] = {"pool-001": setup["identity"]}
    long = float(setup.get("timeout", 0.8))
    return harness.target(
        standin, "/ws/row", tls=over == "tls", timeout=f"{long}s", interval=f"{2 * long + 2:.0f}s", **changes
    )


async def meet(row, over, tmp_path):
    """The result of the row's session."""
    setup = row.get("setup", {})
    later = Later()
    standin = await StandIn.start(timings=Timings.quick(), tls_port=0 if over == "tls" else None, wall=later.wall)
    try:
        job = harness.planned(mapping(standin, row, over)).jobs[0]
        standin.set_fault(place_of(row), row["fault"])
        prober = harness.Rig(clock=Clock(wall=later.wall))
        if setup.get("key_file") == "gone":
            gone = harness.target(standin, "/ws/row", tls=over == "tls")
            gone["auth"]["jwt"]["key_file"] = str(tmp_path / "gone")
            job = harness.planned(gone).jobs[0]
        for _ in range(setup.get("session", 1)):
            outcome = await prober.run(job, depth=Probe(row["depth"]))
            later.ahead += setup.get("apart", 0.0)
        assert isinstance(outcome, Result), outcome
        assert prober.open == 0
        rests = {
            "identity_rests": prober.state.ledger.is_identity_resting(job.users["pool-001"], later.wall()),
            "host_rests": prober.state.ledger.endpoint_cooldown_until(job.endpoint, later.wall()) is not None,
        }
        return job, outcome, rests, list(standin.sessions)
    finally:
        await standin.close()


@pytest.mark.parametrize(("row", "over"), CASES, ids=[f"{name_of(row)}-{over}" for row, over in CASES])
async def test_a_fault_is_told_for_what_it_is(row, over, tmp_path):
    """Verdicts, phase, reason, factory reason, close and rests are those of the table."""
    job, result, rests, seen = await meet(row, over, tmp_path)

    got = {probe.value: result.verdicts[probe].value for probe in Probe}
    got |= {field: getattr(result, field) for field in FIELDS}
    got["close"] = result.close and {
        "code": result.close.code, "initiator": result.close.initiator, "phase": result.close.phase,
    }  # fmt: skip
    expected = {key: row[key] for key in got}
    wanted = {key: value for key, value in row.get("next", {}).items() if key in rests}

    assert got == expected, row["source"]
    assert {key: rests[key] for key in wanted} == wanted, row["source"]
    assert_legal(job, result)
    assert not any(session.close_received == 1011 and session.first_closer == "client" for session in seen)


def assert_legal(job, result):
    """What came out has a series that was primed."""
    if result.reason is not None:
        assert result.reason in LEGAL_FAILURES[result.phase]
    if result.close is not None:
        close = result.close
        label = close_label(close.code, job.profile)
        assert (close.phase, label, close.initiator) in set(legal_closes(job.profile, tls=job.tls))
    assert Phase.PREPARE not in result.phases


async def follow(loop, row):
    """One healthy cycle, then the fault: what the scheduler was told until two cycles after it."""
    standin = await StandIn.start(tls_port=None, timings=Timings.quick(), clock=loop.time, wall=loop.wall)
    prober = harness.Rig(clock=loop.clock)
    changes = {"environment": "staging"} if "environment" in row.get("setup", {}) else {}
    mapped = harness.target(standin, "/ws/row", interval="200s", timeout="5s", **changes)
    job = harness.planned(mapped).jobs[0]
    scheduler, told = prober.schedule(job)
    try:
        async with asyncio.timeout(600):
            while not told.cycles:
                await asyncio.sleep(0.5)
        assert not told.cycles[0].failed
        standin.set_fault(place_of(row), row["fault"])
        await asyncio.sleep(250)
    finally:
        await scheduler.stop()
        await standin.close()
    return told


@pytest.mark.parametrize("row", FOLLOWED, ids=name_of)
def test_a_first_failure_is_confirmed_unless_that_would_do_harm(row):
    """Other identities confirm the first failed cycle after a passed one, but never an auth refusal or a 429."""
    told = virtual_clock.run(lambda loop: follow(loop, row))

    confirmed = any(result.trigger is Trigger.CONFIRM for result in told.results)

    assert confirmed == row["next"]["confirm"], row["source"]
