"""uWSGI's own WebSockets with the cases of asgi_cases.py: plain WSGI, since frameworks only wrap it.

It has no call that sends a close frame: a handler ends by returning.
"""

import threading
from contextlib import suppress

import uwsgi


def raises_after():
    raise RuntimeError("broken after it accepted")


def raises_on_message():
    uwsgi.websocket_recv()
    raise RuntimeError("broken by a message")


def returns_after():
    pass


def returns_on_message():
    uwsgi.websocket_recv()


def echo():
    while True:
        uwsgi.websocket_send(uwsgi.websocket_recv())


def silent():
    while True:
        uwsgi.websocket_recv()
        print("got", flush=True)


def deaf():
    uwsgi.websocket_recv()
    threading.Event().wait()


SESSIONS = {
    "/raises-after": raises_after,
    "/raises-on-message": raises_on_message,
    "/returns-after": returns_after,
    "/returns-on-message": returns_on_message,
    "/echo": echo,
    "/silent": silent,
    "/deaf": deaf,
}
STATUSES = {"/ready": "200 OK", "/refuses": "403 Forbidden", "/refuses-401": "401 Unauthorized"}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raises-before":
        raise RuntimeError("broken before it accepted")
    if path == "/returns-before":
        return []
    if path not in SESSIONS:
        start_response(STATUSES.get(path, "404 Not Found"), [("Content-Length", "2")])
        return [b"no"]
    uwsgi.websocket_handshake()
    with suppress(OSError):  # the client is gone, or its message is too large: the library says it so
        SESSIONS[path]()
    return []
