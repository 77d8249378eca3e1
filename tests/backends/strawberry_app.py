"""Strawberry's GraphQL on uvicorn: closes with 4403 for a wrong token. `python strawberry_app.py PORT`."""

import sys

import strawberry
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from strawberry.asgi import GraphQL
from strawberry.exceptions import ConnectionRejectionError


@strawberry.type
class Query:
    hello: str = "hi"


class Guarded(GraphQL):
    async def on_ws_connect(self, context):
        if (context["connection_params"] or {}).get("authorization", "Bearer good") != "Bearer good":
            raise ConnectionRejectionError
        return await super().on_ws_connect(context)


async def ready(_request):
    return PlainTextResponse("ready")


if __name__ == "__main__":
    graphql = Guarded(strawberry.Schema(query=Query))
    app = Starlette(routes=[Route("/ready", ready), WebSocketRoute("/graphql", graphql)])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
