"""FastAPI on uvicorn: one route for each thing that a backend of this kind does. `python fastapi_app.py PORT`.

The secret signs HS256 tokens; it is made up, and shorter than RFC 7518 asks on purpose.
"""

import asyncio
import itertools
import json
import sys

import jwt
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect, WebSocketException
from fastapi.responses import PlainTextResponse

SECRET = "twenty-bytes-secret."
GATEWAY = "https://gateway.example/claims"

app = FastAPI()
numbers = {"of connections": itertools.count(1)}
seen = {"good": 0, "bad": 0, "none": 0, "headers": []}


def claims_of(token):
    try:
        claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_aud": False})
    except jwt.PyJWTError:
        seen["bad" if token else "none"] += 1
        return None
    seen["good"] += 1
    return claims


def bearer(ws):
    return ws.headers.get("authorization", "").removeprefix("Bearer ")


async def echo(ws):
    """Answer every JSON object by itself, under `echo`."""
    try:
        while True:
            await ws.send_json({"type": "echo", **json.loads(await ws.receive_text())})
    except WebSocketDisconnect:
        pass


@app.get("/ready")
async def ready():
    return PlainTextResponse("ready")


@app.get("/seen")
async def what_was_seen():
    """How many tokens were good, bad or missing, and the headers of the last upgrades."""
    return seen


@app.get("/begins-again")
async def begins_again():
    """The numbers of connections begin again, as with each process."""
    numbers["of connections"] = itertools.count(1)
    return PlainTextResponse("again")


@app.websocket("/open")
async def open_to_all(ws: WebSocket):
    await ws.accept()
    await echo(ws)


@app.websocket("/ws")
async def refused_before_the_accept(ws: WebSocket):
    if claims_of(bearer(ws)) is None:
        raise WebSocketException(code=4401)
    await ws.accept()
    await echo(ws)


@app.websocket("/late")
async def refused_after_the_accept(ws: WebSocket):
    await ws.accept()
    if claims_of(bearer(ws)) is None:
        await ws.close(4401, "token refused")
        return
    await ws.send_json({"type": "hello"})
    await echo(ws)


@app.websocket("/denied/{status}")
async def denied_with_a_status(ws: WebSocket, status: int):
    if claims_of(bearer(ws)) is None:
        await ws.send_denial_response(PlainTextResponse("no", status))
        return
    await ws.accept()
    await echo(ws)


@app.websocket("/limited/{status}")
async def limited(ws: WebSocket, status: int):
    await ws.send_denial_response(PlainTextResponse("slow down", status, headers={"Retry-After": "120"}))


@app.websocket("/forgets")
async def forgets_the_subprotocol(ws: WebSocket):
    await ws.accept()
    await echo(ws)


@app.websocket("/chooses")
async def chooses_the_first_subprotocol(ws: WebSocket):
    await ws.accept(subprotocol=ws.scope["subprotocols"][0])
    await echo(ws)


@app.websocket("/invents")
async def chooses_what_was_not_offered(ws: WebSocket):
    await ws.accept(subprotocol="graphql-ws")
    await echo(ws)


@app.websocket("/cookie")
async def token_in_a_cookie(ws: WebSocket):
    seen["headers"] = sorted(ws.headers.keys())
    if claims_of(ws.cookies.get("access", "")) is None:
        raise WebSocketException(code=1008)
    await ws.accept()
    await echo(ws)


@app.websocket("/key")
async def key_in_a_header(ws: WebSocket):
    seen["headers"] = sorted(ws.headers.keys())
    if ws.headers.get("x-api-key") != "p@ss word!":
        raise WebSocketException(code=1008)
    await ws.accept()
    await echo(ws)


@app.websocket("/message")
async def token_in_a_message(ws: WebSocket):
    """The headers and the query of the upgrade are seen, and the token must be in neither."""
    seen["headers"] = sorted(ws.headers.keys())
    seen["query"] = ws.url.query
    await ws.accept()
    login = await ws.receive_json()
    if claims_of(login.get("token", "")) is None:
        await ws.send_json({"type": "error", "code": "bad_token"})
        await ws.close(4401)
        return
    await ws.send_json({"type": "ok"})
    await echo(ws)


@app.websocket("/nested")
async def nested_claims(ws: WebSocket):
    claims = claims_of(bearer(ws)) or {}
    if claims.get(GATEWAY, {}).get("x-default-role") != "user":
        raise WebSocketException(code=1008)
    await ws.accept()
    await ws.send_json({"type": "hello", "user": claims[GATEWAY]["x-user-id"]})
    await echo(ws)


@app.websocket("/slow-hello")
async def hello_of_a_cold_worker(ws: WebSocket):
    await ws.accept()
    await asyncio.sleep(float(ws.query_params.get("after", "1.5")))
    await ws.send_json({"type": "hello"})
    await echo(ws)


@app.websocket("/closes/{code}")
async def closes_before_the_hello(ws: WebSocket, code: int):
    await ws.accept()
    await ws.close(code)


@app.websocket("/numbered")
async def connection_ids_are_a_counter(ws: WebSocket):
    await ws.accept()
    await ws.send_json({"type": "hello", "connection_id": f"c-{next(numbers['of connections'])}", "user_id": 1})
    await echo(ws)


@app.websocket("/whole-numbers")
async def ids_are_whole_numbers(ws: WebSocket):
    await ws.accept()
    await ws.send_json(
        {"type": "hello", "connectionID": 1700000000000000000 + next(numbers["of connections"]), "user_id": 1}
    )
    await echo(ws)


@app.websocket("/binary")
async def json_in_binary_frames(ws: WebSocket):
    await ws.accept()
    await ws.send_json({"type": "hello"}, mode="binary")
    try:
        while True:
            await ws.send_json({"type": "echo", **await ws.receive_json()}, mode="binary")
    except WebSocketDisconnect:
        pass


@app.websocket("/cookie-of/{size}")
async def large_cookie(ws: WebSocket, size: int):
    await ws.accept(headers=[(b"set-cookie", b"state=" + b"x" * size)])
    await echo(ws)


@app.websocket("/headers/{number}")
async def many_headers(ws: WebSocket, number: int):
    await ws.accept(headers=[(b"x-trace-%d" % n, b"1") for n in range(number)])
    await echo(ws)


@app.websocket("/v3/{key}")
async def key_in_the_path(ws: WebSocket, key: str):
    if key != "0c1f3a5e7b9d2c4e6f8a":
        raise WebSocketException(code=1008)
    await ws.accept()
    await echo(ws)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", ws_ping_interval=None)
