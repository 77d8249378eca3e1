"""The real backends show what the cases say, as a plain client sees it: else tests against them would prove little."""

import json

import pytest
from support.backend_servers import go_backend, needs_go, needs_node, node_backend, python_backend
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


async def refused(url, **options):
    """The HTTP status that refuses the upgrade."""
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(url, proxy=None, **options):
            pass
    return refusal.value.response.status_code


async def test_fastapi(tmp_path):
    """A close before the accept is HTTP 403, whatever its code; a denial response is what it says."""
    async with python_backend("fastapi_app", tmp_path) as url:
        assert await refused(f"{url}/ws") == 403
        assert await refused(f"{url}/denied/401") == 401
        assert await refused(f"{url}/limited/503") == 503
        async with connect(f"{url}/late", proxy=None) as ws:
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
        assert closed.value.rcvd.code == 4401
        async with connect(f"{url}/binary", proxy=None) as ws:
            assert json.loads(await ws.recv()) == {"type": "hello"}
        async with connect(f"{url}/forgets", proxy=None, subprotocols=["jwt-auth"]) as ws:
            assert ws.subprotocol is None


async def test_channels(tmp_path):
    """A close before the accept is HTTP 403 on daphne too, and so is a missing Origin."""
    async with python_backend("channels_app", tmp_path) as url:
        assert await refused(f"{url}/ws") == 403
        assert await refused(f"{url}/origin") == 403
        async with connect(f"{url}/late", proxy=None) as ws:
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
        assert closed.value.rcvd.code == 4401


async def test_jsonrpc(tmp_path):
    """An error has the id of its request (JSON-RPC 2.0 section 5)."""
    async with python_backend("jsonrpc_app", tmp_path) as url:
        for query in ("", "?at_once=1"):
            async with connect(f"{url}/rpc{query}", proxy=None) as ws:
                await ws.send(json.dumps({"id": "x1", "method": "auth.login", "params": {"token": "wrong"}}))
                answer = json.loads(await ws.recv())
                assert (answer["id"], answer["error"]["code"]) == ("x1", -32001)
                with pytest.raises(ConnectionClosed) as closed:
                    await ws.recv()
                assert closed.value.rcvd.code == 4401


async def test_ocpp(tmp_path):
    """OCPP speaks arrays, and wants its subprotocol."""
    async with (
        python_backend("ocpp_app", tmp_path) as url,
        connect(f"{url}/CP1", proxy=None, subprotocols=["ocpp1.6"]) as ws,
    ):
        await ws.send('[2, "n1", "Heartbeat", {}]')
        kind, ident, payload = json.loads(await ws.recv())
        assert (kind, ident, list(payload)) == (3, "n1", ["currentTime"])


@needs_node
async def test_graphql(tmp_path):
    """Without its subprotocol: 101, then 4406."""
    async with node_backend("graphql", tmp_path) as url, connect(f"{url}/graphql", proxy=None) as ws:
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
        assert closed.value.rcvd.code == 4406


@needs_node
async def test_rpc_websockets(tmp_path):
    """An error has the id of its request, an unknown method and a limit alike."""
    async with node_backend("rpc", tmp_path) as url, connect(url, proxy=None) as ws:
        for method, code in (("gone", -32601), ("limited", -32005)):
            await ws.send(json.dumps({"jsonrpc": "2.0", "id": "x1", "method": method}))
            answer = json.loads(await ws.recv())
            assert (answer["id"], answer["error"]["code"]) == ("x1", code)


@needs_go
async def test_go(tmp_path):
    """The write pump makes one message of four lines; the goodbye is a 1001 of the server's own."""
    async with go_backend(tmp_path) as url:
        async with connect(f"{url}/busy", proxy=None) as ws:
            await ws.send('{"id": 1}')
            lines = (await ws.recv()).splitlines()
            assert [json.loads(line) for line in lines] == [{"type": "news"}] * 3 + [{"id": 1}]
        async with connect(f"{url}/goodbye", proxy=None) as ws:
            await ws.send("x")
            assert await ws.recv() == "x"
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
            assert closed.value.rcvd.code == 1001
