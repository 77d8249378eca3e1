"""Flask-Sock with the cases of asgi_cases.py, in its own words."""

import threading

from flask import Flask, abort, request
from flask_sock import Sock

app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = {"max_message_size": 1024}
sock = Sock(app)


@app.get("/ready")
def ready():
    return "ready"


@app.before_request
def before_the_accept():
    if request.path == "/raises-before":
        raise RuntimeError("broken before it accepted")
    if request.path in STATUSES:
        abort(STATUSES[request.path])


STATUSES = {"/refuses": 403, "/refuses-401": 401}


@sock.route("/raises-after")
def raises_after(_):
    raise RuntimeError("broken after it accepted")


@sock.route("/raises-401-after")
def raises_401_after(_):
    abort(401)


@sock.route("/raises-on-message")
def raises_on_message(ws):
    ws.receive()
    raise RuntimeError("broken by a message")


@sock.route("/returns-after")
def returns_after(_):
    pass


@sock.route("/returns-on-message")
def returns_on_message(ws):
    ws.receive()


@sock.route("/closes-4401")
def closes_4401(ws):
    ws.close(4401, "bad token")


@sock.route("/closes-1011")
def closes_1011(ws):
    ws.receive()
    ws.close(1011, "broken")


@sock.route("/echo")
def echo(ws):
    while True:
        ws.send(ws.receive())


@sock.route("/silent")
def silent(ws):
    while ws.receive():
        print("got", flush=True)


@sock.route("/deaf")
def deaf(ws):
    ws.receive()
    threading.Event().wait()
