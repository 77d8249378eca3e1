"""BlackSheep with the cases of asgi_cases.py, in BlackSheep's own words."""

import asyncio

from blacksheep import Application, WebSocket, WebSocketDisconnectError, get, ws
from blacksheep.exceptions import Unauthorized

app = Application()


@get("/ready")
async def ready():
    return "ready"


@ws("/raises-before")
async def raises_before(websocket: WebSocket):
    raise RuntimeError("broken before it accepted")


@ws("/returns-before")
async def returns_before(websocket: WebSocket):
    pass


@ws("/refuses")
async def refuses(websocket: WebSocket):
    raise Unauthorized("bad token")


@ws("/raises-after")
async def raises_after(websocket: WebSocket):
    await websocket.accept()
    raise RuntimeError("broken after it accepted")


@ws("/raises-401-after")
async def raises_401_after(websocket: WebSocket):
    await websocket.accept()
    raise Unauthorized("bad token")


@ws("/raises-on-message")
async def raises_on_message(websocket: WebSocket):
    await websocket.accept()
    await websocket.receive_text()
    raise RuntimeError("broken by a message")


@ws("/returns-after")
async def returns_after(websocket: WebSocket):
    await websocket.accept()


@ws("/returns-on-message")
async def returns_on_message(websocket: WebSocket):
    await websocket.accept()
    await websocket.receive_text()


@ws("/closes-4401")
async def closes_4401(websocket: WebSocket):
    await websocket.accept()
    await websocket.close(4401, "bad token")


@ws("/closes-1011")
async def closes_1011(websocket: WebSocket):
    await websocket.accept()
    await websocket.receive_text()
    await websocket.close(1011, "broken")


@ws("/echo")
async def echo(websocket: WebSocket):
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnectError:
        pass


@ws("/silent")
async def silent(websocket: WebSocket):
    await websocket.accept()
    try:
        while await websocket.receive_text():
            print("got", flush=True)
    except WebSocketDisconnectError:
        pass


@ws("/deaf")
async def deaf(websocket: WebSocket):
    await websocket.accept()
    await websocket.receive_text()
    await asyncio.Event().wait()
