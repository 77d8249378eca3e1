"""The messages of one session: what is sent, and what an arriving one is."""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from exporter.config import ErrorRule, NoiseRule, Pattern, Profile, Step, covers, leave_out
from exporter.profiles.capabilities import unreadable_kind
from exporter.profiles.heartbeats import agreed_seconds
from exporter.profiles.patterns import Values, fill, lookup, matches, matches_noise, resembles, variables
from exporter.profiles.rules import first_match, sort_error
from exporter.result import evidence_text


def _shown_words(pattern: Any) -> Iterator[str]:
    """Yield the words and numbers in a pattern of the config that may be shown."""
    if isinstance(pattern, dict):
        for inner in pattern.values():
            yield from _shown_words(inner)
        return
    word = evidence_text(str(pattern) if type(pattern) is int else pattern)
    if word is not None:
        yield word


class BoundStep(NamedTuple):
    """A step with the values of one session.

    message: what to send, None for nothing
    match: what its answer contains, None if nothing is awaited
    expect: what a good answer also contains
    """

    message: Any
    match: Pattern | None
    expect: Pattern


MIN_SECRET_CHARACTERS: Final = 8
"""Characters from which a kept value is looked for within a longer text: a short number is in many."""
OPTIONAL_VARIABLES: Final = frozenset({"identity", "token", "basic", "plain"})
"""Of a target with an identity and a token alone."""


def _variables_of_steps(profile: Profile) -> set[str]:
    steps = (*profile.auth, *profile.send)
    return {name for step in steps for part in (step.message, step.match, step.expect) for name in variables(part)}


class MessageMatcher:
    """Recognises messages by a profile; made once for all sessions of a target.

    Every message is checked for an error frame. A rule whose match includes the profile's `error` adds nothing to that
    check, so only the other rules are tried.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.codec = profile.framing.codec
        self.unreadable_kind = unreadable_kind(profile)
        self.optional_variables = OPTIONAL_VARIABLES & _variables_of_steps(profile)
        error_pattern = profile.error
        self._rules_beside_error = [
            rule for rule in profile.errors if error_pattern is None or not matches(error_pattern, rule.match)
        ]

    def is_welcome(self, message: Any) -> bool:
        """Whether the message is the welcome."""
        return self.profile.welcome is not None and matches(self.profile.welcome.match, message)

    def is_error(self, message: Any) -> bool:
        """Whether the message is an error frame, known to a rule or not."""
        error_pattern = self.profile.error
        return (error_pattern is not None and matches(error_pattern, message)) or first_match(
            self._rules_beside_error, message
        ) is not None

    def refuses(self, message: Any, match: Pattern) -> bool:
        """Whether the message is an error frame, even if it contains the awaited `match`, unless `match` names it."""
        if not self.is_error(message):
            return False
        error_pattern = self.profile.error
        if error_pattern is not None and matches(error_pattern, message) and not covers(error_pattern, match):
            return True
        unnamed = [rule for rule in self.profile.errors if rule.text or not covers(rule.match, match)]
        return first_match(unnamed, message) is not None

    def sorts(self, message: Any) -> bool:
        """Whether an error rule matches the message."""
        return sort_error(self.profile, message) is not None

    def error_word(self, message: Any) -> str | None:
        """Return the profile's word for an error frame (`FACTORY_INIT_FAILED`); None if no rule matches."""
        rule_match = sort_error(self.profile, message)
        if rule_match is None or not isinstance(rule_match.rule, ErrorRule):
            return None
        common = set(_shown_words(self.profile.error))
        return next((word for word in _shown_words(rule_match.rule.match) if word not in common), None)

    def noise(self, message: Any) -> NoiseRule | None:
        """Return the rule under which a message is passed over."""
        return next((rule for rule in self.profile.noise if matches_noise(rule.match, message)), None)

    def kind(self, message: Any) -> str:
        """Return the kind under which a message is counted that no noise rule matches."""
        if self.is_welcome(message):
            return "welcome"
        send = self.profile.send
        is_foreign = bool(send) and resembles(send[-1].match, message)
        return "foreign_reply" if is_foreign else "other"


MAX_KEPT_CHARACTERS: Final = 1_000
"""A longer text of a server is not kept: it is an id, a challenge or a name that is sent back."""

PRINTABLE: Final = re.compile(r"[^\x00-\x1f\x7f]*")


class SessionMessages:
    """A profile with one session's values: what to send, and the matcher of what arrives.

    `values`: of `nonce`, and of `identity`, `token`, `basic` and `plain` if the target has them; a field with one that
    is absent is left out. What a step keeps is added. Kept values are text of the network: they are sent back to the
    server that sent them, and are in no result, log or label.
    `heartbeat`: milliseconds between two heartbeats that the session announces; 0: it will send none.
    `server_heartbeat`: seconds between two of the server's, as its last reply says that says anything of them.
    """

    def __init__(self, reader: MessageMatcher, values: Values, heartbeat: int = 0) -> None:
        self.reader = reader
        self.profile = reader.profile
        self.server_heartbeat: float | None = None
        self._announced_heartbeat = heartbeat
        self._values: dict[str, str | int | float] = {**values, "heartbeat": heartbeat}
        self._absent = reader.optional_variables - values.keys()
        self._kept_before: set[str] = set()

    def bind(self, step: Step) -> BoundStep:
        """Return a step of the profile with this session's values, those kept so far included."""
        parts = [step.message, step.match, step.expect]
        if self._absent:
            parts = [leave_out(part, self._absent) for part in parts]
        message, match, expect = (None if part is None else fill(part, self._values) for part in parts)
        return BoundStep(message, match, expect)

    def renew_nonce(self, nonce: str) -> None:
        """Let the steps that are bound from now on have another nonce."""
        self._values["nonce"] = nonce

    def bye(self) -> Any:
        """Return the last message of the session; None if there is none, or if it needs a value that was never kept."""
        return self._filled(self.profile.bye)

    def heartbeat(self) -> Any:
        """Return what a held connection sends in silence; None as of `bye`."""
        heartbeat = self.profile.heartbeat
        return None if heartbeat is None else self._filled(heartbeat.message)

    def _filled(self, message: Any) -> Any:
        if message is None or not {*self._values, "number"} >= set(variables(message)):
            return None
        return fill(message, self._values)

    def add_values(self, values: Values) -> None:
        """Add values that were kept before the upgrade, for all messages."""
        self._values.update(values)
        self._kept_before.update(map(str, values.values()))

    def is_kept(self, text: str | None) -> bool:
        """Whether a text of the server is, or holds, a value kept before the upgrade: those are secrets."""
        return text is not None and any(
            kept == text or (len(kept) >= MIN_SECRET_CHARACTERS and kept in text) for kept in self._kept_before
        )

    def keep(self, step: Step, message: Any) -> bool:
        """Keep what the step wants of its answer; False if a field is absent or no value that can be sent back."""
        for name, path in step.keep.items():
            value = lookup(message, path)
            if not _can_be_kept(value):
                return False
            self._values[name] = value
        agreed = agreed_seconds(self.profile.heartbeat, message, self._announced_heartbeat)
        self.server_heartbeat = self.server_heartbeat if agreed is None else agreed
        return True


def _can_be_kept(value: Any) -> bool:
    """Whether a server's value may be sent back: a number, or a short text without control characters."""
    if isinstance(value, str):
        return len(value) <= MAX_KEPT_CHARACTERS and PRINTABLE.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)
