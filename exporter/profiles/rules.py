"""The rule that sorts an error frame or a close frame, and the numbers in its text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from exporter.config import CloseRule, ErrorRule, Profile, StatusRule, regex
from exporter.profiles.patterns import lookup, matches

MAX_MATCHED_CHARACTERS: Final = 2_000
"""Characters of a server's text that a rule examines."""

MAX_LIMIT_FIGURE: Final = 1_000_000
"""A greater number in a server's text is ignored."""


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """A rule that matched, its path in the profile, and the numbers in its groups: slots permitted, seconds to wait."""

    rule: ErrorRule | CloseRule
    path: str = ""
    limit: int | None = None
    retry_after: float | None = None


def _limit_numbers(matched: Iterable[Mapping[str, str | None]]) -> dict[str, Any]:
    texts = {name: text for groups in matched for name, text in groups.items() if text and text.isdecimal()}
    named = {name: int(text) for name, text in texts.items() if int(text) <= MAX_LIMIT_FIGURE}
    return {"limit": named.get("limit") or None, "retry_after": named.get("retry_after")}


def sort_error(profile: Profile, frame: Any) -> RuleMatch | None:
    """Return the first error rule that matches an error frame."""
    found = first_match(profile.errors, frame)
    if found is None:
        return None
    index = next(index for index, rule in enumerate(profile.errors) if rule is found.rule)
    return replace(found, path=f"errors[{index}]")


def first_match(rules: Sequence[ErrorRule], frame: Any) -> RuleMatch | None:
    """Return the first of these rules that matches an error frame, without its path."""
    for rule in rules:
        if not matches(rule.match, frame):
            continue
        texts = ((regex(pattern), lookup(frame, path)) for path, pattern in rule.text.items())
        matched = [
            expression.search(text[:MAX_MATCHED_CHARACTERS]) if isinstance(text, str) else None
            for expression, text in texts
        ]
        if None not in matched:
            return RuleMatch(rule, **_limit_numbers([groups for groups in matched if groups]))
    return None


def sort_close(profile: Profile, code: int, text: str) -> RuleMatch | None:
    """Return the first close rule that matches a close frame of the server."""
    for index, rule in enumerate(profile.closes):
        if rule.code not in (None, code):  # first: a search costs as much as all comparisons
            continue
        matched = regex(rule.text).search(text[:MAX_MATCHED_CHARACTERS])
        if matched is not None:
            return RuleMatch(rule, f"closes[{index}]", **_limit_numbers([matched]))
    return None


def sort_status(profile: Profile, status: int | None) -> tuple[str, StatusRule] | None:
    """Return the status rule for an HTTP answer to the upgrade, after its path in the profile."""
    rules = enumerate(profile.statuses)
    return next(((f"statuses[{index}]", rule) for index, rule in rules if rule.status == status), None)


def causes_of(profile: Profile) -> dict[str, str]:
    """Return what the profile says of its rules, by their paths: `closes[0]` and the like."""
    tables: dict[str, Sequence[ErrorRule | CloseRule | StatusRule]] = {
        "errors": profile.errors,
        "closes": profile.closes,
        "statuses": profile.statuses,
    }
    return {
        f"{name}[{index}]": rule.cause
        for name, rules in tables.items()
        for index, rule in enumerate(rules)
        if rule.cause is not None
    }
