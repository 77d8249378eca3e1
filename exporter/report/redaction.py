"""What may be shown of a URL and of a user's name.

A URL is shown without user, query and fragment, and without parts of its path that look like a key: providers put API
keys into the path (`/v3/KEY`), where RFC 3986 does not distinguish them from names. The test goes by shape, and in
doubt it hides: words, versions and short numbers stay, every other long part becomes `…`.
A user's name is shown only as its shape: backends have refused whole shapes of user ids
(docs/backend-protocol.md#incidents, 22).
"""

import re
from itertools import islice, pairwise
from typing import Final
from urllib.parse import unquote, urlsplit

ELLIPSIS: Final = "…"
MIN_KEY_LENGTH: Final = 16
MIN_NAMED_KEY_LENGTH: Final = 6
"""The same for a part that follows one such as `token` or `apikey`."""
MAX_ODD_CHARACTERS: Final = 4
"""Characters of a long part that may stand outside of words and short numbers."""
MAX_SHOWN_DIGITS: Final = 9
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
SEPARATORS: Final = re.compile(r"[-_.~:,+@ ]+")
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
    parts = path.split("/")
    return "/".join(
        ";".join(_public_part(parameter, previous) for parameter in part.split(";"))
        for previous, part in pairwise(["", *parts])
    )


def _public_part(part: str, previous: str) -> str:
    """One part of a path, or one of its parameters (RFC 3986 section 3.3), whose value is hidden."""
    plain = _decoded(part)
    name, sign, value = plain.partition("=")
    if sign and value.strip("="):
        return ELLIPSIS if _is_key(name) or not PARAMETER_NAME.fullmatch(name) else f"{name}={ELLIPSIS}"
    follows_name = KEY_NAMES.fullmatch(previous) is not None
    return ELLIPSIS if any(_is_key(piece, named=follows_name) for piece in re.split(r"[/;]", plain)) else part


PARAMETER_NAME: Final = re.compile(r"[A-Za-z][\w.-]{0,31}", re.ASCII)


def _decoded(part: str) -> str:
    for _ in range(MAX_DECODINGS):
        plain = unquote(part)
        if plain == part:
            break
        part = plain
    return part


def _is_key(part: str, *, named: bool = False) -> bool:
    """True for a long part that is not made of words and short numbers. `named`: a word like `token` comes before."""
    if named and len(part) >= MIN_NAMED_KEY_LENGTH:
        return not WORD.fullmatch(part) or len(part) >= MIN_KEY_LENGTH
    if len(part) < MIN_KEY_LENGTH:
        return False
    pieces = [piece for piece in SEPARATORS.split(part) if piece]
    if any(len(piece) >= MIN_KEY_LENGTH and not WORD.fullmatch(piece) for piece in pieces):
        return True
    odd = [piece for piece in pieces if not any(kind.fullmatch(piece) for kind in (WORD, SHORT_NUMBER, NUMBERED))]
    digits = sum(char.isdecimal() for char in part)
    return sum(map(len, odd)) > MAX_ODD_CHARACTERS or digits > MAX_SHOWN_DIGITS


SHAPES: Final = (
    ("uuid", re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE | re.ASCII)),
    ("number", re.compile(r"\d+", re.ASCII)),
    ("e-mail", re.compile(r"[^@\s]+@[^@\s]+")),
)
NAME_PART: Final = re.compile(r"[A-Za-z]+(?![A-Za-z0-9])|[0-9]+(?![A-Za-z0-9])|[A-Za-z0-9]+|[^A-Za-z0-9]")
MAX_NAME_PARTS: Final = 12


def name_shape(subject: str) -> str:
    """`uuid`, `number`, `e-mail`, or its parts: `staging-e2e-user-001` is `word-mixed-word-number`."""
    shape = next((name for name, pattern in SHAPES if pattern.fullmatch(subject)), None)
    parts = islice(NAME_PART.finditer(subject), MAX_NAME_PARTS)
    return shape or "".join(_part_shape(match[0]) for match in parts) or "empty"


def _part_shape(text: str) -> str:
    if text.isascii() and text.isalpha():
        return "word"
    if text.isascii() and text.isdigit():
        return "number"
    return "mixed" if text.isalnum() and text.isascii() else text if text in "-_.:@ " else "?"
