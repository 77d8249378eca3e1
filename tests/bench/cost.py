"""What a complete session costs in CPU, beside others that have the same conversation with the same server.

    python tests/bench/cost.py [--sessions N] [--repeats R] [--blackbox PATH] [--json FILE]
    python tests/bench/cost.py --profile        # where our time goes

Ours is the whole way of a scheduled session: turn, ledger, token, conversation, verdicts, and whatever the daemon tells
of it (metrics, log, …). The plain `websockets` client, with a ready token and no judgement, is 1.0. Contenders have a
process each and take turns, so that a busy moment of the machine meets them all.
"""

import argparse
import asyncio
import cProfile
import gzip
import json
import os
import platform
import pstats
import re
import secrets
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from itertools import count, cycle, pairwise
from pathlib import Path
from statistics import median
from urllib.request import Request, urlopen

import clients
from clients import Aim, cpu_seconds, in_a_process, serve, spread, taken
from support import harness
from support.realservers import started, stop

from exporter import log
from exporter.budget import admit, settle
from exporter.classify import ClassifyContext, WelcomeReplayDetector, classify
from exporter.config import Jwt
from exporter.daemon import Daemon, DaemonOptions
from exporter.files import KeyRing
from exporter.probing import ProbeRequest
from exporter.resolver import Resolver
from exporter.result import Close, Initiator, Phase, Probe, Trigger, Verdict
from exporter.session import Session
from exporter.state import LedgerFile
from exporter.tokens import carry, load_key, mint
from exporter.web import ListenAddress

BASE = "websockets"
PEER = "bench-peer"
"""User and run of all that have a ready token."""

IN_FLIGHT = (1, 50)
NAMED = {1: "one at a time", 50: "50 in flight"}

TARGETS = 50
"""Of ours: as many as sessions in flight, since an identity has one connection open at most."""

NEVER = 86_400.0
"""Seconds until the daemon's own alarm begins: the bench is its alarm."""

UNLIMITED = {"slots_per_identity": 0, "slot_release": "1s"}
"""On the shipped schedule an identity holds five slots, which the ledger counts anew for every session; at the pace of
the bench it takes a shorter release to hold about as many."""

CLEAN = Close(1000, Initiator.LOCAL, Phase.CLOSE)


def aim_at(server, folder, *, tls, in_flight):
    """What a contender is told. `server`: a reference backend, or a stand-in that keeps enough slots."""
    spec = Jwt(key_file=str(server.key_file), claims=harness.CLAIMS, lifetime="1h")
    token = mint(spec, load_key(spec, server.key_file.read_bytes()), PEER, time.time(), PEER)
    return Aim(
        url=server.url("/ws", tls=tls),
        ca_file=str(server.ca_file),
        token=token,
        key_file=str(server.key_file),
        folder=str(folder),
        in_flight=in_flight,
    )


# Ours -----------------------------------------------------------------------------------------------------------------


def targets(aim, how_many, **changes):
    """Mappings of targets that share the server but no user."""
    standard = {
        "url": aim.url,
        "interval": "20s",
        "auth": {"jwt": {"key_file": aim.key_file, "claims": harness.CLAIMS}},
        "limits": UNLIMITED,
        **({"tls": {"ca_file": aim.ca_file}} if aim.tls else {}),
        **changes,
    }
    pools = [{f"pool-{user:03}": f"bench-{number}-{user}" for user in range(3)} for number in range(how_many)]
    return [{"name": f"bench-{number:03}", "identities": pool, **standard} for number, pool in enumerate(pools)]


@contextmanager
def logging_to_nobody():
    with Path(os.devnull).open("w", encoding="utf-8") as sink:
        logging = log.configure("info", "logfmt", sink)
        try:
            yield
        finally:
            logging.close()


