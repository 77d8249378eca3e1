"""blackbox_exporter beside us on the same backends, with the rule that most sites have: probe_success == 0 for 1m.

Its websocket prober (on its main branch) does what a session of ours does: token, welcome, a message, its reply. `up`
is in the rule because a backend that opens and says nothing stops the probe, and with it the scrape. Its pages pass
the shipped Alertmanager, as ours do.
"""

import time
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from drill.stack import alertmanager_text
from drill.webhook import webhook
from engines.engines import INSTALLED
from incidents.peers import blackbox_config
from support.realservers import alertmanager, prometheus, started, stop
from support.standin_clients import token

RULES = """
groups:
  - name: blackbox
    rules:
      - alert: ProbeFailing
        expr: probe_success == 0 or up{job="blackbox"} == 0
        for: 1m
        labels: {severity: critical}
        annotations: {summary: The probe fails., description: The probe fails.}
"""
TOKEN_SECONDS = 7200.0


def module(backend, user, folder):
    """Its module for a backend, as a user of its own."""
    file = folder / f"{backend.name}.token"
    file.write_text(token(Path(backend.key_file).read_bytes(), time.time(), user, lifetime=TOKEN_SECONDS))
    made = blackbox_config(user, file)
    if backend.ca_file:
        made["websocket"]["http_config"]["tls_config"] = {"ca_file": backend.ca_file}
    return made


def config(urls, blackbox, pager, rules):
    """Prometheus', as blackbox_exporter's README has it. `urls`: name → URL of the backend."""
    labelled = [{"targets": [url], "labels": {"target": name, "__param_module": name}} for name, url in urls.items()]
    return yaml.safe_dump(
        {
            "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
            "rule_files": [str(rules)],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [urlsplit(pager).netloc]}]}]},
            "scrape_configs": [
                {
                    "job_name": "blackbox",
                    "metrics_path": "/probe",
                    "static_configs": labelled,
                    "relabel_configs": [
                        {"source_labels": ["__address__"], "target_label": "__param_target"},
                        {"source_labels": ["__param_target"], "target_label": "instance"},
                        {"target_label": "__address__", "replacement": urlsplit(blackbox).netloc},
                    ],
                }
            ],
        }
    )


@asynccontextmanager
async def peer(program, users, folder, pace):
    """Its notifications, growing, and its Prometheus. `users`: backends, each with a user of its own."""
    folder.mkdir()
    modules = folder / "blackbox.yml"
    modules.write_text(yaml.safe_dump({"modules": {one.name: module(one, user, folder) for one, user in users}}))
    rules = folder / "rules.yml"
    rules.write_text(RULES)
    process, url = await started(
        lambda port: [program, f"--config.file={modules}", f"--web.listen-address=127.0.0.1:{port}"],
        "/-/healthy",
        folder / "blackbox.log",
    )
    try:
        async with webhook() as (hook, heard):
            routes = alertmanager_text(hook, Fraction(1), pace)
            async with alertmanager(routes, folder, INSTALLED.program("prometheus-alertmanager")) as pager:
                text = config({one.name: one.url for one, _ in users}, url, pager, rules)
                async with prometheus(text, folder) as server:
                    yield heard, server
    finally:
        await stop(process)


async def all_up(server, count, patience):
    """Wait until it finds so many backends up: what it cannot probe when all is well says nothing of an outage."""
    await server.until(f"count(probe_success == 1) == {count}", patience)
