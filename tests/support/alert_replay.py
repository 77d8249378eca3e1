"""Incidents of `data/signatures.yml`, played on a jumping clock by the real exporter and stand-in, as promtool input.

Each incident has a stand-in, an exporter and a ledger of its own. All are sampled every 15 s, as Prometheus would;
the samples become the input of one `promtool test rules`, which judges them by the real alerts.yml.
"""

import asyncio
import json
import logging
import math
import re
import shutil
import subprocess
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import yaml

from exporter.config import Config
from exporter.daemon import Daemon, DaemonOptions, running
from exporter.plan import plan
from exporter.profiles import BUILT_IN
from exporter.standin import StandIn, Timings
from exporter.standin.faults import parse
from exporter.web import ListenAddress
from support import exposition, harness
from support.paths import DATA
from support.realservers import binary

TABLE = yaml.safe_load((DATA / "signatures.yml").read_text(encoding="utf-8"))
SCRAPE = 15.0
JOB = "ws-factory-exporter"

HEALTHY = 330.0
"""Seconds until the fault: not a multiple of the scrape interval and of the cycle's at once."""
ILL = 780.0
AFTER = 2100.0
"""The last try of a rejected key comes six times `auth_retry` after its rejection, and a canary needs two rounds of 11
minutes; then the alerts resolve."""
END = HEALTHY + ILL + AFTER


async def play(loop, rows, folder, *, healthy=HEALTHY, ill=ILL, after=AFTER):
    """The samples of all rows: (metric, labels) → value at every scrape, None where there is none."""
    samples, scrapes = {}, 0
    async with AsyncExitStack() as stack:
        _calm(stack)
        scenes = [await _Scene.start(row, loop, folder / row["name"], stack) for row in rows]
        acts = [asyncio.create_task(scene.act(healthy, ill)) for scene in scenes]
        while scrapes * SCRAPE <= healthy + ill + after:
            for scene in scenes:
                scene.sample(samples, scrapes)
            scrapes += 1
            await asyncio.sleep(scrapes * SCRAPE - loop.time())
        await asyncio.gather(*acts)
    return {series: values + [None] * (scrapes - len(values)) for series, values in samples.items()}


def _calm(stack):
    """No log lines, and no look at the loop twice a second: hours of many exporters would be made of those."""
    logging.disable(logging.CRITICAL)
    stack.callback(logging.disable, logging.NOTSET)
    for owner, name in ((running.LoopLagMonitor, "run"), (running, "collect_garbage")):
        stack.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, _never)


async def _never(*_):
    await asyncio.Event().wait()


class _Scene:
    """One incident: its stand-in and its exporter."""

    def __init__(self, row, loop, standin, exporter, key):
        self.row, self.setup = row, row.get("setup", {})
        self._loop, self._standin, self._exporter, self._key = loop, standin, exporter, key

    @classmethod
    async def start(cls, row, loop, folder, stack):
        setup = row.get("setup", {})
        tls = setup.get("tls", False)
        standin = await StandIn.start(tls_port=0 if tls else None, clock=loop.time, wall=loop.wall, timings=Timings())
        stack.push_async_callback(standin.close)
        folder.mkdir()
        key = Path(shutil.copy(standin.key_file, folder / "key"))
        mapping = harness.target(
            standin, tls=tls, name=row["name"], interval="20s", timeout="10s", close_timeout="2s", limits=None
        )
        mapping["auth"]["jwt"]["key_file"] = str(key)
        if tls:  # a name is looked up in a thread, and the clock does not wait for that one
            mapping["url"] = mapping["url"].replace("localhost", "127.0.0.1")
            mapping["tls"]["server_name"] = "localhost"
        mapping.update(setup.get("target", {}))
        if "stats" in setup:
            mapping["stats"] = {"url": mapping["url"].replace("ws", "http", 1) + "/stats", **setup["stats"]}
        config = Config.model_validate({"targets": [{k: v for k, v in mapping.items() if v is not None}]})
        options = DaemonOptions(ListenAddress("127.0.0.1", 0), startup_delay=SCRAPE)
        exporter = Daemon(plan(config, BUILT_IN), options, clock=loop.clock)
        stack.push_async_callback(exporter.stop)
        await exporter.start()
        exporter._startup_gate.record_scrape(loop.time())
        return cls(row, loop, standin, exporter, key)

    async def act(self, healthy, ill):
        ill = max(ill, self.setup.get("lasts", 0))
        await asyncio.sleep(healthy - self._loop.time())
        pulses = self.setup.get("pulses")
        if pulses is None:
            await self._spoil()
            await asyncio.sleep(healthy + ill - self._loop.time())
            self._mend()
            return
        for _ in range(pulses["times"]):
            seen = self._standin.finished
            await self._spoil()
            while self._standin.finished < seen + pulses["sessions"]:
                await asyncio.sleep(0.5)
            self._mend()
            await asyncio.sleep(pulses["apart"])

    async def _spoil(self):
        faults = self.row["faults"]
        path = "*" if any(parse(spec).needs_listener for spec in faults) else "/ws"
        self._standin.set_fault(path, *faults)
        if self.setup.get("key_file") == "gone":
            self._key.rename(self._key.with_suffix(".gone"))

    def _mend(self):
        self._standin.clear()
        if self.setup.get("fresh_process"):
            self._standin.forget()
        if self.setup.get("key_file") == "gone":
            self._key.with_suffix(".gone").rename(self._key)

    def sample(self, samples, scrapes):
        """Add one scrape."""
        for family in exposition.families(self._exporter._services.metrics):
            if not family.name.startswith("ws_"):
                continue
            for sample in family.samples:
                if "target" in sample.labels:
                    series = (sample.name, tuple(sorted(sample.labels.items())))
                    values = samples.setdefault(series, [])
                    values += [None] * (scrapes - len(values))
                    values.append(_relative(sample.name, sample.value, self._loop))


