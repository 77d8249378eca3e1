"""What answered, where the configuration says otherwise (`server`, `behind`)."""

from collections.abc import Iterator, Mapping
from typing import Final

from exporter.report.programs import named_server
from exporter.report.situation import TargetContext
from exporter.result import PROXIES, Result, Software

_PYTHON_SERVERS: Final = frozenset(
    {
        Software.UVICORN,
        Software.GUNICORN,
        Software.HYPERCORN,
        Software.DAPHNE,
        Software.GRANIAN,
        Software.AIOHTTP,
        Software.TORNADO,
        Software.SANIC,
        Software.WERKZEUG,
        Software.WEBSOCKETS,
    }
)
_ANY_HOST: Final = _PYTHON_SERVERS | {Software.FASTIFY, Software.NODE, Software.WS}

HOSTS: Final[Mapping[Software, frozenset[Software]]] = {
    Software.GUNICORN: frozenset({Software.UVICORN, Software.AIOHTTP, Software.TORNADO, Software.WERKZEUG}),
    Software.UVICORN: frozenset({Software.GUNICORN, Software.WEBSOCKETS}),
    Software.AIOHTTP: frozenset({Software.GUNICORN}),
    Software.TORNADO: frozenset({Software.GUNICORN}),
    Software.SANIC: frozenset({Software.GUNICORN, Software.UVICORN, Software.WEBSOCKETS}),
    Software.WEBSOCKETS: frozenset({Software.UVICORN, Software.SANIC}),
    Software.FLASK_SOCK: frozenset({Software.GUNICORN, Software.WERKZEUG}),
    Software.SOCKETIO: _ANY_HOST,
    Software.GRAPHQL_WS: _ANY_HOST,
    Software.NODE: frozenset({Software.FASTIFY, Software.WS}),
    Software.WS: frozenset({Software.FASTIFY, Software.NODE}),
    Software.NEST: frozenset({Software.FASTIFY, Software.NODE, Software.WS, Software.SOCKETIO}),
    Software.FASTIFY: frozenset({Software.NODE, Software.WS}),
    Software.SPRING: frozenset({Software.TOMCAT, Software.JETTY, Software.UNDERTOW}),
    Software.QUARKUS: frozenset({Software.VERTX}),
}
"""By what the config names: programs that may answer in its place, because they run it, or run in it."""


def contradictions(result: Result, context: TargetContext) -> Iterator[str]:
    """A sentence if a proxy answered that is not in a `behind` that is set, or a server other than `server`."""
    strangers = _strange_proxies(result, context)
    said = {f"`behind: [{', '.join(context.behind)}]`": " and ".join(strangers)} if strangers else {}
    expected, answered = context.server, named_server(result)
    if expected is not None and answered is not None and answered not in (expected, *HOSTS.get(expected, ())):
        said[f"`server: {expected}`"] = str(answered)
    if said:
        yield f"The config says {' and '.join(said)}, and {' and '.join(said.values())} answered."


def _strange_proxies(result: Result, context: TargetContext) -> list[str]:
    seen = dict.fromkeys((*result.via, result.answered_by))
    return (
        [program for program in seen if program in PROXIES and program not in context.behind] if context.behind else []
    )
