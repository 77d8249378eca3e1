"""A SignalR hub without a login, on aiosignalr. `python signalr_app.py PORT`."""

import sys

from aiohttp import web
from aiosignalr.server import Hub, SignalRServer


class EchoHub(Hub):
    async def echo(self, value):
        return value


if __name__ == "__main__":
    app = SignalRServer(EchoHub).create_application(path="/hub")
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
