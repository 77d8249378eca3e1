"""An OCPP 1.6J central system on the `ocpp` and `websockets` libraries. `python ocpp_app.py PORT`."""

import asyncio
import sys
from datetime import UTC, datetime
from http import HTTPStatus

from ocpp.routing import on
from ocpp.v16 import ChargePoint, call_result
from websockets.asyncio.server import serve


class CentralSystem(ChargePoint):
    @on("Heartbeat")
    def on_heartbeat(self):
        return call_result.Heartbeat(current_time=datetime.now(UTC).isoformat())


async def handle(ws):
    await CentralSystem("CP1", ws).start()


def ready(connection, request):
    return connection.respond(HTTPStatus.OK, "ready") if request.path == "/ready" else None


async def main():
    async with serve(handle, "127.0.0.1", int(sys.argv[1]), subprotocols=["ocpp1.6"], process_request=ready) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