@asynccontextmanager
async def daemon(aim, on_result, state=None):
    """A daemon as `run` starts it, but for its alarm."""
    options = DaemonOptions(ListenAddress("127.0.0.1", 0), startup_delay=NEVER, on_result=on_result)
    running = Daemon(harness.planned(*targets(aim, TARGETS)), options, state=state)
    with logging_to_nobody():
        try:
            await running.start()
            yield running
        finally:
            await running.stop()


@asynccontextmanager
async def ours(aim, *, on_disk=False):
    """Cycles of a daemon; `on_disk`: its ledger is in a state file."""
    latest = {}

    def keep(result):
        latest[result.target] = result

    state = LedgerFile.open(Path(aim.folder) / f"state-{os.getpid()}") if on_disk else None
    async with daemon(aim, keep, state) as running:
        yield await cycles(running, aim.in_flight, latest)


async def cycles(running, in_flight, latest):
    """Plays due cycles, from the turn to the last sink; `latest` is what the daemon was told, by target.

    One is played at once: until a key is known to be good, the ledger lets out a token of it now and then only.
    """
    scheduler = running._scheduler
    lanes = [(lane, count(lane.job.cycle_at(time.time()))) for lane in scheduler._targets.values()]
    shares = [cycle(lanes[number::in_flight]) for number in range(in_flight)]

    async def session(number):
        lane, numbers = next(shares[number])
        async with asyncio.TaskGroup() as group:
            await scheduler._run_scheduled(lane, next(numbers), group)
        return complete(latest.pop(lane.job.name))

    await session(0)
    return session


def complete(result):
    """Whether everything was proved and the session closed in good order."""
    return set(result.verdicts.values()) == {Verdict.PASS} and result.close == CLEAN


OURS = {"ours": ours, "ours, state file": partial(ours, on_disk=True)}
CONTENDERS = {**dict.fromkeys(OURS, __file__), **dict.fromkeys(clients.PEERS, clients.__file__)}
"""Name → the program that is it."""

# Measuring ------------------------------------------------------------------------------------------------------------


