#!/usr/bin/env bash
# Memory says: mod_proxy marks a backend that refuses a connection as failed and answers 503 untried for `retry`, 60 s by
#   default; to have it back sooner one sets `retry=0`.
# Seen: Apache httpd 2.4.71 of Debian 12: 503 while the port is closed, and 200 to the very next request once it is open,
#   by default and with `retry=60` written out.
# Why it matters: a 503 after the backend is back is no echo of the past minute; nobody needs to wait or to set retry=0.
set -euo pipefail
work=$(mktemp -d)
cleanup() { [ -z "${proxy:-}" ] || kill "$proxy" 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
cd "$work"
chmod 755 .
for package in apache2-bin=2.4.71-1~deb12u1 libapr1 libaprutil1; do apt-get download -qq "$package" 2>/dev/null; done
for file in *.deb; do dpkg -x "$file" root; done
export LD_LIBRARY_PATH="$work/root/usr/lib/$(uname -m)-linux-gnu"
port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
front=$(port) back=$(port)
modules=$work/root/usr/lib/apache2/modules
cat > httpd.conf <<CONF
ServerRoot $work
ServerName localhost
PidFile pid
ErrorLog error.log
User nobody
Group nogroup
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule proxy_module $modules/mod_proxy.so
LoadModule proxy_http_module $modules/mod_proxy_http.so
Listen 127.0.0.1:$front
ProxyPass /default/ http://127.0.0.1:$back/
ProxyPass /written/ http://127.0.0.1:$back/written/ retry=60
CONF
root/usr/sbin/apache2 -DFOREGROUND -f "$work/httpd.conf" >log 2>&1 &
proxy=$!
root/usr/sbin/apache2 -v | sed -n 1p
python3 - "$front" "$back" <<'PYTHON' || { cat log error.log; exit 1; }
import socket
import sys
import threading
import time

FRONT, BACK = int(sys.argv[1]), int(sys.argv[2])


def head(sock):
    data = b""
    while b"\r\n\r\n" not in data and (more := sock.recv(65_536)):
        data += more
    return data


def serve(listener):
    while True:
        sock, _ = listener.accept()
        if head(sock):
            sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        sock.close()


def status(path):
    with socket.create_connection(("127.0.0.1", FRONT), 10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return head(client).split()[1].decode()


for _ in range(200):
    try:
        socket.create_connection(("127.0.0.1", FRONT), 1).close()
        break
    except OSError:
        time.sleep(0.05)
paths = ("/default/", "/written/")
closed = {path: [status(path) for _ in range(3)] for path in paths}
threading.Thread(target=serve, args=(socket.create_server(("127.0.0.1", BACK)),), daemon=True).start()
opened = {path: status(path) for path in paths}
print("the port is closed:", closed)
print("the next request after it is open:", opened)
sys.exit(0 if closed == dict.fromkeys(paths, ["503"] * 3) and opened == dict.fromkeys(paths, "200") else 1)
PYTHON
