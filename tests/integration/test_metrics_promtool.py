"""Package `metrics`: what Debian's promtool says of the page of one session."""

import asyncio
import subprocess

from support.probed_pages import EVERY, page
from support.realservers import binary


async def test_promtool_finds_nothing_to_say_of_a_page():
    """`promtool check metrics` is clean: names, units, HELP."""
    command = [binary("promtool", "prometheus"), "check", "metrics"]
    for result in EVERY:
        checked = await asyncio.to_thread(
            subprocess.run, command, input=page(result).encode(), capture_output=True, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
