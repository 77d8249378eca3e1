"""What a release is made of: the wheel, installed outside of any checkout and tried; and when a tag is made."""

import email
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from support.paths import ROOT

from exporter import __version__

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def run(*words, cwd, **environment):
    return subprocess.run(
        [*map(str, words)], cwd=cwd, env={**CLEAN, **environment}, capture_output=True, text=True, check=False
    )


def done(*words, cwd, **environment):
    finished = run(*words, cwd=cwd, **environment)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout + finished.stderr


def build(source, folder, *kinds):
    """The files that hatchling makes of a source tree."""
    done(sys.executable, "-m", "hatchling", "build", *kinds, "-d", folder, cwd=source)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A clone of this repository, with what is not committed yet."""
    folder = tmp_path_factory.mktemp("clone") / "repository"
    done("git", "clone", "--quiet", "--no-hardlinks", ROOT, folder, cwd=ROOT)
    changed = run("git", "diff", "--binary", "HEAD", cwd=ROOT).stdout
    if changed:
        subprocess.run(["git", "apply"], input=changed, text=True, cwd=folder, check=True)
    for name in run("git", "ls-files", "--others", "--exclude-standard", cwd=ROOT).stdout.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
        (folder / name).chmod((ROOT / name).stat().st_mode)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "what is tested")
    return folder


def git(folder, *words):
    return done("git", "-c", "user.name=test", "-c", "user.email=test@example.com", *words, cwd=folder)


@pytest.fixture(scope="module")
def distributions(checkout, tmp_path_factory):
    """The wheel and the sdist."""
    wheel, sdist = build(checkout, tmp_path_factory.mktemp("dist"))
    return wheel, sdist


def entries(wheel):
    """Name and checksum of each file of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {each.filename: each.CRC for each in archive.infolist()}


@pytest.mark.early
def test_the_wheel_works_outside_of_any_checkout(distributions, tmp_path):
    """`assets`, `runbook`, `demo`, `check` and `run` of the installed wheel; each path that they print is there."""
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    site = environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    # The packages that it depends on: installing them takes a minute. Python reads no .pth file in there, so the
    # checkout that is installed beside them is not found.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    python = environment / "bin/python"
    pip = (
        "-m",
        "pip",
        "--python",
        python,
        "--disable-pip-version-check",
        "install",
        "--no-index",
        "--no-deps",
        "--quiet",
    )
    done(sys.executable, *pip, distributions[0], cwd=tmp_path)
    place = done(python, "-c", "import exporter; print(exporter.__file__)", cwd=tmp_path)

    said = done(sys.executable, ROOT / ".ci/try_installation.py", environment / "bin/ws-factory-exporter", cwd=tmp_path)

    assert Path(place.strip()).is_relative_to(site)
    assert f"ws-factory-exporter {__version__}\n" in said
    assert said.endswith("all of it holds\n")


def test_the_sdist_makes_the_same_wheel(distributions, tmp_path):
    """File by file: what is a link in the repository is whole in both."""
    wheel, sdist = distributions
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")

    (again,) = build(next(tmp_path.iterdir()), tmp_path / "dist", "-t", "wheel")

    assert entries(again) == entries(wheel)
    assert "exporter/py.typed" in entries(wheel)
    assert [name for name in entries(wheel) if not name.startswith(("exporter/", "ws_factory_exporter-"))] == []


def test_the_wheel_says_what_it_is(distributions):
    """Version, licence, authors, links and classifiers; it names no person."""
    with zipfile.ZipFile(distributions[0]) as archive:
        metadata = email.message_from_bytes(archive.read(f"ws_factory_exporter-{__version__}.dist-info/METADATA"))

    assert (metadata["Version"], metadata["License-Expression"]) == (__version__, "Apache-2.0")
    assert metadata["Author"] == metadata["Maintainer"] == "ws-factory-exporter maintainers"
    assert {url.partition(",")[0] for url in metadata.get_all("Project-URL")} >= {"Source", "Issues", "Changelog"}
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    assert "@" not in str(metadata.items())


def released(checkout, tmp_path, *words, tries="exit 0"):
    """`.ci/release`, where trying a file is to write down its name."""
    trial = tmp_path / "trial"
    trial.write_text(f'#!/bin/sh\necho "tried $1"\n{tries}\n', encoding="utf-8")
    trial.chmod(0o755)
    return run(checkout / ".ci/release", *words, cwd=tmp_path, PYTHON=sys.executable, TRY=str(trial))


TRIED = [f"tried dist/ws_factory_exporter-{__version__}{ending}" for ending in ("-py3-none-any.whl", ".tar.gz")]


def lines(output, word):
    return [line for line in output.splitlines() if line.startswith(word)]


def test_a_release_is_tagged_once_and_only_when_it_is_good(checkout, tmp_path):
    """Changes, a missing section or a trial that fails: no tag. A tag holds the section of the changelog."""
    changelog = checkout / "CHANGELOG.md"
    text = changelog.read_text("utf-8").replace("## Unreleased", "## Unreleased\n\n## 9.9.9\n\n- Old.", 1)
    changelog.write_text(text, encoding="utf-8")
    early = released(checkout, tmp_path)
    assert (early.returncode, early.stdout) == (1, "")
    assert "work tree has changes" in early.stderr
    assert f'CHANGELOG.md has no section "## {__version__}"' in early.stderr

    section = f"## {__version__} (2030-01-01)\n\n- Everything.\n\n## 9.9.9"
    changelog.write_text(text.replace("## 9.9.9", section), encoding="utf-8")
    git(checkout, "commit", "--quiet", "--all", "-m", "A release")
    broken = released(checkout, tmp_path, tries="exit 1")
    assert (broken.returncode != 0, git(checkout, "tag")) == (True, "")

    for name, value in (("user.name", "test"), ("user.email", "test@example.com")):
        git(checkout, "config", name, value)
    good = released(checkout, tmp_path)
    assert (good.returncode, lines(good.stdout, "tried")) == (0, TRIED), good.stderr
    assert git(checkout, "tag", "--list", "--format=%(contents)").strip() == "- Everything."

    again = released(checkout, tmp_path)
    assert (again.returncode, f"the tag v{__version__} is taken" in again.stderr) == (1, True)


def test_a_release_check_tries_all_and_makes_no_tag(checkout, tmp_path):
    """It names what is missing, and goes on."""
    tags = git(checkout, "tag")
    (checkout / "left-over").write_text("", encoding="utf-8")

    said = released(checkout, tmp_path, "--check")

    (checkout / "left-over").unlink()
    assert (said.returncode, lines(said.stdout, "tried")) == (0, TRIED), said.stderr
    assert ("work tree has changes" in said.stderr, git(checkout, "tag")) == (True, tags)
