"""A WebSocket echo on uvicorn that refuses upgrades with the status in their path. `python statuses_app.py PORT`."""

import json
import sys

import uvicorn

REFUSAL = "websocket.http.response"
silenced = []
"""A WebSocket that answers no message."""


async def app(scope, receive, send):
    """`/…/status/503` refuses with the application's own 503, `/…/closed` by a close; any other path echoes JSON.

    `/…/silent` answers nothing, and `/silenced` tells how many messages came there.
    """
    if scope["type"] == "http":
        await _page(scope["path"], send)
    elif scope["type"] == "websocket":
        *_, kind, last = ["", *scope["path"].split("/")]
        if kind == "status":
            await _refuse(int(last), send)
        elif last == "closed":
            await send({"type": "websocket.close"})
        elif last == "silent":
            await _keep_silent(receive, send)
        else:
            await _echo(receive, send)


async def _page(path, send):
    """404 is what a framework answers to a GET on the route of a WebSocket."""
    body = str(len(silenced)).encode()
    status = 200 if path in {"/ready", "/silenced"} else 404
    length = b"%d" % (len(body) if status == 200 else 0)
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body if status == 200 else b""})


async def _keep_silent(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        silenced.append(message)


async def _refuse(status, send):
    await send({"type": f"{REFUSAL}.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": f"{REFUSAL}.body", "body": b'{"error":"application"}'})


async def _echo(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        echo = {"type": "echo", **json.loads(message["text"])}
        await send({"type": "websocket.send", "text": json.dumps(echo)})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", lifespan="off")
