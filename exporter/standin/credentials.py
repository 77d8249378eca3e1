"""The credentials of an upgrade request, in the order in which the server looks (docs/backend-protocol.md#connecting).

Rule 1: pure: headers in, values out.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

from exporter.standin import frames

BYPASS_NAMES: Final = ("test", "e2e")
BYPASS_VALUES: Final = frozenset({"true", "1", "staging", "test", "e2e"})
PREVIEW_CHARACTERS: Final = 30
"""Characters of the Authorization header that the error frame shows."""
JWT_PART_COUNT: Final = 3


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """An upgrade request as the backend sees it. Header names are in lower case; `client` is the peer's address."""

    path: str
    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    client: str = ""

    @property
    def bypassed(self) -> bool:
        """True if a header switches the token check off."""
        return any(
            value.strip().lower() in BYPASS_VALUES and any(word in name for word in BYPASS_NAMES)
            for name, value in self.headers.items()
        )

    def token(self) -> str | None:
        """The token: Authorization (case-sensitive `Bearer `), else a `jwt.` subprotocol, else the query."""
        authorization = self.headers.get("authorization", "")
        if authorization.startswith("Bearer ") and authorization[len("Bearer ") :].strip():
            return authorization[len("Bearer ") :].strip()
        return self._offered() or next(iter(parse_qs(self.query).get("token", ())), None)

    def _offered(self) -> str | None:
        offers = (offer.strip() for offer in self.headers.get("sec-websocket-protocol", "").split(","))
        return next((token for offer in offers if offer.startswith("jwt.") and (token := unpadded(offer[4:]))), None)


def unpadded(text: str) -> str | None:
    """The decoded text of base64url without padding; None if it is malformed or empty."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii") or None
    except (binascii.Error, ValueError):
        return None


def well_formed(token: str) -> bool:
    """The format check: three non-empty parts."""
    parts = token.split(".")
    return len(parts) == JWT_PART_COUNT and all(parts)


def unverified_subject(token: str, now: float) -> str:
    """The user of an unverified token: `sub`, `user_id` or `username`, else a name made of the time."""
    claims = _payload(token)
    names = (claims.get(name) for name in ("sub", "user_id", "username"))
    found = next((name for name in names if isinstance(name, str) and name), None)
    return found or f"staging-e2e-user-{int(now) % 1000}"


def _payload(token: str) -> Mapping[str, Any]:
    try:
        claims = json.loads(unpadded(token.split(".")[1]) or "{}")
    except (IndexError, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def refusal(upgrade: UpgradeRequest, code: str, text: str, now: float) -> frames.Frame:
    """The error frame of an auth refusal; it leaks the same parts of the request as the backend's."""
    token = upgrade.token() or ""
    details = {
        "error_code": code,
        "failure_context": {
            "client": upgrade.client,
            "authorization_preview": upgrade.headers.get("authorization", "")[:PREVIEW_CHARACTERS],
            "token_prefix": token[:12],
            "token_suffix": token[-8:],
            "token_length": len(token),
            "environment": frames.ENVIRONMENT,
            "auth_service_url": "http://127.0.0.1:8081",
            "timestamp": frames.iso(now),
        },
    }
    return frames.error(code, text, details, now)