def _relative(name, value, loop):
    """Promtool's time begins at 0."""
    return value - (loop.wall() - loop.time()) if name.endswith("_timestamp_seconds") else value


def input_series(samples):
    """As `input_series` of promtool. Series that are 0 all along count in sums only, so most are left out."""
    kept = ("ws_probe_identity", "ws_probe_refusal", "ws_probe_attempts", "ws_factory_slots", "ws_probe_cycle")
    for (name, labels), values in samples.items():
        if any(values) or name.startswith(kept):
            pairs = ",".join(f'{label}="{value}"' for label, value in (("job", JOB), ("instance", "a"), *labels))
            yield {"series": f"{name}{{{pairs}}}", "values": " ".join(runs(values))}
    whole = len(next(iter(samples.values())))
    yield {"series": f'process_start_time_seconds{{job="{JOB}",instance="a"}}', "values": f"0x{whole - 1}"}
    yield {"series": f'up{{job="{JOB}",instance="a"}}', "values": f"1x{whole - 1}"}


def runs(values):
    for value, run in groupby(values):
        repeats = len(list(run)) - 1
        if value is None:
            yield f"_x{repeats + 1}"
        else:
            assert math.isfinite(value)
            yield f"{value:.6g}x{repeats}" if abs(value) < 1e6 else f"{value:.0f}x{repeats}"


# What the rules make of it -----------------------------------------------------------------------------------------

LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
WORST = "max by (target, alertname, severity)"
ORDER = ["ws-factory.slo", "ws-factory.days", "ws-factory.stats", "ws-factory.targets", "ws-factory.exporter"]


@dataclass
class Judged:
    """`first`, `end`: (target, alert/severity) → second of the first and of the last evaluation at which it fired.

    `last`: what still fires at the end.

    `gaps`: (target, alert/severity) → evaluations at which it did not fire between its first and its last; `texts`:
    (target, alert/severity) → description at the end of the fault.
    """

    first: dict
    end: dict
    last: set
    gaps: dict
    texts: dict


def judge(samples, rows, folder, *, healthy=HEALTHY, ill=ILL, after=AFTER):
    """Ask promtool. It compares and does not tell: so all is expected to be silent, and its complaint is read."""
    names = sorted({alert.partition("/")[0] for row in rows for alert in row.get("firing", ())})
    at_worst = f"{math.floor((healthy + ill) / SCRAPE) * SCRAPE:.0f}s"
    texts = [{"eval_time": at_worst, "alertname": name, "exp_alerts": []} for name in names]
    for row in rows:
        if "lasts" in row.get("setup", {}):
            at_end = f"{math.floor((healthy + row['setup']['lasts']) / SCRAPE) * SCRAPE:.0f}s"
            texts.append({"eval_time": at_end, "alertname": row["notify"].partition("/")[0], "exp_alerts": []})
    return asked(list(input_series(samples)), healthy + ill + after, folder, texts=texts)


def asked(series, seconds, folder, *, scrape=SCRAPE, step=SCRAPE, texts=()):
    """What the rules make of `input_series`, one sample in `scrape` seconds, if they are evaluated every `step`."""
    whole = math.floor(seconds / step) * step
    firing = 'ALERTS{alertstate="firing",target!=""}'
    moments = f"timestamp({firing})[{whole:.0f}s:{step:.0f}s]"
    first, end = f"min_over_time({moments})", f"max_over_time({moments})"
    expressions = (first, end, firing, f"({end} - {first}) / {step} + 1 - count_over_time({moments})")
    test = {
        "interval": f"{scrape:.0f}s",
        "input_series": series,
        "promql_expr_test": [{"expr": f"{WORST} ({one})", "eval_time": f"{whole:.0f}s"} for one in expressions],
        "alert_rule_test": list(texts),
    }
    file = folder / "test.yml"
    root = {"rule_files": [str(DATA.parent.parent / "alerts.yml")], "evaluation_interval": f"{step:.0f}s"}
    file.write_text(json.dumps({**root, "group_eval_order": ORDER, "tests": [test]}))
    done = subprocess.run(
        [binary("promtool", "prometheus"), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    return _read(done.stdout + done.stderr)


def _read(said):
    """What promtool got: values of expressions, then alerts with their texts."""
    values = {
        expression: {_key(found[1]): float(found[2]) for found in re.finditer(r"\{([^}]*)\} ([-+.eE\d]+)", got)}
        for expression, got in re.findall(
            r'expr: "(.*?)", time.*?got:(.*?)(?=\n\s*(?:expr|alertname):|\Z)', said, re.DOTALL
        )
    }
    began, end, last, gaps = (
        next((got for expression, got in values.items() if expression.startswith(f"{WORST} ({head}")), {})
        for head in ("min_over_time", "max_over_time", "ALERTS", "(max_over_time")
    )
    texts = {
        _key(labels): dict(LABEL.findall(texts))["description"]
        for labels, texts in re.findall(r"Labels:\{(.*?)\}\n\s+Annotations:\{(.*)\}", said)
    }
    return Judged(began, end, set(last), gaps, texts)


def _key(labels):
    named = dict(LABEL.findall(labels))
    return named["target"], f"{named['alertname']}/{named['severity']}"
