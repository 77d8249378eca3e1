"""A daemon in the test's own loop, over a stand-in, and what its pages show."""

import contextlib

from prometheus_client.parser import text_string_to_metric_families

from exporter.daemon import Daemon, DaemonOptions
from exporter.standin import StandIn, Timings
from exporter.web import ListenAddress
from support import harness
from support.realservers import answered
from support.schedules import mapping

INTERVAL = 20.0
HERE = ListenAddress("127.0.0.1", 0)


def made(loop, *mappings, delay=0.0, listen=HERE, state=None, profiles=None, **options):
    """A daemon that is not started."""
    wanted = DaemonOptions(listen, startup_delay=delay, **options)
    plan = harness.planned(*mappings, **({"profiles": profiles} if profiles else {}))
    return Daemon(plan, wanted, state=state, clock=loop.clock)


@contextlib.asynccontextmanager
async def running(loop, *, delay=0.0, path="/ws", fault=None, **changes):
    """A stand-in and a daemon that probes it."""
    async with StandIn.start(tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings.quick()) as standin:
        if fault:
            standin.set_fault(path, fault)
        daemon = made(loop, mapping(standin, path=path, **changes), delay=delay)
        await daemon.start()
        try:
            yield daemon, standin
        finally:
            await daemon.stop()


async def get(daemon, path):
    """Status and body of a page."""
    return await answered(f"{daemon.url.rstrip('/')}{path}")


async def figures(daemon):
    """(name, values of the labels but the target's) → value."""
    _, body = await get(daemon, "/metrics")
    return {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "target")): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def total(shown, name):
    return sum(value for key, value in shown.items() if key[0] == name)
