"""Litestar with the cases of asgi_cases.py, in Litestar's own words."""

import asyncio

from litestar import Litestar, WebSocket, get, websocket
from litestar.exceptions import NotAuthorizedException, WebSocketDisconnect


@get("/ready")
async def ready() -> str:
    return "ready"


@websocket("/raises-before")
async def raises_before(socket: WebSocket) -> None:
    raise RuntimeError("broken before it accepted")


@websocket("/returns-before")
async def returns_before(socket: WebSocket) -> None:
    pass


@websocket("/refuses")
async def refuses(socket: WebSocket) -> None:
    raise NotAuthorizedException("bad token")


@websocket("/raises-after")
async def raises_after(socket: WebSocket) -> None:
    await socket.accept()
    raise RuntimeError("broken after it accepted")


@websocket("/raises-401-after")
async def raises_401_after(socket: WebSocket) -> None:
    await socket.accept()
    raise NotAuthorizedException("bad token")


@websocket("/raises-on-message")
async def raises_on_message(socket: WebSocket) -> None:
    await socket.accept()
    await socket.receive_text()
    raise RuntimeError("broken by a message")


@websocket("/returns-after")
async def returns_after(socket: WebSocket) -> None:
    await socket.accept()


@websocket("/returns-on-message")
async def returns_on_message(socket: WebSocket) -> None:
    await socket.accept()
    await socket.receive_text()


@websocket("/closes-4401")
async def closes_4401(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close(4401, "bad token")


@websocket("/closes-1011")
async def closes_1011(socket: WebSocket) -> None:
    await socket.accept()
    await socket.receive_text()
    await socket.close(1011, "broken")


@websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass


@websocket("/silent")
async def silent(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while await socket.receive_text():
            print("got", flush=True)
    except WebSocketDisconnect:
        pass


@websocket("/deaf")
async def deaf(socket: WebSocket) -> None:
    await socket.accept()
    await socket.receive_text()
    await asyncio.Event().wait()


app = Litestar(
    [
        ready,
        raises_before,
        returns_before,
        refuses,
        raises_after,
        raises_401_after,
        raises_on_message,
        returns_after,
        returns_on_message,
        closes_4401,
        closes_1011,
        echo,
        silent,
        deaf,
    ]
)
