"""An exporter that reloads, on a clock that jumps, over a stand-in in the same loop."""

import asyncio
import contextlib
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from exporter.daemon import Daemon, DaemonOptions
from exporter.loading import ConfigLoadError, LoadedConfig
from exporter.standin import StandIn, Timings
from support import harness
from support.daemons import HERE
from support.schedules import mapping

OK = "ws_exporter_config_last_reload_successful"
OK_AT = "ws_exporter_config_last_reload_success_timestamp_seconds"


class Source:
    """What stands in the config file: targets' mappings, or mistakes."""

    def __init__(self, *targets, **settings):
        self.targets, self.settings = list(targets), settings
        self.mistakes, self.warnings = (), ()
        self.loads = 0

    def __call__(self):
        self.loads += 1
        if self.mistakes:
            raise ConfigLoadError(self.mistakes)
        return LoadedConfig(None, self.plan(), self.warnings)

    def plan(self):
        return harness.planned(*self.targets, **self.settings)


class Exporter:
    """A daemon over a source."""

    def __init__(self, loop, source, *, delay=0.0, lifecycle=True, load=None, state=None, **options):
        self.loop, self.source = loop, source
        wanted = DaemonOptions(HERE, startup_delay=delay, load=load or source, lifecycle=lifecycle, **options)
        self.daemon = Daemon(source.plan(), wanted, state=state, clock=loop.clock)

    async def request(self, path, method="GET"):
        """Status and body."""
        place = urlsplit(self.daemon.url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(f"{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        return int(head.split(" ")[1]), body

    async def reload(self, *targets, **settings):
        """The answer to a reload of these targets."""
        self.source.targets, self.source.settings = list(targets), settings
        return await self.request("/-/reload", "POST")

    async def samples(self):
        """(name, labels but the target's in order of their names) → value, by target; those of none under None."""
        _, body = await self.request("/metrics")
        found = {}
        for family in text_string_to_metric_families(body):
            for sample in family.samples:
                labels = dict(sample.labels)
                of_target = found.setdefault(labels.pop("target", None), {})
                of_target[sample.name, *(value for _, value in sorted(labels.items()))] = sample.value
        return found

    async def in_session(self, name="staging"):
        """Return when the target has a connection open."""
        while not self.daemon._dispatcher._open[name]:
            await asyncio.sleep(0.05)

    def job(self, name="staging"):
        return self.daemon._services.jobs[name]


@contextlib.asynccontextmanager
async def running(loop, *changes, delay=0.0, lifecycle=True, **options):
    """A stand-in and an exporter of one target for each of `changes` (fields of it), or of one as it is."""
    async with StandIn.start(tls_port=None, clock=loop.time, wall=loop.wall, timings=Timings.quick()) as standin:
        source = Source(*[own(standin, **fields) for fields in changes or ({},)])
        exporter = Exporter(loop, source, delay=delay, lifecycle=lifecycle, **options)
        await exporter.daemon.start()
        try:
            yield exporter, standin
        finally:
            await exporter.daemon.stop()


def own(standin, name="staging", **changes):
    """A target with a path and users of its own."""
    users = {f"{name}-{n}": f"staging-{name}-user-{n}" for n in range(3)}
    return mapping(standin, **{"path": f"/ws/{name}", "name": name, "identities": users, **changes})


def ended(samples):
    """How many cycles of a target are accounted for."""
    counted = ("ws_probe_skips_total", "ws_probe_impaired_total")
    return samples["ws_probe_cycles_total", "connect"] + sum(
        value for key, value in samples.items() if key[0] in counted
    )


def counters(samples):
    return {key: value for key, value in samples.items() if key[0].endswith(("_total", "_count", "_sum", "_bucket"))}
