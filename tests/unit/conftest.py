"""What a unit test goes without: a network, and programs other than Python and git. `make unit` needs neither."""

import sys
from pathlib import Path

import pytest

PROGRAMS = ("python", "git")
watching = False


def _refuse(event, arguments):
    """An audit hook (PEP 578): raise where a test reaches out of its process in another way than these."""
    if not watching:
        return
    if event in ("socket.connect", "socket.bind") and isinstance(arguments[1], tuple):
        pytest.fail(f"a unit test opens no socket: {event} {arguments[1]}")
    if event == "subprocess.Popen":
        program = Path(str(arguments[0] or arguments[1][0])).name
        if not program.startswith(PROGRAMS):
            pytest.fail(f"a unit test runs no {program}")


sys.addaudithook(_refuse)


@pytest.fixture(autouse=True)
def _stays_in_its_process():
    global watching  # noqa: PLW0603 - a hook cannot be taken away again
    watching = True
    yield
    watching = False
