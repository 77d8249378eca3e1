"""The refusal probe against real servers and the stand-in: refused rightly, in another way, let in, or no decision."""

import asyncio
import re

import pytest
import yaml
from support import harness, virtual_clock
from support.paths import DATA
from support.protocol_cases import job as job_of_server
from support.protocol_servers import ON_NODE, SERVERS
from support.refusals import refused

from exporter.config import Profile
from exporter.result import RefusalCase, Result
from exporter.standin import StandIn, Timings

EXPECTED = yaml.safe_load((DATA / "refusals.yml").read_text())
SERVER_ROWS = [
    pytest.param(name, marks=[pytest.mark.needs("node")] if name in ON_NODE else [], id=name) for name in EXPECTED
]
WELL_FORMED = ["expired", "wrong_audience", "unsigned", "other_key"]
ALL = ["no_token", "malformed", *WELL_FORMED]


@pytest.mark.parametrize("name", SERVER_ROWS)
async def test_a_real_server(name, tmp_path):
    """Without a token and with a malformed one: what was written down before it was run."""
    async with SERVERS[name](tmp_path) as server:
        cases = list(EXPECTED[name])
        job = job_of_server(server, name, "healthy", tmp_path, server.url, refusals={"cases": cases})
        rig = harness.Rig()
        assert not (await rig.run(job)).failed
        seen = {case: str(await refused(rig, job, case)) for case in cases}

    assert seen == EXPECTED[name]


def staged(story, *, cases=ALL, **changes):
    """Run `story(rig, job, standin)` on a clock that jumps; what it returns."""

    async def main(loop):
        standin = await StandIn.start(tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings())
        refusals = {"cases": cases, **changes.pop("refusals", {})}
        (job,) = harness.planned(harness.target(standin, refusals=refusals, **changes)).jobs
        try:
            return await story(harness.Rig(clock=loop.clock), job, standin)
        finally:
            await standin.close()

    return virtual_clock.run(main)


async def all_of(rig, job, *, apart=601.0):
    """Each case once, a passed session before each, with room between them."""
    seen = {}
    for schedule in job.side_schedules:
        assert not (await rig.run(job)).failed
        seen[schedule.variant] = str(await refused(rig, job, schedule.variant))
        await asyncio.sleep(apart)
    return seen


@pytest.mark.parametrize("carry", ["header", "subprotocol", "query"])
def test_a_backend_that_looks_at_tokens_refuses_each_case(carry):
    """By message and close, whichever way the token travels."""

    async def story(rig, _, standin):
        auth = {"jwt": {"key_file": str(standin.key_file), "claims": harness.CLAIMS}, "carry": carry}
        (job,) = harness.planned(harness.target(standin, refusals={"cases": ALL}, auth=auth)).jobs
        return await all_of(rig, job)

    assert staged(story) == dict.fromkeys(ALL, "refused")


def test_a_backend_that_looks_at_no_token_lets_each_forged_one_in():
    """The fault of the incident: any token is let in, a malformed one as somebody else; without one it refuses."""

    async def story(rig, job, standin):
        standin.set_fault("/ws", "forged_token_accepted")
        return await all_of(rig, job)

    seen = staged(story)

    assert seen == dict.fromkeys(ALL, "bypassed") | {"no_token": "refused"}


def test_a_user_who_is_disabled_and_let_in_is_a_bypass():
    """The stand-in knows no disabled users: it lets this one in, who holds the slot of a user of its own."""

    async def story(rig, job, _):
        assert not (await rig.run(job)).failed
        outcome = await refused(rig, job, "disabled_user")
        return outcome, rig.state.ledger.held_slots(job.side_schedules[0].user, rig.clock.wall())

    limits = {"slots_per_identity": 5, "slot_release": "300s"}
    refusals = {"disabled": "staging-e2e-disabled"}

    outcome, held = staged(story, cases=["disabled_user"], refusals=refusals, limits=limits, interval="60s")

    assert (str(outcome), held) == ("bypassed", 1)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("http:status=401", "refused"),
        ("http:status=403", "refused"),
        ("http:status=404", "wrong_way"),
        ("http:status=500", "wrong_way"),
        ("http:status=502", "inconclusive"),
        ("http:status=503", "inconclusive"),
        ("auth_rejected", "refused"),
        ("relabelled_auth", "refused"),
        ("wrong_refusal", "wrong_way"),
        ("wrong_refusal:code=4401", "refused"),
        ("auth_unavailable", "inconclusive"),
        ("silent", "inconclusive"),
        ("forged_token_accepted close:code=1008", "refused"),
        ("forged_token_accepted close:code=4401", "refused"),
        ("forged_token_accepted close:code=1011", "wrong_way"),
        ("forged_token_accepted close:code=4000", "wrong_way"),
        ("forged_token_accepted close:code=1012", "inconclusive"),
        ("forged_token_accepted abort", "inconclusive"),
        ("forged_token_accepted no_welcome", "inconclusive"),
        ("forged_token_accepted close:code=1008,at=reply", "bypassed"),
        ("forged_token_accepted slot_limit", "bypassed"),
    ],
)
def test_the_way_of_the_refusal_counts(fault, outcome):
    """A status of the upgrade, a close, an error frame or silence: right, wrong, or no decision at all."""

    async def story(rig, job, standin):
        assert not (await rig.run(job)).failed
        standin.set_fault("/ws", *fault.split())
        return str(await refused(rig, job, "expired"))

    assert staged(story) == outcome


