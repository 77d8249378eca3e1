#!/usr/bin/env bash
# Memory says: a WebSocket behind nginx without the two lines of its documentation fails with 400, 404 or 426.
# Seen: nginx 1.22.1 of Debian 12 speaks HTTP/1.0 to its backend by default, and the server of websockets 17.4 answers that
#   with 505 HTTP Version Not Supported; with `proxy_http_version 1.1` alone it is a 426. Both under nginx's Server.
# Why it matters: the commonest mistake in a proxy's configuration reads as a server error of the backend.
set -euo pipefail
work=$(mktemp -d)
cleanup() { for one in ${started:-}; do kill "$one" 2>/dev/null || true; done; rm -rf "$work"; }
trap cleanup EXIT
cd "$work"
apt-get download -qq nginx=1.22.1-9+deb12u11 2>/dev/null
dpkg -x nginx_*.deb root
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check websockets==17.4
port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
front=$(port) back=$(port)
upgrade='proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;'
cat > nginx.conf <<CONF
daemon off;
master_process off;
pid $work/pid;
events {}
http {
  access_log off;
  client_body_temp_path $work/body; proxy_temp_path $work/proxy; fastcgi_temp_path $work/fastcgi;
  scgi_temp_path $work/scgi; uwsgi_temp_path $work/uwsgi;
  server {
    listen 127.0.0.1:$front;
    location /nothing { proxy_pass http://127.0.0.1:$back; }
    location /version { proxy_pass http://127.0.0.1:$back; proxy_http_version 1.1; }
    location /all { proxy_pass http://127.0.0.1:$back; proxy_http_version 1.1; $upgrade }
  }
}
CONF
root/usr/sbin/nginx -p "$work" -e stderr -c "$work/nginx.conf" >log 2>&1 &
started=$!
venv/bin/python - "$back" >backend.log 2>&1 <<'PYTHON' &
import asyncio
import sys

from websockets.asyncio.server import serve


async def wait(connection):
    await connection.wait_closed()


async def main():
    async with serve(wait, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()


asyncio.run(main())
PYTHON
started="$started $!"
root/usr/sbin/nginx -v
python3 - "$front" "$back" <<'PYTHON' || { tail -n 5 log backend.log; exit 1; }
import socket
import sys
import time

FRONT, BACK = int(sys.argv[1]), int(sys.argv[2])


def answer(path):
    with socket.create_connection(("127.0.0.1", FRONT), 10) as client:
        client.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        lines = client.recv(65_536).decode().split("\r\n")
    server = next(line.split()[1].partition("/")[0] for line in lines if line.lower().startswith("server:"))
    return lines[0].split()[1], server


for port in (FRONT, BACK):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.05)
seen = {path: answer(path) for path in ("/nothing", "/version", "/all")}
print(seen)
sys.exit(0 if seen == {"/nothing": ("505", "nginx"), "/version": ("426", "nginx"), "/all": ("101", "nginx")} else 1)
PYTHON
