"""aiohttp with the cases of asgi_cases.py; asked to stop, it waits a second, twice. `aiohttp_cases.py PORT [PINGS]`"""

import asyncio
import sys

from aiohttp import web

LIMIT = 1024
HEARTBEAT = float(sys.argv[2]) if len(sys.argv) > 2 else None


async def ready(_):
    return web.Response(text="ready")


async def raises_before(_):
    raise RuntimeError("broken before it accepted")


async def refuses(_):
    raise web.HTTPForbidden


async def refuses_401(_):
    raise web.HTTPUnauthorized


async def raises_after(request):
    await _accepted(request)
    raise RuntimeError("broken after it accepted")


async def raises_on_message(request):
    await (await _accepted(request)).receive()
    raise RuntimeError("broken by a message")


async def returns_after(request):
    return await _accepted(request)


async def returns_on_message(request):
    ws = await _accepted(request)
    await ws.receive()
    return ws


async def closes_4401(request):
    ws = await _accepted(request)
    await ws.close(code=4401, message=b"bad token")
    return ws


async def closes_1008(request):
    ws = await _accepted(request)
    await ws.close(code=1008, message=b"bad token")
    return ws


async def closes_1011(request):
    ws = await _accepted(request)
    await ws.receive()
    await ws.close(code=1011, message=b"broken")
    return ws


async def echo(request):
    ws = await _accepted(request)
    async for message in ws:
        await ws.send_str(message.data)
    return ws


async def silent(request):
    ws = await _accepted(request)
    async for _ in ws:
        print("got", flush=True)
    return ws


async def deaf(request):
    await (await _accepted(request)).receive()
    await asyncio.Event().wait()


async def _accepted(request):
    ws = web.WebSocketResponse(max_msg_size=LIMIT, heartbeat=HEARTBEAT)
    await ws.prepare(request)
    return ws


app = web.Application()
app.add_routes([web.get("/ready", ready)])
for case in (
    raises_before,
    refuses,
    refuses_401,
    raises_after,
    raises_on_message,
    returns_after,
    returns_on_message,
    closes_4401,
    closes_1008,
    closes_1011,
    echo,
    silent,
    deaf,
):
    app.add_routes([web.get(f"/{case.__name__.replace('_', '-')}", case)])

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), shutdown_timeout=1, print=None)
