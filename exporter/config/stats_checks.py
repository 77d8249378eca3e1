"""What the figures of a target's backend need: an address at the target's own host, few fields, and a user it has.

Rule 1: as of `target_checks`.
"""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from exporter.config.model import Stats, Target
from exporter.config.profile_checks import Found

MAX_FIGURES: Final = 16
"""Figures of a target, each of which is two series."""
OTHER_HOST: Final = (
    "must be at the host of url: a token, the trust of tls and the connects a minute are that host's alone"
)


def stats_faults(target: Target) -> Iterator[Found]:
    """Yield what is wrong with `stats`; nothing while it is off."""
    if target.stats is not None:
        yield from ((f"stats.{path}", sentence) for path, sentence in _faults(target, target.stats))


def _faults(target: Target, stats: Stats) -> Iterator[Found]:
    if _host(stats.url) is None or _host(stats.url) != _host(target.url):
        yield "url", OTHER_HOST
    if stats.identity is not None and target.url.lower().startswith("wss:") and not stats.url.startswith("https:"):
        yield "url", "is not encrypted, but the url is, and a token is sent: write https://"
    if stats.every <= target.timeout:
        yield "every", f"{stats.every:g}s must be more than timeout {target.timeout:g}s"
    if not 0 < len(stats.fields) <= MAX_FIGURES:
        yield "fields", f"must be 1 to {MAX_FIGURES}: each one is a series of its own"
    yield from (
        (f"limits.{name}", "is the limit of no figure: fields has no such name")
        for name in stats.limits
        if name not in stats.fields
    )
    if stats.identity is not None and target.auth is None:
        yield "identity", "needs auth: without it there is no token to send"
    elif stats.identity is not None and stats.identity not in target.identities:
        yield "identity", "must be an alias of identities"


def _host(url: str) -> str | None:
    """Return the host, if the url can be read and connected to."""
    try:
        parts = urlsplit(url)
        return None if parts.port == 0 or parts.hostname is None else parts.hostname.removesuffix(".")
    except ValueError:
        return None
