#!/usr/bin/env bash
# Memory says: gunicorn recycles a worker after --max-requests by letting its requests end for graceful_timeout, then the
#   next worker serves; an open WebSocket of Flask-Sock is cut by then.
# Seen: gunicorn 27.0.1, gthread, one worker, --max-requests 5, --graceful-timeout 3, --timeout 6, Flask-Sock 0.7.0, one idle
#   WebSocket: it is not cut; no other request is answered until the arbiter kills the worker, 7 to 9 s after the fifth.
# Why it matters: with the defaults each recycling is an outage of up to a minute, while the open session looks healthy.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check gunicorn==27.0.1 flask==3.1.3 flask-sock==0.7.0 simple-websocket==1.1.0 websockets==17.4
cat > app.py <<'PYTHON'
from flask import Flask
from flask_sock import Sock

app = Flask(__name__)
sock = Sock(app)


@app.get("/health")
def health():
    return "healthy"


@sock.route("/echo")
def echo(ws):
    while True:
        ws.send(ws.receive())
PYTHON
cat > try.py <<'PYTHON'
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

from websockets.sync.client import connect

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]
COMMAND = ["venv/bin/gunicorn", "--bind", f"127.0.0.1:{PORT}", "--worker-class", "gthread", "--threads", "4"]
LIMITS = ["--max-requests", "5", "--graceful-timeout", "3", "--timeout", "6", "app:app"]


def healthy(patience):
    try:
        return urlopen(f"http://127.0.0.1:{PORT}/health", timeout=patience).read() == b"healthy"
    except OSError:
        return False


def until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit("not in time")
        time.sleep(0.05)


server = subprocess.Popen([*COMMAND, *LIMITS], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    until(lambda: healthy(1), 20)
    with connect(f"ws://127.0.0.1:{PORT}/echo", proxy=None) as ws:
        for _ in range(5):
            healthy(1)
        begun = time.monotonic()
        deaf = not healthy(2)
        ws.send("still there")
        while time.monotonic() < begun + 4:
            time.sleep(0.1)
        ws.send("and now")
        echoed = [ws.recv(2), ws.recv(2)] == ["still there", "and now"]
        until(lambda: healthy(1), 40)
        outage = time.monotonic() - begun
finally:
    server.terminate()
    server.wait(20)
print(f"no other request is answered: {deaf}; 4 s later the WebSocket echoes: {echoed}; served again after {outage:.1f} s")
sys.exit(not (deaf and echoed and outage > 6))
PYTHON
venv/bin/python try.py
