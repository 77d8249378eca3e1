"""python-socketio on uvicorn: `/` lets in all but those with a wrong token, `/admin` only those with the right one.

`python socketio_app.py PORT`
"""

import sys

import socketio
import uvicorn

server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])


def look_at(auth, *tokens):
    if (auth or {}).get("token") not in tokens:
        raise socketio.exceptions.ConnectionRefusedError("not authorized")


@server.on("connect")
async def let_in(_sid, _environment, auth):
    look_at(auth, "good", None)


@server.on("connect", namespace="/admin")
async def let_in_with_the_token(_sid, _environment, auth):
    look_at(auth, "good")


@server.on("echo", namespace="*")
async def echo(_namespace, _sid, value):
    return value


async def ready(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ready"})


if __name__ == "__main__":
    app = socketio.ASGIApp(server, other_asgi_app=ready)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
