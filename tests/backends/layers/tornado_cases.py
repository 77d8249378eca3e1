"""Tornado with the cases of asgi_cases.py. `python tornado_cases.py PORT`; SIGTERM ends it as Python does."""

import asyncio
import sys

from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler


class Ready(RequestHandler):
    def get(self):
        self.write("ready")


class RaisesBefore(WebSocketHandler):
    def prepare(self):
        raise RuntimeError("broken before it accepted")


class Refuses(WebSocketHandler):
    def prepare(self):
        raise HTTPError(403)


class Refuses401(WebSocketHandler):
    def prepare(self):
        raise HTTPError(401)


class RaisesAfter(WebSocketHandler):
    def open(self):
        raise RuntimeError("broken after it accepted")


class RaisesOnMessage(WebSocketHandler):
    def on_message(self, _):
        raise RuntimeError("broken by a message")


class Closes4401(WebSocketHandler):
    def open(self):
        self.close(4401, "bad token")


class Closes1011(WebSocketHandler):
    def on_message(self, _):
        self.close(1011, "broken")


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.write_message(message)


class Silent(WebSocketHandler):
    def on_message(self, _):
        print("got", flush=True)


class Deaf(WebSocketHandler):
    async def on_message(self, _):
        await asyncio.Event().wait()


CASES = {
    "/ready": Ready,
    "/raises-before": RaisesBefore,
    "/refuses": Refuses,
    "/refuses-401": Refuses401,
    "/raises-after": RaisesAfter,
    "/raises-on-message": RaisesOnMessage,
    "/closes-4401": Closes4401,
    "/closes-1011": Closes1011,
    "/echo": Echo,
    "/silent": Silent,
    "/deaf": Deaf,
}


async def main(port):
    pings = {"websocket_ping_interval": 1, "websocket_ping_timeout": 1} if "pings" in sys.argv else {}
    Application(list(CASES.items()), websocket_max_message_size=1024, **pings).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
