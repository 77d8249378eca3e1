"""The page on deployment: its commands are ours, its files are there, its links lead somewhere."""

import re
import shlex

import pytest
from support.paths import ROOT

from exporter import __version__
from exporter.arguments import parser

PAGE = ROOT / "deploy/README.md"
TEXT = PAGE.read_text()
BLOCKS = re.findall(r"^ {4}(\S.*)$", TEXT, re.MULTILINE)
INLINE = re.findall(r"`([^`\n]*ws-factory-exporter (?:run|check|healthcheck)\b[^`\n]*)`", TEXT)
COMMANDS = [line for line in (*BLOCKS, *INLINE) if re.match(r"(sudo )?\S*ws-factory-exporter( |$)", line)]


def test_the_page_has_commands_of_ours():
    """Each of run, check and healthcheck is shown at least once: the next test is about something."""
    assert {shlex.split(line.removeprefix("sudo "))[1] for line in COMMANDS} == {"run", "check", "healthcheck"}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_ours_is_one(line):
    """Our parser takes it, flag by flag."""
    assert parser().parse_args(shlex.split(line.removeprefix("sudo "))[1:]).command


def test_every_file_that_is_named_is_there():
    """Paths of the repository, and what is typed of them; `mine` is the user's."""
    named = set(re.findall(r"(?<![\w/.])((?:deploy/|requirements)[\w/.-]*\w)", TEXT))
    assert len(named) > 12
    missing = {path for path in named if not (ROOT / path).exists() and not path.startswith("deploy/kubernetes/mine")}
    assert missing == set()


def test_every_make_target_is_there():
    """`make NAME` of the page is a rule of the Makefile."""
    rules = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = set(re.findall(r"(?:^ {4}|`)make ([\w-]+)", TEXT, re.MULTILINE))
    assert asked
    assert asked <= rules


def test_a_key_that_is_put_into_the_repository_is_never_committed():
    """Git ignores the key by its name wherever it lies, and the two folders that are mounted into the image."""
    assert "install -d config keys\n" in TEXT
    assert {"staging-jwt-key", "/config/", "/keys/"} <= set((ROOT / ".gitignore").read_text().splitlines())


def test_an_encrypted_key_has_the_name_that_the_config_asks_for():
    """A credential is refused by another name than it was encrypted with."""
    (name,) = re.findall(r"systemd-creds encrypt --name=(\S+)", TEXT)
    assert f"/{name}\n" in (ROOT / "deploy/systemd/exporter.yml").read_text()
    assert f"LoadCredentialEncrypted={name.partition('_')[0]}:/" in TEXT


def test_every_link_on_the_page_has_its_heading():
    """An anchor is a heading, in lower case and with hyphens."""
    headings = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= headings


def test_the_wheel_has_the_version_of_this_tree():
    """What is typed is what is built."""
    assert set(re.findall(r"ws_factory_exporter-([\d.]+)-py3", TEXT)) == {__version__}
    assert f"ws-factory-exporter-{__version__}/bin/pip" in TEXT
