"""Servers that take longer to install or to start: RabbitMQ, Centrifugo, Home Assistant …, for `make protocols`."""

import asyncio
import json
import os
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from support.backend_servers import BUILT, HERE, built
from support.protocol_servers import Login, serving
from support.realservers import binary, free_port

MORE = BUILT / "protocols"

RABBITMQ = """
listeners.tcp = none
stomp.listeners.tcp = none
mqtt.listeners.tcp = none
mqtt.allow_anonymous = false
default_user = probe
default_pass = good
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {port}
web_stomp.tcp.ip = 127.0.0.1
web_stomp.tcp.port = {stomp}
web_mqtt.tcp.ip = 127.0.0.1
web_mqtt.tcp.port = {mqtt}
"""
"""No listener but those that are asked for, all on loopback; the page of metrics answers when it is up."""

SLOW_START_SECONDS = 180.0
"""Until RabbitMQ or crossbar is up: on a busy machine they have taken more than the thirty of the others."""

RABBITMQ_COMMAND = 'epmd -address 127.0.0.1 -port "$ERL_EPMD_PORT" & exec /usr/lib/rabbitmq/bin/rabbitmq-server'
"""epmd in the foreground of the server's process group: left to the server it becomes a daemon, and stays."""


def _rabbitmq(chosen, path):
    def server(folder):
        binary("rabbitmq-server", "rabbitmq-server")
        ports = {}

        def command(port):
            ports.update(stomp=free_port(), mqtt=free_port())
            (folder / "rabbitmq.conf").write_text(RABBITMQ.format(port=port, **ports))
            return ["sh", "-c", RABBITMQ_COMMAND]

        (folder / "plugins").write_text("[rabbitmq_web_stomp, rabbitmq_web_mqtt, rabbitmq_prometheus].")
        environment = {
            **os.environ,
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"probe{free_port()}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false",
        }
        options = {"env": environment, "patience": SLOW_START_SECONDS}
        return serving(command, folder, ready="/metrics", port=lambda: ports[chosen], path=path, **options)

    return server


KEYS = (Login("probe", "a signing key of more than thirty-two bytes"), Login("probe", "x" * 32), Login("", ""))
"""Centrifugo looks at signed tokens: what is right or wrong is the key that signed one."""


def _centrifugo(**client):
    def server(folder):
        def command(port):
            config = {
                "http_server": {"address": "127.0.0.1", "port": str(port)},
                "health": {"enabled": True},
                "client": {"token": {"hmac_secret_key": KEYS[0].secret}, **client},
                "log": {"level": "error"},
            }
            (folder / "centrifugo.json").write_text(json.dumps(config))
            return [built(MORE / "centrifugo"), "--config", str(folder / "centrifugo.json")]

        return serving(command, folder, ready="/health", path="/connection/websocket", logins=KEYS)

    return server


pinging_centrifugo = _centrifugo(ping_interval="2s", pong_timeout="1s")
"""Its application pings come each 2 s, not 25; who has not answered one after a second is disconnected."""


APPS = (Login("app-key", ""), Login("", ""), Login("no-key", ""))
"""Nobody logs in to soketi: the URL names an app by its key."""


def _soketi(folder):
    def command(port):
        program = built(MORE / "node/node_modules/@soketi/soketi/bin/server.js")
        return ["env", f"SOKETI_PORT={port}", "node", program, "start"]

    environment = {
        **os.environ,
        "HOME": str(folder),
        "SOKETI_HOST": "127.0.0.1",
        "SOKETI_DEFAULT_APP_KEY": APPS[0].subject,
        "SOKETI_SHUTDOWN_GRACE_PERIOD": "0",
    }
    return serving(command, folder, ready="/", path="/app/app-key?protocol=7", logins=APPS, env=environment)


def _ganache(folder):
    def command(port):
        program = built(MORE / "node/node_modules/ganache/dist/node/cli.js")
        return ["node", program, "--server.host", "127.0.0.1", "--server.port", str(port), "--logging.quiet"]

    return serving(command, folder, ready=None, path="/", env={**os.environ, "HOME": str(folder)})


def _actioncable(folder):
    def command(port):
        return [binary("puma", "puma"), "-b", f"tcp://127.0.0.1:{port}", str(HERE / "protocols/cable.ru")]

    return serving(command, folder, path="/cable", env={**os.environ, "RAILS_ENV": "production"})


PROSODY = """
run_as_root = true
daemonize = false
data_path = "{folder}/data"
certificates = "{folder}"
modules_enabled = {{ "roster", "saslauth", "ping", "websocket" }}
modules_disabled = {{ "s2s", "posix" }}
c2s_ports = {{ }}
http_ports = {{ {port} }}
http_interfaces = {{ "127.0.0.1" }}
https_ports = {{ }}
consider_websocket_secure = true
authentication = "internal_plain"
log = {{ {{ levels = {{ min = "info" }}, to = "console" }} }}
VirtualHost "localhost"
"""


