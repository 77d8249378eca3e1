"""A name with several addresses: which of them a session tries, and what a failure of one says of the name."""

import socket
from dataclasses import replace

import pytest
from support import harness

from exporter.report.evidence import evidence_rows
from exporter.report.explain import explain
from exporter.report.record import pack_result, unpack_result
from exporter.resolver import RETRY_AFTER_CONNECTS, Resolver
from exporter.result import Phase, Probe, Reason, Verdict
from exporter.standin import StandIn, Timings

ALIVE, DEAD, DEAD_TOO = "127.0.0.1", "127.0.0.2", "127.0.0.3"
"""The stand-in listens at the first; nothing does at its port of the other two."""


@pytest.fixture
async def standin():
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as started:
        yield started


def named(*addresses):
    """A resolver for which every name has these addresses."""
    return Resolver(lambda *_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses])


def the_job(standin, **changes):
    port = standin.url("/ws").split(":")[2].split("/")[0]
    (job,) = harness.planned(harness.target(standin, url=f"ws://shop.test:{port}/ws", **changes)).jobs
    return replace(job, rate=None)


def address_evidence(result):
    evidence = result.evidence
    return evidence.address, evidence.address_number, evidence.addresses, evidence.failed_addresses


async def test_a_dead_address_is_told_as_one_of_several_and_the_next_session_tries_the_other(standin):
    """Refused at the first of two: another is untried. The next session passes at the second, and says what failed."""
    prober, job = harness.Rig(resolver=named(DEAD, ALIVE)), the_job(standin)

    first, second = await prober.run(job), await prober.run(job)

    assert (first.phase, first.reason) == (Phase.TCP, Reason.REFUSED)
    assert address_evidence(first) == (DEAD, 1, 2, ())
    assert first.untried_addresses == 1
    assert explain(first).sentence.endswith(
        "This was 127.0.0.2, the first of 2 addresses of the name. "
        "A client goes on to the next one and may get in: 1 is not tried yet."
    )
    assert dict(evidence_rows(first, 0.0))["address"] == "127.0.0.2, the first of 2"
    assert second.verdicts[Probe.SEND] is Verdict.PASS
    assert address_evidence(second) == (ALIVE, 2, 2, (DEAD,))
    assert second.untried_addresses == 0
    assert explain(second).sentence.endswith(
        "This was 127.0.0.1, the second of 2 addresses: 127.0.0.2 took no TCP connection before."
    )


async def test_only_when_every_address_has_failed_none_is_left_to_try(standin):
    """Two dead addresses: the second failure leaves none; a third dead one would leave one."""
    prober, job = harness.Rig(resolver=named(DEAD, DEAD_TOO)), the_job(standin)

    results = [await prober.run(job) for _ in range(3)]

    assert [address_evidence(result) for result in results] == [
        (DEAD, 1, 2, ()),
        (DEAD_TOO, 2, 2, (DEAD,)),
        (DEAD, 1, 2, (DEAD, DEAD_TOO)),
    ]
    assert [result.untried_addresses for result in results] == [1, 0, 0]
    assert explain(results[1]).sentence.endswith(
        "This was 127.0.0.3, the second of 2 addresses of the name. "
        "Before it, 127.0.0.2 took no TCP connection either. No other one is left to try."
    )


async def test_an_address_that_refuses_in_http_is_not_gone_around(standin):
    """A client that is connected tries no other address: a 503 of the first is the name's, and is met again."""
    standin.set_fault("/ws", "http:status=503")
    prober, job = harness.Rig(resolver=named(ALIVE, DEAD)), the_job(standin)

    results = [await prober.run(job) for _ in range(2)]

    assert [(result.reason, *address_evidence(result)) for result in results] == [
        (Reason.HTTP_STATUS, ALIVE, 1, 2, ())
    ] * 2
    assert [result.untried_addresses for result in results] == [0, 0]


async def test_a_name_that_half_works_fails_once_in_a_while(standin):
    """A dead address is retried after `RETRY_AFTER_CONNECTS` connects elsewhere: its recovery is seen, with no
    outage.
    """
    prober, job = harness.Rig(resolver=named(DEAD, ALIVE)), the_job(standin)

    results = [await prober.run(job) for _ in range(RETRY_AFTER_CONNECTS + 2)]

    failed = [number for number, result in enumerate(results) if result.failed]
    assert failed == [0, RETRY_AFTER_CONNECTS + 1]
    assert all(results[number].untried_addresses for number in failed)


async def test_the_other_addresses_are_kept_in_the_history(standin):
    """A line of the history tells the address, its place, their number and those that failed."""
    prober, job = harness.Rig(resolver=named(DEAD, ALIVE)), the_job(standin)
    for result in (await prober.run(job), await prober.run(job)):
        assert address_evidence(unpack_result(pack_result(result))) == address_evidence(result)


async def test_one_address_is_the_first_of_one(standin):
    """An address in the URL, or a name with one, leaves no other to try."""
    result = await harness.Rig().run(*harness.planned(harness.target(standin)).jobs)

    assert address_evidence(result) == (ALIVE, 1, 1, ())
    assert dict(evidence_rows(result, 0.0))["address"] == ALIVE
    assert "address" not in explain(result).sentence
