#!/usr/bin/env bash
# Memory says: nginx passes a 103 of its backend on, or drops it, and then the 101; at worst the 103 is the last answer.
# Seen: nginx 1.22.1 of Debian 12: the client gets no byte until `proxy_read_timeout` (60 s by default, 4 s here), then the
#   103 and the end of the connection. The 101, which the backend sent 50 ms later, never comes.
# Why it matters: for a minute it looks like a backend that hangs, and the backend believes that the WebSocket is open.
set -euo pipefail
work=$(mktemp -d)
cleanup() { [ -z "${proxy:-}" ] || kill "$proxy" 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
cd "$work"
apt-get download -qq nginx=1.22.1-9+deb12u11 2>/dev/null
dpkg -x nginx_*.deb root
port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
front=$(port) back=$(port)
cat > nginx.conf <<CONF
daemon off;
master_process off;
pid $work/pid;
events {}
http {
  log_format status '\$uri \$status';
  access_log $work/access.log status;
  client_body_temp_path $work/body; proxy_temp_path $work/proxy; fastcgi_temp_path $work/fastcgi;
  scgi_temp_path $work/scgi; uwsgi_temp_path $work/uwsgi;
  server {
    listen 127.0.0.1:$front;
    proxy_read_timeout 4s;
    proxy_http_version 1.1;
    proxy_set_header Upgrade \$http_upgrade;
    proxy_set_header Connection upgrade;
    location / { proxy_pass http://127.0.0.1:$back; }
  }
}
CONF
root/usr/sbin/nginx -p "$work" -e stderr -c "$work/nginx.conf" >log 2>&1 &
proxy=$!
root/usr/sbin/nginx -v
python3 - "$front" "$back" <<'PYTHON' || { cat log; exit 1; }
import base64
import hashlib
import pathlib
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
    if b" /with-103 " in request:
        sock.sendall(HINTS)
        time.sleep(0.05)
    sock.sendall(switching)
    held.append(sock)


def serve(listener):
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def answered(path):
    """Seconds until the first bytes, statuses of all heads that came, and whether the connection ended within 8 s."""
    with socket.create_connection(("127.0.0.1", FRONT), 8) as client:
        client.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        started, first, data = time.monotonic(), None, b""
        client.settimeout(8)
        while more := client.recv(65_536):
            first = first or time.monotonic() - started
            data += more
            if b" 101 " in data:
                return first, ["101"], False
    return first, [line.split()[1].decode() for line in data.split(b"\r\n") if line.startswith(b"HTTP/1.")], True


threading.Thread(target=serve, args=(socket.create_server(("127.0.0.1", BACK)),), daemon=True).start()
for _ in range(200):
    try:
        socket.create_connection(("127.0.0.1", FRONT), 1).close()
        break
    except OSError:
        time.sleep(0.05)
plain, hinted = answered("/without"), answered("/with-103")
for name, (first, heads, ended) in {"without a 103": plain, "with a 103": hinted}.items():
    print(f"{name}: first bytes after {first:.1f} s, heads {heads}, {'ended' if ended else 'open'}")
print("access log:", pathlib.Path("access.log").read_text().split("\n"))
good = plain[0] < 3 and plain[1:] == (["101"], False) and hinted[0] > 3 and hinted[1:] == (["103"], True)
sys.exit(0 if good else 1)
PYTHON
