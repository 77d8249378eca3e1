"""What holds for all tests: those of a tool that is not installed are left out, and one line says so."""

import logging
import os
from collections import Counter

import pytest
from hypothesis import settings
from support.backend_servers import PROGRAMS, missing

settings.register_profile("busy", deadline=None)  # a test takes as long as the machine is busy
settings.load_profile("busy")

LEFT_OUT = pytest.StashKey[Counter]()


@pytest.fixture(autouse=True)
def _logging_is_left_alone():
    """A test that leaves its set-up of logging behind makes some later test of the same worker fail, or see nothing."""
    before = _logging()
    yield
    after = _logging()
    if after != before:
        logging.disable(logging.NOTSET)
        logging.getLogger("exporter").setLevel(logging.NOTSET)
        pytest.fail(f"this test changed logging: {before} → {after}")


def _logging():
    """What is switched off, the levels, and the handlers that are not pytest's."""
    root, ours = logging.getLogger(), logging.getLogger("exporter")
    handlers = [repr(one) for one in (*root.handlers, *ours.handlers) if not type(one).__module__.startswith("_pytest")]
    return logging.root.manager.disable, root.level, ours.level, handlers


def pytest_collection_modifyitems(config, items):
    """Leave out tests whose tool is missing (in CI nothing is, and they fail); those that take longest begin first."""
    lacking = {kind: program for kind in PROGRAMS if (program := missing(kind)) is not None}
    left_out, kept = Counter(), []
    for item in items:
        needs = {mark.args[0] for mark in item.iter_markers("needs")} & lacking.keys()
        left_out.update(needs)
        if not needs:
            kept.append(item)
    items[:] = sorted(kept, key=lambda item: item.get_closest_marker("early") is None)
    config.stash[LEFT_OUT] = left_out
    if "PYTEST_XDIST_WORKER" in os.environ:
        config.workeroutput["left_out"] = dict(left_out)


@pytest.hookimpl(optionalhook=True)  # of xdist, which the drill goes without
def pytest_testnodedown(node):
    """Take over from a worker what it left out: all of them leave out the same."""
    node.config.stash[LEFT_OUT] = Counter(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter, config):
    """One line for each tool that is missing."""
    for kind, number in config.stash.get(LEFT_OUT, Counter()).items():
        terminalreporter.write_line(
            f"NOT RUN: {number} tests of {kind} servers, because {missing(kind)} is not installed"
        )
