"""One raw ASGI application with a path for each thing that an application can do; any ASGI server serves it.

`silent` says `got` on its output when our message is in its hands: there a test stops or kills the server.
"""

import asyncio


async def raises_before(_receive, _send):
    raise RuntimeError("broken before it accepted")


async def returns_before(_receive, _send):
    pass


async def refuses(_, send):
    """As ASGI has it: a close in place of an accept is a 403."""
    await send({"type": "websocket.close", "code": 4401, "reason": "bad token"})


async def refuses_401(_, send):
    """The extension websocket.http.response."""
    await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "websocket.http.response.body", "body": b"no"})


async def raises_after(_, send):
    await _accept(send)
    raise RuntimeError("broken after it accepted")


async def raises_on_message(receive, send):
    await _accept(send)
    await receive()
    raise RuntimeError("broken by a message")


async def returns_after(_, send):
    await _accept(send)


async def returns_on_message(receive, send):
    await _accept(send)
    await receive()


async def closes_4401(_, send):
    await _accept(send)
    await send({"type": "websocket.close", "code": 4401, "reason": "bad token"})


async def closes_1008(_, send):
    """Policy violation, as many refuse a token (RFC 6455 section 7.4.1)."""
    await _accept(send)
    await send({"type": "websocket.close", "code": 1008, "reason": "bad token"})


async def closes_1011(receive, send):
    await _accept(send)
    await receive()
    await send({"type": "websocket.close", "code": 1011, "reason": "broken"})


async def foreign_subprotocol(receive, send):
    await _accept(send, subprotocol="foreign")
    await _read(receive)


async def echo(receive, send):
    await _accept(send)
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def silent(receive, send):
    await _accept(send)
    await _read(receive)


async def deaf(receive, send):
    """Its message loop has ended, and it holds the connection."""
    await _accept(send)
    await receive()
    await asyncio.Event().wait()


CASES = {
    f"/{case.__name__.replace('_', '-')}": case
    for case in (
        raises_before,
        returns_before,
        refuses,
        refuses_401,
        raises_after,
        raises_on_message,
        returns_after,
        returns_on_message,
        closes_4401,
        closes_1008,
        closes_1011,
        foreign_subprotocol,
        echo,
        silent,
        deaf,
    )
}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"ready"})
    else:
        await receive()
        await CASES[scope["path"]](receive, send)


async def _accept(send, **options):
    await send({"type": "websocket.accept", **options})


async def _read(receive):
    while (await receive())["type"] == "websocket.receive":
        print("got", flush=True)


async def _lifespan(receive, send):
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
