"""Warnings and notes on a valid config: at the start, at each reload, and by `--config.check`.

Rule 1: a check is a function that yields (path, sentence) pairs of one job, listed in `JOB_WARNINGS` or `JOB_NOTES`.
Rule 2: a warning is logged at every start; a note is printed only by `--config.check`.
"""

from collections.abc import Callable, Iterator, Sequence
from math import floor
from typing import Final

from exporter.config import Problem, Profile, has_token_step, steps_of, unreachable_rules
from exporter.plan.canary import canary_pace
from exporter.plan.detection import detection_text
from exporter.plan.job import Job

SHORT_RELEASE_FRACTION: Final = 0.5
"""A slot_release below this fraction of the profile's figure is probably a mistake."""
SWITCHES: Final = ("factory", "test", "e2e", "bot", "monitor", "health", "probe")
"""Words in a User-Agent that make backends switch to another behaviour."""
CREDENTIAL_NAMES: Final = ("cookie", "api-key", "apikey", "token", "secret", "password", "session")
"""Parts of a header's name that show that its value is a credential."""
Found = tuple[str, str]


def plan_warnings(jobs: Sequence[Job]) -> Iterator[Problem]:
    """Yield the warnings of a plan, in the order of its targets, then those of each used profile once."""
    for index, job in enumerate(jobs):
        for check in JOB_WARNINGS:
            yield from _located(index, job, check(job))
    for name, profile in {job.target.profile: job.profile for job in jobs}.items():
        for path, sentence in (*unreachable_rules(profile), *_plain_text(profile), *_clear_credential_before(profile)):
            yield Problem(f"profiles.{name}.{path}", sentence)


def plan_notes(jobs: Sequence[Job]) -> Iterator[Problem]:
    """Yield the notes for `--config.check`; a note on several targets is one line."""
    found: dict[Found, list[str]] = {}
    for check in JOB_NOTES:
        for index, job in enumerate(jobs):
            for note in check(job):
                found.setdefault(note, []).append(f"targets[{index}] ({job.name})")
    for (path, sentence), places in found.items():
        more = f" and of {len(places) - 1} more" if len(places) > 1 else ""
        yield Problem(f"{places[0]}.{path}{more}", sentence)


def _located(index: int, job: Job, found: Iterator[Found]) -> Iterator[Problem]:
    for path, sentence in found:
        yield Problem(f"targets[{index}] ({job.name}).{path}", sentence)


IN_ACCESS_LOGS: Final = (
    "query puts the token into the access logs of the backend and of every proxy before it: use header, subprotocol or "
    "message if the backend takes one of them"
)
IN_CLEAR: Final = (
    "looks like a credential that stands in the config: put it into a file (auth.secret_file) and let auth.carry name "
    "the header"
)

IN_CLEAR_BEFORE: Final = (
    "looks like a credential that stands in the config: put it into a file (auth.secret_file of the target) and write "
    "${token} here"
)


def _query(job: Job) -> Iterator[Found]:
    if job.carrier is not None and job.carrier.by == "query":
        yield "auth.carry", IN_ACCESS_LOGS


def _both_ways(job: Job) -> Iterator[Found]:
    if job.carrier is not None and job.carrier.in_upgrade and has_token_step(job.profile):
        sentence = f"{job.carrier.by} sends the token a second time: a message of the profile holds it too"
        yield "auth.carry", f"{sentence}; carry: message sends it there only"


def _clear_credential(job: Job) -> Iterator[Found]:
    for name, value in job.target.headers.items():
        if _names_credential(name) and "${" not in value:
            yield f"headers.{name}", IN_CLEAR


def _names_credential(header: str) -> bool:
    return any(word in header.lower() for word in CREDENTIAL_NAMES)


def _clear_credential_before(profile: Profile) -> Iterator[Found]:
    """A credential written into the request before the upgrade, in a header that holds no variable."""
    for name, value in profile.before.headers.items() if profile.before is not None else ():
        if _names_credential(name) and "${" not in value:
            yield f"before.headers.{name}", IN_CLEAR_BEFORE


