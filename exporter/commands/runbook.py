"""`runbook`: a page of the runbook on the terminal, or what pages there are."""

import argparse
from difflib import get_close_matches

from exporter.commands.terminal import UsageError, say
from exporter.web import runbook_pages


def runbook(options: argparse.Namespace) -> int:
    """Print the page as it is written, or all names; raises UsageError for an unknown name, with the near ones."""
    pages = runbook_pages()
    if options.name is None:
        say("\n".join(sorted(pages)))
        return 0
    page = pages.get(options.name)
    if page is None:
        raise UsageError(f"runbook: there is no page {options.name!r}; {_near(options.name, sorted(pages))}")
    say(page.rstrip("\n"))
    return 0


def _near(name: str, known: list[str]) -> str:
    """The names that are like it or hold it, as a hint."""
    folded = {one.casefold(): one for one in known}
    word = name.casefold()
    near = [one for one in folded if word and word in one] or get_close_matches(word, folded, cutoff=0.5)
    if not near:
        return "without a name, the command lists all pages"
    return f"did you mean {' or '.join(folded[one] for one in near)}?"
