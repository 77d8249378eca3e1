#!/usr/bin/env bash
# Memory says: an idle timeout counts traffic in both directions; a WebSocket on which the server sends is not idle.
# Seen: lighttpd 1.4.69 of Debian 12: `server.max-read-idle` (60 s by default, 4 s here) counts what the client sends alone.
#   A feed with a frame each second is cut; with a pong of the client each second, and the same feed, it lives.
# Why it matters: a feed that only pushes is cut every minute, without a close frame, while its frames flow.
set -euo pipefail
work=$(mktemp -d)
cleanup() { [ -z "${proxy:-}" ] || kill "$proxy" 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
cd "$work"
for package in lighttpd=1.4.69-1 libnettle8 libxxhash0; do apt-get download -qq "$package" 2>/dev/null; done
for file in *.deb; do dpkg -x "$file" root; done
export LD_LIBRARY_PATH="$work/root/usr/lib/$(uname -m)-linux-gnu"
port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
front=$(port) back=$(port)
cat > lighttpd.conf <<CONF
server.bind = "127.0.0.1"
server.port = $front
server.document-root = "$work"
server.modules = ("mod_proxy")
server.max-read-idle = 4
proxy.server = ("" => (("host" => "127.0.0.1", "port" => $back)))
proxy.header = ("upgrade" => "enable")
CONF
root/usr/sbin/lighttpd -D -m "$work/root/usr/lib/lighttpd" -f lighttpd.conf >log 2>&1 &
proxy=$!
root/usr/sbin/lighttpd -v | sed -n 1p
python3 - "$front" "$back" <<'PYTHON' || { cat log; exit 1; }
import base64
import hashlib
import socket
import sys
import threading
import time

FRONT, BACK = int(sys.argv[1]), int(sys.argv[2])
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PONG = b"\x8a\x80\0\0\0\0"
WATCHED_SECONDS = 15


def head(sock):
    data = b""
    while b"\r\n\r\n" not in data and (more := sock.recv(65_536)):
        data += more
    return data


def feed(sock):
    """Accept the upgrade and send a frame each second."""
    request = head(sock)
    key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key.split(b":")[1].strip() + GUID).digest())
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    sock.sendall(switching + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    try:
        while True:
            sock.sendall(b"\x81\x04tick")
            time.sleep(1)
    except OSError:
        pass


def serve(listener):
    while True:
        threading.Thread(target=feed, args=(listener.accept()[0],), daemon=True).start()


def lived(found, name, *, with_pongs):
    """Seconds until the connection is cut, and the frames that came; None: it was open all the time."""
    with socket.create_connection(("127.0.0.1", FRONT), 10) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        started, frames = time.monotonic(), 0
        assert b" 101 " in client.recv(65_536)
        while time.monotonic() - started < WATCHED_SECONDS:
            data = client.recv(65_536)
            if not data:
                found[name] = (time.monotonic() - started, frames)
                return
            frames += data.count(b"tick")
            if with_pongs:
                client.sendall(PONG)
        found[name] = (None, frames)


threading.Thread(target=serve, args=(socket.create_server(("127.0.0.1", BACK)),), daemon=True).start()
for _ in range(200):
    try:
        socket.create_connection(("127.0.0.1", FRONT), 1).close()
        break
    except OSError:
        time.sleep(0.05)
found = {}
tries = [
    threading.Thread(target=lived, args=(found, name), kwargs={"with_pongs": name == "pongs"})
    for name in ("silent", "pongs")
]
for one in tries:
    one.start()
for one in tries:
    one.join()
for name, (seconds, frames) in found.items():
    print(f"client {name}: {frames} frames came, {'open' if seconds is None else f'cut after {seconds:.1f} s'}")
cut_after, frames = found["silent"]
sys.exit(0 if cut_after is not None and 3 < cut_after < 10 and frames >= 3 and found["pongs"][0] is None else 1)
PYTHON
