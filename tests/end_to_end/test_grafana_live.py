"""Every query of the dashboard finds something: a real exporter, backends that fail in every way, a real Prometheus."""

import contextlib
import json
import math
import re
import shutil
import sys
import time
from itertools import product
from pathlib import Path
from urllib.parse import urlencode

import yaml
from support import harness, raw_server, realservers
from support.alert_rules import every_second
from support.grafana_rules import DASHBOARD, ROOT, annotations, filled, queries

from exporter.standin import StandIn, Timings

PATIENCE = 45.0
"""Seconds in which every query must have found something, on a busy machine."""

CHOSEN = {
    "$__rate_interval": "20s",
    "$__range": "60s",
    "$job": ".+",
    "$instance": ".+",
    "$target": ".+",
}
"""Grafana's variables, with everything chosen. Its rate interval is at least four scrapes."""

CHAT = {
    "auth": {"message": {"type": "login", "token": "${token}"}, "match": {"type": "let_in"}},
    "send": {"message": {"nonce": "${nonce}"}, "match": {"nonce": "${nonce}"}},
}

FAULTS = {
    "calm": ("noise",),
    "spike": ("internal_error",),
    "full": ("slot_limit:limit=5",),
    "broken": ("http:status=503",),
    "stranger": (),
    "keyless": (),
}
"""Target → what its backend does. `stranger` has a key of its own, `keyless` loses the one it has."""

LIMITS = {"slots_per_identity": 20, "slot_release": "2s"}
BRIEF = {"slots_per_identity": 2, "slot_release": "100ms"}
CANARY = {"identity": {"canary-001": "staging-canary-user-001"}, "every": "3s"}
"""A round lasts 2.8 s."""
STATS = {
    "every": "2s",
    "fields": {"users": "websocket_manager.current_state.users_with_managers"},
    "limits": {"users": 9},
}
HOLD = {
    "identity": {"hold-001": "staging-hold-user-001"},
    "max_age": "2s", "ping": "500ms", "ask": "500ms", "quiet": "1s", "reconnect": "1300ms",
}  # fmt: skip
REFUSALS = {"every": "3s", "cases": ["malformed"]}

SCRAPE = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: ws-factory-exporter
    static_configs: [{{targets: ["{address}"]}}]
"""


async def chat(peer):
    """A backend where users log in by a message."""
    await peer.upgrade()
    await peer.message()
    peer.send(raw_server.text({"type": "let_in"}))
    peer.send(raw_server.text(await peer.message()))
    await peer.to_the_end()


def own_key(folder, name, content):
    file = folder / f"{name}.key"
    if isinstance(content, Path):
        shutil.copy(content, file)
    else:
        file.write_text(content)
    return {"jwt": {"key_file": str(file), "claims": dict(harness.CLAIMS)}}


def users(name):
    """Of its own for each target: no target teaches another's ledger."""
    return {alias: f"staging-{name}-user-{number:03}" for number, alias in enumerate(harness.POOL, 1)}


@contextlib.asynccontextmanager
async def backends(folder):
    """Targets whose backends are well, broken, closed and gone, and what takes the key away."""
    async with (
        StandIn.start(timings=Timings.quick()) as standin,
        StandIn.start(host="127.0.0.2", timings=Timings.quick(), tls_port=None) as limiting,
        raw_server.serving(chat) as logging_in,
    ):
        for name, faults in FAULTS.items():
            standin.set_fault(f"/ws/{name}", *faults or ("none",))
        limiting.set_fault("/ws", "http:status=429,retry_after=600")
        more = {name: {"path": f"/ws/{name}", "limits": LIMITS} for name in FAULTS}
        more["calm"] = {"path": "/ws/calm", "limits": BRIEF, "canary": CANARY}
        more["tls"] = {"path": "/ws/tls", "tls": True, "refusals": REFUSALS, "sentinel": {"every": "1s"}, "hold": HOLD}
        more["calm"]["stats"] = {**STATS, "url": standin.url("/ws/calm/stats").replace("ws", "http", 1)}
        more["stranger"]["auth"] = own_key(folder, "stranger", "a-key-of-thirty-two-bytes-or-more-of-them")
        more["keyless"]["auth"] = own_key(folder, "keyless", standin.key_file)
        more["limited"] = {"url": limiting.url("/ws")}
        more["refused"] = {"url": f"ws://127.0.0.3:{realservers.free_port()}/ws"}
        more["chat"] = {"url": f"ws://127.0.0.1:{logging_in.port}/ws", "profile": "chat"}
        targets = [
            harness.target(standin, change.pop("path", "/ws"), tls=change.pop("tls", False), name=name,
            interval="1500ms", identities=users(name), **change) for name, change in more.items()
        ]  # fmt: skip
        yield targets, Path(more["keyless"]["auth"]["jwt"]["key_file"])


