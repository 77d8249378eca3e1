#!/usr/bin/env bash
# Memory says: uvicorn puts `Server: uvicorn` on all that it answers, and granian its name, so each tells who refused.
# Seen: uvicorn 0.54.0 names itself on a page and on the 101, with each of its three implementations of WebSockets, and on
#   no refusal of an upgrade (403, 500). granian 2.8.9 does the opposite: it names itself on the refusal, not on the 101.
# Why it matters: a 403 or 500 without Server looks like the answer of some proxy in between; it is the application's.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check uvicorn==0.54.0 websockets==17.4 wsproto==1.3.2 granian==2.8.9
cat > app.py <<'PYTHON'
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"page"})
    elif scope["type"] == "websocket":
        await receive()
        if scope["path"] == "/raises":
            raise RuntimeError("broken")
        await send({"type": "websocket.close" if scope["path"] == "/refuses" else "websocket.accept"})
        await receive()
PYTHON
cat > try.py <<'PYTHON'
import socket
import subprocess
import sys
import time

UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def server_header(port, path, fields):
    """Status, and whether the answer has a Server field."""
    for _ in range(400):
        try:
            client = socket.create_connection(("127.0.0.1", port), 10)
            break
        except OSError:
            time.sleep(0.05)
    else:
        sys.exit("does not listen")
    with client:
        client.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n")
        head = b""
        while b"\r\n\r\n" not in head and (part := client.recv(4096)):
            head += part
    return int(head.split(b" ")[1]), b"\r\nserver:" in head.partition(b"\r\n\r\n")[0].lower()


def seen(*program):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [f"venv/bin/{program[0]}", "--host", "127.0.0.1", "--port", str(port), *program[1:], "app:app"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        asked = {"page": (b"/", b""), "opens": (b"/", UPGRADE)}
        asked |= {name: (f"/{name}".encode(), UPGRADE) for name in ("refuses", "raises")}
        return {name: server_header(port, *question) for name, question in asked.items()}
    finally:
        server.terminate()
        server.wait(10)


NAMED = {"page": (200, True), "opens": (101, True), "refuses": (403, False), "raises": (500, False)}
expected = {("uvicorn", "--ws", ws): NAMED for ws in ("websockets", "websockets-sansio", "wsproto")}
expected["granian", "--interface", "asgi"] = {"page": (200, True), "opens": (101, False), "refuses": (403, True), "raises": (403, True)}
found = {program: seen(*program) for program in expected}
for program, answers in found.items():
    print(" ".join(program), {name: f"{status}, {'named' if named else 'no Server'}" for name, (status, named) in answers.items()})
sys.exit(found != expected)
PYTHON
venv/bin/python try.py
