"""The page of each built-in protocol, and the one of those that are examples: configs to copy, and what they prove."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from cells import code, page, plain, table

from exporter.catalog import PROFILES_FOLDER, read_profile
from exporter.config import CloseRule, ErrorRule, Profile, StatusRule

TEXTS: Final[dict[str, dict[str, str]]] = yaml.safe_load(Path(__file__).with_name("protocols.yml").read_text("utf-8"))
"""By profile: `title`, the example's `url`, what it says of the `login`, and of what to look at first (`note`)."""

EXAMPLE_TEXTS: Final[dict[str, dict[str, str]]] = yaml.safe_load(
    Path(__file__).with_name("examples.yml").read_text("utf-8")
)
"""The same of the profiles in `EXAMPLES_FILE`, which no release carries."""
EXAMPLES_FILE: Final = Path(__file__).parents[2] / "tests/data/protocol_examples.yml"
EXAMPLE: Final = re.compile(r"((?:^#.*\n)+)^(\w+):\n((?:^  .*\n)+)", re.MULTILINE)
"""Comment, name and profile."""

LOGINS: Final = {
    "secret": "    identities: {probe-1: probe-user-1}\n    auth: {secret_file: /etc/ws-factory-exporter/secret}\n",
    "jwt": "    identities: {probe-1: probe-user-1}\n    auth: {jwt: {key_file: /etc/ws-factory-exporter/key}}\n",
    "header": "    identities: {probe-1: probe-user-1}\n"
    "    auth: {carry: header, secret_file: /etc/ws-factory-exporter/secret}\n",
    "none": "",
}
"""The lines of a target that log in."""


def example(name: str) -> str:
    """Return a config of one target of this protocol, to copy."""
    texts = TEXTS.get(name) or EXAMPLE_TEXTS[name]
    return (
        f"targets:\n  - name: {name}\n    url: {texts['url']}\n    profile: {name}\n    interval: 30s\n"
        f"{LOGINS[texts['login']]}"
    )


def protocol_page(name: str) -> str:
    """Return the page of a protocol, in Markdown."""
    profile, source = read_profile(name), (PROFILES_FOLDER / f"{name}.yml").read_text("utf-8")
    texts = TEXTS[name]
    return page(
        texts["title"],
        texts["note"],
        "## Config",
        f"```yaml\n# example: {name}\n{example(name)}```",
        *_login(texts["login"], profile),
        "## What a pass proves",
        table(("probe", "a pass shows"), list(_proofs(profile))),
        "## What a failure means",
        "A failure of these kinds shows the sentence as its next step, in `check` and on the page.",
        table(("the server sends", "reason", "it means"), list(_causes(profile))),
        "## The profile",
        "`ws-factory-exporter profiles show " + name + "` prints it. Copied under `profiles:` of a config, with a name "
        "of your own, it can be changed.",
        f"```yaml\n{source.rstrip()}\n```",
    )


def examples_page() -> str:
    """Return the page of the protocols that are not built in, in Markdown."""
    profiles = {
        name: (comment, profile) for comment, name, profile in EXAMPLE.findall(EXAMPLES_FILE.read_text("utf-8"))
    }
    return page(
        "More protocols",
        "These profiles are no part of the exporter. Copy one into your config and change it there. Tests hold each to "
        "a real server: a session passes, its login is refused if there is one, and the server is killed and paused.",
        *(part for name in EXAMPLE_TEXTS for part in _example_section(name, *profiles[name])),
    )


def _example_section(name: str, comment: str, profile: str) -> Iterator[str]:
    """Title, what to change, and the config with the comment of the profile."""
    yield f"## {EXAMPLE_TEXTS[name]['title']}"
    yield EXAMPLE_TEXTS[name]["note"]
    explained = textwrap.indent(comment, "  ") + f"  {name}:\n" + textwrap.indent(profile, "  ")
    yield f"```yaml\n# example: {name}\nprofiles:\n{explained}{example(name)}```"


def _login(login: str, profile: Profile) -> Iterator[str]:
    if login != "none" and profile.needs_token is False:
        yield (
            "The identity's subject is the user; the file holds the password or token. Without `identities` and `auth` "
            "the profile sends its messages without them, for a server that lets everybody in."
        )


def _proofs(profile: Profile) -> Iterator[tuple[str, str]]:
    for probe, text in profile.proves.model_dump().items():
        if text is not None:
            yield code(probe), plain(text)


def _causes(profile: Profile) -> Iterator[tuple[str, str, str]]:
    rules: tuple[CloseRule | ErrorRule | StatusRule, ...] = (*profile.errors, *profile.closes, *profile.statuses)
    for rule in rules:
        if rule.cause is not None:
            yield _sent(rule), code(str(rule.reason)), plain(rule.cause)


def _sent(rule: CloseRule | ErrorRule | StatusRule) -> str:
    """What a rule matches, in words and a pattern."""
    if isinstance(rule, StatusRule):
        return f"HTTP {rule.status}"
    if isinstance(rule, CloseRule):
        text = f" with text {code(rule.text)}" if rule.text else ""
        return f"close {'of any code' if rule.code is None else rule.code}{text}"
    texts = "".join(f", {code(path)} matches {code(pattern)}" for path, pattern in rule.text.items())
    return f"{code(_flow(rule.match))}{texts}"


def _flow(pattern: Any) -> str:
    return yaml.safe_dump(pattern, default_flow_style=True, width=1000, allow_unicode=True, sort_keys=False).strip()
