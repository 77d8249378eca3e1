"""The Kubernetes files: built by kubectl, valid by the schemas, restricted, and equal to what they are made of."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support import kustomized
from support.paths import ROOT
from support.realservers import binary

from exporter.__main__ import main
from exporter.arguments import DEFAULT_LISTEN_ADDRESS, parser

FOLDER = ROOT / "deploy/kubernetes"
VARIANTS = ("base", "sharded", "example")
NEEDS = {"base": "1.25", "sharded": "1.28", "example": "1.25"}
NEWEST = "1.37"
OPERATOR = "monitoring.coreos.com/v1"
NAMES = {"app.kubernetes.io/name": "ws-factory-exporter", "app.kubernetes.io/component": "exporter"}
RULE_FIELDS = {"record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"}
"""Of a rule in prometheus-operator's API reference, monitoring.coreos.com/v1; a field it does not know is refused."""


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("kustomize") / "kubernetes"
    return {name: kustomized.built(name, scratch) for name in VARIANTS}


@pytest.fixture(scope="module")
def variants(texts):
    return {name: kustomized.objects(text) for name, text in texts.items()}


def workload(variant):
    return variant.get("Deployment") or variant["StatefulSet"]


def pod(variant):
    return workload(variant)["spec"]["template"]["spec"]


each_variant = pytest.mark.parametrize("name", VARIANTS)


