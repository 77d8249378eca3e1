#!/usr/bin/env bash
# Memory says: `http_upgrade_request_protocols WebSocket allow all`, with the name that Squid's documentation gives as its
#   example, lets WebSockets through.
# Seen: Squid 5.7 of Debian 12: it passes `Upgrade: WebSocket`, and drops `Upgrade: websocket`, which browsers and every
#   library send: the name is compared with its case. `websocket allow all` passes that one, `OTHER allow all` both.
# Why it matters: the backend answers 400, 404 or 426 to a plain GET, and looks as if it were at fault.
set -euo pipefail
work=$(mktemp -d)
cleanup() { for squid in ${squids:-}; do kill -9 "$squid" 2>/dev/null || true; done; rm -rf "$work"; }
trap cleanup EXIT
cd "$work"
chmod 755 .
for package in squid=5.7-2+deb12u6 squid-common squid-langpack libecap3 libltdl7 libnetfilter-conntrack3 libnfnetlink0 \
  libmnl0 libtdb1 libldap-2.5-0 libsasl2-2 libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 libkeyutils1; do
  apt-get download -qq "$package" 2>/dev/null
done
for file in *.deb; do dpkg -x "$file" root; done
export LD_LIBRARY_PATH="$work/root/usr/lib/$(uname -m)-linux-gnu:$work/root/lib/$(uname -m)-linux-gnu"
port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
back=$(port) ports=""
for name in WebSocket websocket OTHER; do
  front=$(port) ports="$ports $front"
  mkdir "$name" && chmod 777 "$name"
  cat > "$name/squid.conf" <<CONF
http_port 127.0.0.1:$front accel defaultsite=localhost
cache_peer 127.0.0.1 parent $back 0 no-query no-digest originserver
http_access allow all
http_upgrade_request_protocols $name allow all
cache deny all
access_log none
cache_log $work/$name/log
pid_filename $work/$name/pid
coredump_dir $work/$name
mime_table $work/root/usr/share/squid/mime.conf
icon_directory $work/root/usr/share/squid/icons
error_directory $work/root/usr/share/squid-langpack/en
cache_effective_user $(id -un | sed 's/^root$/nobody/')
pinger_enable off
CONF
  root/usr/sbin/squid -N -n "try$name$$" -f "$name/squid.conf" >"$name/out" 2>&1 &
  squids="${squids:-} $!"
  disown
done
root/usr/sbin/squid -v | sed -n 1p
python3 - "$back" $ports <<'PYTHON' || { head -n 4 */out; exit 1; }
import socket
import sys
import threading
import time

BACK, *FRONTS = map(int, sys.argv[1:])


def head(sock):
    data = b""
    while b"\r\n\r\n" not in data and (more := sock.recv(65_536)):
        data += more
    return data


def answer(sock):
    """200 with the Upgrade header that arrived as body: nothing is switched here."""
    request = head(sock)
    if request:
        lines = [line for line in request.split(b"\r\n") if line.lower().startswith(b"upgrade:")]
        body = b"".join(lines) or b"none"
        sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    sock.close()


def serve(listener):
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def answered(front, token):
    with socket.create_connection(("127.0.0.1", front), 10) as client:
        client.sendall(
            f"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: {token}\r\nConnection: Upgrade, close\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        data = b""
        while more := client.recv(65_536):
            data += more
    return data.decode()


def passed(front, token):
    """The Upgrade header that the backend got of a client's; the first answers may be 502: the port was closed."""
    for _ in range(100):
        head, _, body = answered(front, token).partition("\r\n\r\n")
        if " 200 " in head.partition("\r\n")[0]:
            return body
        time.sleep(0.1)
    return "nothing"


threading.Thread(target=serve, args=(socket.create_server(("127.0.0.1", BACK)),), daemon=True).start()
for front in FRONTS:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", front), 1).close()
            break
        except OSError:
            time.sleep(0.05)
seen = {
    name: tuple(passed(front, token) for token in ("websocket", "WebSocket"))
    for name, front in zip(("WebSocket", "websocket", "OTHER"), FRONTS, strict=True)
}
for name, got in seen.items():
    print(f"{name} allow all: of `Upgrade: websocket` and `Upgrade: WebSocket` the backend gets {got}")
lower, upper = "Upgrade: websocket", "Upgrade: WebSocket"
good = seen == {"WebSocket": ("none", upper), "websocket": (lower, "none"), "OTHER": (lower, upper)}
sys.exit(0 if good else 1)
PYTHON
