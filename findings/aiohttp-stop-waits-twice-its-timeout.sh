#!/usr/bin/env bash
# Memory says: aiohttp's run_app gives open requests shutdown_timeout (60 s) after SIGTERM, and then ends.
# Seen: aiohttp 3.14.5 with a WebSocket open that its application does not close: it waits twice shutdown_timeout, refuses
#   new connections meanwhile, and ends the WebSocket without a close frame; with 2 s set, after 4 s.
# Why it matters: by default that is two minutes: Kubernetes (30 s) and systemd (90 s) kill it first, and no cleanup runs.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check aiohttp==3.14.5 websockets==17.4
cat > app.py <<'PYTHON'
import sys

from aiohttp import web


async def silent(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for _ in ws:
        pass
    return ws


app = web.Application()
app.add_routes([web.get("/", silent)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), shutdown_timeout=float(sys.argv[2]), print=None)
PYTHON
cat > try.py <<'PYTHON'
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def stopped(timeout):
    """Close code, seconds until the connection ended, and whether a new connection was refused after half of them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(["venv/bin/python", "app.py", str(port), str(timeout)])
    url, opened = f"ws://127.0.0.1:{port}/", ExitStack()
    try:
        for _ in range(400):
            try:
                ws = opened.enter_context(connect(url, proxy=None))
                break
            except OSError:
                time.sleep(0.05)
        else:
            sys.exit("aiohttp does not listen")
        begun = time.monotonic()
        server.terminate()
        try:
            ws.recv(timeout)
        except TimeoutError:
            pass
        try:
            with connect(url, proxy=None):
                refused = False
        except OSError:
            refused = True
        try:
            ws.recv(30)
        except ConnectionClosed as closed:
            return closed.rcvd and closed.rcvd.code, time.monotonic() - begun, refused
    finally:
        server.kill()
        server.wait(10)
        opened.close()


right = True
for timeout in (1, 2):
    code, after, refused = stopped(timeout)
    right &= code is None and refused and 2 * timeout - 0.1 < after < 2 * timeout + 1
    print(f"shutdown_timeout {timeout} s: close frame {code}, ended after {after:.1f} s, new connections refused: {refused}")
sys.exit(not right)
PYTHON
venv/bin/python try.py