def test_a_backend_that_is_gone_decides_nothing():
    """A refused connection is an outage, not a refusal."""

    async def story(rig, job, standin):
        await standin.close()
        return str(await refused(rig, job, "no_token"))

    assert staged(story) == "inconclusive"


def test_the_ledger_holds_a_second_forged_token_back():
    """Without a passed session since the last one it is skipped, however long that is ago; so is the very first one."""

    async def story(rig, job, _):
        seen = [await refused(rig, job, "other_key")]
        await rig.run(job)
        seen.append(await refused(rig, job, "other_key"))
        await asyncio.sleep(86_400)
        seen.append(await refused(rig, job, "expired"))
        await rig.run(job)
        seen.append(await refused(rig, job, "expired"))
        return [str(outcome) for outcome in seen]

    assert staged(story) == ["skipped", "refused", "skipped", "refused"]


def test_no_credential_reaches_a_log(caplog):
    """What is sent is a secret too, refused or let in."""
    caplog.set_level("DEBUG")

    async def story(rig, job, standin):
        await all_of(rig, job)
        standin.set_fault("/ws", "forged_token_accepted")
        return await all_of(rig, job)

    staged(story)

    text = caplog.text + repr([record.__dict__ for record in caplog.records])
    assert "a credential that must be refused was let in" in text
    assert not re.search(r"eyJ[A-Za-z0-9_-]{8}|malformed-[0-9a-f]{8}|staging-e2e-user", text)


def test_a_refusal_session_is_nothing_of_the_schedule():
    """It is a session of its own trigger, whose token touches neither key nor identity of the pool."""
    results = []

    async def story(rig, job, _):
        await rig.run(job)
        run = rig.prober.run

        async def watched(request):
            results.append(await run(request))
            return results[-1]

        rig.prober.run = watched
        await refused(rig, job, "other_key")
        cost = job.session_cost("", job.probes[-1], "pool-001", "schedule")
        ledger, now = rig.state.ledger, rig.clock.wall()
        return ledger.is_resting(cost, now), ledger.held_slots(cost.user, now)

    limits = {"slots_per_identity": 5, "slot_release": "300s"}
    resting, held = staged(story, limits=limits, interval="60s")

    (result,) = results
    assert isinstance(result, Result)
    assert (result.trigger, result.reason) == ("side_probe", "auth_rejected")
    assert (resting, held) == (False, 2)  # in doubt a session that got its 101 holds a slot, and the plan has it


OFFERS = {"no_token": ["app.v1", "app.v2"], "malformed": ["app.v1", "app.v2", "jwt"]}


@pytest.mark.parametrize("case", OFFERS)
async def test_protocols_of_the_application_are_offered_beside_the_credential(case, tmp_path):
    """Where the token is one subprotocol more: without it those of the profile are offered all the same."""
    heads = []

    async def refuse(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    own = Profile.model_validate(
        {"subprotocols": ["app.v1", "app.v2"], "carry": {"subprotocols": ["jwt", "${token_base64url}"]}}
    )
    (tmp_path / "key").write_bytes(b"k" * 40)
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        mapping = {
            "name": "staging",
            "url": f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws",
            "profile": "own",
            "identities": {"one": "somebody"},
            "auth": {"jwt": {"key_file": str(tmp_path / "key")}, "carry": "subprotocol"},
            "refusals": {"cases": [case]},
        }
        (job,) = harness.planned(mapping, built_in={"own": own}).jobs
        outcome = await refused(harness.Rig(), job, case)

    (offer,) = re.findall(r"(?im)^sec-websocket-protocol: (.*?)\r$", heads[0])
    assert [word for word in offer.split(", ") if word in {"app.v1", "app.v2", "jwt"}] == OFFERS[case]
    assert str(outcome) == "refused"


def test_every_case_is_tested():
    """A new case is added above."""
    assert {*ALL, "disabled_user"} == set(RefusalCase)
    assert set(SERVERS) - set(EXPECTED) == {"rpc-websockets", "aiohttp-jsonrpc", "ocpp"}  # they have no login
