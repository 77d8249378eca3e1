"""Escapes text of any origin for each format.

A `Result` holds no text of the network but identifiers that passed `evidence_text`, and names come from the config.
These functions do not rely on it: no text breaks a format, colours a terminal or gives a command to a CI.
"""

import re
from collections.abc import Iterable
from typing import Final

WORKFLOW_COMMAND: Final = re.compile(r"^(\s*)[:#](?=:|#\[)")
ESCAPED_COMMAND: Final = r"\1\\"
SAFE_SPAN: Final = re.compile(r"[\w ./:;,=+()-]+", re.ASCII)


def plain(text: str) -> str:
    r"""One line: control characters, line breaks, bidi overrides and surrogates become `\x1b`, `\u202e`.

    Every character left is printable and legal in XML 1.0 (section 2.2).
    """
    return text if text.isprintable() else "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}"  # noqa: PLR2004


def fit(text: str, width: int) -> str:
    """The plain text, cut to `width` characters."""
    text = plain(text)
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def lines(parts: Iterable[str]) -> str:
    """Lines for a terminal, or the log of a CI: none of them gives GitHub a command (`::error`, `##[error]`)."""
    return "".join(f"{WORKFLOW_COMMAND.sub(ESCAPED_COMMAND, part).rstrip()}\n" for part in parts)


def code(text: str) -> str:
    """Markdown code that cannot end early, split a table, mention anybody or become a link (GFM sections 4.10, 6.1)."""
    text = plain(text) or "-"
    if SAFE_SPAN.fullmatch(text) and text.strip():
        return f"`{text}`"
    return "<code>" + "".join(char if char.isalnum() or char == " " else f"&#{ord(char)};" for char in text) + "</code>"


def prose(text: str) -> str:
    r"""A sentence in Markdown: characters with a meaning get a `\` before them."""
    return re.sub(r"([\\`*\[\]<>|#~&@]|\b_|_\b)", r"\\\1", plain(text))


def perf(text: str) -> str:
    """The text of a Nagios line: one line, without the `|` that starts the performance data."""
    return plain(text).replace("|", "/")


def command_data(text: str) -> str:
    """The message of a GitHub workflow command, by the rules of its toolkit: `%`, CR and LF."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def command_property(text: str) -> str:
    """A property of a GitHub workflow command: as its message, and `:` and `,`."""
    return command_data(text).replace(":", "%3A").replace(",", "%2C")
