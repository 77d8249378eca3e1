"""Frameworks and servers that take longer to install or to start, for `make layers`."""

from pathlib import Path

from support.backend_servers import BUILT, HERE, built
from support.layer_servers import REQUESTS, LayerKind, daphne, hypercorn, uvicorn

MORE = BUILT / "layers"
PYTHON = MORE / "python/bin/python"
APPS = HERE / "layers"


def _uvicorn(app):
    return uvicorn("auto", f"layers.{app}:app", PYTHON)


def _hypercorn(app):
    return hypercorn(f"layers.{app}:app", PYTHON)


def _python(name):
    return lambda port, _: [built(PYTHON), str(APPS / f"{name}.py"), str(port)]


def _gunicorn(app, *options):
    def command(port, _):
        return [built(PYTHON), "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *options, app]

    return LayerKind(command, {"recycled": ("--max-requests", REQUESTS), "workers": ()})


def _node(name, *fatal):
    return LayerKind(lambda port, _: ["node", built(MORE / f"node/{name}.mjs"), str(port)], fatal=frozenset(fatal))


def _go(library, *fatal):
    return LayerKind(lambda port, _: [built(MORE / "go/layers"), library, str(port)], fatal=frozenset(fatal))


def _rust(library):
    return LayerKind(lambda port, _: [built(MORE / "rust/debug/layers"), library, str(port)])


def _java(library, *fatal, modes=()):
    def command(port, _):
        places = f"{built(MORE / 'java/classes')}:{MORE}/java/lib/*"
        return ["java", "-XX:TieredStopAtLevel=1", "-cp", places, "Layers", library, str(port)]

    return LayerKind(command, dict(modes), ready=None, fatal=frozenset(fatal))


def _spring(kind):
    def command(port, _):
        places = f"{built(MORE / 'spring/classes')}:{MORE}/spring/lib/*"
        return ["java", "-XX:TieredStopAtLevel=1", "-cp", places, "Spring", kind, str(port)]

    return LayerKind(command, fatal=frozenset({"deaf"}), patience=BUSY_START)


BUSY_START = 120.0
"""Seconds that Spring and Quarkus may take to start on a busy machine."""


def _quarkus(port, _):
    program = built(MORE / "quarkus/target/quarkus-app/quarkus-run.jar")
    return ["java", "-XX:TieredStopAtLevel=1", f"-Dquarkus.http.port={port}", "-jar", program]


def _cowboy():
    """The Cowboy that Debian's RabbitMQ brings. A mode sets after how many milliseconds of a quiet client it closes."""

    def command(port, _):
        places = [*map(str, Path("/usr/lib/rabbitmq/lib").glob("*/plugins/*-*/ebin")), built(MORE / "cowboy")]
        paths = [argument for place in places for argument in ("-pa", place)]
        return ["erl", "-noshell", *paths, "-s", "cowboy_cases", "main", str(port)]

    return LayerKind(command, {"quiet": ("1000",)})


def _uwsgi(*options):
    """Its pings, its limit of whole kilobytes, and how long it waits for a worker that it recycles, are short."""

    def command(port, _):
        program = [built(PYTHON.with_name("uwsgi")), "--master", "--die-on-term", "--need-app", "--disable-logging"]
        bounds = ["--websockets-max-size", "1", "--worker-reload-mercy", "2", "--min-worker-lifetime", "0"]
        return [*program, *bounds, *(option.format(port) for option in options), "--module", "layers.uwsgi_cases"]

    pings = ("--websockets-ping-freq", "1", "--websockets-pong-tolerance", "1")
    return LayerKind(command, {"recycled": ("--max-requests", REQUESTS), "workers": (), "pings": pings})


MORE_SERVERS = {
    "gunicorn-uvicorn": _gunicorn("asgi_cases:app", "--worker-class", "uvicorn_worker.UvicornWorker"),
    "fastapi-uvicorn": _uvicorn("fastapi_cases"),
    "fastapi-hypercorn": _hypercorn("fastapi_cases"),
    "litestar-uvicorn": _uvicorn("litestar_cases"),
    "quart-hypercorn": _hypercorn("quart_cases"),
    "channels-daphne": daphne("layers.channels_cases:app", PYTHON),
    "channels-uvicorn": _uvicorn("channels_cases"),
    "channels-hypercorn": _hypercorn("channels_cases"),
    "blacksheep-uvicorn": _uvicorn("blacksheep_cases"),
    "sanic": LayerKind(_python("sanic_cases"), {"pings": ()}),
    "robyn": LayerKind(_python("robyn_cases")),
    "tornado": LayerKind(_python("tornado_cases"), {"pings": ("pings",)}),
    "flask-sock-gthread": _gunicorn(
        "layers.flask_sock_cases:app", "--worker-class", "gthread", "--threads", "30", "--graceful-timeout", "2"
    ),
    "fastify": _node("fastify", "raises-on-message"),
    "faye": _node("faye", "raises-after", "raises-on-message", "closes-1011"),
    "ws-closes-all": _node("closes"),
    "nest": _node("nest", "raises-after"),
    "gorilla": _go("gorilla"),
    "coder": _go("coder"),
    "gobwas": _go("gobwas"),
    "gws": _go("gws", "raises-after"),
    "axum": _rust("axum"),
    "tungstenite": _rust("tungstenite"),
    "tomcat": _java("tomcat"),
    "jetty": _java("jetty", modes={"quiet": ("1000",)}),
    "jetty-graceful": _java("jetty-graceful"),
    "undertow": _java("undertow", "deaf"),
    "java-websocket": _java("java-websocket", "lacks-a-class", "deaf"),
    "vertx": _java("vertx", "deaf"),
    "uwsgi-gevent": _uwsgi("--http=127.0.0.1:{}", "--http-websockets", "--gevent=30", "--gevent-monkey-patch"),
    "uwsgi-threads": _uwsgi("--http-socket=127.0.0.1:{}", "--threads=30"),
    "spring-tomcat": _spring("servlet"),
    "spring-netty": _spring("reactive"),
    "quarkus": LayerKind(_quarkus, patience=BUSY_START),
    "cowboy": _cowboy(),
}
"""As `layer_servers.SERVERS`."""
