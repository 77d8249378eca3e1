"""Targets on the real backends, and what those saw of a session."""

import json
import urllib.request

from support import harness

KEY = "twenty-bytes-secret."
"""The secret of tests/backends/fastapi_app.py: shorter than RFC 7518 asks."""
ECHO = {"send": {"message": {"id": "${nonce}"}, "match": {"type": "echo", "id": "${nonce}"}}}


def job(url, profile, auth, **changes):
    """The job of one target with this profile and `auth`."""
    target = {
        "name": "real",
        "url": url,
        "profile": "own",
        "interval": "20s",
        "timeout": "10s",
        "identities": {"pool-001": "user-one"},
        "auth": auth,
    }
    return harness.planned({**target, **changes}, profiles={"own": profile}).jobs[0]


def file(folder, content, name="secret"):
    """The path of a file with this content."""
    path = folder / name
    path.write_text(content)
    return str(path)


def seen(url):
    """What the FastAPI backend saw of the last upgrades."""
    with urllib.request.urlopen(url.replace("ws", "http", 1) + "/seen") as answer:
        return json.load(answer)
