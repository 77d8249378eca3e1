"""Django Channels on daphne with SimpleJWT: the user stands in the claim `user_id`. `python channels_app.py PORT`.

`/ws` refuses before the accept, `/late` after it, `/origin` wants an allowed Origin.
"""

import sys

import django
from django.conf import settings

SECRET = "a signing key of more than thirty-two bytes"

settings.configure(
    SECRET_KEY=SECRET,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "channels"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    SIMPLE_JWT={"SIGNING_KEY": SECRET},
)
django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from daphne.endpoints import build_endpoint_description_strings  # noqa: E402
from daphne.server import Server  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework_simplejwt.exceptions import TokenError  # noqa: E402
from rest_framework_simplejwt.tokens import AccessToken  # noqa: E402

USERS = {"1", "2"}


class Consumer(AsyncJsonWebsocketConsumer):
    """Greets its user by number and echoes."""

    def user(self):
        headers = dict(self.scope["headers"])
        try:
            user = str(AccessToken(headers.get(b"authorization", b"").decode().removeprefix("Bearer "))["user_id"])
        except (TokenError, KeyError):
            return None
        return user if user in USERS else None

    async def receive_json(self, content):
        await self.send_json({"type": "echo", **content})


class Early(Consumer):
    async def connect(self):
        user = self.user()
        if user is None:
            await self.close(4401)
            return
        await self.accept()
        await self.send_json({"type": "hello", "user_id": int(user)})


class Late(Consumer):
    async def connect(self):
        await self.accept()
        user = self.user()
        if user is None:
            await self.close(4401)
            return
        await self.send_json({"type": "hello", "user_id": int(user)})


async def ready(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ready"})


application = ProtocolTypeRouter(
    {
        "http": ready,
        "websocket": URLRouter(
            [
                path("ws", Early.as_asgi()),
                path("late", Late.as_asgi()),
                path("origin", AllowedHostsOriginValidator(Early.as_asgi())),
            ]
        ),
    }
)

if __name__ == "__main__":
    endpoints = build_endpoint_description_strings(host="127.0.0.1", port=int(sys.argv[1]))
    Server(application=application, endpoints=endpoints).run()
