"""Sanic in one process with the cases of asgi_cases.py. `python sanic_cases.py PORT`; pings every second."""

import asyncio
import sys

from sanic import Sanic
from sanic.exceptions import Forbidden, Unauthorized
from sanic.response import text

app = Sanic("cases")


@app.on_request
async def before_the_accept(request):
    if request.path in BEFORE:
        raise BEFORE[request.path]


@app.get("/ready")
async def ready(_):
    return text("ready")


@app.websocket("/raises-after")
async def raises_after(_request, _ws):
    raise RuntimeError("broken after it accepted")


@app.websocket("/raises-401-after")
async def raises_401_after(_request, _ws):
    raise Unauthorized("bad token")


@app.websocket("/raises-on-message")
async def raises_on_message(_, ws):
    await ws.recv()
    raise RuntimeError("broken by a message")


@app.websocket("/returns-after")
async def returns_after(_request, _ws):
    pass


@app.websocket("/returns-on-message")
async def returns_on_message(_, ws):
    await ws.recv()


@app.websocket("/closes-4401")
async def closes_4401(_, ws):
    await ws.close(4401, "bad token")


@app.websocket("/closes-1011")
async def closes_1011(_, ws):
    await ws.recv()
    await ws.close(1011, "broken")


@app.websocket("/echo")
async def echo(_, ws):
    async for message in ws:
        await ws.send(message)


@app.websocket("/silent")
async def silent(_, ws):
    async for _message in ws:
        print("got", flush=True)


@app.websocket("/deaf")
async def deaf(_, ws):
    await ws.recv()
    await asyncio.Event().wait()


BEFORE = {
    "/raises-before": RuntimeError("broken before it accepted"),
    "/refuses": Forbidden("bad token"),
    "/refuses-401": Unauthorized("bad token"),
}

if __name__ == "__main__":
    app.update_config({"WEBSOCKET_MAX_SIZE": 1024, "WEBSOCKET_PING_INTERVAL": 1, "WEBSOCKET_PING_TIMEOUT": 1})
    app.run(host="127.0.0.1", port=int(sys.argv[1]), single_process=True, motd=False)
