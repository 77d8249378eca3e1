#!/usr/bin/env bash
# Memory says: a consumer of Django Channels that calls close(1008) closes with 1008 (policy violation), as RFC 6455 has it.
# Seen: daphne 4.2.3 with channels 4.3.2 and autobahn 26.10.2: autobahn sends 1000 and 3000-4999 alone and raises for the
#   others, so 1008, 1001 and 1013 reach the client as 1011 (internal error), up to a second late; 4401 arrives at once.
# Why it matters: a refused token, a goodbye and "try again later" are each reported, and paged, as a crash of the server.
set -euo pipefail
work=$(mktemp -d)
cleanup() { [ -z "${server:-}" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check daphne==4.2.3 channels==4.3.2 autobahn==26.10.2 websockets==17.4
cat > app.py <<'PYTHON'
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

settings.configure(SECRET_KEY="of no use", ALLOWED_HOSTS=["*"])


class Closes(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        await self.close(self.scope["url_route"]["kwargs"]["code"])


app = ProtocolTypeRouter({"websocket": URLRouter([path("<int:code>", Closes.as_asgi())])})
PYTHON
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/python -m daphne -b 127.0.0.1 -p "$port" app:app >log 2>&1 &
server=$!
cat > try.py <<'PYTHON'
import sys
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def connected(code):
    for _ in range(400):
        try:
            return connect(f"ws://127.0.0.1:{sys.argv[1]}/{code}", proxy=None)
        except OSError:
            time.sleep(0.05)
    sys.exit("daphne does not listen")


def received(code):
    with connected(code) as ws:
        try:
            ws.recv(10)
        except ConnectionClosed as closed:
            return closed.rcvd and closed.rcvd.code


seen = {code: received(code) for code in (4401, 1000, 1001, 1008, 1013)}
for code, came in seen.items():
    print(f"close({code}) arrives as {came}")
sys.exit(seen != {4401: 4401, 1000: 1000, 1001: 1011, 1008: 1011, 1013: 1011})
PYTHON
venv/bin/python try.py "$port" || { tail -5 log; exit 1; }
