"""JSON-RPC 2.0 on aiohttp with a login by message. `python jsonrpc_app.py PORT`.

A refused login is an error with the id of the request, as the protocol demands, and then a close with 4401; with
`?at_once=1` both leave in one write, else the close follows 20 ms later.
"""

import asyncio
import json
import sys
from weakref import WeakSet

from aiohttp import WSCloseCode, WSMsgType, web

TOKEN = "tok_7d21ac9e4b"
SOCKETS = web.AppKey("sockets", WeakSet)


def error(code, message, ident):
    return {"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": ident}


def result(value, ident):
    return {"jsonrpc": "2.0", "result": value, "id": ident}


async def refuse(request, ws, ident):
    refusal = error(-32001, "not authenticated", ident)
    if "at_once" not in request.query:
        await ws.send_json(refusal)
        await asyncio.sleep(0.02)
        await ws.close(code=4401)
        return
    payload = json.dumps(refusal).encode()
    frame = bytes([0x81, 126]) + len(payload).to_bytes(2, "big") + payload + b"\x88\x02" + (4401).to_bytes(2, "big")
    request.transport.write(frame)
    await ws.receive()


async def say_goodbye(app):
    """As aiohttp's documentation has it: without this, its WebSockets wait or end as chance will have it."""
    for ws in set(app[SOCKETS]):
        await ws.close(code=WSCloseCode.GOING_AWAY, message=b"Server shutdown")


async def rpc(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    request.app[SOCKETS].add(ws)
    known = "open" in request.query
    async for message in ws:
        if message.type is not WSMsgType.TEXT:
            continue
        call = json.loads(message.data)
        ident, method = call.get("id"), call.get("method")
        if method == "auth.login" and call["params"]["token"] != TOKEN:
            await refuse(request, ws, ident)
            break
        known = known or method == "auth.login"
        answers = {
            "auth.login": result({"authenticated": True}, ident),
            "ping": result("pong", ident) if known else error(-32001, "not authenticated", ident),
            "limited": error(-32005, "limit exceeded", ident),
        }
        await ws.send_json(answers.get(method, error(-32601, "Method not found", ident)))
    return ws


async def ready(_):
    return web.Response(text="ready")


if __name__ == "__main__":
    app = web.Application()
    app[SOCKETS] = WeakSet()
    app.on_shutdown.append(say_goodbye)
    app.add_routes([web.get("/ready", ready), web.get("/rpc", rpc)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