def _prosody(folder):
    program, config = binary("prosody", "prosody"), folder / "prosody.cfg.lua"
    (folder / "data/localhost/accounts").mkdir(parents=True)
    (folder / "data/localhost/accounts/probe.dat").write_text('return { ["password"] = "good" };')

    def command(port):
        config.write_text(PROSODY.format(folder=folder, port=port))
        return [program, "--config", str(config)]

    return serving(command, folder, ready=None, path="/xmpp-websocket")


def _crossbar(folder):
    def command(port):
        ticket = {"type": "static", "principals": {"probe": {"ticket": "good", "role": "user"}}}
        calls = {"uri": "ws_factory_exporter.", "match": "prefix", "allow": {"call": True}}
        roles = [{"name": "user", "permissions": [calls]}]
        transport = {
            "type": "websocket",
            "endpoint": {"type": "tcp", "port": port, "interface": "127.0.0.1"},
            "auth": {"ticket": ticket},
        }
        router = {"type": "router", "realms": [{"name": "realm1", "roles": roles}], "transports": [transport]}
        config = {"version": 2, "controller": {}, "workers": [router]}
        (folder / "config.json").write_text(json.dumps(config))
        return [built(MORE / "crossbar/bin/crossbar"), "start", "--cbdir", str(folder)]

    environment = {**os.environ, "HOME": str(folder)}
    return serving(command, folder, ready=None, path="/", env=environment, patience=SLOW_START_SECONDS)


def _signalr(folder):
    def command(port):
        return [built(MORE / "python/bin/python"), str(HERE / "protocols/signalr_app.py"), str(port)]

    return serving(command, folder, ready=None, path="/hub")


@asynccontextmanager
async def _jupyter(folder):
    """A Jupyter server, and the channels of a kernel that has just been started on it."""

    def command(port):
        program = [
            built(MORE / "python/bin/jupyter-server"),
            "--allow-root",
            "--no-browser",
            "--ServerApp.ip=127.0.0.1",
        ]
        return [*program, f"--ServerApp.port={port}", "--IdentityProvider.token=good", "--ServerApp.port_retries=0"]

    environment = {**os.environ, "HOME": str(folder), "JUPYTER_RUNTIME_DIR": str(folder)}
    async with serving(command, folder, ready="/api", env=environment, cwd=folder) as server:
        url = server.url.replace("ws", "http", 1) + "/api/kernels"
        request = Request(url, b"{}", {"Authorization": "token good", "Content-Type": "application/json"})
        await asyncio.to_thread(lambda: urlopen(request).read())
        yield replace(server, url=server.url + "/api/kernels/${kernel}/channels")


def _log_in(url):
    """The access token of the user `probe`, as a browser gets it: the form of its password, then a code for a token."""

    def post(path, content_type, body):
        with urlopen(Request(url + path, body.encode(), {"Content-Type": content_type})) as response:
            return json.load(response)

    def submit(path, **fields):
        return post(path, "application/json", json.dumps({"client_id": f"{url}/", **fields}))

    flow = submit("/auth/login_flow", handler=["homeassistant", None], redirect_uri=f"{url}/?auth_callback=1")
    code = submit(f"/auth/login_flow/{flow['flow_id']}", username="probe", password="good")["result"]
    form = urlencode({"grant_type": "authorization_code", "code": code, "client_id": f"{url}/"})
    return post("/auth/token", "application/x-www-form-urlencoded", form)["access_token"]


@asynccontextmanager
async def _homeassistant(folder):
    """Home Assistant, whose good login is a token that it has just given."""

    def command(port):
        program = [built(MORE / "homeassistant/bin/python"), str(HERE / "protocols/homeassistant_app.py")]
        return [*program, str(port), str(folder)]

    environment = {**os.environ, "HOME": str(folder)}
    async with serving(command, folder, ready="/auth/providers", env=environment) as server:
        token = await asyncio.to_thread(_log_in, server.url.replace("ws", "http", 1))
        yield replace(server, url=server.url + "/api/websocket", good=Login("probe", token))


SLOW_SERVERS = {
    "rabbitmq-stomp": _rabbitmq("stomp", "/ws"),
    "rabbitmq-mqtt": _rabbitmq("mqtt", "/ws"),
    "centrifugo": _centrifugo(),
    "ganache": _ganache,
    "soketi": _soketi,
    "actioncable": _actioncable,
    "prosody": _prosody,
    "crossbar": _crossbar,
    "signalr": _signalr,
    "jupyter": _jupyter,
    "homeassistant": _homeassistant,
}
"""As `protocol_servers.SERVERS`."""
