"""`assets`: writes the files that the package carries (rules, examples, dashboards, runbook), with the site's URLs."""

import argparse
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import exporter
from exporter.commands.flag_files import write
from exporter.commands.terminal import UsageError, say
from exporter.report import pages_at

FOLDER: Final = Path(exporter.__file__).parent / "assets"
"""In a checkout links to the originals, in the wheel their content. Laid out as the repository: the paths in the files
hold wherever the folder is written to."""

RUNBOOK: Final = re.compile(r'(?P<key>"url": "|runbook_url: )deploy/runbook/(?P<name>[\w.${}]+)\.md')
DASHBOARD: Final = re.compile(r"(?P<key>dashboard_url: )https://grafana\.example\.com/d/ws-factory(?P<query>\??)")
STATUS_PAGE: Final = re.compile(r'(?P<key>"url": ")http://127\.0\.0\.1:11011/')
"""The placeholders, each behind the key of a link: prose that names a file or an address stays."""


def assets(options: argparse.Namespace) -> int:
    """Write all files below `--to`, and name each; raises UsageError, before the first, for one that would be lost."""
    files = [(Path(options.to, name), text) for name, text in _texts(_links(options))]
    unchanged = {path: _same(path, text) for path, text in files}
    changed = [path for path, same in unchanged.items() if same is False]
    if changed and not options.force:
        names = ", ".join(map(str, changed))
        raise UsageError(f"--to: these files are there with other content: {names}; add --force to replace them")
    for path, text in files:
        if not unchanged[path]:
            _make_folder(path.parent)
            write(path, text, flag="--to")
        say(f"{'unchanged' if unchanged[path] else 'wrote'} {path}")
    return 0


def _texts(links: Mapping[re.Pattern[str], str]) -> Iterator[tuple[str, str]]:
    """Path below the folder and text of each file, the links filled in."""
    for folder, folders, files in os.walk(FOLDER, followlinks=True):
        folders.sort()
        for path in (Path(folder, name) for name in sorted(files)):
            text = path.read_text("utf-8")
            for pattern, link in links.items():
                text = pattern.sub(lambda match, link=link: _filled(link, match), text)  # type: ignore[misc]
            yield path.relative_to(FOLDER).as_posix(), text


def _links(options: argparse.Namespace) -> dict[re.Pattern[str], str]:
    """What stands for each placeholder; those without a flag stay."""
    given = {
        RUNBOOK: options.runbook_url and pages_at(options.runbook_url),
        DASHBOARD: options.dashboard_url,
        STATUS_PAGE: options.exporter_url and f"{options.exporter_url.rstrip('/')}/",
    }
    return {pattern: link for pattern, link in given.items() if link is not None}


def _filled(link: str, match: re.Match[str]) -> str:
    """The link with the page's name in it; what follows a `?` of the placeholder goes on after a `?` of the link."""
    groups = match.groupdict()
    query = groups.get("query", "")
    return groups["key"] + link.replace("{name}", groups.get("name", "")) + ("&" if query and "?" in link else query)


def _same(path: Path, text: str) -> bool | None:
    """Whether the file holds this text; None if there is no file."""
    try:
        return path.read_bytes() == text.encode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"--to: {path}: {error.strerror}") from None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--to: {folder}: {error.strerror}") from None
