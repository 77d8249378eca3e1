"""Causes by what the factory of the server did wrong; most of them end with close code 1011."""

from collections.abc import Container
from typing import Final

from exporter.report.causes import Alert, Cause
from exporter.report.situation import SituationFact
from exporter.result import FactoryReason

RESTART_CODES: Final = (1001, 1012)
OVERLOAD_CODES: Final = (1013,)

_VALIDATION: Final = Alert.FACTORY_VALIDATION_FAILING


def _factory(
    factory: FactoryReason,
    sentence: str,
    next_step: str,
    alert: Alert = _VALIDATION,
    codes: Container[int] | None = None,
    *,
    given: tuple[SituationFact, ...] = (),
) -> Cause:
    return Cause(sentence, alert, next_step, factory=factory, codes=codes, given=given)


REFUSED_CAUSES: Final = (
    _factory(
        FactoryReason.SLOT_LIMIT,
        "This user is refused one more connection: by the backend's count {slots} are held. Neither the login nor our "
        "message is to blame: the backend keeps the slot of every past connection for a while, however cleanly it "
        "closed.",
        "Let the identity rest for {slot_release}, then check again; find who else connects as this user. A "
        "restart frees all slots at once; a higher limit only delays the next refusal.",
        Alert.FACTORY_SLOTS_EXHAUSTED,
    ),
    _factory(
        FactoryReason.INIT_FAILED,
        "The backend could not create what it needs for this user's connection, and not for want of slots. The login "
        "is not to blame.",
        "Read the backend's log at this second for the exception; check a second identity: one user, or all?",
    ),
    _factory(
        FactoryReason.STARTUP_INCOMPLETE,
        "The backend says that its own start-up is not complete.",
        "Look at /health (details.phase) and at the time of the last deploy; minutes after it, a dependency is "
        "missing.",
    ),
    _factory(
        FactoryReason.INTERNAL_ERROR,
        "The server closed with 1011 (internal error) {instead}, without an error frame and without a word about "
        "the token{unhandled}.",
        "Check an identity of another name shape: if one shape alone fails, a user-id check refuses it. If all "
        "fail, read the backend's log at this second; just after a deploy, look for a missing service.",
    ),
)

WELCOME_CAUSES: Final = (
    Cause(
        "We were welcomed as another user, and the target asks the backend to skip the login: it may have made one up.",
        _VALIDATION,
        "Remove the header that asks for the bypass (`allow_auth_bypass`), then check again: with a verified login "
        "another user's welcome is a leak of data.",
        factory=FactoryReason.USER_MISMATCH,
        given=(SituationFact.BYPASS,),
    ),
    _factory(
        FactoryReason.USER_MISMATCH,
        "We were welcomed as SOMEBODY ELSE: the connection was given another user's context.",
        "Treat it as a leak of data between users: keep this result, tell the backend's owner now, stop the deploy.",
    ),
    _factory(
        FactoryReason.ENVIRONMENT_MISMATCH,
        "We were welcomed by another environment than the one this target names.",
        "Compare the target's `environment` with where its DNS name and load balancer lead now.",
    ),
    _factory(
        FactoryReason.DUPLICATE_CONNECTION_ID,
        "The welcome carries a connection id that an earlier session had: contexts are shared, or the answer is "
        "canned.",
        "Look for a cache or mock in front of the backend, then for a context that is reused between connections.",
    ),
    _factory(
        FactoryReason.FROZEN_TIME,
        "The welcome repeats the server time of one 2 s ago or longer: a canned answer, or a clock that stands still.",
        "Look for a cache or mock in front of the backend, then at the clock of its instances.",
    ),
    _factory(
        FactoryReason.NOT_READY,
        "We were welcomed, but the server says itself that the connection is not ready.",
        "Send by hand on a fresh connection: if replies come, the flag is wrong; if not, read the backend's log.",
    ),
    _factory(
        FactoryReason.FACTORY_DISABLED,
        "We were welcomed by a server that runs without its factory: users may share one context.",
        "Look at the last deploy's configuration for the switch of the factory pattern.",
    ),
    _factory(
        FactoryReason.DEGRADED,
        "The server says that it runs degraded: fallback handlers may answer for services that are missing.",
        "See which dependencies the backend lacks (its log, /health), and whether real work is done for users.",
    ),
    _factory(
        FactoryReason.INVALID_WELCOME,
        "The welcome lacks a field that it must have, or has one of the wrong kind.",
        "Compare the welcome with the profile's `required` fields: a release changed its shape, or the context is "
        "broken.",
    ),
)

UNNAMED_CAUSES: Final = (
    _factory(
        FactoryReason.OTHER,
        "The server closed with {code} {instead}, and no rule of the profile says why.",
        "{event_steps}",
        Alert.SERVER_RESTARTING,
        RESTART_CODES,
        given=(SituationFact.NOT_ONLY_STOPPING,),
    ),
    _factory(
        FactoryReason.OTHER,
        "The server was being stopped or recycled: it closed with {code} {instead}.",
        "Look for a deploy, a scale-in or worker recycling at this second; a few are normal, three in 15 min are not.",
        Alert.SERVER_RESTARTING,
        RESTART_CODES,
    ),
    _factory(
        FactoryReason.OTHER,
        "The server turned us away as overloaded or not available for now: it closed with {code} {instead}.",
        "Look at the backend's load and dependencies.",
        codes=OVERLOAD_CODES,
    ),
    _factory(
        FactoryReason.OTHER,
        "The server closed with {code} {instead}, for a reason that no rule of the profile knows.",
        "Read the backend's log at this second. If the reason text is a new one, add a rule to the profile.",
        codes=range(1000, 5000),
    ),
    _factory(
        FactoryReason.OTHER,
        "The server said that something is wrong {instead}: an error or recovery frame, and no close.",
        "Read the backend's log at this second; such a connection may stay open and answer nothing.",
    ),
)

FACTORY_CAUSES: Final = (*REFUSED_CAUSES, *WELCOME_CAUSES, *UNNAMED_CAUSES)
