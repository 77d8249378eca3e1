"""Django Channels with the cases of asgi_cases.py, in the words of its consumers."""

import asyncio

import django
from channels.exceptions import DenyConnection
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="of no use")
django.setup()
urlpatterns = [path("ready", lambda _: HttpResponse("ready"))]


class RaisesBefore(AsyncWebsocketConsumer):
    async def connect(self):
        raise RuntimeError("broken before it accepted")


class Refuses(AsyncWebsocketConsumer):
    async def connect(self):
        raise DenyConnection


class RaisesAfter(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        raise RuntimeError("broken after it accepted")


class RaisesOnMessage(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        raise RuntimeError("broken by a message")


class Closes4401(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        await self.close(4401, "bad token")


class Closes1008(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        await self.close(1008, "bad token")


class Closes1011(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.close(1011, "broken")


class Echo(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data)


class Silent(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        print("got", flush=True)


class Deaf(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await asyncio.Event().wait()


CASES = {
    "raises-before": RaisesBefore,
    "refuses": Refuses,
    "raises-after": RaisesAfter,
    "raises-on-message": RaisesOnMessage,
    "closes-4401": Closes4401,
    "closes-1008": Closes1008,
    "closes-1011": Closes1011,
    "echo": Echo,
    "silent": Silent,
    "deaf": Deaf,
}
app = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter([path(case, consumer.as_asgi()) for case, consumer in CASES.items()]),
    }
)
