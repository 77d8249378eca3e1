"""The image and the compose stack: linted, valid, closed, with what is shipped mounted and health that is real."""

import asyncio
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from support.paths import ROOT
from support.realservers import alertmanager, binary, prometheus

from exporter import __version__
from exporter.arguments import DEFAULT_LISTEN_ADDRESS, parser

BIN = Path(sys.executable).parent
CONTAINERFILE = ROOT / "deploy/Containerfile"
COMPOSE = ROOT / "deploy/compose/compose.yaml"
PROJECT = "ws-factory-exporter"
STACK = yaml.safe_load(COMPOSE.read_text())
EXPORTER = STACK["services"]["exporter"]
MOUNTS = {
    name: dict(volume.split(":")[:2][::-1] for volume in service["volumes"])
    for name, service in STACK["services"].items()
}
"""Of each service: path inside → path or volume outside."""


def run(*words):
    done = subprocess.run([*words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def instructions():
    """(name, argument) of the Containerfile, lines joined."""
    text = re.sub(r"\\\n", " ", CONTAINERFILE.read_text())
    return [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]


def last(name):
    return [argument for instruction, argument in instructions() if instruction == name][-1]


# --- The image


def test_the_containerfile_is_linted():
    """Hadolint finds nothing, and no rule is switched off."""
    assert run(BIN / "hadolint", "--no-color", "--disable-ignore-pragma", CONTAINERFILE) == (0, "")


def test_the_image_runs_as_a_number_and_without_a_shell():
    """A numeric user that is not root; entry point, command and health check in exec form, in words of ours."""
    assert re.fullmatch(r"[1-9]\d{4,}:[1-9]\d{4,}", last("USER"))
    entry, command = json.loads(last("ENTRYPOINT")), json.loads(last("CMD"))
    health = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    assert entry == [health[0]] == [PROJECT]
    options = parser().parse_args(command)
    assert (options.command, parser().parse_args(health[1:]).command) == ("run", "healthcheck")
    assert last("EXPOSE") == DEFAULT_LISTEN_ADDRESS.removeprefix(":")
    assert f"--chown={last('USER')} /state {Path(options.state_file).parent}" in last("COPY")


def test_the_image_tells_its_version():
    """The label's default is the version of this tree."""
    assert f"VERSION={__version__}" in [argument for name, argument in instructions() if name == "ARG"]
    assert f"{PROJECT}:{__version__}" == EXPORTER["image"]


def test_all_that_is_installed_has_its_hash():
    """Every install is of a lock with hashes, or of the wheel that was just built; nothing else is fetched."""
    steps = [step for name, argument in instructions() if name == "RUN" for step in argument.split("&&")]
    installs = [step for step in steps if "install" in step.split() and "pip" in step.split()]
    assert len(installs) == 3
    for step in installs:
        assert re.search(r"--require-hashes .*-r requirements-\w+\.lock|--no-deps /wheels/", step), step
    assert not [step for step in steps if re.search(r"curl|wget|apt|git |https?:", step)]
    assert "ADD" not in {name for name, _ in instructions()}


def test_what_is_copied_is_there_and_is_sent_to_the_build():
    """Each source of COPY exists and is let through by .dockerignore, which lets nothing through that is not copied."""
    sources = {
        source
        for name, argument in instructions()
        if name == "COPY" and "--from" not in argument
        for source in argument.split()[:-1]
    }
    everything, *rules = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert everything == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == sources
    assert [source for source in sources if not list(ROOT.glob(source))] == []


# --- The locks


def pins(name):
    """Requirement → version, and all hashes of each."""
    text = (ROOT / name).read_text()
    blocks = re.findall(r"^([\w.-]+)==(\S+) \\\n((?:    --hash=\S+(?: \\)?\n)+)", text, re.MULTILINE)
    return {found: (version, frozenset(re.findall(r"sha256:\w{64}", hashes))) for found, version, hashes in blocks}


def needed(requirements, seen=None, extra=""):
    """Names of all that the requirements need on this machine, by the metadata of what is installed."""
    seen = set() if seen is None else seen
    for text in requirements:
        requirement = Requirement(text)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name not in seen and (requirement.marker is None or requirement.marker.evaluate({"extra": extra})):
            seen.add(name)
            needed(metadata.requires(name) or (), seen)
    return seen


def test_the_run_lock_is_what_runs_and_of_the_tested_versions():
    """Exactly what our dependencies and the extra otlp need, at versions and hashes of the lock that tests run with."""
    tested, ours = pins("requirements.lock"), pins("requirements-run.lock")
    assert ours.items() <= tested.items()
    assert ours.keys() == needed(metadata.requires(PROJECT), extra="otlp")


def test_the_build_lock_is_what_builds_the_wheel():
    """Hatchling with what it needs for wheels and for `make demo`, as tested; the image that runs has none of it."""
    tested, ours = pins("requirements.lock"), pins("requirements-build.lock")
    assert ours.items() <= tested.items()
    assert ours.keys() == needed(["hatchling", "editables"])
    assert not ours.keys() & pins("requirements-run.lock").keys()


# --- The stack


def test_the_stack_is_valid():
    """check-jsonschema, by the schema of the compose specification."""
    code, told = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)
    assert code == 0, told


def test_every_service_is_closed_and_watched():
    """Read-only, no capability, no new privilege, a pinned image, bounded memory, a health check without a shell."""
    for name, service in STACK["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert "mem_limit" in service, name
        assert not {"cpus", "privileged", "network_mode"} & service.keys(), name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name


def test_secrets_are_files_that_git_does_not_know():
    """Each secret that a service has is a file of the ignored folder, and none stands in an environment."""
    used = {secret for service in STACK["services"].values() for secret in service.get("secrets", ())}
    assert used == STACK["secrets"].keys()
    assert {Path(secret["file"]).parent.as_posix() for secret in STACK["secrets"].values()} == {"secrets"}
    assert (COMPOSE.parent / "secrets/.gitignore").read_text() == "*\n!.gitignore\n"
    for service in STACK["services"].values():
        for key, value in service.get("environment", {}).items():
            assert "PASSWORD" not in key or key.endswith("__FILE"), (key, value)


def test_what_is_shipped_is_mounted_and_not_copied():
    """Rules, Alertmanager's config and the dashboards are those of the repository, where each program looks."""
    outside = {
        inside: (COMPOSE.parent / path).resolve().relative_to(ROOT).as_posix()
        for mounts in MOUNTS.values()
        for inside, path in mounts.items()
        if path.startswith(".")
    }
    assert outside == {
        "/etc/ws-factory-exporter": "deploy/compose/exporter",
        "/etc/prometheus/prometheus.yml": "deploy/compose/prometheus.yml",
        "/etc/prometheus/alerts.yml": "alerts.yml",
        "/etc/alertmanager/alertmanager.yml": "deploy/alertmanager.yml",
        "/etc/grafana/provisioning": "deploy/grafana/provisioning",
        "/etc/grafana/dashboards": "deploy/grafana/dashboards",
    }
    assert all(
        volume.endswith(":ro")
        for service in STACK["services"].values()
        for volume in service["volumes"]
        if volume[0] == "."
    )
    for provider in (ROOT / "deploy/grafana/provisioning/dashboards").glob("*.yml"):
        for one in yaml.safe_load(provider.read_text())["providers"]:
            assert one["options"]["path"] in MOUNTS["grafana"]
    for source in (ROOT / "deploy/grafana/provisioning/datasources").glob("*.yml"):
        for one in yaml.safe_load(source.read_text())["datasources"]:
            assert one["url"] == "http://prometheus:9090"


def test_what_is_kept_is_in_a_volume():
    """Ledger, samples, silences and Grafana's database outlive their containers."""
    kept = {inside for mounts in MOUNTS.values() for inside, path in mounts.items() if path in STACK["volumes"]}
    state = Path(parser().parse_args(json.loads(last("CMD"))).state_file).parent
    assert kept == {str(state), "/prometheus", "/alertmanager", "/var/lib/grafana"}
    assert {path for mounts in MOUNTS.values() for path in mounts.values() if path[0] != "."} == STACK["volumes"].keys()


def test_prometheus_scrapes_the_services_of_the_stack(tmp_path):
    """Promtool accepts its config beside the shipped rules; jobs, ports and Alertmanager are those of the stack."""
    config = tmp_path / "prometheus.yml"
    config.write_text((COMPOSE.parent / "prometheus.yml").read_text())
    (tmp_path / "alerts.yml").write_text((ROOT / "alerts.yml").read_text())
    code, told = run(binary("promtool", "prometheus"), "check", "config", config)
    rules = sum(len(group["rules"]) for group in yaml.safe_load((ROOT / "alerts.yml").read_text())["groups"])
    assert (code, re.findall(r"(\d+) rules found", told)) == (0, [str(rules)]), told
    read = yaml.safe_load(config.read_text())
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in read["scrape_configs"]}
    assert jobs["ws-factory-exporter"] == [f"exporter{DEFAULT_LISTEN_ADDRESS}"]
    assert read["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] == ["alertmanager:9093"]
    assert read["rule_files"] == ["alerts.yml"]


def healthy(service, old, url):
    """The exit code of a service's own health check, sent elsewhere."""
    words = [word.replace(old, url) for word in STACK["services"][service]["healthcheck"]["test"][1:]]
    assert url in " ".join(words)
    return run(binary(words[0], f"prometheus-{service}"), *words[1:])[0]


async def test_the_health_checks_of_prometheus_and_alertmanager_tell_the_truth(tmp_path):
    """The real programs answer 0 where their servers run, and something else where nothing does."""
    nobody = "http://127.0.0.1:1"
    async with (
        prometheus("{}", tmp_path) as one,
        alertmanager((ROOT / "deploy/alertmanager.yml").read_text(), tmp_path) as two,
    ):
        asked = [
            ("prometheus", "http://127.0.0.1:9090", one.url, nobody),
            ("alertmanager", "http://127.0.0.1:9093", two, nobody),
        ]
        for service, old, up, down in asked:
            assert await asyncio.to_thread(healthy, service, old, up) == 0
            assert await asyncio.to_thread(healthy, service, old, down) != 0
    assert parser().parse_args(EXPORTER["healthcheck"]["test"][2:]).command == "healthcheck"


def test_time_to_stop_is_longer_than_we_take():
    """5 s for sessions and 1 s for requests, by the design; the engine kills later."""
    assert int(EXPORTER["stop_grace_period"].removesuffix("s")) > 6