@each_variant
def test_what_is_built_is_valid(texts, name, tmp_path):
    """kubernetes-validate --strict, for the oldest Kubernetes it is for and the newest there is a schema of."""
    file = tmp_path / "built.yaml"
    file.write_text(texts[name])
    for version in (NEEDS[name], NEWEST):
        checked = subprocess.run(
            [Path(sys.executable).parent / "kubernetes-validate", "--strict", "-k", version, file],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        told = checked.stdout + checked.stderr
        assert checked.returncode == 0, told
        unknown = re.findall(r"schema for kind (\w+) with api version (\S+)", told)
        assert unknown == [("PrometheusRule", OPERATOR), ("ServiceMonitor", OPERATOR)]


@each_variant
def test_the_pod_keeps_the_restricted_profile(variants, name):
    """Pod security standard "restricted", and beyond it: a read-only root, no token, a numeric user."""
    spec = pod(variants[name])
    (container,) = spec["containers"]
    assert (
        spec["automountServiceAccountToken"]
        is variants[name]["ServiceAccount"]["automountServiceAccountToken"]
        is False
    )
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] >= 10_000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {next(iter(set(volume) - {"name"})) for volume in spec["volumes"]} == {"configMap", "secret", "emptyDir"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()


@each_variant
def test_memory_is_limited_and_cpu_is_not(variants, name):
    """A throttled exporter measures wrong latencies; one that leaks must be ended."""
    resources = pod(variants[name])["containers"][0]["resources"]
    assert resources["limits"].keys() == {"memory"}
    assert resources["requests"].keys() == {"cpu", "memory"}


@each_variant
def test_no_two_pods_probe_the_same_target(variants, name):
    """One replica that ends before the next begins, or a StatefulSet whose shards are as many as its replicas."""
    spec = workload(variants[name])["spec"]
    if name != "sharded":
        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
        return
    (container,) = pod(variants[name])["containers"]
    environment = {one["name"]: one for one in container["env"]}
    assert container["args"][-1] == "--shard=$(POD_INDEX)/$(SHARDS)"
    assert environment["SHARDS"]["value"] == str(spec["replicas"])
    index = environment["POD_INDEX"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert index == "metadata.labels['apps.kubernetes.io/pod-index']"
    assert spec["serviceName"] == variants[name]["Service"]["metadata"]["name"]
    assert "strategy" not in spec


@each_variant
def test_every_selector_finds_its_pods(variants, name):
    """Workload, Service, NetworkPolicy and ServiceMonitor select by labels that are there, and all in one namespace."""
    kinds = variants[name]
    labels = workload(kinds)["spec"]["template"]["metadata"]["labels"]
    assert workload(kinds)["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert kinds["Service"]["spec"]["selector"].items() <= labels.items()
    assert kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    monitor = kinds["ServiceMonitor"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= kinds["Service"]["metadata"]["labels"].items()
    assert NAMES.items() <= labels.items()
    assert len({one["metadata"].get("namespace") for kind, one in kinds.items() if kind != "Namespace"}) == 1


@each_variant
def test_the_port_has_one_name_everywhere(variants, name):
    """The port we listen on is `http` to the probes, the Service, the policy and the monitor."""
    kinds = variants[name]
    (container,) = pod(kinds)["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": int(DEFAULT_LISTEN_ADDRESS.removeprefix(":"))}]
    probes = {kind: container[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in probes.values()} == {"http"}
    assert [probe["path"] for probe in probes.values()] == ["/-/ready", "/-/healthy", "/-/ready"]
    (port,) = kinds["Service"]["spec"]["ports"]
    assert (port["name"], port["targetPort"]) == ("http", "http")
    (rule,) = kinds["NetworkPolicy"]["spec"]["ingress"]
    assert [one["port"] for one in rule["ports"]] == ["http"]
    assert [one["port"] for one in kinds["ServiceMonitor"]["spec"]["endpoints"]] == ["http"]


@each_variant
def test_the_scraped_job_is_the_one_of_the_rules(variants, name):
    """`jobLabel` names a label of the Service, and its value is the job that alerts.yml looks for."""
    kinds = variants[name]
    label = kinds["ServiceMonitor"]["spec"]["jobLabel"]
    job = kinds["Service"]["metadata"]["labels"][label]
    (scraped,) = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["scrape_configs"]
    assert job == scraped["job_name"]
    assert kinds["ServiceMonitor"]["spec"]["sampleLimit"] == scraped["sample_limit"]
    assert kinds["ServiceMonitor"]["spec"]["selector"].keys() == {"matchLabels"}


@each_variant
def test_the_rules_are_those_of_alerts_yml(variants, name, tmp_path):
    """Equal, group by group; in fields that the operator knows; and promtool finds nothing in what it would write."""
    groups = variants[name]["PrometheusRule"]["spec"]["groups"]
    assert groups == yaml.safe_load((ROOT / "alerts.yml").read_text())["groups"]
    assert all(group.keys() <= {"name", "interval", "rules"} for group in groups)
    assert all(rule.keys() <= RULE_FIELDS for group in groups for rule in group["rules"])
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": groups}))
    checked = subprocess.run(
        [binary("promtool", "prometheus"), "check", "rules", "--lint=all", "--lint-fatal", file],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_rules_are_made_by_the_command_that_says_so():
    """`make prometheusrule` makes the committed file, byte for byte."""
    recipe = re.search(r"^prometheusrule:\n\t(.*) > (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = subprocess.run(["sh", "-c", recipe[1]], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert made == (ROOT / recipe[2]).read_text(), "alerts.yml has changed: make prometheusrule"


@each_variant
def test_keys_are_files_that_the_group_alone_may_read(variants, name):
    """Mode 0400, which the kubelet makes 0440 for fsGroup; where the config looks; and no secret in the environment."""
    spec = pod(variants[name])
    (container,) = spec["containers"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    secret = next(volume["secret"] for volume in spec["volumes"] if volume["name"] == "keys")
    config = yaml.safe_load(variants[name]["ConfigMap"]["data"]["exporter.yml"])
    assert secret["defaultMode"] == 0o400
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]
    for target in config["targets"]:
        assert Path(target["auth"]["jwt"]["key_file"]).parent == Path(mounts["keys"]["mountPath"])
    assert not any("secretKeyRef" in str(one) for one in container.get("env", ()))
    if name == "example":
        assert secret["secretName"] == variants[name]["Secret"]["metadata"]["name"]
    else:
        assert "Secret" not in variants[name]


@each_variant
def test_the_mounted_config_is_what_the_command_reads(variants, name, tmp_path, capsys):
    """The arguments are ours, and the config of the ConfigMap passes `run --config.check` with a made-up key."""
    spec = pod(variants[name])
    (container,) = spec["containers"]
    words = [word.replace("$(POD_INDEX)", "0").replace("$(SHARDS)", "3") for word in container["args"]]
    options = parser().parse_args(words)
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert options.config_file == f"{mounts['config']}/exporter.yml"
    assert str(Path(options.state_file).parent) == mounts["state"]
    key = tmp_path / "staging-jwt-key"
    key.write_text(kustomized.KEY)
    key.chmod(0o400)
    file = tmp_path / "exporter.yml"
    file.write_text(variants[name]["ConfigMap"]["data"]["exporter.yml"].replace(mounts["keys"], str(tmp_path)))
    shard = [f"--shard={options.shard}"] if options.shard else []
    code = main(["run", f"--config.file={file}", "--config.check", *shard])
    told = capsys.readouterr()
    share = "" if not options.shard else "warning: no target of the config falls to shard 0/3: nothing is probed here\n"
    assert (code, told.err) in {(0, ""), (0, share)}, "a pod's share of an example may be nothing"


@each_variant
def test_the_exporter_reaches_names_and_backends_and_is_reached_by_prometheus_alone(variants, name):
    """The policy covers both ways, opens DNS and wss, and keeps the cluster's own networks out of reach."""
    policy = variants[name]["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (incoming,) = policy["ingress"]
    (peer,) = incoming["from"]
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}
    dns, backends = policy["egress"]
    assert {(port["port"], port["protocol"]) for port in dns["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert [port["port"] for port in backends["ports"]] == [443]
    blocks = {one["ipBlock"]["cidr"]: one["ipBlock"]["except"] for one in backends["to"]}
    assert blocks.keys() == {"0.0.0.0/0", "::/0"}
    assert {"169.254.0.0/16", "10.0.0.0/8"} <= set(blocks["0.0.0.0/0"])


def test_time_to_stop_is_longer_than_we_take(variants):
    """5 s for sessions and 1 s for requests, by the design; the kubelet kills later."""
    assert {pod(kinds)["terminationGracePeriodSeconds"] > 6 for kinds in variants.values()} == {True}


def test_the_example_is_labelled_for_an_operator_and_its_namespace_is_restricted(variants):
    """What selects by `release` finds monitor and rules; the namespace refuses pods that are not restricted."""
    kinds = variants["example"]
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert kinds[kind]["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    assert kinds["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert kinds["Deployment"]["metadata"]["namespace"] == kinds["Namespace"]["metadata"]["name"]
    assert "release" not in kinds["Deployment"]["spec"]["selector"]["matchLabels"]


def test_the_origin_of_the_example_is_one_more_argument(variants):
    """The patch that kustomization.yaml names in a comment fits one pod and shards, and `run` takes what it adds."""
    (operation,) = yaml.safe_load((FOLDER / "example/origin.yaml").read_text())
    assert (operation["op"], operation["path"]) == ("add", "/spec/template/spec/containers/0/args/-")
    assert "path: origin.yaml" in (FOLDER / "example/kustomization.yaml").read_text()
    for kinds in variants.values():
        assert pod(kinds)["containers"][0]["args"][0] == "run"
    assert parser().parse_args(["run", operation["value"]]).origin == "cluster-a"


def test_the_example_holds_no_key():
    """What its generators read is the user's: git ignores it, and knows no file of the name."""
    ignored = (FOLDER / "example/.gitignore").read_text().split()
    wanted = yaml.safe_load((FOLDER / "example/kustomization.yaml").read_text())
    files = [
        file for kind in ("configMapGenerator", "secretGenerator") for one in wanted[kind] for file in one["files"]
    ]
    assert sorted(ignored) == sorted(files)
    known = subprocess.run(["git", "ls-files", "."], cwd=FOLDER / "example", capture_output=True, text=True, check=True)
    assert not set(known.stdout.split()) & set(files)


def test_the_probe_asks_for_targets_of_the_config_at_the_service(variants):
    """By name, at the port of the Service, not as the job of the rules, and with time for a session."""
    probe = yaml.safe_load((FOLDER / "example/probe.yaml").read_text())
    kinds = variants["example"]
    service, spec = kinds["Service"], probe["spec"]
    config = yaml.safe_load(kinds["ConfigMap"]["data"]["exporter.yml"])
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    assert (probe["apiVersion"], probe["kind"]) == (OPERATOR, "Probe")
    assert spec["prober"] == {"url": f"{name}.{namespace}.svc:{service['spec']['ports'][0]['port']}", "path": "/probe"}
    assert set(spec["targets"]["staticConfig"]["static"]) <= {target["name"] for target in config["targets"]}
    assert spec["jobName"] != NAMES["app.kubernetes.io/name"]
    slowest = max(int(target["timeout"].removesuffix("s")) for target in config["targets"])
    assert int(spec["scrapeTimeout"].removesuffix("s")) > slowest + 2
