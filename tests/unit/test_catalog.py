"""The built-in profiles by name: each file is read when it is first asked for, and is a profile without a mistake."""

import subprocess
import sys
from collections import ChainMap

import pytest

from exporter.catalog import PROFILES_FOLDER, read_profile
from exporter.config import Problem, Profile, ProfileCatalog, parse, profile_problems, unreachable_rules

FILES = sorted(path.stem for path in PROFILES_FOLDER.glob("*.yml"))
OWN = {"targets": [{"name": "a", "url": "ws://localhost/", "profile": "mine"}]}


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_a_profile_without_a_mistake(name):
    """What the checks say of a user's profile they do not say of a built-in one, nor that a rule never applies."""
    profile = read_profile(name)

    assert list(profile_problems(profile)) == []
    assert list(unreachable_rules(profile)) == []


@pytest.mark.parametrize("name", FILES)
def test_each_file_says_what_its_probes_prove(name):
    """A line for each probe says what a pass shows of such a backend."""
    proves = read_profile(name).proves

    assert None not in (proves.connect, proves.send)


def test_a_profile_is_read_once_and_when_it_is_asked_for():
    """Looking for a name reads nothing; asking for a profile reads that one."""
    read = []
    catalog = ProfileCatalog({"ready": Profile()}, ("a", "b"), lambda name: read.append(name) or Profile())

    assert "a" in ChainMap({}, catalog)
    assert sorted(catalog) == ["a", "b", "ready"]
    assert read == []
    assert catalog["a"] is catalog["a"]
    assert catalog["ready"] == Profile()
    assert read == ["a"]
    with pytest.raises(KeyError):
        catalog["c"]


def test_a_config_of_before_keeps_its_own_profile():
    """A name that became built in later is the file's own if the file has one; the names of old stay reserved."""
    catalog = ProfileCatalog({"ready": Profile()}, ("mine",), lambda _: Profile(subprotocols=["built-in"]))
    config = parse({**OWN, "profiles": {"mine": {"subprotocols": ["own"]}}}, catalog)

    assert config.profiles["mine"].subprotocols == ["own"]
    assert parse({**OWN, "profiles": {"ready": {}, "mine": {}}}, catalog) == (
        Problem("profiles.ready", "is built in: choose another name"),
    )


def test_a_start_reads_no_profile_that_is_not_used():
    """Importing the catalog loads no codec, JSON's aside."""
    program = "import sys, exporter.catalog; print(*[name for name in sys.modules if name.startswith('exporter.fram')])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    loaded = {name.removeprefix("exporter.framing").removeprefix(".") for name in ran.stdout.split()}
    assert loaded <= {"", "codec", "reader", "json_values"}


def test_the_daemon_loads_nothing_of_the_other_commands():
    """What `init`, `profiles` and `check` need takes no memory of a `run`."""
    program = "import sys, exporter.__main__, exporter.commands.run; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    packages = {name.removeprefix("exporter.").split(".")[0] for name in ran.stdout.split() if "exporter." in name}
    assert "daemon" in packages
    assert packages.isdisjoint({"discovery", "standin"})
