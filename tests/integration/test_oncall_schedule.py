"""A check beside a schedule that has one identity: it waits its turn, and no cycle is lost to it."""

import asyncio

import pytest
from support import virtual_clock
from support.daemons import figures, running, total

from exporter.result import Probe

ONE = {"pool-001": "staging-e2e-user-001"}
INTERVAL = 20.0
MOMENTS = (0.2, 4.0, 11.0, 13.0, 15.9, 16.1, 18.0, 19.9)
"""Seconds after a cycle is due: a hanging session of 12 s is under way until then, or the next one is near."""


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("fault", [None, "no_welcome"])
def test_a_check_waits_its_turn_and_displaces_no_cycle(fault, moment):
    """Whenever it is asked, while the backend hangs too: it brings a session, and every cycle has one of its own."""

    async def main(loop):
        times = {"timeout": "10s", "close_timeout": "2s"}
        async with running(loop, fault=fault, identities=ONE, confirm={"runs": 0}, **times) as (daemon, _):
            job = daemon._services.jobs["staging"]
            begin = job.due(job.cycle_at(loop.wall()) + 2)
            await asyncio.sleep(begin + moment - loop.wall())
            before = total(await figures(daemon), "ws_probe_cycles_total")
            asked = await daemon._on_demand.run(job, Probe.SEND)
            waited = loop.wall() - begin - moment
            await asyncio.sleep(begin + 5 * INTERVAL - 1 - loop.wall())
            shown = await figures(daemon)
            return asked.report, waited, before, shown

    checked, waited, before, shown = virtual_clock.run(main)

    assert checked.refusal is None
    assert len(checked.results) == 1
    assert waited <= INTERVAL + 2 * 12 + 1
    assert total(shown, "ws_probe_skips_total") == 0
    assert total(shown, "ws_probe_cycles_total") > before
