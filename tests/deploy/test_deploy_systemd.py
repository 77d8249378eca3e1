"""The systemd units: valid, as closed as they say, and of one mind with our command line."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT
from support.realservers import binary

from exporter.arguments import DEFAULT_LISTEN_ADDRESS, parser

FOLDER = ROOT / "deploy/systemd"
SERVICE = FOLDER / "ws-factory-exporter.service"
SOCKET = FOLDER / "ws-factory-exporter.socket"
DEFAULTS = FOLDER / "ws-factory-exporter.default"
INSTALLED = "/opt/ws-factory-exporter/bin/ws-factory-exporter"
MOST_EXPOSED = 20
"""Tenths: 2.0 of 10 by `systemd-analyze security`."""
STOP = 5 + 1
"""Seconds for sessions and for requests in flight, by the design."""


def settings(file):
    """The settings of a unit: name → values, in order."""
    found = {}
    for line in file.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def analyze(*arguments):
    program = binary("systemd-analyze", "systemd")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def units(tmp_path):
    """Both units, with our command where it is here."""
    command = Path(sys.executable).parent / "ws-factory-exporter"
    assert INSTALLED in SERVICE.read_text()
    for unit in (SERVICE, SOCKET):
        (tmp_path / unit.name).write_text(unit.read_text().replace(INSTALLED, str(command)))
    return [str(tmp_path / unit.name) for unit in (SERVICE, SOCKET)]


def test_systemd_understands_every_line(units):
    """`systemd-analyze verify` says nothing at all."""
    assert analyze("verify", *units) == (0, "")


def test_the_service_is_closed(units):
    """`systemd-analyze security --offline` rates its exposure 2.0 at most."""
    code, told = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", units[0])
    assert code == 0, told
    rated = re.search(r"Overall exposure level for \S+: (\d+\.\d)", told)
    assert 0 < float(rated[1]) <= MOST_EXPOSED / 10


def test_the_process_series_are_left():
    """ProcSubset=pid would hide /proc/stat, and with it all that the process says of itself."""
    assert "ProcSubset" not in settings(SERVICE)


def test_the_command_of_the_unit_is_ours():
    """ExecStart and the example of ARGS are flags that we have; the state is where systemd made a folder for it."""
    (start,) = settings(SERVICE)["ExecStart"]
    (given,) = settings(DEFAULTS)["ARGS"]
    words = shlex.split(
        start.replace("${STATE_DIRECTORY}", "/var/lib/ws-factory-exporter").replace("$ARGS", given[1:-1])
    )
    options = parser().parse_args(words[1:])
    assert words[0] == INSTALLED
    assert (options.command, options.listen or [DEFAULT_LISTEN_ADDRESS]) == ("run", [DEFAULT_LISTEN_ADDRESS])
    assert options.config_file == "/etc/ws-factory-exporter/exporter.yml"
    assert settings(SERVICE)["StateDirectory"] == [Path(options.state_file).parent.name]
    assert settings(SOCKET)["ListenStream"] == [DEFAULT_LISTEN_ADDRESS.removeprefix(":")]


def test_the_example_config_looks_for_its_key_where_systemd_puts_it():
    """LoadCredential of a folder: each file is `ID_FILE`, in the folder of the unit's name."""
    (credential,) = settings(SERVICE)["LoadCredential"]
    name, _, folder = credential.partition(":")
    keys = re.findall(r"key_file: (\S+)", (FOLDER / "exporter.yml").read_text())
    assert folder == "/etc/ws-factory-exporter/keys"
    assert keys
    assert all(key.startswith(f"/run/credentials/{SERVICE.name}/{name}_") for key in keys)


def test_reload_stop_and_watchdog_are_those_of_the_program():
    """SIGHUP reloads; SIGTERM has more time than we take; who does not notify is ended and started anew."""
    unit = settings(SERVICE)
    assert unit["ExecReload"] == ["kill -HUP $MAINPID"]
    assert int(unit["TimeoutStopSec"][0].removesuffix("s")) > STOP
    assert (unit["Type"], unit["NotifyAccess"]) == (["notify"], ["main"])
    assert int(unit["WatchdogSec"][0].removesuffix("s")) >= 10
    assert unit["Restart"] == ["on-failure"]
    assert "CPUQuota" not in unit
