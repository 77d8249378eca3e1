#!/usr/bin/env bash
# Memory says: an XMPP client may send <close/> and the WebSocket close frame at once; both are answered (RFC 7395 3.6).
# Seen: prosody 0.12.3 answers both if the close frame comes later; in one segment it ends the connection, no close frame.
# Why it matters: a client that ends in good order is counted as a lost connection (1006), at prosody's every session.
set -euo pipefail
work=$(mktemp -d)
cleanup() { [ -z "${server:-}" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
cd "$work"
for package in prosody=0.12.3-1+deb12u1 lua5.4 lua-bitop lua-expat lua-filesystem lua-sec lua-socket; do
  apt-get download -qq "$package" 2>/dev/null
done
for file in *.deb; do dpkg -x "$file" root; done
libraries="$work/root/usr/lib/$(uname -m)-linux-gnu"
export LUA_PATH="$work/root/usr/share/lua/5.4/?.lua;$work/root/usr/share/lua/5.4/?/init.lua;;"
export LUA_CPATH="$libraries/lua/5.4/?.so;;" LD_LIBRARY_PATH="$libraries"
sed -i "s#'/usr/lib/prosody'#'$work/root/usr/lib/prosody'#; s#'/etc/prosody'#'$work'#; s#'/var/lib/prosody'#'$work/data'#" root/usr/bin/prosody
mkdir data
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat > prosody.cfg.lua <<CONF
daemonize = false
run_as_root = true
data_path = "$work/data"
plugin_paths = { "$work/root/usr/lib/prosody/modules" }
certificates = "$work"
modules_enabled = { "saslauth", "websocket" }
modules_disabled = { "s2s", "posix" }
c2s_ports = {}
s2s_ports = {}
http_ports = { $port }
http_interfaces = { "127.0.0.1" }
https_ports = {}
consider_websocket_secure = true
log = { info = "$work/log" }
VirtualHost "localhost"
CONF
"$work/root/usr/bin/lua5.4" "$work/root/usr/bin/prosody" --config "$work/prosody.cfg.lua" >out 2>&1 &
server=$!
python3 - "$port" <<'PYTHON' || { cat out log 2>/dev/null | tail -5; exit 1; }
import os
import socket
import struct
import sys
import time

PORT = int(sys.argv[1])


def masked(opcode, payload):
    mask = os.urandom(4)
    body = bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + body


def connected():
    for _ in range(400):
        try:
            return socket.create_connection(("127.0.0.1", PORT), 5)
        except OSError:
            time.sleep(0.05)
    sys.exit("prosody does not listen")


def read_until(client, data, mark):
    while mark not in data:
        part = client.recv(4096)
        if not part:
            break
        data += part
    return data


BYE = masked(1, b'<close xmlns="urn:ietf:params:xml:ns:xmpp-framing"/>')
CLOSE = masked(8, struct.pack("!H", 1000))


def ended(*writes):
    """Whether <close/> and a close frame came back, for a client that ends by these writes after its <open/>."""
    with connected() as client:
        client.settimeout(10)
        client.sendall(
            b"GET /xmpp-websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Protocol: xmpp\r\n\r\n"
        )
        data = read_until(client, b"", b"\r\n\r\n")
        assert b" 101 " in data.split(b"\r\n")[0], data
        client.sendall(masked(1, b'<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="localhost" version="1.0"/>'))
        read_until(client, data.split(b"\r\n\r\n", 1)[1], b"features>")
        data = b""
        for write in writes:
            client.sendall(write)
            if write == BYE:
                data = read_until(client, data, b"<close")
        try:
            while part := client.recv(4096):
                data += part
        except (TimeoutError, ConnectionError):
            pass
    return {"<close/>": b"<close" in data, "close frame": b"\x88" in data}


apart, together = ended(BYE, CLOSE), ended(BYE + CLOSE)
print("prosody 0.12.3, <close/> and the close frame in two segments:", apart)
print("prosody 0.12.3, both in one segment:                         ", together)
sys.exit(0 if apart["close frame"] and not together["close frame"] else 1)
PYTHON
