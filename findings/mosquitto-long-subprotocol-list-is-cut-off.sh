#!/usr/bin/env bash
# Memory says: a server that finds its subprotocol in the list of a client chooses it, however long the list is.
# Seen: mosquitto 2.0.11 of Debian 12, `mqtt` first in the list: a list of 100 characters is answered by 101, one of 160
#   by the end of the connection, without a byte of HTTP.
# Why it matters: a client that offers many versions, or a token as a subprotocol, gets neither a status nor a close code.
set -euo pipefail
work=$(mktemp -d)
cleanup() { [ -z "${broker:-}" ] || kill "$broker" 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
cd "$work"
for package in mosquitto=2.0.11-1.2+deb12u2 libcjson1 libdlt2 libwrap0 libnsl2; do
  apt-get download -qq "$package" 2>/dev/null
done
for file in *.deb; do dpkg -x "$file" root; done
export LD_LIBRARY_PATH="$work/root/usr/lib/$(uname -m)-linux-gnu:$work/root/lib/$(uname -m)-linux-gnu"
port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
plain=$(port) web=$(port)
cat > broker.conf <<CONF
user $(id -un)
allow_anonymous true
listener $plain 127.0.0.1
listener $web 127.0.0.1
protocol websockets
socket_domain ipv4
CONF
root/usr/sbin/mosquitto -c broker.conf >log 2>&1 &
broker=$!
root/usr/sbin/mosquitto -h | head -1 || true
python3 - "$web" <<'PYTHON'
import socket
import sys
import time

PORT = int(sys.argv[1])


def connected():
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", PORT), 5)
        except OSError:
            time.sleep(0.05)
    sys.exit("the broker does not listen")


def answer(length):
    """The status line of an upgrade whose list of subprotocols has this many characters, or what came instead."""
    offered = "mqtt"
    while len(offered) < length:
        offered = (offered + ", other")[:length] if length - len(offered) > 7 else offered + "x" * (length - len(offered))
    with connected() as client:
        client.settimeout(5)
        client.sendall(
            "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Protocol: {offered}\r\n\r\n".encode()
        )
        try:
            data = client.recv(4096)
        except TimeoutError:
            return "silence"
        except ConnectionError:
            return "end of the connection"
    return data.split(b"\r\n")[0].decode("ascii", "replace") if data else "end of the connection"


seen = {length: answer(length) for length in (4, 100, 160)}
for length, line in seen.items():
    print(f"a list of {length} characters: {line}")
good = all("101" in seen[length] for length in (4, 100))
sys.exit(0 if good and seen[160] == "end of the connection" else 1)
PYTHON
