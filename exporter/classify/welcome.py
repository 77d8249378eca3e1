"""The welcome: the evidence in it, and the first thing that is wrong with it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from exporter.classify.context import ClassifyContext
from exporter.classify.replay import WelcomeReplayDetector
from exporter.config import Profile, Welcome
from exporter.profiles import lookup, matches
from exporter.result import Evidence, FactoryReason, Phase, SessionObservation, evidence_text


def examine_welcome(observation: SessionObservation, context: ClassifyContext) -> tuple[Evidence, FactoryReason | None]:
    """Return the evidence in the welcome and its first error, and record the welcome in the replay detector."""
    rules, welcome = context.profile.welcome, observation.welcome
    if rules is None or welcome is None:
        return _connection_evidence(observation), None
    welcome_at = context.started_at + observation.marks.get(Phase.ADMISSION, 0.0)
    server_time = unix_time(_field(welcome, rules.server_time))
    evidence = replace(
        _connection_evidence(observation),
        connection_id=evidence_text(_field(welcome, rules.connection_id)),
        server_time=server_time,
        clock_skew=None if server_time is None else server_time - welcome_at,
        heartbeat_interval=_number(_field(welcome, rules.heartbeat_interval)),
        max_message_size=_number(_field(welcome, rules.max_message_size)),
    )
    # The replay detector records every welcome, even one with another error.
    replays = tuple(_replay_errors(rules, welcome, context.replay_detector, server_time, welcome_at))
    errors = chain(
        _welcome_errors(rules, welcome, context, server_time),
        replays,
        _reported_errors(rules, observation, context.profile),
    )
    return evidence, next(errors, None)


def _connection_evidence(observation: SessionObservation) -> Evidence:
    """Return the evidence of every session, whatever its profile."""
    end = observation.certificate_end
    return Evidence(
        certificate_expiry=None if end is None else end.at,
        certificate_place=None if end is None else end.place,
        address=observation.address,
        address_number=observation.address_number,
        addresses=observation.addresses,
        failed_addresses=observation.failed_addresses,
    )


def _welcome_errors(
    rules: Welcome, welcome: Any, context: ClassifyContext, server_time: float | None
) -> Iterator[FactoryReason]:
    """Yield what contradicts the profile, gravest first: another user, a malformed welcome, another environment."""
    subject = _identifier(_field(welcome, rules.subject))
    if context.subject is not None and subject not in (None, context.subject):
        yield FactoryReason.USER_MISMATCH
    if not _is_well_formed(rules, welcome, context, server_time):
        yield FactoryReason.INVALID_WELCOME
    environment = _identifier(_field(welcome, rules.environment))
    if rules.environment and context.environment is not None and environment != context.environment:
        yield FactoryReason.ENVIRONMENT_MISMATCH


def _replay_errors(
    rules: Welcome, welcome: Any, memory: WelcomeReplayDetector, server_time: float | None, welcome_at: float
) -> Iterator[FactoryReason]:
    """Record the welcome in the replay detector; yield what a live server does not repeat."""
    frozen = server_time is not None and memory.is_frozen_time(server_time, welcome_at)
    connection_id = _identifier(_field(welcome, rules.connection_id))
    if connection_id is not None and memory.is_repeated_id(connection_id, welcome_at):
        yield FactoryReason.DUPLICATE_CONNECTION_ID
    if frozen:
        yield FactoryReason.FROZEN_TIME


def _reported_errors(rules: Welcome, observation: SessionObservation, profile: Profile) -> Iterator[FactoryReason]:
    """Yield what the server itself reports: in a notice before the welcome, then in the welcome."""
    notice = notice_reason(observation, profile, despite_welcome=True)
    if notice is not None:
        yield notice
    yield from (
        check.factory for check in rules.checks if not matches(check.equals, lookup(observation.welcome, check.field))
    )


def _is_well_formed(rules: Welcome, welcome: Any, context: ClassifyContext, server_time: float | None) -> bool:
    """Whether all required fields are present, the subject too if it is known, and each field has its type."""
    subject_path = [rules.subject] if rules.subject and context.subject is not None else []
    is_complete = all(lookup(welcome, path) is not None for path in (*rules.required, *subject_path))
    identifiers = [_field(welcome, path) for path in (rules.subject, rules.connection_id, rules.environment)]
    has_identifiers = all(value is None or _identifier(value) is not None for value in identifiers)
    has_time = _field(welcome, rules.server_time) is None or server_time is not None
    return is_complete and has_identifiers and has_time


def _identifier(value: Any) -> str | None:
    """Return an identifier as text, an integer in decimal; None if the value is neither text nor integer."""
    return str(value) if type(value) is int or (isinstance(value, str) and value) else None


def _field(welcome: Any, path: str | None) -> Any:
    return lookup(welcome, path) if path else None


def _number(value: Any) -> float | None:
    """Return a finite non-negative number, else None: the server's JSON may hold anything, even `1e999`."""
    is_valid = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15  # noqa: PLR2004
    return float(value) if is_valid else None


def unix_time(value: Any) -> float | None:
    """Return the unix seconds of an ISO 8601 text (UTC if it names no zone) or of a number; None if it is neither."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value[:64])
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    return _number(value)


def notice_reason(
    observation: SessionObservation, profile: Profile, *, despite_welcome: bool = False
) -> FactoryReason | None:
    """Return the problem that a notice reports; `despite_welcome`: only one that a later welcome does not cancel."""
    if not observation.notices:
        return None
    rules = {rule.kind: rule for rule in profile.noise if rule.factory and (rule.fails_welcome or not despite_welcome)}
    return next((rules[kind].factory for kind in observation.notices if kind in rules), None)
