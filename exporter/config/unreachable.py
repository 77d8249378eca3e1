"""Rules of a profile that can never apply: no mistake that keeps a file from being used, but not what was meant.

Rule 1: only what is certain by the patterns alone is said; two regular expressions are compared as far as they are
plain text.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from exporter.config.profile_checks import Found, covers, steps_of
from exporter.config.profile_model import CloseRule, ErrorRule, Profile

LITERAL_PATTERN = re.compile(r"(\^?)([^\\.^$*+?{}\[\]|()]*)(\$?)")
"""A regular expression without special characters but the anchors at its ends."""


WELCOME_MATCH: Final = "welcome.match"


def unreachable_rules(profile: Profile) -> Iterator[Found]:
    """Yield the path of each rule that never applies, and a sentence that names the rule before it."""
    for check in CHECKS:
        yield from check(profile)


def _named_by_match(profile: Profile) -> Iterator[Found]:
    """A message that `match` itself asks for is a reply, even if an error rule matches it."""
    for place, wanted in _wanted(profile):
        for path, pattern in _error_patterns(profile):
            if covers(pattern, wanted):
                yield path, f"never applies to what {place} takes: that pattern names such frames itself"


def _wanted(profile: Profile) -> Iterator[tuple[str, Any]]:
    if profile.welcome is not None:
        yield WELCOME_MATCH, profile.welcome.match
    yield from ((f"{path}.match", step.match) for path, step in steps_of(profile) if step.match is not None)


def _error_patterns(profile: Profile) -> Iterator[tuple[str, Any]]:
    if profile.error is not None:
        yield "error", profile.error
    yield from ((f"errors[{index}].match", rule.match) for index, rule in enumerate(profile.errors) if not rule.text)


def _later_errors(profile: Profile) -> Iterator[Found]:
    yield from _later("errors", profile.errors, _takes_all_errors)


def _later_closes(profile: Profile) -> Iterator[Found]:
    yield from _later("closes", profile.closes, _takes_all_closes)


def _later(field: str, rules: Sequence[Any], takes_all: Callable[[Any, Any], bool]) -> Iterator[Found]:
    for index, rule in enumerate(rules):
        earlier = next((number for number in range(index) if takes_all(rules[number], rule)), None)
        if earlier is not None:
            yield (
                f"{field}[{index}]",
                f"never applies: {field}[{earlier}] takes all that it would; put it before that one",
            )


def _takes_all_errors(first: ErrorRule, second: ErrorRule) -> bool:
    texts = all(path in second.text and _finds_all(text, second.text[path]) for path, text in first.text.items())
    return texts and covers(first.match, second.match)


def _takes_all_closes(first: CloseRule, second: CloseRule) -> bool:
    return first.code in (None, second.code) and _finds_all(first.text, second.text)


def _finds_all(first: str, second: str) -> bool:
    """Whether the first expression is found in every text in which the second is."""
    plain, special = LITERAL_PATTERN.fullmatch(first), LITERAL_PATTERN.fullmatch(second)
    if first in ("", second) or plain is None or special is None:
        return first in ("", second)
    (begins, word, ends), (begins_too, longer, ends_too) = plain.groups(), special.groups()
    if begins and ends:
        return False
    if begins:
        return bool(begins_too) and longer.startswith(word)
    return bool(ends_too) and longer.endswith(word) if ends else word in longer


def _hidden_noise(profile: Profile) -> Iterator[Found]:
    before = [*_error_patterns(profile)]
    if profile.welcome is not None:
        before.append((WELCOME_MATCH, profile.welcome.match))
    for index, rule in enumerate(profile.noise):
        taker = next((path for path, pattern in before if covers(pattern, rule.match)), None)
        if taker == WELCOME_MATCH:
            yield f"noise[{index}]", f"applies to a second welcome alone: the first is taken by {WELCOME_MATCH}"
        elif taker is not None:
            yield f"noise[{index}]", f"never applies: {taker} takes all such messages first"
        if rule.match != {}:  # else it takes one message, and no pattern means that one alone
            before.append((f"noise[{index}]", rule.match))


CHECKS: Final[tuple[Callable[[Profile], Iterator[Found]], ...]] = (
    _named_by_match,
    _later_errors,
    _later_closes,
    _hidden_noise,
)
