"""The built-in profiles as data, and the pure functions that interpret a profile.

Rule 1: everything special about one backend is in its entry and nowhere else, its close reasons and codes too.
Rule 2: a function here takes a profile and a JSON value and knows no socket, no time and no verdict.

`built_in` the profiles that are written in Python · `capabilities` what a profile can answer, time and count ·
`before` the request before the upgrade · `patterns` templates and patterns · `rules` which rule sorts an error or a
close · `heartbeats` what both sides announce of theirs · `messages` those of one session.
"""

from exporter.profiles.before import (
    UnfitValueError,
    fill_headers,
    fill_resource,
    fill_subprotocols,
    kept_values,
    texts_at_kept,
)
from exporter.profiles.built_in import BUILT_IN, ECHO, FACTORY
from exporter.profiles.capabilities import (
    BINARY_KIND,
    OTHER_KINDS,
    TIMED,
    has_factory,
    kinds_of,
    own_codes,
    phases_of,
    probes_of,
    proofs_of,
    unreadable_kind,
)
from exporter.profiles.heartbeats import announced_milliseconds, read_interval
from exporter.profiles.messages import BoundStep, MessageMatcher, SessionMessages
from exporter.profiles.patterns import (
    ANY_VALUE,
    Values,
    fill,
    lookup,
    matches,
    matches_noise,
    number_of,
    resembles,
    variables,
)
from exporter.profiles.rules import MAX_MATCHED_CHARACTERS, RuleMatch, causes_of, sort_close, sort_error, sort_status

__all__ = [
    "ANY_VALUE",
    "BINARY_KIND",
    "BUILT_IN",
    "ECHO",
    "FACTORY",
    "MAX_MATCHED_CHARACTERS",
    "OTHER_KINDS",
    "TIMED",
    "BoundStep",
    "MessageMatcher",
    "RuleMatch",
    "SessionMessages",
    "UnfitValueError",
    "Values",
    "announced_milliseconds",
    "causes_of",
    "fill",
    "fill_headers",
    "fill_resource",
    "fill_subprotocols",
    "has_factory",
    "kept_values",
    "kinds_of",
    "lookup",
    "matches",
    "matches_noise",
    "number_of",
    "own_codes",
    "phases_of",
    "probes_of",
    "proofs_of",
    "read_interval",
    "resembles",
    "sort_close",
    "sort_error",
    "sort_status",
    "texts_at_kept",
    "unreadable_kind",
    "variables",
]