def _short_release(job: Job) -> Iterator[Found]:
    own, known = job.target.limits.slot_release, job.profile.limits.slot_release
    if own is not None and own < SHORT_RELEASE_FRACTION * known:
        yield "limits.slot_release", SHORT_RELEASE.format(own=own, known=known, profile=job.target.profile)


SHORT_RELEASE: Final = (
    "{own:g}s is far below the {known:g}s after which backends of profile {profile} release a slot: if this one takes "
    "as long, the schedule holds more slots than the plan says"
)


def _plain_text(profile: Profile) -> Iterator[Found]:
    """A message that is a text is sent as JSON, in quotes."""
    for path, step in steps_of(profile) if profile.framing.name == "json" else ():
        if isinstance(step.message, str):
            yield f"{path}.message", "is sent as JSON, in quotes: for plain text set framing: text"


ANY_ANSWER: Final = (
    "any message that matches is a login that passed, an error with the same id too: say what a good answer holds, "
    'such as expect: {result: "${any}"}, or how an error looks (error, errors)'
)


def _any_answer(job: Job) -> Iterator[Found]:
    """A login that any response passes, with a protocol whose errors are not described either."""
    profile = job.profile
    open_ended = bool(profile.auth) and all(step.expect == "${any}" for step in profile.auth)
    if open_ended and profile.error is None and not profile.errors:
        yield "profile", f"{job.target.profile}.auth has no expect: {ANY_ANSWER}"


def _assumed_profile(job: Job) -> Iterator[Found]:
    if "profile" not in job.target.model_fields_set:
        yield "profile", f"{job.target.profile} was assumed: the target names none"


def _distinguishing_headers(job: Job) -> Iterator[Found]:
    """Headers by which a backend may treat the exporter differently from its users."""
    named = {name.lower(): value for name, value in job.target.headers.items()}
    own_headers = [f"{name} (from headers)" for name in job.target.headers if name.lower() in ("user-agent", "origin")]
    missing = [name for name in ("User-Agent", "Origin") if name.lower() not in named]
    words = [word for word in SWITCHES if word in named.get("user-agent", "").lower()]
    sentence = "a backend may treat a session by what these say: "
    sentence += ", ".join([*own_headers, *(DEFAULT_HEADER_TEXTS[name] for name in missing)])
    if words:
        sentence += f"; the User-Agent holds `{words[0]}`, a word by which backends switch to another behaviour"
    yield "headers", sentence


def _detection(job: Job) -> Iterator[Found]:
    yield "interval", detection_text(job)


def _late_canary(job: Job) -> Iterator[Found]:
    """A canary that connects less often than a user of the pool may be the second to see a leak (docs/canary.md)."""
    canary, pace = job.target.canary, canary_pace(job)
    if canary is None or pace is None or not job.slot_pattern.slot_cycles:
        return
    of_a_user = job.interval * len(job.users) * job.slot_pattern.period / len(job.slot_pattern.slot_cycles)
    longest = floor(pace.connects * of_a_user)
    if pace.length <= longest < canary.every:
        yield (
            "canary.every",
            LATE_CANARY.format(pool=3600 / of_a_user, canary=3600 * pace.connects / canary.every, longest=longest),
        )


LATE_CANARY: Final = (
    "a user of the pool connects {pool:.0f} times an hour, the canary {canary:.0f} times: behind a balancer without "
    "affinity the user may be refused before the canary sees the leak; with every {longest}s it connects as often"
)
DEFAULT_HEADER_TEXTS: Final = {
    "User-Agent": "User-Agent (the exporter's own)",
    "Origin": "no Origin, which browsers send",
}

JOB_WARNINGS: Final[tuple[Callable[[Job], Iterator[Found]], ...]] = (
    _query,
    _both_ways,
    _clear_credential,
    _short_release,
)
JOB_NOTES: Final[tuple[Callable[[Job], Iterator[Found]], ...]] = (
    _assumed_profile,
    _any_answer,
    _distinguishing_headers,
    _detection,
    _late_canary,
)
