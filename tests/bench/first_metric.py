"""From `git clone` to the first true metric of `make demo`, as somebody new meets it: clone, install, first session.

    cd tests && python -m bench.first_metric

Pip has no cache, and neither Node nor Go is on the path. One run prints one time line: figures for people, not a gate.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from support.realservers import get, stop, until

ROOT = Path(__file__).parent.parent.parent
TRUE = 'ws_probe_success{target="demo",probe="send"} 1'
"""The line of /metrics that only a session with a reply can have made."""
PROGRAMS = ("bash", "cat", "git", "grep", "make", "sh", "touch")
"""What the path holds, with python3."""
STEPS = (
    ("venv", "making .venv"),
    ("install", "installing"),
    ("start", "starting the demo"),
    ("first line of the demo", "stand-in backend"),
    ("first session", "connect pass"),
)
"""Name of a moment, and what a line of `make demo` begins with or holds then."""
LONGEST = 600.0


def only(folder):
    """A folder for the path that holds these programs and no others."""
    folder.mkdir()
    (folder / "python3").symlink_to(Path(sys.executable).resolve())
    for program in PROGRAMS:
        (folder / program).symlink_to(shutil.which(program))
    return folder


async def measure(folder, *make_flags):
    """Seconds since the start by name of the moment, in order, and the lines that were printed."""
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of a make around us
    environment = {**alone, "PATH": str(only(folder / "path")), "PIP_NO_CACHE_DIR": "1"}
    began, moments, lines = time.perf_counter(), {}, []
    clone = await asyncio.create_subprocess_exec("git", "clone", "--quiet", ROOT, folder / "clone")
    assert await clone.wait() == 0
    moments["clone"] = time.perf_counter() - began
    demo = await asyncio.create_subprocess_exec(
        "make", *make_flags, "demo", "PORT=0", cwd=folder / "clone", env=environment, start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(LONGEST):
            while "first session" not in moments:
                line = (await demo.stdout.readline()).decode()
                assert line, f"make demo has ended: {lines}"
                lines.append(line.rstrip())
                moments |= {name: time.perf_counter() - began for name, mark in STEPS if mark in line}
            url = next(line.split()[-1] for line in lines if line.startswith("exporter "))
            await until(lambda: has_passed(url))
            moments["first true metric"] = time.perf_counter() - began
    finally:
        with suppress(ProcessLookupError):
            os.killpg(demo.pid, signal.SIGINT)
        await stop(demo)
    return moments, lines


async def has_passed(url):
    """Whether /metrics tells of a session whose reply came."""
    return TRUE in (await get(f"{url}metrics") or "")


async def main():
    """Print the time line."""
    with tempfile.TemporaryDirectory(prefix="first-metric-") as folder:
        moments, lines = await measure(Path(folder))
    print(*lines, "", sep="\n")
    before = 0.0
    for name, moment in moments.items():
        print(f"{name:<26}{moment:7.1f} s  (+{moment - before:.1f})")
        before = moment


if __name__ == "__main__":
    asyncio.run(main())
