"""What `kubectl kustomize` makes of deploy/kubernetes, as objects."""

import json
import shutil
import subprocess

import yaml

from support.paths import ROOT
from support.realservers import binary

FOLDER = ROOT / "deploy/kubernetes"
KEY = "a-made-up-key-of-at-least-thirty-two-bytes"
OURS = ("exporter.yml", "staging-jwt-key")
"""What a developer may have put into the example; here it is made up."""
OLD_WORDS = {
    "resources:\n  - ../base\n": "bases:\n  - ../base\n",
    "  # Or ../sharded.\n  - ../base\n": "bases:\n  - ../base\n",
    "patches:": "patchesJson6902:",
    "    options:\n      allowKindChange: true\n": "",
}
"""Debian 12 ships a kubectl of 2021, whose kustomize (2.0) knows the same by other words, which newer ones warn of."""


def built(name, scratch):
    """The text of `kubectl kustomize NAME`, in a copy where the two files of the example are in place."""
    if not scratch.exists():
        shutil.copytree(FOLDER, scratch, ignore=lambda folder, _: OURS if folder.endswith("/example") else ())
        shutil.copy(FOLDER / "base/exporter.yml", scratch / "example")
        (scratch / "example/staging-jwt-key").write_text(KEY)
        for file in scratch.glob("*/kustomization.yaml") if _is_old() else ():
            file.write_text(_in_old_words(file.read_text()))
    done = _kubectl("kustomize", str(scratch / name))
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(text):
    """The objects of a built text by kind; each kind is there once."""
    found = list(yaml.safe_load_all(text))
    by_kind = {one["kind"]: one for one in found}
    assert len(by_kind) == len(found)
    return by_kind


def _kubectl(*arguments):
    program = binary("kubectl", "kubernetes-client")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def _is_old():
    """Newer ones tell the version of their kustomize."""
    return "kustomizeVersion" not in json.loads(_kubectl("version", "--client", "--output=json").stdout)


def _in_old_words(text):
    for new, old in OLD_WORDS.items():
        text = text.replace(new, old)
    return text
