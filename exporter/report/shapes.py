"""The shape of a user's name: backends have refused whole shapes of user ids (docs/backend-protocol.md#incidents, 22).

A subject stands in no report; its shape does.
"""

import re
from typing import Final

_KNOWN: Final = (
    ("uuid", re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE | re.ASCII)),
    ("number", re.compile(r"\d+", re.ASCII)),
    ("e-mail", re.compile(r"[^@\s]+@[^@\s]+")),
)
_PART: Final = re.compile(r"[A-Za-z]+(?![A-Za-z0-9])|[0-9]+(?![A-Za-z0-9])|[A-Za-z0-9]+|[^A-Za-z0-9]")
MAX_PARTS: Final = 12


def name_shape(subject: str) -> str:
    """`uuid`, `number`, `e-mail`, or its parts: `staging-e2e-user-001` is `word-mixed-word-number`."""
    known = next((name for name, pattern in _KNOWN if pattern.fullmatch(subject)), None)
    return known or "".join(_part(found[0]) for found in list(_PART.finditer(subject))[:MAX_PARTS]) or "empty"


def _part(text: str) -> str:
    if text.isascii() and text.isalpha():
        return "word"
    if text.isascii() and text.isdigit():
        return "number"
    return "mixed" if text.isalnum() and text.isascii() else text if text in "-_.:@ " else "?"
