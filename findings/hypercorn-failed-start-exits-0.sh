#!/usr/bin/env bash
# Memory says: an ASGI server whose application fails to start exits with a code other than 0, so that it is started again.
# Seen: hypercorn 0.18.0: an application that raises in its lifespan, or sends lifespan.startup.failed: exit code 0;
#   uvicorn 0.54.0: 3.
# Why it matters: systemd's Restart=on-failure, and a Job of Kubernetes, take the failed start for a success and stay down.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check hypercorn==0.18.0 uvicorn==0.54.0
cat > app.py <<'PYTHON'
async def failed(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def raises(scope, receive, send):
    await receive()
    if scope["type"] == "lifespan":
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        raise RuntimeError("no database")
PYTHON
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
code() { local status=0; timeout 30 "$@" >>log 2>&1 || status=$?; echo "$status"; }
right=0
for app in failed raises; do
  hypercorn=$(code venv/bin/hypercorn --bind "127.0.0.1:$port" "app:$app")
  uvicorn=$(code venv/bin/uvicorn --port "$port" "app:$app")
  echo "$app: hypercorn exits with $hypercorn, uvicorn with $uvicorn"
  [ "$hypercorn" = 0 ] && [ "$uvicorn" = 3 ] || right=1
done
exit "$right"
