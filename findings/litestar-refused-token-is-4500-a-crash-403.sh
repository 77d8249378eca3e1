#!/usr/bin/env bash
# Memory says: Litestar closes an accepted WebSocket with 4000 + status, so NotAuthorizedException is 4401, and an exception
#   ahead of the accept is a 500, as in Starlette.
# Seen: Litestar 2.25.0: NotAuthorizedException after the accept is 4500, as a RuntimeError is; ahead of the accept both are
#   403. Neither the code nor the status tells a refused token from a crash.
# Why it matters: rotated keys look like a broken application at one route, and a broken one like a bad token at the other.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check litestar==2.25.0 uvicorn==0.54.0 websockets==17.4
cat > app.py <<'PYTHON'
from litestar import Litestar, WebSocket, websocket
from litestar.exceptions import NotAuthorizedException

FAULTS = {"refused": NotAuthorizedException("bad token"), "crash": RuntimeError("broken")}


@websocket("/before/{fault:str}")
async def before(socket: WebSocket, fault: str) -> None:
    raise FAULTS[fault]


@websocket("/after/{fault:str}")
async def after(socket: WebSocket, fault: str) -> None:
    await socket.accept()
    raise FAULTS[fault]


app = Litestar([before, after])
PYTHON
cat > try.py <<'PYTHON'
import socket
import subprocess
import sys
import time

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]


def seen(path):
    """The status of a refused upgrade, or the close code."""
    for _ in range(400):
        try:
            with connect(f"ws://127.0.0.1:{PORT}/{path}", proxy=None) as ws:
                ws.recv(10)
        except InvalidStatus as refused:
            return refused.response.status_code
        except ConnectionClosed as closed:
            return closed.rcvd and closed.rcvd.code
        except OSError:
            time.sleep(0.05)
    sys.exit("uvicorn does not listen")


server = subprocess.Popen(["venv/bin/uvicorn", "--port", str(PORT), "app:app"], stderr=subprocess.DEVNULL)
try:
    found = {path: seen(path) for path in ("before/refused", "before/crash", "after/refused", "after/crash")}
finally:
    server.terminate()
    server.wait(10)
print(found)
sys.exit(found != {"before/refused": 403, "before/crash": 403, "after/refused": 4500, "after/crash": 4500})
PYTHON
venv/bin/python try.py
