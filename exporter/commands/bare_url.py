"""`check --url`: builds the config of one target from a URL and the name of a built-in profile."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from exporter.catalog import CATALOG
from exporter.commands.terminal import UsageError
from exporter.config import needs_token
from exporter.loading import ConfigLoadError, LoadedConfig, checked

DEFAULT_PROFILE: Final = "plain"
"""The profile that only opens and closes a WebSocket: it fits every server and sends no message."""

INVALID_NAME_CHARACTERS: Final = re.compile(r"[^A-Za-z0-9_.:-]+")
MAX_NAME_CHARACTERS: Final = 63
FIRST_TARGET_URL: Final = re.compile(r"targets\[0\] \([^)]*\)\.url: ")


def config_of_url(url: str, profile: str | None, *, flag: str = "--url") -> LoadedConfig:
    """The config and plan of a URL; raises UsageError if the URL cannot be probed or the profile cannot be used.

    Without a profile, the session opens and closes and sends no message. `flag`: what names the URL in a sentence.
    """
    usable = ", ".join(name for name, each in CATALOG.items() if not needs_token(each))
    if profile is not None and profile not in CATALOG:
        raise UsageError(f"--profile: is not built in; --url takes {usable}, or none to open and close a WebSocket")
    if profile is not None and needs_token(CATALOG[profile]):
        raise UsageError(
            f"--profile: {profile} logs in with a token, which a URL alone does not have: write a config, whose target "
            f"names the token's file; --url takes {usable}"
        )
    target = {"name": _name(url), "url": url, "profile": profile or DEFAULT_PROFILE}
    raw = {"targets": [target], **({} if profile else {"profiles": {DEFAULT_PROFILE: {}}})}
    try:
        return checked(raw, Path(flag))
    except ConfigLoadError as error:
        raise UsageError(*(FIRST_TARGET_URL.sub("", sentence) for sentence in error.sentences)) from None


def _name(url: str) -> str:
    """The name of the target: its host."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""
    return INVALID_NAME_CHARACTERS.sub("-", host).lstrip(".:-")[:MAX_NAME_CHARACTERS] or "url"
