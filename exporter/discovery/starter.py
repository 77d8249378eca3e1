"""The config to begin with: one target, commented, and nothing in it that was not seen or asked for."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.config import Profile, needs_token
from exporter.discovery.recognisers import Candidates, Recognised
from exporter.result import Software

INTERVAL: Final = "30s"
TIMEOUT: Final = "10s"
ALIAS: Final = "probe-1"
SUBJECT: Final = "probe-user"
"""Stands for the test user if no subject is given."""
OWN_PROFILE: Final = "my-backend"
EXAMPLE_SERVER: Final = Software.UVICORN
EXAMPLE_PROXIES: Final = (Software.NGINX,)
MAX_COMMENT_COLUMNS: Final = 108
MAX_LISTED_SHAPES_COUNT: Final = 8

SKELETON: Final = """\
welcome:                 # what the server sends to say that you are let in; remove it if it sends nothing by itself
  match: {type: hello}
auth:                    # the login by a message; remove it if the token travels in a header
  message: {type: login, token: "${token}"}
  match: {type: login_ok}
send:                    # a message whose reply holds its nonce, and that starts no work
  message: {type: ping, id: "${nonce}"}
  match: {type: pong, id: "${nonce}"}
noise:                   # what else may arrive
  - {type: presence}
error: {type: error}     # what every error message contains
errors:
  - {match: {code: bad_token}, reason: auth_rejected}
closes:
  - {code: 4001, reason: auth_rejected}
