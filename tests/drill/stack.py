"""One stack: exporters, an engine and Alertmanager with the shipped files, scaled, and a webhook that hears the pages.

Rule 1: only addresses, paths and external labels are put in; everything else is what stands in deploy/ and alerts.yml.
Rule 2: several engines may judge the same exporters, each with a pager of its own: what they say stands side by side.
"""

import json
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlencode

import yaml
from drill.pace import PATIENT
from drill.scaler import duration, scaled
from drill.webhook import webhook
from engines.engines import INSTALLED, Judged
from support.realservers import Prometheus, alertmanager, get, started, stop

ROOT = Path(__file__).parents[2]
ROUTES = ROOT / "deploy/alertmanager.yml"
STARTING = 120.0
"""Seconds until an exporter is ready, on a machine that starts many."""
EACH = 16
"""Targets of one exporter: few enough that a page of figures does not hold up sessions that are scaled down."""


@dataclass(frozen=True)
class Stack:
    """What runs. `heard`: notifications, growing; `logs`: of the exporters."""

    prometheus: Prometheus
    heard: list
    logs: tuple[Path, ...]

    async def firing(self):
        """The labels of all alerts that fire now."""
        return [labels for labels, _ in await self.prometheus.query('ALERTS{alertstate="firing"}')]

    async def fired(self, seconds):
        """The labels of all alerts that fired in the last so many seconds, with the times of their samples."""
        return await self._samples('ALERTS{alertstate="firing"}', seconds)

    async def scrapes(self, target, seconds):
        """When the target's figures were scraped in the last so many seconds."""
        selector = f'ws_probe_attempts_total{{target="{target}",probe="connect"}}'
        return [at for _, times in await self._samples(selector, seconds) for at in times]

    async def _samples(self, selector, seconds):
        query = urlencode({"query": f"{selector}[{int(seconds) + 1}s]"})
        result = json.loads(await get(f"{self.prometheus.url}/api/v1/query?{query}"))["data"]["result"]
        return [(series["metric"], [at for at, _ in series["values"]]) for series in result]


def alertmanager_text(hook, factor, pace):
    """The shipped alertmanager.yml at this pace, with our webhook in place of its three."""
    text = scaled("alertmanager", pace.routes(ROUTES.read_text()), factor)
    assert text.count("http://127.0.0.1:9095/") == 3
    return text.replace("http://127.0.0.1:9095", hook)


@asynccontextmanager
async def exporter(mappings, folder, factor):
    """A real exporter as a process of its own, for these targets (durations unscaled); its URL."""
    config = folder / "exporter.yml"
    config.write_text(scaled("exporter", yaml.safe_dump({"targets": mappings}, sort_keys=False), factor))
    launcher = [str(Path(__file__).with_name("scaled_exporter.py")), str(factor)] if factor != 1 else ["-m", "exporter"]

    def arguments(port):
        return [
            sys.executable,
            *launcher,
            "run",
            f"--config.file={config}",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--startup.delay={duration('15s', factor)}",
        ]

    process, url = await started(arguments, "/-/ready", folder / "exporter.log", patience=STARTING)
    try:
        yield url
    finally:
        await stop(process)


@asynccontextmanager
async def exporters(mappings, folder, factor):
    """Exporters for these targets, `EACH` to one: their URLs and their logs."""
    async with AsyncExitStack() as running:
        urls, logs = [], []
        for start in range(0, len(mappings), EACH):
            part = folder / f"exporter-{start // EACH}"
            part.mkdir(parents=True)
            logs.append(part / "exporter.log")
            urls.append(await running.enter_async_context(exporter(mappings[start : start + EACH], part, factor)))
        yield tuple(urls), tuple(logs)


@asynccontextmanager
async def watched(engine, urls, logs, folder, factor, *, labels=None, pace=PATIENT):
    """The exporters watched by an engine, its Alertmanager and its webhook, in `folder`."""
    async with AsyncExitStack() as running:
        hook, heard = await running.enter_async_context(webhook())
        routes = alertmanager_text(hook, factor, pace)
        program = engine.program("prometheus-alertmanager")
        pager = await running.enter_async_context(alertmanager(routes, folder, program))
        judged = Judged(urls, pager, folder, factor, labels, engine.extra, pace)
        server = await running.enter_async_context(engine.judge(judged, engine.program))
        yield Stack(server, heard, logs)


@asynccontextmanager
async def stacks(engines, mappings, folder, factor):
    """The same exporters watched by each of the engines, in the order of `engines`."""
    async with exporters(mappings, folder, factor) as (urls, logs), AsyncExitStack() as running:
        beside = []
        for engine in engines:
            place = folder / engine.name
            place.mkdir()
            beside.append(await running.enter_async_context(watched(engine, urls, logs, place, factor)))
        yield beside


@asynccontextmanager
async def stack(mappings, folder, factor=Fraction(1), *, labels=None):
    """All of it in `folder`, for these targets. `labels`: external labels, which move the offsets of scrapes."""
    async with (
        exporters(mappings, folder, factor) as (urls, logs),
        watched(INSTALLED, urls, logs, folder, factor, labels=labels) as one,
    ):
        yield one
