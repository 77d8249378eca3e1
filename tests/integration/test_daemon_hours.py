"""An hour in which something of our world is missing, on a clock that jumps: what was counted, what is so after it."""

import asyncio
import socket

import pytest
from support import virtual_clock
from support.daemons import INTERVAL, figures, get, made, running, total
from support.schedules import mapping

from exporter.result import ErrorKind, ProbeError
from exporter.standin import StandIn, Timings

CYCLES = 3600 / INTERVAL


def came(name, since, until):
    """By how much a figure of the probe `connect` has grown."""
    return until[name, "connect"] - since[name, "connect"]


def test_an_hour_without_prometheus_loses_nothing_that_was_counted():
    """Its first scrape after the hour has every cycle, those of the outage as failures, and what is so now."""

    async def main(loop):
        async with running(loop, confirm={"runs": 0}) as (daemon, standin):
            await asyncio.sleep(60)
            before = await figures(daemon)
            await asyncio.sleep(20 * 60)
            standin.set_fault("/ws", "no_welcome")
            await asyncio.sleep(10 * 60)
            standin.clear()
            await asyncio.sleep(30 * 60)
            return before, await figures(daemon), await get(daemon, "/-/healthy"), loop.wall()

    before, after, healthy, now = virtual_clock.run(main)

    assert came("ws_probe_cycles_total", before, after) == CYCLES
    failures = [value for key, value in after.items() if key[0] == "ws_probe_cycle_failures_total" and "auth" in key]
    assert sum(failures) == pytest.approx(600 / INTERVAL, abs=1)
    assert after["ws_probe_success", "send"] == 1
    assert now <= after["ws_probe_due_timestamp_seconds", "connect"] <= now + INTERVAL
    assert healthy[0] == 200


class Names:
    """A name server that is there, or not; real silence and real refusals are in `test_own_world`."""

    def __init__(self):
        self.gone = False

    async def resolve(self, _host, port, _protocol):
        if self.gone:
            raise ProbeError(ErrorKind.DNS, "no name server")
        return ((socket.AF_INET, ("127.0.0.1", port)),)


def test_an_hour_without_names_is_a_failure_each_cycle_and_over_with_the_next():
    """Nobody but `resolve` is blamed, no cycle is lost, and the first one with a name server passes."""

    async def main(loop):
        async with StandIn.start(tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings.quick()) as standin:
            url = standin.url("/ws", tls=False).replace("127.0.0.1", "backend.example.com")
            daemon = made(loop, mapping(standin, url=url, confirm={"runs": 0}))
            daemon._prober._resolver = names = Names()
            await daemon.start()
            shown = []
            for seconds, gone in ((60, True), (3600, False), (INTERVAL, False)):
                await asyncio.sleep(seconds)
                names.gone = gone
                shown.append(await figures(daemon))
            await daemon.stop()
            return shown

    before, during, after = virtual_clock.run(main)

    assert (
        came("ws_probe_cycles_total", before, during) == came("ws_probe_cycle_failures_total", before, during) == CYCLES
    )
    causes = [key for key, value in during.items() if key[0] == "ws_probe_failures_total" and value]
    assert causes
    assert all({"dns", "resolve"} <= set(cause) for cause in causes)
    assert came("ws_probe_cycles_total", during, after) == 1
    assert came("ws_probe_cycle_failures_total", during, after) == 0
    assert after["ws_probe_success", "send"] == 1


@pytest.mark.parametrize(("away", "stands"), [(30, 1), (3 * 3600, None)])
def test_a_restart_in_the_middle_of_an_outage_is_no_second_page(tmp_path, away, stands):
    """Before any session of its own the exporter knows of the outage, unless what it knew is too old to be true."""
    changes = {"interval": "5m", "confirm": {"runs": 0}}

    async def main(loop):
        async with StandIn.start(tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings.quick()) as standin:
            standin.set_fault("/ws", "no_welcome")
            options = {"history_file": tmp_path / "history"}
            first = made(loop, mapping(standin, **changes), **options)
            await first.start()
            await asyncio.sleep(1800)
            before = await figures(first)
            await first.stop()
            await asyncio.sleep(away)
            second = made(loop, mapping(standin, **changes), delay=60.0, **options)
            await second.start()
            await asyncio.sleep(20)
            early = await figures(second)
            standin.clear()
            await asyncio.sleep(1800)
            after = await figures(second)
            await second.stop()
            return before, early, after

    before, early, after = virtual_clock.run(main)

    assert before["ws_probe_outage", "not_admitted"] == 1
    assert early.get(("ws_probe_outage", "not_admitted")) == stands
    assert total(early, "ws_probe_cycles_total") == 0
    assert after["ws_probe_outage", "not_admitted"] == 0
