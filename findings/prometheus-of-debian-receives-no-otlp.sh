#!/usr/bin/env bash
# Memory says: Prometheus 3 receives OTLP once `--web.enable-otlp-receiver` is given, whoever built it.
# Seen: Debian's 3.5.3+ds1-6 knows no such flag and does not start with it; without it, the path of the receiver is a 404.
#   Its changelog: "Disable OTLP Ingestion endpoint", until the OpenTelemetry collector is packaged (#1080354).
# Why it matters: the flag of every guide keeps Debian's Prometheus from starting, and what sends to it by OTLP gets a 404.
set -euo pipefail
cd "$(dirname "$0")/.."
python3 tests/engines/unpack.py sid/prometheus
program=$PWD/.engines/sid/usr/bin/prometheus
work=$(mktemp -d)
cleanup() { [ -z "${server:-}" ] || { kill "$server"; wait "$server"; } 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
cd "$work"
echo 'global: {}' > prometheus.yml
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
flags=(--config.file=prometheus.yml --storage.tsdb.path=data "--web.listen-address=127.0.0.1:$port")
"$program" --version 2>&1 | sed -n 1p
if timeout 20 "$program" "${flags[@]}" --web.enable-otlp-receiver >refused 2>&1; then exit 1; fi
grep -m1 "unknown long flag '--web.enable-otlp-receiver'" refused
"$program" "${flags[@]}" >log 2>&1 &
server=$!
python3 - "$port" <<'PYTHON'
import sys
import time
import urllib.error
import urllib.request

url = f"http://127.0.0.1:{sys.argv[1]}"
for _ in range(600):
    try:
        urllib.request.urlopen(f"{url}/-/ready", timeout=5).close()
        break
    except OSError:
        time.sleep(0.1)
try:
    status = urllib.request.urlopen(f"{url}/api/v1/otlp/v1/metrics", data=b"", timeout=10).status
except urllib.error.HTTPError as error:
    status = error.code
print(f"POST /api/v1/otlp/v1/metrics: {status}")
sys.exit(0 if status == 404 else 1)
PYTHON
