"""Other engines than Debian 12's Prometheus take our files, and deploy/README.md says with which flags.

The drill on all of them is `make engines`.
"""

import subprocess
from fractions import Fraction

import pytest
import yaml
from engines import unpack
from engines.engines import ADVISED, DELAY, delayed
from support.paths import ROOT
from support.realservers import binary, newer

DEPLOY = ROOT / "deploy"
PAGE = (DEPLOY / "README.md").read_text()


def run(*command):
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def loaded(name):
    return yaml.safe_load((DEPLOY / name).read_text())


def test_the_scrapes_alone_are_those_of_prometheus():
    """Two files, one job, to the letter."""
    alone, whole = loaded("scrape.yml"), loaded("prometheus.yml")
    assert alone["scrape_configs"] == whole["scrape_configs"]
    assert alone["global"]["scrape_interval"] == whole["global"]["scrape_interval"]


def test_prometheus_takes_the_scrapes_alone():
    """Debian 12's promtool, as a config of its own."""
    code, said = run(binary("promtool", "prometheus"), "check", "config", DEPLOY / "scrape.yml")
    assert code == 0, said


@pytest.mark.parametrize(
    ("name", "taken", "words"),
    [
        ("scrape.yml", True, "all the configs are ok"),
        ("prometheus-probe.yml", True, "all the configs are ok"),
        ("prometheus.yml", False, "field rule_files not found"),
        ("prometheus-agent.yml", False, "field remote_write not found"),
    ],
)
def test_vmagent_takes_what_scrapes_and_nothing_else(name, taken, words):
    """`vmagent -dryRun`: what the page says is refused, is."""
    vmagent = newer("vmagent", "sid")
    code, said = run(vmagent, "-dryRun", "-remoteWrite.url=http://127.0.0.1:1", f"-promscrape.config={DEPLOY / name}")
    assert (code == 0) == taken, said
    assert words in said


@pytest.mark.parametrize("rules", ["alerts.yml", "deploy/sites/agreement.yml", "deploy/sites/origins.yml"])
def test_vmalert_takes_the_rules(rules):
    """`vmalert -dryRun`: expressions as MetricsQL, templates as its own."""
    code, said = run(newer("vmalert", "sid"), "-dryRun", f"-rule={ROOT / rules}")
    assert code == 0, said


def test_the_drill_sets_the_flags_that_the_page_has_a_user_set():
    """And no others that a user would not know of."""
    for program, flag in ADVISED.items():
        assert f"`{flag}={DELAY}`" in PAGE, program
        assert delayed(program, Fraction(1)) == f"{flag}={DELAY}"


def test_every_engine_is_pinned_for_both_newer_releases():
    """The same packages of trixie and sid, each with a version and a hash."""
    rows = unpack.locked()
    assert {row.suite for row in rows} == {"trixie", "sid"}
    packages = {suite: {row.name for row in rows if row.suite == suite} for suite in ("trixie", "sid")}
    assert packages["trixie"] == packages["sid"] >= {"promtool", "prometheus", "victoria-metrics"}
    assert all(len(row.sha256) == 64 and row.version for row in rows)


def test_a_package_that_is_not_pinned_is_refused_by_name():
    """Before anything is fetched."""
    with pytest.raises(unpack.UnpackError, match=r"packages\.lock has no sid/nginx"):
        unpack.main(["sid/nginx"])


def test_what_the_mirror_changed_under_a_pinned_version_is_refused(tmp_path, monkeypatch):
    """A file that has the version and not the hash of the lock is never unpacked."""
    monkeypatch.setattr(unpack.platform, "machine", lambda: unpack.PINNED_MACHINE)

    class Mirror:
        def versions(self, package):
            return [package.version]

        def fetch(self, package, version):
            file = tmp_path / f"{package.name}_{version}.deb"
            file.write_bytes(b"another")
            return file

    row = unpack.Package("sid", "promtool", "1.0-1", "0" * 64)
    with pytest.raises(
        unpack.UnpackError, match=r"sid/promtool 1\.0-1 has the SHA-256 [0-9a-f]{64}, and packages\.lock"
    ):
        unpack.unpack(Mirror(), row)
