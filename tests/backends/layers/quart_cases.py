"""Quart with the cases of asgi_cases.py, in Quart's own words."""

import asyncio

from quart import Quart, abort, websocket

app = Quart(__name__)


@app.get("/ready")
async def ready():
    return "ready"


@app.websocket("/raises-before")
async def raises_before():
    raise RuntimeError("broken before it accepted")


@app.websocket("/returns-before")
async def returns_before():
    pass


@app.websocket("/refuses-401")
async def refuses_401():
    abort(401)


@app.websocket("/raises-after")
async def raises_after():
    await websocket.accept()
    raise RuntimeError("broken after it accepted")


@app.websocket("/raises-401-after")
async def raises_401_after():
    await websocket.accept()
    abort(401)


@app.websocket("/raises-on-message")
async def raises_on_message():
    await websocket.receive()
    raise RuntimeError("broken by a message")


@app.websocket("/returns-after")
async def returns_after():
    await websocket.accept()


@app.websocket("/returns-on-message")
async def returns_on_message():
    await websocket.receive()


@app.websocket("/closes-4401")
async def closes_4401():
    await websocket.accept()
    await websocket.close(4401, "bad token")


@app.websocket("/closes-1011")
async def closes_1011():
    await websocket.receive()
    await websocket.close(1011, "broken")


@app.websocket("/echo")
async def echo():
    while True:
        await websocket.send(await websocket.receive())


@app.websocket("/silent")
async def silent():
    while await websocket.receive():
        print("got", flush=True)


@app.websocket("/deaf")
async def deaf():
    await websocket.receive()
    await asyncio.Event().wait()
