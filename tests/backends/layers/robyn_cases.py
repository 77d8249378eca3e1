"""Robyn with the cases of asgi_cases.py. `python robyn_cases.py PORT`."""

import asyncio
import sys

from robyn import Robyn

app = Robyn(__file__)


@app.get("/ready")
async def ready():
    return "ready"


async def raises_after(websocket):
    raise RuntimeError("broken after it accepted")


async def raises_on_message(websocket):
    await websocket.receive_text()
    raise RuntimeError("broken by a message")


async def returns_after(websocket):
    pass


async def returns_on_message(websocket):
    await websocket.receive_text()


async def echo(websocket):
    while True:
        await websocket.send_text(await websocket.receive_text())


async def silent(websocket):
    while await websocket.receive_text():
        print("got", flush=True)


async def deaf(websocket):
    await websocket.receive_text()
    await asyncio.Event().wait()


for case in (raises_after, raises_on_message, returns_after, returns_on_message, echo, silent, deaf):
    app.websocket(f"/{case.__name__.replace('_', '-')}")(case)

if __name__ == "__main__":
    app.start(host="127.0.0.1", port=int(sys.argv[1]))
