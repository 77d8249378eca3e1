"""Is what the exporter reports what really happened? Errors of two phases against a backend that knows the truth.

    cd tests && python -m bench.fidelity --targets 10,200,1000 --seconds 60 [--tls both] [--beside junk] [--json FILE]

The real command runs in its own process, on its shipped interval, next to a Prometheus that scrapes it and a person
who looks at its page every second, on as many cores as there are; `reference.py` says what each session met. Errors
are of all samples: those that the exporter itself marks as distorted are in.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.backend import reference
from bench.reckoning import PHASES, Errors, reckon
from bench.underload import BESIDE, PAGE, SCRAPE, Fetches, fetcher
from support import harness
from support.commands import command
from support.realservers import until

TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)", re.MULTILINE)
CAUSE = re.compile(r'cause="(\w+)"')
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


@dataclass(frozen=True)
class Process:
    """What a process took: CPU seconds per second of the measured time, megabytes at its end and at most."""

    cpu: float
    rss: float
    hwm: float


@dataclass(frozen=True)
class Outcome:
    """One scenario. Errors in milliseconds; see `Errors`, `Reckoning`, `Fetches`, `Process` for the rest.

    `beside`: a key of `underload.BESIDE`, or "". `backend_cpu`: milliseconds of the reference per session. `skips`: of
    the last scrape, by cause. `lag`: seconds, of the last scrape.
    """

    targets: int
    tls: bool
    beside: str
    interval: str
    seconds: float
    admission: Errors
    reply: Errors
    sessions: int
    tokenless: int
    failures: int
    without_truth: int
    without_session: int
    distorted: float
    scrape: Fetches
    page: Fetches
    exporter: Process
    backend_cpu: float
    skips: dict
    lag: float
    worst: list

    def plain(self):
        """As numbers, texts, lists and mappings."""
        mapping = asdict(self)
        for fetches in (mapping["scrape"], mapping["page"]):
            del fetches["text"]
        return mapping


def seconds_of(duration):
    """`15s`, `500ms`, `1m` as seconds."""
    number, unit = re.fullmatch(r"([\d.]+)(ms|s|m)", duration).groups()
    return float(number) * UNITS[unit]


def write_config(folder, backend, *, targets, tls, interval):
    """The config of so many targets, each with users of its own; JSON is YAML."""
    timeout = min(10.0, 0.6 * seconds_of(interval))
    close_timeout = min(2.0, 0.2 * seconds_of(interval))
    mappings = [
        harness.target(
            backend,
            f"/ws/t{number:04d}",
            tls=tls,
            name=f"t{number:04d}",
            interval=interval,
            timeout=f"{timeout:g}s",
            close_timeout=f"{close_timeout:g}s",
            identities={alias: f"{subject}-{number:04d}" for alias, subject in harness.POOL.items()},
        )
        for number in range(targets)
    ]
    file = folder / "exporter.yml"
    file.write_text(json.dumps({"targets": mappings}), encoding="utf-8")
    return file


@contextlib.asynccontextmanager
async def exporter(config, log, **environment):
    """The running exporter and its URL, once it listens; `environment`: more variables of its process."""
    arguments = (f"--config.file={config}", "--web.listen-address=127.0.0.1:0", "--startup.delay=0s")
    with log.open("wb") as file:
        async with command("run", *arguments, "--log.format=json", stderr=file, **environment) as running:

            async def url():
                assert running.process.returncode is None, log.read_text(encoding="utf-8")[-2000:]
                found = re.search(r'"msg": "listening".*"url": "([^"]+)"', log.read_text(encoding="utf-8"))
                return found and found[1]

            yield running, await until(url)


def cpu_seconds(pid):
    """Seconds of CPU that all threads of a process have had: fields 14 and 15 of its stat (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def megabytes(pid):
    """Real memory of a process, now and at most."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return [int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")]


async def watched(running, seconds):
    """Let the exporter work so long, and no longer if it dies."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            code = await running.process.wait()
            raise AssertionError(f"the exporter ended by itself, with {code}")


async def measure(running, url, backend, *, seconds, folder):
    """The exporter under load: what it took, what its pages cost, CPU seconds of the backend."""
    async with (
        fetcher(f"{url}/metrics", SCRAPE, folder / "scrape.json") as scraper,
        fetcher(f"{url}/", PAGE, folder / "page.json") as page,
    ):
        pids, loop = (running.process.pid, backend.process.pid), asyncio.get_running_loop()
        began, before = loop.time(), [cpu_seconds(pid) for pid in pids]
        await watched(running, seconds)
        scrapes, pages = await asyncio.gather(scraper.fetched(), page.fetched())
        ours, backends = (cpu_seconds(pid) - then for pid, then in zip(pids, before, strict=True))
        took = Process(ours / (loop.time() - began), *megabytes(running.process.pid))
    running.process.send_signal(signal.SIGTERM)
    code = await running.ended()
    assert code == 0, f"the exporter ended with {code}"
    return took, scrapes, pages, backends


def told(text):
    """Of the last scrape: skipped cycles by cause, and the lag of the loop in seconds."""
    skips, lag = Counter(), 0.0
    for found in SAMPLE.finditer(text):
        if found["name"] == "ws_probe_skips_total":
            skips[CAUSE.search(found["labels"])[1]] += float(found["value"])
        elif found["name"] == "ws_exporter_event_loop_lag_seconds":
            lag = float(found["value"])
    return dict(skips), lag


async def run_once(*, targets, tls, seconds, beside="", interval="15s", folder):
    """Run one scenario with its files in `folder`; its Outcome."""
    async with contextlib.AsyncExitStack() as stack:
        backend = await stack.enter_async_context(reference(folder, seed=targets))
        config = write_config(folder, backend, targets=targets, tls=tls, interval=interval)
        log = folder / "log.jsonl"
        async with exporter(config, log) as (running, url):
            if beside:
                await stack.enter_async_context(BESIDE[beside](url, folder))
            took, scrapes, pages, backends = await measure(running, url, backend, seconds=seconds, folder=folder)
        reckoning = reckon(log, await backend.truth(), seconds_of(interval))
    skips, lag = told(scrapes.text)
    return Outcome(
        targets=targets,
        tls=tls,
        beside=beside,
        interval=interval,
        seconds=seconds,
        **{phase: reckoning.errors(phase) for phase in PHASES},
        sessions=reckoning.sessions,
        tokenless=reckoning.tokenless,
        failures=reckoning.failures,
        without_truth=reckoning.without_truth,
        without_session=reckoning.without_session,
        distorted=reckoning.distorted,
        scrape=scrapes,
        page=pages,
        exporter=took,
        backend_cpu=1000 * backends / max(1, reckoning.sessions),
        skips=skips,
        lag=lag,
        worst=reckoning.worst,
    )


COLUMNS = {
    "scenario": lambda o: f"{o.targets} {'wss' if o.tls else 'ws'}{' ' * bool(o.beside)}{o.beside}",
    "sessions": lambda o: o.sessions,
    "failed/unjoined": lambda o: f"{o.failures}/{o.without_truth + o.without_session}",
    "admission ms p50 p99 p99.9 max": lambda o: sizes(o.admission.truth),
    "start-up max": lambda o: f"{o.admission.start_up_truth.max:.3f}",
    "reply ms p50 p99 p99.9 max": lambda o: sizes(o.reply.truth),
    "start-up max ": lambda o: f"{o.reply.start_up_truth.max:.3f}",
    "distorted": lambda o: f"{o.distorted:.2%}",
    "scrape s median max": lambda o: f"{o.scrape.median:.3f} {o.scrape.max:.3f}",
    "KB": lambda o: f"{o.scrape.bytes / 1000:.0f}",
    "page s max": lambda o: f"{o.page.max:.3f}",
    "cpu": lambda o: f"{o.exporter.cpu:.3f}",
    "rss hwm MB": lambda o: f"{o.exporter.rss:.0f} {o.exporter.hwm:.0f}",
    "skips": lambda o: sum(map(int, o.skips.values())),
    "lag s": lambda o: f"{o.lag:.3f}",
    "backend ms": lambda o: f"{o.backend_cpu:.2f}",
}


def sizes(figures):
    return f"{figures.p50:.3f} {figures.p99:.3f} {figures.p99_9:.3f} {figures.max:.3f}"


def row(outcome=None):
    """The cells of a scenario side by side, or the head of the table."""
    cells = [name if outcome is None else str(cell(outcome)) for name, cell in COLUMNS.items()]
    return " | ".join(cell.rjust(len(name)) for cell, name in zip(cells, COLUMNS, strict=True))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", default="10,200,1000", help="how many, each a scenario")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--interval", default="15s")
    parser.add_argument("--tls", choices=("no", "yes", "both"), default="both")
    parser.add_argument("--beside", choices=BESIDE, default="", help="a core thief, or junk on the HTTP side")
    parser.add_argument("--json", type=Path, help="where all figures go")
    return parser.parse_args()


async def run_all(asked):
    """Run the scenarios one after the other; their outcomes, each printed when it is there. SIGTERM is a Ctrl-C."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    outcomes = []
    print(row(), flush=True)
    for targets in map(int, asked.targets.split(",")):
        for tls in {"no": [False], "yes": [True], "both": [False, True]}[asked.tls]:
            with tempfile.TemporaryDirectory() as folder:
                outcome = await run_once(
                    targets=targets,
                    tls=tls,
                    seconds=asked.seconds,
                    beside=asked.beside,
                    interval=asked.interval,
                    folder=Path(folder),
                )
            outcomes.append(outcome)
            print(row(outcome), flush=True)
    return outcomes


def main():
    asked = arguments()
    outcomes = asyncio.run(run_all(asked))
    if asked.json:
        asked.json.write_text(json.dumps([outcome.plain() for outcome in outcomes], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
