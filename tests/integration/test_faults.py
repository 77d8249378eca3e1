"""Every fault of the stand-in, over plain and TLS, through the whole way of a session: what must come of it.

The expectations stand in `data/faults.yml`, written from what is known of the backend, before the code.
"""

import asyncio

import pytest
from support import harness, virtual_clock
from support.fault_cases import ROWS, cases, meet, place_of

from exporter.classify import LEGAL_FAILURES, close_label, legal_closes
from exporter.result import Phase, Probe, Trigger
from exporter.standin import StandIn, Timings

CASES = cases("plain", "tls")
ONLY_ONE = {"session", "identity", "timeout", "key_file"}  # setups of a single session: nothing follows from them
FOLLOWED = [
    row
    for row in ROWS
    if "confirm" in row.get("next", {})
    and "plain" in row["over"]
    and row["depth"] == "send"
    and not ONLY_ONE & set(row.get("setup", {}))
]
FIELDS = ("phase", "reason", "factory_reason", "slot_limit", "http_status", "impairment")


def name_of(row):
    setup = ",".join(f"{key}={value}" for key, value in row.get("setup", {}).items())
    return f"{row['fault']}-{row['depth']}{'-' + setup if setup else ''}"


@pytest.mark.parametrize(("row", "over"), CASES, ids=[f"{name_of(row)}-{over}" for row, over in CASES])
async def test_a_fault_is_told_for_what_it_is(row, over, tmp_path):
    """Verdicts, phase, reason, factory reason, close and rests are those of the table."""
    met = await meet(row, over, tmp_path, timeout=0.8)
    result = met.results[-1]

    got = {probe.value: result.verdicts[probe].value for probe in Probe}
    got |= {field: getattr(result, field) for field in FIELDS}
    got["close"] = result.close and {
        "code": result.close.code, "initiator": result.close.initiator, "phase": result.close.phase,
    }  # fmt: skip
    expected = {key: row[key] for key in got}
    wanted = {key: value for key, value in row.get("next", {}).items() if key in met.rests}

    assert got == expected, row["source"]
    assert {key: met.rests[key] for key in wanted} == wanted, row["source"]
    assert_legal(met.job, result)
    assert not any(session.close_received == 1011 and session.first_closer == "client" for session in met.sessions)


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