"""


@dataclass(frozen=True, slots=True)
class Starter:
    """What the config is made of.

    name: of the target
    recognised: the protocols that fit, the surest first
    candidates: profiles that come into question where none fits
    profile: the built-in profile of the first of them that has one
    shapes: the server's messages as keys and types
    subprotocol: the one that the server chose
    refused_status: of an upgrade that was refused for want of a token (401, 403); None: it was not
    subject: of the test user
    token_file: the path of the file with its token, as it is to stand in the config
    server, proxies: what the backend's answers name, see `BackendEvidence`
    """

    url: str
    name: str
    recognised: Sequence[Recognised] = ()
    profile: Profile | None = None
    shapes: Sequence[str] = ()
    subprotocol: str | None = None
    refused_status: int | None = None
    subject: str | None = None
    token_file: str | None = None
    server: Software | None = None
    proxies: Sequence[Software] = ()
    candidates: Candidates | None = None

    @property
    def profile_name(self) -> str | None:
        """The name of the built-in profile that fits best."""
        return next((one.profile for one in self.recognised if one.profile is not None), None)

    @property
    def lacks_token(self) -> bool:
        """Whether the profile cannot be used because there is no token."""
        return self.profile is not None and needs_token(self.profile) and self.token_file is None

    @property
    def used_profile(self) -> str:
        """The name of the profile that the target gets."""
        if self.profile_name is None:
            return OWN_PROFILE
        return f"{self.profile_name}-connect" if self.lacks_token else self.profile_name


def starter_config(starter: Starter) -> str:
    """Return the text of a config with one target."""
    return "\n".join([*_head(starter), *_profiles(starter), *_target(starter), *_limits()]) + "\n"


def _head(starter: Starter) -> Iterator[str]:
    yield from _comment("Written by `ws-factory-exporter init`. docs/configuration.md has every setting.")
    yield "#"
    if not starter.recognised:
        yield from _comment(
            "The protocol was not recognised: with this config, a session opens and closes a WebSocket, and no more."
        )
    if not starter.recognised and starter.candidates is not None:
        yield from _comment(f"Seen: {starter.candidates.advice}")
    for number, one in enumerate(starter.recognised):
        reasons = ", and ".join(one.sentences)
        word = "Recognised" if number == 0 else "This fits as well"
        built_in = f"profile {one.profile}" if one.profile else "no profile is built in"
        yield from _comment(f"{word}: {one.protocol} ({built_in}), because {reasons}.")
    yield ""


def _profiles(starter: Starter) -> Iterator[str]:
    """The profile of the config, if no built-in one is used."""
    if starter.used_profile == starter.profile_name:
        return
    offered = list(starter.profile.subprotocols) if starter.profile is not None else []
    offered = offered or ([starter.subprotocol] if starter.subprotocol is not None else [])
    yield "profiles:"
    if starter.refused_status is not None and starter.profile is None:
        status = starter.refused_status
        yield from _comment(
            f"The server refused the upgrade with HTTP {status}, so the token is checked there. Say here how "
            "it speaks after that (welcome, send): docs/profiles.md.",
            "  ",
        )
        yield f"  {OWN_PROFILE}: {{auth_by: upgrade, statuses: [{{status: {status}, reason: auth_rejected}}]}}"
        yield ""
        return
    if starter.profile is not None:
        yield from _comment(f"Opens and closes a WebSocket: {starter.profile_name} needs a token, see below.", "  ")
        yield f"  {starter.used_profile}: {_subprotocols(offered)}"
        yield ""
        return
    yield from _comment("Say here how the backend speaks: docs/profiles.md. The server's own messages were:", "  ")
    shapes = starter.shapes[:MAX_LISTED_SHAPES_COUNT] or ["none in the time that was listened"]
    yield from (f"  #   {line}" for line in shapes)
    yield from _comment("To begin, replace the next line by the lines below it, and put your words into them:", "  ")
    yield f"  {OWN_PROFILE}: {_subprotocols(offered)}"
    yield f"  # {OWN_PROFILE}:"
    if offered:
        yield f"  #   subprotocols: {json.dumps(offered)}"
    yield from (f"  #   {line}".rstrip() for line in SKELETON.splitlines())
    yield ""


def _subprotocols(offered: Sequence[str]) -> str:
    return f"{{subprotocols: {json.dumps(list(offered))}}}" if offered else "{}"


def _target(starter: Starter) -> Iterator[str]:
    yield "targets:"
    yield f"  - name: {_quoted(starter.name)}"
    yield f"    url: {_quoted(starter.url)}"
    yield f"    profile: {starter.used_profile}"
    yield from _comment("How often a session runs, and the seconds until its verdict at most.", "    ")
    yield f"    interval: {INTERVAL}"
    yield f"    timeout: {TIMEOUT}"
    yield from _login(starter)
    yield from _software(starter)
    yield from _comment(
        "Does the backend keep something for each connection of a user? Say how many it permits, and for how long it "
        "keeps them after the close; the exporter then stays below that:",
        "    ",
    )
    yield "    # limits: {slots_per_identity: 5, slot_release: 60s}"
    yield ""


def _software(starter: Starter) -> Iterator[str]:
    """What serves the backend, and what stands in front of it: as settings if answers name it, else as comments."""
    yield from _comment(
        "What the backend runs on, and the proxies in front of it, the outermost first: the diagnosis of a failure "
        "uses them. " + _seen_text(starter),
        "    ",
    )
    yield f"    {'' if starter.server else '# '}server: {starter.server or EXAMPLE_SERVER}"
    yield f"    {'' if starter.proxies else '# '}behind: [{', '.join(starter.proxies or EXAMPLE_PROXIES)}]"


def _seen_text(starter: Starter) -> str:
    if not (starter.server or starter.proxies):
        return "No answer named them: take these lines, with your words, if you know them."
    order = " Check their order: answers do not show it." if len(starter.proxies) > 1 else ""
    return f"What is not commented out was named by the answers.{order} Add the proxies that did not name themselves."


def _login(starter: Starter) -> Iterator[str]:
    """Identity and token: as settings if they are given, as comments if they may be needed."""
    identities = f"identities: {{{ALIAS}: {_quoted(starter.subject or SUBJECT)}}}"
    if starter.token_file is not None:
        yield from _comment("The test user, and the file that holds its token and nothing else.", "    ")
        yield f"    {identities}"
        yield f"    auth: {{secret_file: {_quoted(starter.token_file)}}}"
    elif starter.lacks_token:
        yield from _comment(
            f"{starter.profile_name} logs in with a token. Put it into a file that only the exporter may read, and "
            f"replace the line `profile: {starter.used_profile}` by these:",
            "    ",
        )
        yield from _commented_login(starter, identities, f"profile: {starter.profile_name}")
    else:
        if starter.subject is not None:
            yield f"    {identities}"
        yield from _comment("Does the backend want a token? Put it into a file, and take these lines:", "    ")
        yield from _commented_login(starter, *([] if starter.subject is not None else [identities]))


def _commented_login(starter: Starter, *lines: str) -> Iterator[str]:
    is_jwt = starter.profile_name == "factory"
    auth = "auth: {jwt: {key_file: signing.key}}" if is_jwt else "auth: {secret_file: token}"
    yield from (f"    # {line}" for line in (*lines, auth))


def _limits() -> Iterator[str]:
    yield from _comment("Connections to one host in a minute at most, over all targets; loopback is exempt.")
    yield "max_connects_per_minute: 60"


def _quoted(text: str) -> str:
    r"""Return a text in the double quotes of YAML, which has no pairs of surrogates: `\ud83d\ude00` is no character."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(part if part.isprintable() else f"\\U{ord(part):08x}" for part in quoted)


def _comment(text: str, indent: str = "") -> list[str]:
    width = MAX_COMMENT_COLUMNS - len(indent)
    lines = textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)
    return [f"{indent}# {line}" for line in lines]
