"""commands.md: every command and flag, from the parser of the command line."""

import argparse
from collections.abc import Iterator
from typing import Final

from cells import code, page, plain, table

from exporter.arguments import parser

INTRO: Final = """\
`ws-factory-exporter COMMAND --help` prints the same. A wrong flag is exit code 2, for `check` 3. Durations are written
`15s`, `1m30s` or `250ms`."""


def commands_page() -> str:
    """The whole page."""
    parts = [INTRO]
    for name, purpose, command in _commands(parser()):
        actions = list(_commands(command))
        for action, its_purpose, its_command in actions:
            parts += _command(f"{name} {action}", its_purpose, its_command)
        parts += [] if actions else _command(name, purpose, command)
    return page("Commands", *parts)


def _commands(above: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Name, purpose and parser of each command, or of each action of a command."""
    for subparsers in above._actions:  # noqa: SLF001
        if isinstance(subparsers, argparse._SubParsersAction):  # noqa: SLF001
            helps = {one.dest: one.help or "" for one in subparsers._choices_actions}  # noqa: SLF001
            yield from ((name, helps[name], command) for name, command in subparsers.choices.items())


def _command(name: str, purpose: str, command: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## {name}"
    yield plain(f"{purpose[0].upper()}{purpose[1:]}.")
    yield from (plain(text) for text in (command.description, command.epilog) if text)
    rows = [
        (
            " ".join([*map(code, action.option_strings[-1:]), *_metavar(action)]),
            _default(action),
            plain(_help(action, command)),
        )
        for action in command._actions  # noqa: SLF001
        if action.dest != "help"
    ]
    yield table(("argument", "default", "meaning"), rows)


def _metavar(action: argparse.Action) -> list[str]:
    if action.nargs == 0:
        return []
    if action.choices is not None:
        return [code("|".join(map(str, action.choices)))]
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return [code(metavar)]


def _default(action: argparse.Action) -> str:
    if action.required:
        return "required"
    return "" if action.default in (None, False, []) else code(str(action.default))


def _help(action: argparse.Action, command: argparse.ArgumentParser) -> str:
    text = (action.help or "") % {"default": action.default, "prog": command.prog}
    return text.removesuffix(f"default: {action.default}").rstrip("; ")
