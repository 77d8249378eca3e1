"""Real backends for the tests: FastAPI, Channels, aiohttp, ocpp; ws, graphql-ws, rpc-websockets; gorilla, coder.

`make backends` builds them into `.backends`, pinned. Node and Go are not everywhere: their tests carry `needs_node` and
`needs_go`, and conftest.py says in one line how many were left out; in CI they fail instead.
"""

import os
import shutil
from contextlib import asynccontextmanager

import pytest

from support.paths import ROOT, TESTS
from support.realservers import started, stop

HERE = TESTS / "backends"
BUILT = ROOT / ".backends"
PROGRAMS = {"node": ("node", "npm"), "go": ("go",)}

needs_node = pytest.mark.needs("node")
needs_go = pytest.mark.needs("go")


def missing(kind):
    """The first program that backends of this kind need and this machine lacks; None if there is none, or in CI."""
    if os.environ.get("CI"):
        return None
    return next((program for program in PROGRAMS[kind] if shutil.which(program) is None), None)


def built(path):
    """The path of a program in `.backends`, or a failure that says how to get it."""
    assert path.exists(), f"{path} is not there: make backends"
    return str(path)


@asynccontextmanager
async def _running(command, folder, scheme):
    process, url = await started(lambda port: [*command, str(port)], "/ready", folder / "backend.log")
    try:
        yield url.replace("http", scheme, 1)
    finally:
        await stop(process)


def python_backend(name, tmp_path, scheme="ws"):
    """`tests/backends/NAME.py`, running; its `ws://127.0.0.1:PORT`."""
    return _running([built(BUILT / "python/bin/python"), str(HERE / f"{name}.py")], tmp_path, scheme)


def node_backend(name, tmp_path, scheme="ws"):
    """`tests/backends/node/NAME.mjs`, running; its `ws://127.0.0.1:PORT`."""
    return _running(["node", built(BUILT / f"node/{name}.mjs")], tmp_path, scheme)


def go_backend(tmp_path, scheme="ws"):
    """The Go servers, running; their `ws://127.0.0.1:PORT`."""
    return _running([built(BUILT / "go/backends")], tmp_path, scheme)