@contextlib.asynccontextmanager
async def exporter(targets, folder):
    """`ws-factory-exporter run` on these targets; its address."""
    config = folder / "exporter.yml"
    config.write_text(yaml.safe_dump({"targets": targets, "profiles": {"chat": CHAT}}))

    def arguments(port):
        listen = f"--web.listen-address=127.0.0.1:{port}"
        return [sys.executable, "-m", "exporter", "run", f"--config.file={config}", listen, "--startup.delay=100ms"]

    process, url = await realservers.started(arguments, "/-/ready", folder / "exporter.log")
    try:
        yield url.removeprefix("http://")
    finally:
        await realservers.stop(process)


def rules(folder):
    """The shipped rules, evaluated every second."""
    (folder / "alerts.yml").write_text(every_second((ROOT / "alerts.yml").read_text(encoding="utf-8")))


class Grafana:
    """Asks a Prometheus as Grafana does: tables and figures for now, the rest over the time since the start."""

    def __init__(self, real):
        self._real = real
        self._began = time.time()

    async def shown(self, asked):
        """Every figure that a query finds, but for those that are none (0 of 0)."""
        text = filled(asked.text, CHOSEN)
        if asked.source.get("instant"):
            return [value for _, value in await self._real.query(text) if not math.isnan(value)]
        wanted = {"query": text, "start": self._began, "end": time.time(), "step": "1"}
        body = await realservers.get(f"{self._real.url}/api/v1/query_range?{urlencode(wanted)}")
        series = json.loads(body)["data"]["result"] if body else []
        return [figure for one in series for _, figure in one["values"] if figure != "NaN"]

    async def empty(self, asked):
        """The queries that have found nothing when time is over; all are asked until each has found something."""
        waiting = list(asked)

        async def none_waits():
            waiting[:] = [one for one in waiting if not await self.shown(one)]
            return not waiting

        with contextlib.suppress(TimeoutError):
            await realservers.until(none_waits, PATIENCE)
        return waiting


async def test_every_query_of_the_dashboard_finds_something(tmp_path):
    """No panel and no annotation stays empty when backends fail, users are refused and our own key is gone."""
    rules(tmp_path)
    # No backend here has a request before its upgrade: that line of the phases stays empty.
    asked = [one for one in queries(DASHBOARD) if 'phase="before"' not in one.text]
    assert len(asked) > 50
    assert {one.title for one in asked} >= {one["name"] for one in annotations(DASHBOARD)}
    async with (
        backends(tmp_path) as (targets, key_file),
        exporter(targets, tmp_path) as address,
        realservers.prometheus(SCRAPE.format(address=address), tmp_path) as real,
    ):
        await real.until('ws_probe_attempts_total{target="keyless",probe="send"} > 0')
        key_file.unlink()
        assert [(one.title, one.text) for one in await Grafana(real).empty(asked)] == []
        await assert_one_target_is_shown_alone(real, asked)


async def assert_one_target_is_shown_alone(real, asked):
    """Whoever comes by an alert's link sees its target and no other; alerts of the exporter have none."""
    texts = {one.title: one.text for one in asked}
    for title, chosen in product(("Exporters", "Failures by target", "Alerts"), ("full", "(full|spike)")):
        found = await real.until(filled(texts[title], CHOSEN | {"$target": chosen}))
        assert {labels.get("target", "") for labels, _ in found} <= {*re.findall(r"\w+", chosen), ""}
