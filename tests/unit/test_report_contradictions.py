"""What answered beside what the config says: a note only where the two cannot both be right."""

from dataclasses import replace

import pytest
from support import report_cases as cases

from exporter.report import UNKNOWN_CONTEXT, explain
from exporter.report.contradictions import contradictions
from exporter.result import Software


def answered(by=None, *via):
    """A healthy session whose 101 named these."""
    return replace(cases.PASSED, answered_by=by, via=via)


NGINX, HAPROXY, CLOUDFLARE = Software.NGINX, Software.HAPROXY, Software.CLOUDFLARE

NOTES = [
    ({"server": "granian"}, answered(Software.UVICORN), "The config says `server: granian`, and uvicorn answered."),
    ({"behind": ["nginx"]}, answered(HAPROXY), "The config says `behind: [nginx]`, and haproxy answered."),
    (
        {"behind": ["nginx"]},
        answered(Software.BACKEND, CLOUDFLARE, NGINX),
        "The config says `behind: [nginx]`, and cloudflare answered.",
    ),
    (
        {"behind": ["nginx", "haproxy"]},
        answered(Software.ENVOY, CLOUDFLARE),
        "The config says `behind: [nginx, haproxy]`, and cloudflare and envoy answered.",
    ),
    (
        {"behind": ["nginx"], "server": "jetty"},
        answered(Software.AIOHTTP, HAPROXY),
        "The config says `behind: [nginx]` and `server: jetty`, and haproxy and aiohttp answered.",
    ),
]

AGREEING = [
    ({}, answered(Software.UVICORN, NGINX)),
    ({"server": "gunicorn"}, answered(Software.UVICORN)),
    ({"server": "uvicorn"}, answered(Software.GUNICORN)),
    ({"server": "graphql-ws"}, answered(Software.WS)),
    ({"server": "flask-sock"}, answered(Software.WERKZEUG)),
    ({"server": "socketio"}, answered(Software.AIOHTTP)),
    ({"server": "uvicorn"}, answered(Software.BACKEND, NGINX)),
    ({"server": "uvicorn"}, answered(NGINX)),
    ({"server": "uvicorn"}, answered()),
    ({"server": "uvicorn"}, answered(Software.UVICORN, NGINX)),
    ({"behind": ["cloudflare", "nginx"]}, answered(Software.UVICORN, NGINX)),
    ({"behind": ["nginx"]}, answered(Software.UVICORN)),
]


@pytest.mark.parametrize(("settings", "result", "note"), NOTES, ids=range(len(NOTES)))
def test_what_contradicts_the_config_is_said(settings, result, note):
    """The setting, and who answered in its place, in one sentence."""
    assert list(contradictions(result, cases.context("echo", **settings))) == [note]
    assert note in explain(result, cases.context("echo", **settings)).sentence


@pytest.mark.parametrize(("settings", "result"), AGREEING, ids=range(len(AGREEING)))
def test_what_can_be_as_the_config_says_is_not(settings, result):
    """Workers of gunicorn, libraries in a server, answers that do not name a server, `behind` that is not set."""
    assert list(contradictions(result, cases.context("echo", **settings))) == []
    assert list(contradictions(result, UNKNOWN_CONTEXT)) == []
