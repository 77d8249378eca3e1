"""websockets with the cases of asgi_cases.py. `python websockets_cases.py PORT [PING]`; SIGTERM closes the server."""

import asyncio
import signal
import sys
from http import HTTPStatus

from websockets.asyncio.server import serve

LIMIT = 1024
PING = float(sys.argv[2]) if len(sys.argv) > 2 else None


async def raises_after(_):
    raise RuntimeError("broken after it accepted")


async def raises_on_message(ws):
    await ws.recv()
    raise RuntimeError("broken by a message")


async def returns_after(_):
    pass


async def returns_on_message(ws):
    await ws.recv()


async def closes_4401(ws):
    await ws.close(4401, "bad token")


async def closes_1008(ws):
    await ws.close(1008, "bad token")


async def closes_1011(ws):
    await ws.recv()
    await ws.close(1011, "broken")


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def silent(ws):
    async for _ in ws:
        print("got", flush=True)


async def deaf(ws):
    await ws.recv()
    await asyncio.Event().wait()


HANDLERS = {
    f"/{case.__name__.replace('_', '-')}": case
    for case in (
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
    )
}
STATUSES = {
    "/ready": HTTPStatus.OK,
    "/refuses": HTTPStatus.FORBIDDEN,
    "/refuses-401": HTTPStatus.UNAUTHORIZED,
}


def before_the_accept(connection, request):
    if request.path == "/raises-before":
        raise RuntimeError("broken before it accepted")
    if request.path in STATUSES:
        return connection.respond(STATUSES[request.path], "ready")
    return None


async def main(port):
    server = await serve(
        lambda ws: HANDLERS[ws.request.path](ws),
        "127.0.0.1",
        port,
        max_size=LIMIT,
        ping_interval=PING,
        ping_timeout=PING,
        process_request=before_the_accept,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.close)
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
