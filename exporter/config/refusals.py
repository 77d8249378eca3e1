"""Which credentials that must be refused a target can send, and what its fields must agree on for that.

Rule 1: a check yields (path below the target, sentence) pairs, as in `target_checks`.
"""

from collections.abc import Callable, Iterator
from typing import Final

from exporter.config.carrying import MESSAGE_SECRETS, carrier_of, variables_in
from exporter.config.model import Auth, Jwt, Refusals, Target
from exporter.config.profile_checks import Found, framed_problems
from exporter.config.profile_model import Profile
from exporter.result import RefusalCase

HARMLESS_CASES: Final = frozenset({RefusalCase.NO_TOKEN, RefusalCase.MALFORMED})
"""Cases that no login breaker counts, because the backend sees before its login that there is no token to judge."""
MIN_RARE_GAP_SECONDS: Final = 600.0
"""Seconds between two rare cases of a target; the ledger holds the same (`budget.forgeries`)."""
MIN_OPENS_AT: Final = 3
"""A breaker that opens sooner leaves no room for a token that must be refused beside a good one that fails."""


def rare_cases(target: Target) -> tuple[RefusalCase, ...]:
    """Return the cases that a backend may count as failed logins: a malformed password is a wrong one."""
    if target.refusals is None or target.auth is None:
        return ()
    harmless = HARMLESS_CASES if target.auth.jwt is not None else HARMLESS_CASES - {RefusalCase.MALFORMED}
    return tuple(case for case in target.refusals.cases if case not in harmless)


def possible_cases(auth: Auth) -> tuple[RefusalCase, ...]:
    """Return the cases that a source of tokens can produce: a ready token or a secret cannot be made again."""
    if auth.jwt is None or auth.jwt.token_file is not None:
        return tuple(case for case in RefusalCase if case in HARMLESS_CASES)
    has_audience = "aud" in auth.jwt.claims
    return tuple(case for case in RefusalCase if has_audience or case is not RefusalCase.WRONG_AUDIENCE)


def refusal_problems(target: Target, profile: Profile) -> Iterator[Found]:
    """Yield what is wrong with `refusals`; nothing while it is off."""
    if target.refusals is None:
        return
    if target.auth is None:
        yield "refusals", NO_CREDENTIAL
        return
    for check in REFUSAL_CHECKS:
        yield from ((f"refusals{path}", sentence) for path, sentence in check(target, target.refusals, target.auth))
    if RefusalCase.NO_TOKEN in target.refusals.cases and carrier_of(target.auth, profile).by == "message":
        for path, sentence in framed_problems(profile, absent=MESSAGE_SECRETS):
            yield "refusals.cases", f"no_token cannot be sent: without the token {path} of the profile {sentence}"
    if rare_cases(target) and any(breaker.opens_at < MIN_OPENS_AT for breaker in profile.breaker):
        yield "refusals.cases", BREAKER_TOO_TIGHT.format(cases=", ".join(rare_cases(target)))


def _cases(_: Target, refusals: Refusals, auth: Auth) -> Iterator[Found]:
    possible = possible_cases(auth)
    for index, case in enumerate(refusals.cases):
        if case in refusals.cases[:index]:
            yield f".cases[{index}]", f"{case} is there twice: remove one"
        elif case not in possible:
            yield f".cases[{index}]", f"{case} cannot be sent: {_missing(auth, case)}"


def _missing(auth: Auth, case: RefusalCase) -> str:
    if auth.jwt is None:
        return "a secret of auth is sent as it is, and only no_token and malformed can be made instead of it"
    if auth.jwt.token_file is not None:
        return "auth.jwt.token_file holds a ready token, and only a key_file or key_env can sign another one"
    return f"auth.jwt.claims has no aud that {case} could differ from"


def _disabled(target: Target, refusals: Refusals, _: Auth) -> Iterator[Found]:
    wanted = RefusalCase.DISABLED_USER in refusals.cases
    if wanted and refusals.disabled is None:
        yield ".disabled", "is required with the case disabled_user: the subject of a user who is disabled"
    if refusals.disabled is not None and not wanted:
        yield ".disabled", "has no effect without the case disabled_user"
    if refusals.disabled in {*target.identities.values(), *target.check_identities.values()}:
        yield ".disabled", "is a user of the target as well, who must be let in: name another one"


def _times(target: Target, refusals: Refusals, _: Auth) -> Iterator[Found]:
    session = target.timeout + target.close_timeout
    if refusals.every <= session:
        yield ".every", f"{refusals.every:g}s must be more than timeout and close_timeout together, {session:g}s"
    rare = rare_cases(target)
    needed = len(rare) * MIN_RARE_GAP_SECONDS
    if refusals.rare_every < needed:
        yield (
            ".rare_every",
            (
                f"{refusals.rare_every:g}s leaves less than {MIN_RARE_GAP_SECONDS:g}s between two of "
                f"{', '.join(rare)}, which a login breaker may count: at least {needed:g}s for {len(rare)} of them"
            ),
        )


def _bypass(target: Target, _: Refusals, __: Auth) -> Iterator[Found]:
    if target.allow_auth_bypass:
        yield "", "has no meaning with allow_auth_bypass: headers that switch off the token check let everything in"


def _inline(target: Target, _: Refusals, auth: Auth) -> Iterator[Found]:
    claims = auth.jwt.claims if isinstance(auth.jwt, Jwt) else {}
    if RefusalCase.DISABLED_USER in (target.refusals or Refusals()).cases and "alias" in set(variables_in(claims)):
        yield ".cases", "disabled_user has no alias, which a claim of auth.jwt.claims fills in"


REFUSAL_CHECKS: Final[tuple[Callable[[Target, Refusals, Auth], Iterator[Found]], ...]] = (
    _cases,
    _disabled,
    _times,
    _bypass,
    _inline,
)
NO_CREDENTIAL: Final = "needs auth: a target that sends no token has none that could be refused"
BREAKER_TOO_TIGHT: Final = (
    "the profile's breaker opens at the second failed login: {cases} would leave no room for a good token that fails; "
    "ask only what it does not count"
)
