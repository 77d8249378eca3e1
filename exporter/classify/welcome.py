"""The welcome: what it tells, and the first thing that is wrong with it."""

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


def examine(facts: SessionObservation, case: ClassifyContext) -> tuple[Evidence, FactoryReason | None]:
    """What the welcome tells and the first thing that is wrong with it. The memory is told of the welcome."""
    rules, welcome = case.profile.welcome, facts.welcome
    if rules is None or welcome is None:
        return _of_wire(facts), None
    arrived = case.started_at + facts.marks.get(Phase.ADMISSION, 0.0)
    server_time = unix_time(_field(welcome, rules.server_time))
    evidence = replace(
        _of_wire(facts),
        connection_id=evidence_text(_field(welcome, rules.connection_id)),
        server_time=server_time,
        clock_skew=None if server_time is None else server_time - arrived,
        heartbeat_interval=_number(_field(welcome, rules.heartbeat_interval)),
        max_message_size=_number(_field(welcome, rules.max_message_size)),
    )
    remembered = tuple(_repetitions(rules, welcome, case.memory, server_time, arrived))  # told, whatever else is wrong
    misfits, own = _misfits(rules, welcome, case, server_time), _own_word(rules, facts, case.profile)
    return evidence, next(chain(misfits, remembered, own), None)


def _of_wire(facts: SessionObservation) -> Evidence:
    """What every session tells, whatever the profile."""
    end = facts.certificate_end
    return Evidence(
        certificate_expiry=None if end is None else end.at,
        certificate_place=None if end is None else end.place,
        address=facts.address,
        address_number=facts.address_number,
        addresses=facts.addresses,
        failed_addresses=facts.failed_addresses,
    )


def _misfits(rules: Welcome, welcome: Any, case: ClassifyContext, server_time: float | None) -> Iterator[FactoryReason]:
    """Another user's context, gravest of all; no sound one; another environment's."""
    subject = _identifier(_field(welcome, rules.subject))
    if case.subject is not None and subject not in (None, case.subject):
        yield FactoryReason.USER_MISMATCH
    if not _well_formed(rules, welcome, case, server_time):
        yield FactoryReason.INVALID_WELCOME
    environment = _identifier(_field(welcome, rules.environment))
    if rules.environment and case.environment is not None and environment != case.environment:
        yield FactoryReason.ENVIRONMENT_MISMATCH


def _repetitions(
    rules: Welcome, welcome: Any, memory: WelcomeReplayDetector, server_time: float | None, arrived: float
) -> Iterator[FactoryReason]:
    """What a live server would not say twice; the memory is told of this welcome."""
    frozen = server_time is not None and memory.frozen(server_time, arrived)
    connection_id = _identifier(_field(welcome, rules.connection_id))
    if connection_id is not None and memory.repeats(connection_id, arrived):
        yield FactoryReason.DUPLICATE_CONNECTION_ID
    if frozen:
        yield FactoryReason.FROZEN_TIME


def _own_word(rules: Welcome, facts: SessionObservation, profile: Profile) -> Iterator[FactoryReason]:
    """What the server itself says is wrong: by a notice before the welcome, then in the welcome."""
    notice = by_notice(facts, profile, despite_welcome=True)
    if notice is not None:
        yield notice
    yield from (
        check.factory for check in rules.checks if not matches(check.equals, lookup(facts.welcome, check.field))
    )


def _well_formed(rules: Welcome, welcome: Any, case: ClassifyContext, server_time: float | None) -> bool:
    """True if what must be there is, our subject above all, and each field is of its kind."""
    ours = [rules.subject] if rules.subject and case.subject is not None else []
    there = all(lookup(welcome, path) is not None for path in (*rules.required, *ours))
    told = [_field(welcome, path) for path in (rules.subject, rules.connection_id, rules.environment)]
    texts = all(value is None or _identifier(value) is not None for value in told)
    times = _field(welcome, rules.server_time) is None or server_time is not None
    return there and texts and times


def _identifier(value: Any) -> str | None:
    """The text of an identifier, a whole number's decimal one; None for what is none."""
    return str(value) if type(value) is int or (isinstance(value, str) and value) else None


def _field(welcome: Any, path: str | None) -> Any:
    return lookup(welcome, path) if path else None


def _number(value: Any) -> float | None:
    """A finite non-negative figure, or None: JSON of a stranger may hold anything, `1e999` too."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15  # noqa: PLR2004
    return float(value) if good else None


def unix_time(value: Any) -> float | None:
    """Unix seconds of an ISO 8601 text (UTC if it names no zone) or a number; None if it is neither."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value[:64])
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    return _number(value)


def by_notice(facts: SessionObservation, profile: Profile, *, despite_welcome: bool = False) -> FactoryReason | None:
    """What a notice of the session says is wrong; `despite_welcome`: only what a welcome does not mend."""
    if not facts.notices:
        return None
    rules = {rule.kind: rule for rule in profile.noise if rule.factory and (rule.fails_welcome or not despite_welcome)}
    return next((rules[kind].factory for kind in facts.notices if kind in rules), None)
