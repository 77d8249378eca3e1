"""A URL is shown without its secrets, in every form that a report takes, on the page and in the log."""

import base64
import random
import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import report_cases as cases

from exporter import log
from exporter.report import FORMATS, SERIES_FORMATS, public_url

KEY = "9f3a2b1c4d5e6f708192a3b4c5d6e7f8"

READABLE = [
    "wss://api.example.com/v3/ws",
    "wss://api.example.com/realtime/echo",
    "wss://api.example.com/socket.io/",
    "wss://api.example.com/api/kernels/channels",
    "wss://api.example.com/appsync-realtime-api/graphqlSubscriptionsEndpoint",
    "wss://api.example.com/staging-e2e-user-001/ws",
    "wss://api.example.com/ocpp/CP-4711-berlin-mitte",
    "wss://api.example.com/feed/2024-01-15",
    "wss://api.example.com/token/refresh",
    "wss://api.example.com/benachrichtigungen/größe",
    "ws://[2001:db8::1]:80/",
]


@pytest.mark.parametrize("url", READABLE)
def test_words_versions_and_short_numbers_are_readable(url):
    """Nothing of an ordinary path is hidden: it is what one compares with the backend's routes."""
    assert public_url(url) == url


SECRET = {
    f"wss://h/v3/{KEY}": "wss://h/v3/…",
    f"wss://h/{KEY}/ws?x=1": "wss://h/…/ws",
    "wss://h/ws/6f1d0f3e-8a57-4b8e-9d0e-2f6a1f0c9a11": "wss://h/ws/…",
    "wss://h/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.abcDEF/ws": "wss://h/…/ws",
    "wss://h/bot123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11/ws": "wss://h/…/ws",
    "wss://h/ws;token=abc;v=2": "wss://h/ws;token=…;v=…",
    "wss://h/apikey=hunter2/ws": "wss://h/apikey=…/ws",
    "wss://h/YWJjZGVmZ2hpamtsbW4=": "wss://h/…",
    "wss://h/token/abc123d/ws": "wss://h/token/…/ws",
    "wss://h/%39%66%33%61%32%62%31%63%34%64%35%65%36%66": "wss://h/%39%66%33%61%32%62%31%63%34%64%35%65%36%66",
    "wss://h/%39%66%33%61%32%62%31%63%34%64%35%65%36%66%37%30": "wss://h/…",
    f"wss://h/a%2F{KEY}": "wss://h/…",
    f"wss://h/a%252F{KEY}": "wss://h/…",
    f"wss://{KEY}:{KEY}@h/ws#{KEY}": "wss://h/ws",
}


@pytest.mark.parametrize(("url", "shown"), SECRET.items())
def test_what_looks_like_a_key_is_hidden(url, shown):
    """Long hex, UUIDs, JWTs, base64, parameters and percent-encoded forms; fourteen characters are a short name."""
    assert public_url(url) == shown


def base64url(rng):
    return base64.urlsafe_b64encode(rng.randbytes(rng.randrange(18, 48))).rstrip(b"=").decode()


def drawn_from(letters):
    return lambda rng: "".join(rng.choice(letters) for _ in range(rng.randrange(16, 64)))


MAKERS = [
    base64url,
    drawn_from(string.hexdigits.lower()),
    drawn_from(string.ascii_letters + string.digits),
    drawn_from(string.ascii_lowercase + string.digits),
    drawn_from(string.ascii_uppercase + "234567"),
    lambda rng: "".join(f"%{ord(char):02x}" for char in base64url(rng)),
]


def is_mixed(key):
    return any(map(str.isdigit, key)) and any(map(str.isalpha, key))


@given(st.integers(), st.sampled_from(MAKERS), st.sampled_from(READABLE), st.sampled_from(["/{}", "/{}/ws", "/x;k={}"]))
def test_no_random_key_is_shown(seed, maker, url, place):
    """Wherever a key of letters and digits stands in a path, nothing of it is shown, and the rest is."""
    key = maker(random.Random(seed))
    if not is_mixed(key):
        return
    shown = public_url(url.rstrip("/") + place.format(key))

    assert key not in shown
    assert shown == url.rstrip("/") + place.format("…")


@pytest.mark.parametrize("output", FORMATS)
def test_no_format_shows_the_key_of_a_path(output):
    """What a check shows of its target's URL comes from `public_url` in every format, of one check and of a series."""
    checked = replace(cases.checked(cases.PASSED), url=public_url(f"wss://h/v3/{KEY}"))

    assert KEY not in FORMATS[output](checked, cases.VIEW)
    assert KEY not in SERIES_FORMATS[output](replace(cases.ONE_SHAPE, report=checked), cases.VIEW, None)


@pytest.mark.parametrize("url", SECRET)
def test_the_log_hides_the_same(url):
    """A URL that reaches a logger loses user, password and keys, whichever rule sees them; the words around it stay."""
    line = log.redact(f'connecting to "{url}" failed')

    assert KEY not in line.partition("#")[0]
    assert "hunter2" not in line
    assert "abc123d" not in line
    assert line.startswith('connecting to "wss://h')
    assert line.endswith('" failed')


@pytest.mark.parametrize("url", READABLE)
def test_the_log_keeps_what_is_no_secret(url):
    """A path of words reaches the log as it is."""
    assert log.redact(f"url={url}") == f"url={url}"
