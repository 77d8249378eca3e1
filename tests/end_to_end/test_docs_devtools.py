"""The example of docs/profiles.md for the developer tools of a real Chromium: the id of a page is in the path."""

import asyncio
import re
from contextlib import asynccontextmanager

import pytest
import yaml
from support import harness
from support.browsing import ARGUMENTS
from support.paths import ROOT
from support.realservers import binary

from exporter.result import Phase, Probe, Reason, Verdict

PROFILES = (ROOT / "docs/profiles.md").read_text("utf-8")
(EXAMPLE,) = re.findall(r"```yaml\n# example: devtools\n(.*?)```", PROFILES, re.DOTALL)
START_SECONDS = 60.0


@asynccontextmanager
async def devtools(folder):
    """The port of a Chromium with one page and its developer tools on loopback."""
    process = await asyncio.create_subprocess_exec(
        binary("chromium", "chromium"),
        *ARGUMENTS,
        "--headless=new",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "about:blank",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(START_SECONDS):
            while (found := re.search(rb"listening on ws://127\.0\.0\.1:(\d+)/", await _line(process))) is None:
                pass
        yield int(found[1])
    finally:
        process.terminate()
        await process.communicate()


async def _line(process):
    line = await process.stderr.readline()
    assert line, "Chromium ended before it listened"
    return line


def planned(port, **profile):
    """The job of the example at this port, with other fields of its profile."""
    mapping = yaml.safe_load(EXAMPLE.replace(":9222", f":{port}"))
    target = {**mapping["targets"][0], "timeout": "10s", "interval": "20s"}
    profiles = {"devtools": {**mapping["profiles"]["devtools"], **profile}}
    return harness.planned(target, profiles=profiles).jobs[0]


@pytest.fixture
async def port(tmp_path):
    async with devtools(tmp_path) as port:
        yield port


async def test_the_page_answers_by_the_id_that_the_list_gives(port):
    """Connect and send pass: a page of the browser has computed something for us."""
    result = await harness.Rig().run(planned(port))

    assert result.verdicts == {Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.NONE, Probe.SEND: Verdict.PASS}
    assert [*result.phases][:4] == [Phase.BEFORE, Phase.RESOLVE, Phase.TCP, Phase.UPGRADE]


async def test_a_path_that_is_not_there_is_a_404_before_the_upgrade(port):
    """The developer tools answer so themselves."""
    result = await harness.Rig().run(planned(port, before={"request": "GET /json/nosuch", "keep": {"page": "0.id"}}))

    assert (result.phase, result.reason, result.http_status) == (Phase.BEFORE, Reason.HTTP_STATUS, 404)


async def test_an_answer_without_the_field_is_a_bad_reply(port):
    """`/json/version` has no list of pages."""
    result = await harness.Rig().run(planned(port, before={"request": "GET /json/version", "keep": {"page": "0.id"}}))

    assert (result.phase, result.reason) == (Phase.BEFORE, Reason.BAD_REPLY)
