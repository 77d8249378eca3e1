"""The control endpoint: it changes faults while the stand-in runs (JSON over HTTP, loopback only).

GET /faults              the table and the active faults   PUT /faults?path=P      a JSON list of specs
DELETE /faults[?path=P]  remove them; without a path, all  GET /sessions           records of finished connections
POST /forget[?path=P]    a fresh process; `live=restart` closes the open connections with 1012, `live=kill` resets them

Rule 1: a wrong request is a 400 with a sentence in `error`, and changes nothing.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any, Final, Protocol

from aiohttp import web

from exporter.standin.connection_record import ConnectionRecord
from exporter.standin.faults import LISTENER_STAGES, ROWS, Fault, FaultParam

MAX_BODY_BYTES: Final = 65_536
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ControlledStandIn(Protocol):
    """The methods of the stand-in that the endpoint calls."""

    @property
    def sessions(self) -> Sequence[ConnectionRecord]:
        """Finished connections."""

    def set_fault(self, path: str, *specs: str) -> None:
        """Replace the faults of the path."""

    def clear(self, path: str | None = None) -> None:
        """Remove faults."""

    def active(self) -> dict[str, list[str]]:
        """The active faults, by path."""

    def forget(self, path: str = "*", *, live: str = "keep") -> None:
        """Start a fresh process behind the path."""


def table() -> list[dict[str, Any]]:
    """The table of faults as JSON, for clients and docs."""
    return [_row(fault) for fault in ROWS]


def _row(fault: Fault) -> dict[str, Any]:
    listener = not fault.shareable or any(stage in LISTENER_STAGES for stage in fault.stages)
    params = [_param(param) for param in fault.params]
    return {"name": fault.name, "text": fault.text, "params": params, "listener": listener}


def _param(param: FaultParam) -> dict[str, Any]:
    row = {"name": param.name, "kind": param.kind.value, "default": param.default, "text": param.text}
    return {**row, "choices": list(param.choices)} if param.choices else row


def _refused(sentence: str, status: int = 400) -> web.Response:
    return web.json_response({"error": sentence}, status=status)


class ControlServer:
    """The HTTP server. `start` it, ask `url`, `close` it."""

    def __init__(self, standin: ControlledStandIn) -> None:
        self._standin = standin
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self, host: str, port: int) -> None:
        """Listen; raises OSError if the port is taken."""
        app = web.Application(middlewares=[_in_sentences], client_max_size=MAX_BODY_BYTES)
        app.add_routes(
            [
                web.get("/faults", self._list),
                web.put("/faults", self._switch),
                web.delete("/faults", self._clear),
                web.get("/sessions", self._sessions),
                web.post("/forget", self._forget),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        bound = self._runner.addresses[0][1]
        self.url = f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _list(self, _request: web.Request) -> web.Response:
        rows = ",\n".join(map(json.dumps, table()))
        text = f'{{"table": [\n{rows}\n],\n"active": {json.dumps(self._standin.active())}}}\n'
        return web.json_response(text=text)

    async def _switch(self, request: web.Request) -> web.Response:
        path = request.query.get("path")
        if path is None:
            return _refused("say which path: PUT /faults?path=/ws, or path=* for all")
        try:
            specs = await request.json()
        except (ValueError, RecursionError):
            specs = None
        if not isinstance(specs, list) or not all(isinstance(spec, str) for spec in specs):
            return _refused('the body must be a JSON list of specs such as ["slot_limit:limit=5"]')
        self._standin.set_fault(path, *specs)
        return web.json_response({"active": self._standin.active()})

    async def _clear(self, request: web.Request) -> web.Response:
        self._standin.clear(request.query.get("path"))
        return web.json_response({"active": self._standin.active()})

    async def _sessions(self, _request: web.Request) -> web.Response:
        return web.json_response([asdict(seen) for seen in self._standin.sessions])

    async def _forget(self, request: web.Request) -> web.Response:
        path, live = request.query.get("path", "*"), request.query.get("live", "keep")
        self._standin.forget(path, live=live)
        return web.json_response({"forgotten": path, "live": live})


@web.middleware
async def _in_sentences(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn exceptions into a JSON answer with a sentence."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        known = "known are GET, PUT and DELETE /faults, GET /sessions, POST /forget"
        return _refused(f"{error.reason}: {request.method} {request.path}; {known}", error.status)
    except ValueError as error:
        return _refused(str(error))
