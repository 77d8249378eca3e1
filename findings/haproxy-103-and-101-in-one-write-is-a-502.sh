#!/usr/bin/env bash
# Memory says: a proxy passes interim answers (103 Early Hints) and the 101 behind them on, however they are written.
# Seen: HAProxy 2.6.12 of Debian 12: 103 and 101 in one write of the backend are a 502 by HAProxy, nine times of nine; 50 ms
#   apart both pass. Nothing is configured but a frontend and a backend.
# Why it matters: upgrades fail now and then with a 502, and nothing is wrong with the backend but the moment of a write.
set -euo pipefail
work=$(mktemp -d)
cleanup() { [ -z "${proxy:-}" ] || kill "$proxy" 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
cd "$work"
for package in haproxy=2.6.12-1+deb12u4 liblua5.3-0 libopentracing-c-wrapper0 libopentracing1; do
  apt-get download -qq "$package" 2>/dev/null
done
for file in *.deb; do dpkg -x "$file" root; done
export LD_LIBRARY_PATH="$work/root/usr/lib/$(uname -m)-linux-gnu"
port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
front=$(port) back=$(port)
cat > haproxy.cfg <<CONF
defaults
  mode http
  timeout connect 5s
  timeout client 50s
  timeout server 50s
frontend web
  bind 127.0.0.1:$front
  default_backend app
backend app
  server one 127.0.0.1:$back
CONF
root/usr/sbin/haproxy -db -f haproxy.cfg >log 2>&1 &
proxy=$!
root/usr/sbin/haproxy -v | sed -n 1p
python3 - "$front" "$back" <<'PYTHON'
import base64
import hashlib
import socket
import sys
import threading
import time

FRONT, BACK = int(sys.argv[1]), int(sys.argv[2])
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
held = []


def head(sock):
    data = b""
    while b"\r\n\r\n" not in data and (more := sock.recv(65_536)):
        data += more
    return data


def answer(sock):
    request = head(sock)
    key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key.split(b":")[1].strip() + GUID).digest())
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    switching += b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    if b" /apart " in request:
        sock.sendall(HINTS)
        time.sleep(0.05)
        sock.sendall(switching)
    else:
        sock.sendall(HINTS + switching)
    held.append(sock)


def serve(listener):
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def statuses(path):
    """Statuses of the heads that a client gets, up to the final one."""
    with socket.create_connection(("127.0.0.1", FRONT), 10) as client:
        client.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        data = b""
        while True:
            data += client.recv(65_536)
            found = [line.split()[1].decode() for line in data.split(b"\r\n") if line.startswith(b"HTTP/1.")]
            if found and found[-1] != "103":
                return found


threading.Thread(target=serve, args=(socket.create_server(("127.0.0.1", BACK)),), daemon=True).start()
for _ in range(200):
    try:
        socket.create_connection(("127.0.0.1", FRONT), 1).close()
        break
    except OSError:
        time.sleep(0.05)
apart, at_once = [statuses("/apart") for _ in range(9)], [statuses("/at-once") for _ in range(9)]
print("50 ms apart: ", apart)
print("in one write:", at_once)
sys.exit(0 if apart == [["103", "101"]] * 9 and at_once == [["502"]] * 9 else 1)
PYTHON
