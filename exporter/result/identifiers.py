"""Which texts from the network may be shown at all: identifiers of a few safe characters."""

import re
from typing import Final

IDENTIFIER: Final = re.compile(r"[\w.:-]{1,64}", re.ASCII)


def evidence_text(value: object) -> str | None:
    """Return an identifier from the network that may be shown: at most 64 of `A-Z a-z 0-9 . _ : -`; else None.

    An integer is accepted as its decimal text.
    """
    text = str(value) if type(value) is int and abs(value) < MAX_NUMERIC_IDENTIFIER else value
    return text if isinstance(text, str) and IDENTIFIER.fullmatch(text) else None


MAX_NUMERIC_IDENTIFIER: Final = 10**63
"""From here on an integer has more digits than an identifier has characters."""

KEY_NAME: Final = re.compile(r"\w{1,24}", re.ASCII)
MAX_KEYS: Final = 8


def key_name(value: object) -> str | None:
    """Return the name of a message's field that may be shown: at most 24 letters, digits and `_`; else None."""
    return value if isinstance(value, str) and KEY_NAME.fullmatch(value) else None
