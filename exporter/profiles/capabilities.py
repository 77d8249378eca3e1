"""What a profile can answer, time and count: closed lists that are derived from its data."""

from itertools import compress
from typing import Final

from exporter.config import CloseRule, ErrorRule, NoiseRule, Profile
from exporter.result import Phase, Probe

BINARY_KIND: Final = "binary"
OTHER_KINDS: Final = ("welcome", "foreign_reply", BINARY_KIND, "not_json", "other")
"""Kinds of passed-over messages of every profile: a second welcome, a reply to another session, not text, not a JSON
object, and messages that no rule matches."""


def has_factory(profile: Profile) -> bool:
    """Whether the profile describes something that the server creates for each connection, and how that can fail.

    A welcome that is only awaited does not describe it.
    """
    welcome = profile.welcome
    examines_welcome = welcome is not None and any(
        (
            welcome.required,
            welcome.checks,
            welcome.subject,
            welcome.environment,
            welcome.connection_id,
            welcome.server_time,
        )
    )
    rules: tuple[ErrorRule | CloseRule | NoiseRule, ...] = (*profile.errors, *profile.closes, *profile.noise)
    return examines_welcome or any(rule.factory is not None for rule in rules)


def probes_of(profile: Profile) -> tuple[Probe, ...]:
    """Return the probes that this kind of backend can answer, in order of depth."""
    probes = {
        Probe.CONNECT: True,
        Probe.AUTH: profile.welcome is not None or bool(profile.auth) or profile.auth_by is not None,
        Probe.SEND: bool(profile.send),
    }
    return tuple(probe for probe, is_answerable in probes.items() if is_answerable)


TIMED: Final = tuple(phase for phase in Phase if phase is not Phase.PREPARE)


def proofs_of(profile: Profile) -> dict[Probe, str]:
    """Return what the profile says of each passed probe, where it says anything."""
    return {Probe(name): text for name, text in profile.proves.model_dump().items() if text is not None}


def phases_of(profile: Profile, *, tls: bool) -> tuple[Phase, ...]:
    """Return the timed phases of a full-depth session of this profile."""
    has_phases = profile.welcome is not None, bool(profile.auth), bool(profile.send)
    return tuple(compress(TIMED, (profile.before is not None, True, True, tls, True, *has_phases, True)))


def kinds_of(profile: Profile) -> tuple[str, ...]:
    """Return the closed list of kinds under which passed-over messages are counted."""
    others = [unreadable_kind(profile) if kind == "not_json" else kind for kind in OTHER_KINDS]
    return tuple(dict.fromkeys([*(rule.kind for rule in profile.noise), *others]))


def unreadable_kind(profile: Profile) -> str:
    """Return the kind of text messages that the profile's framing cannot read: `not_json`, `not_stomp`."""
    return f"not_{profile.framing.name}"


MIN_OWN_CODE: Final = 3000
"""From here on a code means what a library or an application says (RFC 6455 section 7.4.2)."""


def own_codes(profile: Profile) -> frozenset[int]:
    """Return the close codes of 3000–4999 that this profile names, each of which is a label value."""
    return frozenset(rule.code for rule in profile.closes if rule.code is not None and rule.code >= MIN_OWN_CODE)
