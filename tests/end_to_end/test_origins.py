"""Two real exporters of different origins, one real Prometheus: a page where they agree, a ticket where one differs."""

from support import harness, live_exporter
from support.paths import ROOT
from support.realservers import nginx, prometheus

from exporter.standin import StandIn, Timings

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [origins.yml]
scrape_configs:
  - job_name: ws-factory-exporter
    static_configs: [{{targets: {addresses}}}]
"""

WAY = """
  proxy_http_version 1.1;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection $http_connection;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{backend}; }} }}
"""
"""The way of the second origin to the backend."""

PATIENCE = 120.0
OUTAGE = 'origin_target:ws_probe_outage:max{{origin="{origin}",target="staging"}} == {value}'
FIRING = 'ALERTS{{alertname="{alert}",alertstate="firing",target="staging"}}'
PAGE = FIRING.format(alert="WebSocketFailingAtEveryOrigin")
TICKET = FIRING.format(alert="WebSocketFailingAtOneOrigin")


def quick_rules(folder):
    """The shipped rules, evaluated once a second, with a ticket after two."""
    text = (ROOT / "deploy/sites/origins.yml").read_text()
    (folder / "origins.yml").write_text(text.replace("interval: 15s", "interval: 1s").replace("for: 5m", "for: 2s"))


def target(standin, url, user):
    """The same target by either way, as a user of its own."""
    changes = {"interval": "2s", "timeout": "1500ms", "confirm": {"runs": 0}, "limits": {"slots_per_identity": 0}}
    return harness.target(standin, url=url, identities={user: f"staging-e2e-{user}"}, **changes)


def scraping(*exporters):
    """The config of a Prometheus that scrapes them as one job."""
    return CONFIG.format(addresses=[each.url.removeprefix("http://").rstrip("/") for each in exporters])


async def test_a_way_that_is_cut_is_a_ticket_and_a_backend_that_fails_is_a_page(tmp_path):
    """First both pass; then the proxy on the way of site-b stops: a ticket names site-b, and there is no page.

    Then the backend refuses site-a as well: the page names both, and the ticket ends.
    """
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    quick_rules(tmp_path)
    async with StandIn.start(timings=Timings.quick(), tls_port=None) as standin:
        backend = standin.url().removeprefix("ws://").removesuffix("/ws")
        async with nginx(lambda port: WAY.format(port=port, backend=backend), tmp_path) as way:
            urls = standin.url(), f"ws://127.0.0.1:{way.ports[0]}/ws"
            targets = [target(standin, url, user) for url, user in zip(urls, ("user-001", "user-002"), strict=True)]
            async with (
                live_exporter.exporter(folders[0], targets[0], flags=("--origin=site-a",)) as a,
                live_exporter.exporter(folders[1], targets[1], WS_FACTORY_EXPORTER_ORIGIN="site-b") as b,
                prometheus(scraping(a, b), tmp_path) as real,
            ):
                for origin in ("site-a", "site-b"):
                    assert await real.until(OUTAGE.format(origin=origin, value=0), PATIENCE), origin
                    assert any(f"origin={origin}" in line for one in (a, b) for line in one.running.err)
                await way.stop()
                ((labels, _),) = await real.until(TICKET, PATIENCE)
                assert labels["origin"] == "site-b"
                assert await real.query(OUTAGE.format(origin="site-a", value=0))
                assert not await real.query(PAGE)
                standin.set_fault("*", "refuse")
                assert await real.until(PAGE, PATIENCE)
                assert await real.until(f"absent({TICKET})")
