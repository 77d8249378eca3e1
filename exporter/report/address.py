"""A URL as it may be shown: without user, query and fragment, and without what looks like a key in its path.

Providers put API keys into the path of a URL (`/v3/KEY`), where no rule of RFC 3986 tells them from a room's name. The
test is one of shape, and it prefers to hide: an ordinary word, a version and a short number stay, all else that is
long goes.
"""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

ELLIPSIS: Final = "…"
MIN_KEY_LENGTH: Final = 16
MIN_NAMED_KEY_LENGTH: Final = 6
"""Of a part that follows one such as `token` or `apikey`."""
MAX_ODD_CHARACTERS: Final = 4
MAX_SHOWN_DIGITS: Final = 9
"""Characters of a long part that may belong to neither words nor short numbers; digits in it."""
MAX_DECODINGS: Final = 3

WORD: Final = re.compile(
    r"[^\W\d_]?[a-z]{0,23}|[A-Z]{1,15}|[A-Z]?[a-z]{2,}(?:[A-Z][a-z]{2,}){0,5}|[^\W\d_A-Za-z]{1,24}"
)
"""A word in one case, with a capital, or in camel case; or of another alphabet."""
SHORT_NUMBER: Final = re.compile(r"\d{1,8}")
NUMBERED: Final = re.compile(
    r"[A-Z]?[a-z]{1,11}\d{1,4}|[A-Z]{1,8}\d{1,4}|\d{1,4}(?:[a-z]{1,4}|[A-Z]{1,4})|[a-z]{1,2}\d{1,2}[a-z]{1,2}"
)
"""`v3`, `user001`, `10k`, `e2e`."""
BETWEEN: Final = re.compile(r"[-_.~:,+@ ]+")
KEY_NAMES: Final = re.compile(
    r"(?:(?:api|access|auth|app|project|client|secret|private)[-_.]?)?(?:keys?|tokens?|secrets?|passwords?|jwt|bearer)",
    re.IGNORECASE,
)


def public_url(url: str) -> str:
    """Scheme, host, port and path of a URL, with `…` for each part of the path that may be a secret."""
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return "-"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return f"{parts.scheme}://{host}{port}{public_path(parts.path)}"


def public_path(path: str) -> str:
    """The path with `…` for each part that looks like a key."""
    shown, before = [], ""
    for part in path.split("/"):
        shown.append(";".join(_shown(each, before) for each in part.split(";")))
        before = part
    return "/".join(shown)


def _shown(part: str, before: str) -> str:
    """One part of a path, or one of its parameters (RFC 3986 section 3.3): what stands behind `=` is hidden."""
    plain = _decoded(part)
    name, sign, value = plain.partition("=")
    if sign and value.strip("="):
        return ELLIPSIS if _is_key(name) or not KEY_OR_WORD.fullmatch(name) else f"{name}={ELLIPSIS}"
    follows_name = KEY_NAMES.fullmatch(before) is not None
    return ELLIPSIS if any(_is_key(each, named=follows_name) for each in re.split(r"[/;]", plain)) else part


KEY_OR_WORD: Final = re.compile(r"[A-Za-z][\w.-]{0,31}", re.ASCII)


def _decoded(part: str) -> str:
    for _ in range(MAX_DECODINGS):
        plain = unquote(part)
        if plain == part:
            break
        part = plain
    return part


def _is_key(part: str, *, named: bool = False) -> bool:
    """True for what is long, and is not made of words and short numbers."""
    if named and len(part) >= MIN_NAMED_KEY_LENGTH:
        return not WORD.fullmatch(part) or len(part) >= MIN_KEY_LENGTH
    if len(part) < MIN_KEY_LENGTH:
        return False
    pieces = [piece for piece in BETWEEN.split(part) if piece]
    if any(len(piece) >= MIN_KEY_LENGTH and not WORD.fullmatch(piece) for piece in pieces):
        return True
    odd = [piece for piece in pieces if not any(kind.fullmatch(piece) for kind in (WORD, SHORT_NUMBER, NUMBERED))]
    figures = sum(char.isdecimal() for char in part)
    return sum(map(len, odd)) > MAX_ODD_CHARACTERS or figures > MAX_SHOWN_DIGITS
