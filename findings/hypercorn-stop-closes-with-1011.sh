#!/usr/bin/env bash
# Memory says: an ASGI server that is stopped closes its WebSockets with 1012 or 1001, or the connections end without a code.
# Seen: hypercorn 0.18.0: SIGTERM, and a worker that is recycled by --max-requests, close each with 1011 and no text after
#   graceful_timeout (3 s), exactly as an application does that raises; uvicorn 0.54.0 closes with 1012 at once.
# Why it matters: each deploy is counted as internal errors of the application; only the time, 3 s, tells the two apart.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check hypercorn==0.18.0 uvicorn==0.54.0 websockets==17.4
cat > app.py <<'PYTHON'
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/raises":
            raise RuntimeError("broken")
        while (await receive())["type"] != "websocket.disconnect":
            pass
PYTHON
cat > try.py <<'PYTHON'
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PROGRAMS = {
    "hypercorn": lambda port: ["venv/bin/hypercorn", "--bind", f"127.0.0.1:{port}", "--max-requests", "20", "app:app"],
    "uvicorn": lambda port: ["venv/bin/uvicorn", "--port", str(port), "--limit-max-requests", "20", "app:app"],
}


def connected(url):
    for _ in range(400):
        try:
            return connect(url, proxy=None)
        except OSError:
            time.sleep(0.05)
    sys.exit("does not listen")


def requests(port):
    """So many that the worker is recycled."""
    for _ in range(25):
        try:
            urlopen(f"http://127.0.0.1:{port}/").read()
        except OSError:
            return


def close_of(name, event):
    """Code, text and seconds until the close, once something has been done to the server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(PROGRAMS[name](port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connected(f"ws://127.0.0.1:{port}/{event}") as ws:
            begun = time.monotonic()
            if event == "stopped":
                server.terminate()
            if event == "recycled":
                requests(port)
            try:
                ws.recv(20)
            except ConnectionClosed as closed:
                code, text = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
            return code, text, time.monotonic() - begun
    finally:
        server.kill()
        server.wait(10)


right = True
for name, codes in {"hypercorn": (1011, 1011, 1011), "uvicorn": (1006, 1012, 1012)}.items():
    for event, expected in zip(("raises", "stopped", "recycled"), codes):
        code, text, after = close_of(name, event)
        late = name == "hypercorn" and event != "raises"
        right &= (code, text) == (expected, "") and (after > 2.8) is late
        print(f"{name}, {event}: {code} {text!r} after {after:.1f} s")
sys.exit(not right)
PYTHON
venv/bin/python try.py
