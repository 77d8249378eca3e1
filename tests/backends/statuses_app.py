"""A WebSocket echo on uvicorn that refuses upgrades with the status in their path. `python statuses_app.py PORT`."""

import json
import sys

import uvicorn

REFUSAL = "websocket.http.response"


async def app(scope, receive, send):
    """`/…/status/503` refuses with the application's own 503, `/…/closed` by a close; any other path echoes JSON."""
    if scope["type"] == "http":
        status = 200 if scope["path"] == "/ready" else 404  # what a framework answers to a GET on a WebSocket route
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
    elif scope["type"] == "websocket":
        *_, kind, last = ["", *scope["path"].split("/")]
        if kind == "status":
            await _refuse(int(last), send)
        elif last == "closed":
            await send({"type": "websocket.close"})
        else:
            await _echo(receive, send)


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
