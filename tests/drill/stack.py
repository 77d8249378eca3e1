"""One stack: exporters, Prometheus, Alertmanager with the shipped files, scaled, and a webhook that hears the pages.

Rule 1: only addresses, paths and external labels are put in; everything else is what stands in deploy/ and alerts.yml.
"""

import json
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlencode

import yaml
from drill.scaler import duration, scaled
from drill.webhook import webhook
from realservers import Prometheus, alertmanager, get, prometheus, started, stop

ROOT = Path(__file__).parents[2]
RULES, SCRAPES, ROUTES = ROOT / "alerts.yml", ROOT / "deploy/prometheus.yml", ROOT / "deploy/alertmanager.yml"
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


def prometheus_text(exporters, rules, alertmanager_url, factor, labels):
    """The shipped prometheus.yml for these addresses; a placeholder that is gone is a failure."""
    text = scaled("prometheus", SCRAPES.read_text(), factor)
    indent = "\n          - "
    text = _put(text, "127.0.0.1:11011", indent.join(url.removeprefix("http://") for url in exporters))
    text = _put(text, "../alerts.yml", str(rules))
    if labels:
        text = _put(text, "global:\n", f"global:\n  external_labels: {json.dumps(labels)}\n")
    address = alertmanager_url.removeprefix("http://")
    return f"{text}\nalerting:\n  alertmanagers:\n    - static_configs:\n        - targets: [{address}]\n"


def _put(text, old, new):
    assert text.count(old) == 1, f"the shipped file no longer holds one {old!r}"
    return text.replace(old, new)


def alertmanager_text(hook, factor):
    """The shipped alertmanager.yml with our webhook in place of its three."""
    text = scaled("alertmanager", ROUTES.read_text(), factor)
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

    process, url = await started(arguments, "/-/ready", folder / "exporter.log")
    try:
        yield url
    finally:
        await stop(process)


@asynccontextmanager
async def stack(mappings, folder, factor=Fraction(1), *, labels=None):
    """All of it in `folder`, for these targets. `labels`: external labels, which move the offsets of scrapes."""
    async with AsyncExitStack() as running:
        hook, heard = await running.enter_async_context(webhook())
        exporters, logs = [], []
        for start in range(0, len(mappings), EACH):
            part = folder / f"exporter-{start // EACH}"
            part.mkdir(parents=True)
            logs.append(part / "exporter.log")
            exporters.append(await running.enter_async_context(exporter(mappings[start : start + EACH], part, factor)))
        pager = await running.enter_async_context(alertmanager(alertmanager_text(hook, factor), folder))
        rules = folder / "alerts.yml"
        rules.write_text(scaled("alerts", RULES.read_text(), factor))
        text = prometheus_text(exporters, rules, pager, factor, labels)
        flags = [
            f"--query.lookback-delta={duration('5m', factor)}",
            f"--rules.alert.resend-delay={duration('1m', factor)}",
            f"--rules.alert.for-outage-tolerance={duration('1h', factor)}",
            f"--rules.alert.for-grace-period={duration('10m', factor)}",
        ]
        server = await running.enter_async_context(prometheus(text, folder, *flags))
        yield Stack(server, heard, tuple(logs))
