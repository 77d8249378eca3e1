"""FastAPI with the cases of asgi_cases.py, in FastAPI's own words."""

import asyncio

from fastapi import FastAPI, HTTPException, WebSocket, WebSocketDisconnect

app = FastAPI()


@app.get("/ready")
async def ready():
    return "ready"


@app.websocket("/raises-before")
async def raises_before(ws: WebSocket):
    raise RuntimeError("broken before it accepted")


@app.websocket("/returns-before")
async def returns_before(ws: WebSocket):
    pass


@app.websocket("/refuses")
async def refuses(ws: WebSocket):
    await ws.close(4401)


@app.websocket("/refuses-401")
async def refuses_401(ws: WebSocket):
    raise HTTPException(401)


@app.websocket("/raises-after")
async def raises_after(ws: WebSocket):
    await ws.accept()
    raise RuntimeError("broken after it accepted")


@app.websocket("/raises-401-after")
async def raises_401_after(ws: WebSocket):
    await ws.accept()
    raise HTTPException(401)


@app.websocket("/raises-on-message")
async def raises_on_message(ws: WebSocket):
    await ws.accept()
    await ws.receive_text()
    raise RuntimeError("broken by a message")


@app.websocket("/returns-after")
async def returns_after(ws: WebSocket):
    await ws.accept()


@app.websocket("/returns-on-message")
async def returns_on_message(ws: WebSocket):
    await ws.accept()
    await ws.receive_text()


@app.websocket("/closes-4401")
async def closes_4401(ws: WebSocket):
    await ws.accept()
    await ws.close(4401, "bad token")


@app.websocket("/closes-1011")
async def closes_1011(ws: WebSocket):
    await ws.accept()
    await ws.receive_text()
    await ws.close(1011, "broken")


@app.websocket("/echo")
async def echo(ws: WebSocket):
    await ws.accept()
    try:
        while True:
            await ws.send_text(await ws.receive_text())
    except WebSocketDisconnect:
        pass


@app.websocket("/silent")
async def silent(ws: WebSocket):
    await ws.accept()
    try:
        while await ws.receive_text():
            print("got", flush=True)
    except WebSocketDisconnect:
        pass


@app.websocket("/deaf")
async def deaf(ws: WebSocket):
    await ws.accept()
    await ws.receive_text()
    await asyncio.Event().wait()
