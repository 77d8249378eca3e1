"""The example web config: Debian's promtool accepts it, and a real Prometheus scrapes by it, certificates and all."""

import subprocess

import pytest
import yaml
from support import web_client
from support.certificates import Authority, authority
from support.paths import ROOT
from support.realservers import binary, prometheus
from support.web_client import ask, behind, pair, trusting, turned_away

from exporter.web import web_config_problems

EXAMPLE = ROOT / "deploy" / "web-config.yml"
USER, PASSWORD = "prometheus", "change-me"
SCRAPER = "prometheus.example.com"

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: ws-factory-exporter
    scheme: https
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
    tls_config: {{ca_file: server-ca.crt, cert_file: scraper.crt, key_file: scraper.key, server_name: localhost}}
    basic_auth: {{username: {user}, password_file: password}}
"""

REFUSED = "count_over_time((up == 0 and scrape_duration_seconds < 0.9)[1h:1s])"
"""Scrapes that have failed; one that takes its whole second shows a busy machine."""


@pytest.fixture(scope="module")
def clients_ca():
    return Authority("Clients")


@pytest.fixture
def example(tmp_path, clients_ca):
    """The example with the files that it names."""
    pair(tmp_path, name="exporter")
    (tmp_path / "clients-ca.crt").write_bytes(clients_ca.pem)
    path = tmp_path / EXAMPLE.name
    path.write_text(EXAMPLE.read_text())
    return path


def with_all_lines(text):
    """The example with what it has only as a comment, for promtool's sake."""
    return text.replace("# client_allowed_sans", "client_allowed_sans").replace("# rate_limit", "rate_limit")


def test_promtool_accepts_the_example(example):
    """Debian's `promtool check web-config` says it is good, and so do we; and so is all of it that promtool lacks."""
    command = [binary("promtool", "prometheus"), "check", "web-config", str(example)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr.strip()) == (0, f"{example} SUCCESS"), checked.stdout
    assert web_config_problems(example) == ()
    example.write_text(with_all_lines(example.read_text()))
    assert set(yaml.safe_load(example.read_text())) >= {"rate_limit", "tls_server_config"}
    assert web_config_problems(example) == ()


def test_promtool_and_we_refuse_the_same(example):
    """What promtool calls an error is one here: a CA without a policy, an unknown field, a hash that is none."""
    good = yaml.safe_load(example.read_text())
    tls = good["tls_server_config"]
    wrong = (
        good | {"tls_server_config": tls | {"client_auth_type": "NoClientCert"}},
        good | {"tls_server_config": tls | {"cert_file": "gone.crt"}},
        good | {"tls_server_config": tls | {"cipher_suites": ["RC4"]}},
        good | {"basic_auth_users": {"bob": "secret"}},
        good | {"basic_auth": {}},
        good | {"http_server_config": {"headers": {"X-Other": "a"}}},
    )
    for web in wrong:
        example.write_text(yaml.safe_dump(web))
        command = [binary("promtool", "prometheus"), "check", "web-config", str(example)]
        assert subprocess.run(command, capture_output=True, check=False).returncode != 0, web
        assert web_config_problems(example), web


async def test_a_real_prometheus_scrapes_by_certificate_and_password(example, clients_ca, tmp_path, monkeypatch):
    """It is up, and stays so while the certificate changes; without its user it is down, with it again up."""
    example.write_text(with_all_lines(example.read_text()))
    (tmp_path / "server-ca.crt").write_bytes(authority().pem)
    (tmp_path / "password").write_text(PASSWORD)
    pair(tmp_path, SCRAPER, name="scraper", ca=clients_ca)
    async with (
        behind(example, monkeypatch) as server,
        prometheus(CONFIG.format(port=server.port, user=USER), tmp_path) as real,
    ):
        assert await real.until("up == 1")
        assert await real.until('ws_probe_attempts_total{job="ws-factory-exporter"} == 0')
        scraped = await count(real, "count_over_time(up[1h])")
        pair(tmp_path, name="exporter")
        assert await real.until(f"count_over_time(up[1h]) > {scraped + 2}")
        assert await real.query(REFUSED) == []
        good = example.read_text()
        example.write_text(good.replace(f"{USER}:", "somebody:"))
        assert await real.until("up == 0")
        assert await real.until(REFUSED)
        example.write_text(good)
        assert await real.until("up == 1")


async def count(real, expr):
    ((_, value),) = await real.query(expr)
    return value


async def test_the_example_lets_in_nobody_else(example, clients_ca, tmp_path, monkeypatch):
    """No plain HTTP, no certificate, another's, another name, no password: each is turned away, from health too."""
    example.write_text(with_all_lines(example.read_text()))

    def as_client(ca, name):
        return trusting(tmp_path, client=ca.issue(name))

    async with behind(example, monkeypatch) as server:
        for tls in (
            None,
            web_client.client_context(),
            as_client(authority(), SCRAPER),
            as_client(clients_ca, "grafana"),
        ):
            assert await turned_away(server.port, path="/-/healthy", tls=tls)
        scraper = as_client(clients_ca, SCRAPER)
        assert (await ask(server.port, "/-/healthy", tls=scraper)).status == 401
        assert (await ask(server.port, "/-/healthy", tls=scraper, user=f"{USER}:wrong")).status == 401
        answer = await ask(server.port, "/-/healthy", tls=scraper, user=f"{USER}:{PASSWORD}")
        assert (answer.status, answer.headers["strict-transport-security"]) == (200, "max-age=31536000")