async def compared(aim, *, sessions, repeats, blackbox):
    """Samples of each contender, one a repetition; each repetition begins with another contender."""
    async with AsyncExitStack() as stack:
        contexts = {name: in_a_process(program, name, aim) for name, program in CONTENDERS.items()}
        for prober, (config, target) in (await clients.probers(blackbox, aim) if blackbox else {}).items():
            contexts[f"blackbox, {prober}"] = clients.blackbox(blackbox, prober, config, target, aim)
        runs = [(name, await stack.enter_async_context(context)) for name, context in contexts.items()]
        for _, run in runs:
            await run(max(2 * TARGETS, sessions // 4))  # warm-up
        samples = {name: [] for name, _ in runs}
        for _ in range(repeats):
            for name, run in runs:
                samples[name].append(await run(sessions))
            runs.append(runs.pop(0))
    return {name: summary(of_one, samples[BASE]) for name, of_one in samples.items()}


def summary(samples, base=()):
    """Samples as figures; `ratio` is the median of the ratios to `base` in the same repetition."""
    costs, yardstick = ([sample["cpu"] / sample["sessions"] * 1e6 for sample in some] for some in (samples, base))
    return {
        "microseconds": [round(cost, 1) for cost in costs],
        "median": median(costs),
        "worst": max(costs),
        "ratio": median(one / other for one, other in zip(costs, yardstick, strict=True)) if base else None,
        "per_second": median(sample["sessions"] / sample["wall"] for sample in samples),
        "per_cpu_second": 1e6 / median(costs),
        "sessions": sum(sample["sessions"] for sample in samples),
        "incomplete": sum(sample["sessions"] - sample["completed"] for sample in samples),
    }


MANY = 500
SCHEDULED = {
    "interval": "1s",
    "timeout": "700ms",
    "close_timeout": "200ms",
    "limits": {**UNLIMITED, "slot_release": "15s"},  # five slots again
}
WARM, WINDOW = 5.0, 15.0
"""Seconds; each window holds one scrape, as Prometheus makes them by the shipped config."""
AS_PROMETHEUS = {
    "Accept": "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
}
COUNTED = re.compile(r'^ws_probe_(attempts|failures|skips)_total\{(?=.*(?:probe="send"|cause=)).* (\S+)$', re.MULTILINE)


async def whole_process(aim, *, windows, many=MANY, warm=WARM, window=WINDOW):
    """`run` with its scheduler and scrapes: CPU of the process by the sessions that it counts; what it skipped."""
    config = Path(aim.folder) / "exporter.yml"
    config.write_text(json.dumps({"targets": targets(aim, many, **SCHEDULED)}))
    command = [sys.executable, "-m", "exporter", "run", f"--config.file={config}", "--startup.delay=0s"]
    process, url = await started(
        lambda port: [*command, f"--web.listen-address=127.0.0.1:{port}"], "/-/ready", Path(aim.folder) / "run.log"
    )
    try:
        await lives(process, warm)
        moments = [await moment(process, url)]
        for _ in range(windows):
            await lives(process, window)
            moments.append(await moment(process, url))
    finally:
        await stop(process)
    samples = [between(*two) for two in pairwise(moments)]
    planned = sum(many * sample["wall"] for sample in samples)
    return {**summary(samples), "planned": round(planned), "skipped": sum(sample["skipped"] for sample in samples)}


async def lives(process, seconds):
    """Let so many seconds pass; fails if the process ends meanwhile."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            raise AssertionError(f"the exporter has ended: {await process.wait()}")


async def moment(process, url):
    """What the process has counted, by a scrape, and its CPU and the time then."""
    page = await asyncio.to_thread(scraped, f"{url}/metrics")
    seconds = {"cpu": cpu_seconds(process.pid), "wall": time.perf_counter()}
    counts = dict.fromkeys(("attempts", "failures", "skips"), 0.0)
    for what, figure in COUNTED.findall(page):
        counts[what] += float(figure)
    return {**seconds, **counts}


def scraped(url):
    """A page of metrics, asked for as Prometheus does."""
    with urlopen(Request(url, headers=AS_PROMETHEUS), timeout=10) as answer:
        page = answer.read()
        return (gzip.decompress(page) if answer.headers["Content-Encoding"] == "gzip" else page).decode()


def between(before, after):
    """A sample, from two moments."""
    passed = {name: after[name] - before[name] for name in after}
    completed = passed["attempts"] - passed["failures"]
    return {**passed, "sessions": passed["attempts"], "completed": completed, "skipped": passed["skips"]}


def measure(*, sessions=500, repeats=5, blackbox=None):
    """Everything, as plain figures. `blackbox`: path or name of blackbox_exporter, else it is sought on PATH."""
    return asyncio.run(_measured(sessions, repeats, clients.binary(blackbox)))


async def _measured(sessions, repeats, blackbox):
    with tempfile.TemporaryDirectory(prefix="cost-") as folder:
        async with clients.at_once(folder) as server:
            comparisons = []
            for tls in (False, True):
                for in_flight in IN_FLIGHT:
                    aim = aim_at(server, folder, tls=tls, in_flight=in_flight)
                    found = await compared(aim, sessions=sessions, repeats=repeats, blackbox=blackbox)
                    comparisons.append({"tls": tls, "in_flight": in_flight, "contenders": found})
            whole = await whole_process(aim_at(server, folder, tls=False, in_flight=50), windows=min(repeats, 3))
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    asked = {"sessions": sessions, "repeats": repeats, "blackbox": blackbox, "machine": machine}
    return {**asked, "comparisons": comparisons, "process": whole}


# Where our time goes --------------------------------------------------------------------------------------------------

TOP = 25
CHUNKS = 5
ORDER, REST = "order, without the token", "the rest"
"""Differences: an order is timed with its token, and the rest is what the parts leave of the whole."""


def profile(*, sessions=1000, tls=False):
    """Print where the time of ours goes, 50 in flight: functions by their own time, then parts."""
    asyncio.run(_profiled(sessions, tls))


async def _profiled(sessions, tls):
    with tempfile.TemporaryDirectory(prefix="cost-") as folder:
        async with clients.at_once(folder) as server:
            aim = aim_at(server, folder, tls=tls, in_flight=50)
            async with ours(aim) as session:
                await spread(session, 2 * TARGETS, aim.in_flight)
                with cProfile.Profile() as watch:
                    await spread(session, sessions, aim.in_flight)
            pstats.Stats(watch).sort_stats("tottime").print_stats(TOP)
            parts = await by_part(aim, sessions)
    print("CPU of each part by itself, µs a session\n")
    print(*(f"  {name:36}{cost:8.1f}" for name, cost in parts.items()), sep="\n")


async def by_part(aim, sessions):
    """CPU of each part of a session by itself, in microseconds; `whole` is that of sessions in one piece.

    The rest is what stands between the parts, and what they cost when their data are not in the cores' caches.
    """
    latest, results = {}, []

    def keep(result):
        latest[result.target] = result
        results.append(result)

    async with daemon(aim, keep) as running:
        session = await cycles(running, aim.in_flight, latest)
        await spread(session, 2 * TARGETS, aim.in_flight)
        results.clear()
        whole = await taken(session, sessions, aim.in_flight)
        jobs = list(running._services.jobs.values())
        asked = [asking(jobs[number % len(jobs)], number) for number in range(sessions)]
        parts = {
            **booked(aim, asked, results),
            **minted(asked),
            **await conversed(aim, asked),
            **sinks(running, results),
        }
    parts[ORDER] -= parts["token"]
    parts["whole"] = whole["cpu"] / sessions * 1e6
    rest = parts["whole"] - sum(cost for name, cost in parts.items() if name != "whole" and not name.startswith(" "))
    return {**parts, REST: rest}


def asking(job, number):
    """A turn, and what it asks the ledger for."""
    due = job.cycle_at(time.time()) + number
    turn = ProbeRequest(job, due, Trigger.SCHEDULE, Probe.SEND, job.identity(due))
    return turn, turn.session_cost(secrets.token_hex(8))


def cost_of(act, items):
    """CPU microseconds of `act(*item)`, as the median of some chunks of the items."""
    size, costs = len(items) // CHUNKS, []
    for start in range(0, size * CHUNKS, size):
        before = time.process_time()
        for item in items[start : start + size]:
            act(*item)
        costs.append((time.process_time() - before) / size)
    return median(costs) * 1e6


def booked(aim, asked, results):
    """The ledger: a slot is taken, and given back."""

    def book(state):
        def act(request, result):
            with state.transaction() as ledger:
                admit(ledger, request, time.time())
            with state.transaction() as ledger:
                settle(ledger, request, result, time.time(), slot_taken=True)

        return cost_of(act, [(request, result) for (_, request), result in zip(asked, results, strict=True)])

    return {
        "ledger": book(LedgerFile.in_memory()),
        "  (with a state file)": book(LedgerFile.open(Path(aim.folder) / "state-by-part")),
    }


def minted(asked):
    """The token: the key as it is in its file now, signed, and where it goes."""
    keys = KeyRing()

    def act(turn, request):
        target, auth = turn.job.target, turn.job.target.auth
        subject = target.identities[turn.identity]
        token = mint(auth.source, keys.key(auth.source), subject, time.time(), request.run)
        carry(turn.job.carrier, token)

    return {"token": cost_of(act, asked)}


async def conversed(aim, asked):
    """The order (token and all), the conversation, and what is made of its facts."""
    prober, resolver = harness.Rig().prober, Resolver()
    orders, facts, memories = [], [], defaultdict(WelcomeReplayDetector)

    async def order(_lane):
        turn, request = asked[len(orders)]
        orders.append((turn, await prober._session_request(turn, request)))
        return True

    async def converse(_lane):
        turn, ready = orders.pop()
        facts.append((turn, await Session(ready, resolver, time.monotonic).run()))
        return True

    def decide(turn, met):
        job, subject = turn.job, turn.job.target.identities[turn.identity]
        classify(met, ClassifyContext(job.profile, Probe.SEND, time.time(), memories[job.name], subject))

    costs = {}
    for name, part, in_flight in ((ORDER, order, 1), ("conversation", converse, aim.in_flight)):
        took = await taken(part, len(asked), in_flight)
        costs[name] = took["cpu"] / len(asked) * 1e6
    return {**costs, "verdicts": cost_of(decide, facts)}


def sinks(running, results):
    """What the daemon tells of a session: everything, and the three greatest of it."""

    def everything(result):
        running._dispatcher.record_result(result)
        running._dispatcher.record_cycle(result)

    def keep_it(result):
        running._services.history.add(result)
        running._services.history.add_cycle(result)

    def count_it(result):
        running._services.metrics.record_result(result)
        running._services.metrics.record_cycle(result)

    acts = {"sinks": everything, "  metrics": count_it, "  history": keep_it, "  log": log.log_session}
    known = [(result,) for result in results]
    return {name: cost_of(act, known) for name, act in acts.items()}


# Shown ----------------------------------------------------------------------------------------------------------------

COLUMNS = (
    ("median µs", "median", 10, 0),
    ("worst", "worst", 8, 0),
    ("×", "ratio", 8, 2),
    ("sessions/s", "per_second", 12, 0),
    ("per CPU second", "per_cpu_second", 16, 0),
)
"""Head, figure, width, digits."""


def table(found):
    """The figures as one table, and what must be said of them."""
    yield f"CPU of a process for one session; {found['repeats']} × {found['sessions']} sessions of each, in turn"
    yield f"×: to {BASE}, median of the repetitions; {found['machine']}"
    yield f"{'':32}{''.join(head.rjust(width) for head, _, width, _ in COLUMNS)}"
    for comparison in found["comparisons"]:
        yield f"{'wss' if comparison['tls'] else 'ws'}, {NAMED[comparison['in_flight']]}"
        yield from (row(name, figures) for name, figures in comparison["contenders"].items())
    whole = found["process"]
    yield f"ws, the command `run` with {MANY} targets at 1 s, scheduler and a scrape each {WINDOW:.0f} s included"
    yield row(f"{whole['sessions']:.0f} of {whole['planned']}, {whole['skipped']:.0f} skipped", whole)
    yield from remarks(found)


def row(name, figures):
    cells = (f"{figures[key]:{width}.{digits}f}" if figures[key] else " " * width for _, key, width, digits in COLUMNS)
    broken = f"   {figures['incomplete']:.0f} INCOMPLETE" if figures["incomplete"] else ""
    return f"  {name:30}{''.join(cells)}{broken}"


def remarks(found):
    """What the rows of blackbox_exporter do, since none does all that ours does."""
    if found["blackbox"] is None:
        yield "blackbox_exporter: not at hand (--blackbox PATH)"
    for name in found["comparisons"][0]["contenders"]:
        what, _, prober = name.partition(", ")
        if what == "blackbox":
            yield f"{name}: {clients.EXCHANGES[prober]}; its CPU holds the HTTP of /probe"


def main():
    """Measure and print, or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("process", nargs="?", choices=OURS, help=argparse.SUPPRESS)
    parser.add_argument("--sessions", type=int, default=500, help="of each contender in a repetition")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--blackbox", metavar="PATH", help="of blackbox_exporter, if it is not on PATH")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--profile", action="store_true", help="show where the time of ours goes")
    parser.add_argument("--tls", action="store_true", help="profile sessions over TLS")
    asked = parser.parse_args()
    if asked.process:
        asyncio.run(serve(OURS[asked.process]))
    elif asked.profile:
        profile(sessions=asked.sessions, tls=asked.tls)
    else:
        found = measure(sessions=asked.sessions, repeats=asked.repeats, blackbox=asked.blackbox)
        print(*table(found), sep="\n")
        if asked.json:
            asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
