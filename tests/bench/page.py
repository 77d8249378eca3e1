"""What the status page costs, and how soon it is seen, by the number of targets.

    cd tests && python -m bench.page [--targets 12,50,200,1000] [--json FILE]

The exporter under test is a `Daemon` in a process of its own that knows a hundred sessions of each target, one target
in fifty failing. While answers are measured it turns its loop without a pause and notes how long each turn took (see
`scale`). An update is what an open page is sent when every target has changed. Paint is told by Chromium itself (Paint
Timing API), from the navigation on, each time in a browser that has come to rest; beside it that of a page of one
word, which is what browser and machine take.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from urllib.request import Request, urlopen

from bench.scale import NEVER, Nowhere, Turns, known_target, met
from support import browsing, harness
from support.realservers import until

from exporter.daemon import Daemon, DaemonOptions
from exporter.result import Direction, Frame, Opcode
from exporter.web import ListenAddress
from exporter.web.page.document import BUILD

LOADS = 5
KNOWN = 100
FAILING = 50
"""One target in so many fails."""

LOOK = 0.2
QUIET = 0.05
"""A browser that has used less of a core than this for `LOOK` seconds is at rest."""

FRAMES = tuple(Frame(0.01 * number, Direction.IN, Opcode.TEXT, 300, "welcome") for number in range(7))
PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"


# The exporter under test ----------------------------------------------------------------------------------------------


def fill(daemon, jobs):
    """Tell the history a hundred sessions of each target."""
    ground = daemon._services
    for number, job in enumerate(jobs):
        for cycle in range(KNOWN):
            alias = job.identities[cycle % len(job.identities)]
            refused = number % FAILING == 0 and cycle > KNOWN / 2
            result = replace(met(job.name, alias, refused=refused), started_at=time.time() - 15 * (KNOWN - cycle))
            result = replace(result, transcript=FRAMES)
            ground.history.add(result)
            ground.history.add_cycle(result)


async def under_test(targets, folder):
    """Serve the page of so many targets. At a line on stdin all have changed, and the turns since the last are told.

    After the line `rest` the loop turns only when it must.
    """
    made = harness.planned(*[known_target(Nowhere(folder), number) for number in range(targets)])
    daemon = Daemon(made, DaemonOptions(ListenAddress("127.0.0.1", 0), startup_delay=NEVER))
    turns = Turns()
    await daemon.start()
    fill(daemon, made.jobs)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    watching = asyncio.create_task(turns.watch())
    print(daemon.url, flush=True)
    while line := await reader.readline():
        if line == b"rest\n":
            watching.cancel()
        for job in made.jobs:
            daemon._services.changes.record(job.name)
        daemon._server._status._live._cache._pages.clear()  # the next request renders a page
        print(json.dumps(turns.taken()), flush=True)
    watching.cancel()
    await daemon.stop()


@asynccontextmanager
async def served(targets, folder):
    """The process under test: its URL, and a function that asks what the turns took."""
    arguments = [sys.executable, "-m", "bench.page", "--under-test", str(targets), "--folder", str(folder)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *arguments, stdin=pipe, stdout=pipe, cwd=Path(__file__).parent.parent
    )

    async def turns(word=""):
        process.stdin.write(f"{word}\n".encode())
        return json.loads(await process.stdout.readline())

    try:
        yield (await process.stdout.readline()).decode().strip(), turns
    finally:
        process.stdin.close()
        await process.wait()


# Measuring ------------------------------------------------------------------------------------------------------------


def fetched(url, path):
    """Seconds to the last byte, and bytes as sent to who takes no gzip."""
    began = time.perf_counter()
    with urlopen(Request(url + path, headers={"Accept-Encoding": "identity"}), timeout=60) as answer:
        body = answer.read()
    return time.perf_counter() - began, len(body)


async def answers(url, turns, path, loads):
    """What an answer takes, and how long the loop is held meanwhile."""
    seconds, holds = [], []
    for _ in range(loads):
        await turns()
        await turns()  # to sort what the one before has counted takes a turn itself
        took, size = await asyncio.to_thread(fetched, url, path)
        seconds.append(took)
        holds.append((await turns())["max"])
    return {"median": median(seconds), "worst": max(seconds), "bytes": size, "hold": median(holds)}


async def at_rest(devtools):
    """Wait until the browser does nothing: its work for a new tab, or for the page before, would be in the figure."""
    seen = float("-inf")

    async def quiet():
        nonlocal seen
        processes = (await devtools.send("SystemInfo.getProcessInfo"))["processInfo"]
        before, seen = seen, sum(process["cpuTime"] for process in processes)
        return seen - before < QUIET * LOOK

    await until(quiet, step=LOOK)


async def paints(browser, url, loads):
    """When Chromium first painted, milliseconds from the navigation on: the page, and the word `ready`, by turns."""
    page, word = [], []
    devtools = await browser.new_browser_cdp_session()
    async with browsing.tab(browser, url) as shown:
        await shown.is_live()
        for _ in range(loads):
            for path, seen in (("/-/ready", word), ("/", page)):
                await at_rest(devtools)
                await shown.page.goto(url + path)
                await shown.until("() => performance.getEntriesByName('first-contentful-paint').length")
                seen.append(await shown.page.evaluate(PAINT))
        elements = await shown.page.evaluate("document.querySelectorAll('*').length")
    return {"median": median(page), "worst": max(page), "word": median(word), "elements": elements}


async def measure(sizes, *, loads=LOADS):
    """All figures, by size; plain numbers."""
    found = []
    async with browsing.chromium() as browser:
        for targets in sizes:
            with tempfile.TemporaryDirectory() as folder:
                async with served(targets, Path(folder)) as (url, turns):
                    page = await answers(url, turns, "/", loads)
                    update = await answers(url, turns, f"/api/events?since={BUILD}.x.0", 1)
                    await turns("rest")
                    paint = await paints(browser, url, loads)
            found.append({"targets": targets, "page": page, "update": update, "paint": paint})
            print(row(found[-1]), flush=True)
    return found


COLUMNS = {
    "targets": lambda f: f["targets"],
    "first paint ms (worst)": lambda f: f"{f['paint']['median']:.0f} ({f['paint']['worst']:.0f})",
    "of a word": lambda f: f"{f['paint']['word']:.0f}",
    "page ms (worst)": lambda f: f"{f['page']['median'] * 1000:.0f} ({f['page']['worst'] * 1000:.0f})",
    "hold ms": lambda f: f"{f['page']['hold']:.2f}",
    "KB": lambda f: f"{f['page']['bytes'] / 1000:.0f}",
    "elements": lambda f: f["paint"]["elements"],
    "update of all ms": lambda f: f"{f['update']['median'] * 1000:.0f}",
    "hold ms ": lambda f: f"{f['update']['hold']:.2f}",
}


def row(figures=None):
    """The cells of a size side by side, or the head of the table."""
    cells = [name if figures is None else str(cell(figures)) for name, cell in COLUMNS.items()]
    return " | ".join(cell.rjust(len(name)) for cell, name in zip(cells, COLUMNS, strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", default="12,50,200,1000", help="how many, each a row")
    parser.add_argument("--json", type=Path, help="where all figures go")
    parser.add_argument("--under-test", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.under_test is not None:
        asyncio.run(under_test(asked.under_test, asked.folder))
        return
    print(row(), flush=True)
    found = asyncio.run(measure(list(map(int, asked.targets.split(",")))))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
