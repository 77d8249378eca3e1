"""The command line: reads files, makes words and exit codes of errors.

Rule 1: the only print, sys.exit and signal of the house. Rule 2: an error a user can mend is a sentence on stderr and
exit code 1 (2 for wrong usage), never a traceback. `check` speaks the exit codes of the Nagios plugin guidelines: there
all of these are 3, unknown.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from exporter import arguments, web
from exporter.config import Config, HttpClient
from exporter.daemon import Daemon, Options
from exporter.host import Clock, no_core_dumps
from exporter.loading import Loaded, Unloadable, checked, load
from exporter.log import configure
from exporter.oncall import NoAnswer, OnCall, Rounds, asked_of, client_of, healthy_at
from exporter.plan import Job, Plan, Shard, plan_lines
from exporter.report import (
    FORMATS,
    SERIES_FORMATS,
    Checked,
    Earlier,
    NotOurs,
    Status,
    View,
    compare,
    exit_code,
    line,
    progress,
    read_document,
    series_exit_code,
    skip_line,
    worth_a_line,
)
from exporter.report.words import count
from exporter.result import Holdup, Probe, Result
from exporter.state import State
from exporter.web import Address, Doorway, ListenProblem

MULTIPROCESS = frozenset({"PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"})
"""Each of them, even when empty, switches prometheus_client over at its import."""
LOG = logging.getLogger("exporter.main")
T = TypeVar("T")


class Unusable(Exception):  # noqa: N818
    """What the user must mend first, a sentence each."""

    def __init__(self, *sentences: object) -> None:
        super().__init__(*sentences)
        self.sentences = [str(sentence) for sentence in sentences]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    no_core_dumps()
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["check"]:
        return _unknown_if_broken(words)
    return _obey(words)


def _obey(words: list[str]) -> int:
    options = arguments.parser().parse_args(words)
    for name in MULTIPROCESS & os.environ.keys():
        return _complain(Unusable(f"{name} is set: unset it, one process holds all series here"))
    try:
        return COMMANDS[options.command](options)
    except Unusable as problem:
        return _complain(problem)


def _unknown_if_broken(words: list[str]) -> int:
    """What is no finding about the backend is 3: wrong usage, a bad config, Ctrl-C, a defect of ours."""
    try:
        options = arguments.parser().parse_args(words)
        return COMMANDS[options.command](options)
    except SystemExit as end:
        return 0 if end.code in (0, None) else int(Status.UNKNOWN)
    except Unusable as problem:
        _complain(problem)
    except (KeyboardInterrupt, asyncio.CancelledError):
        _complain(Unusable("interrupted: nothing was found out"))
    except Exception as defect:  # noqa: BLE001 - Python's own exit code, 1, would be a warning about the backend
        _complain(Unusable(f"the check broke on our side, please report this: {_where(defect)}"))
    return int(Status.UNKNOWN)


def _where(defect: Exception) -> str:
    """Type and place of a defect. Its text, and the values of a traceback, may hold what must not be shown."""
    last = traceback.extract_tb(defect.__traceback__)[-1]
    return f"{type(defect).__name__} at {Path(last.filename).name}:{last.lineno}"


def _complain(problem: Unusable) -> int:
    for sentence in problem.sentences:
        print(f"ws-factory-exporter: {sentence}", file=sys.stderr)
    return 1


# Commands -----------------------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    early = _early_hangups() if not options.config_check else []
    doorway = _doorway(options)
    loaded = _load(options, options.shard)
    history_file = _history_file(options, loaded.config)
    if options.config_check:
        _say("\n".join([*plan_lines(loaded.plan), "", *(f"note: {note}" for note in loaded.notes)]).rstrip("\n"))
        for warning in loaded.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        return 0
    configure(options.log_level, options.log_format)
    for warning in loaded.warnings:
        LOG.warning("%s", warning)
    state = _state(options, loaded.config)
    wanted = Options(
        doorway,
        startup_delay=options.startup_delay,
        timeout_offset=options.timeout_offset,
        history_file=history_file,
        load=partial(_load_again, options, loaded.config),
        lifecycle=options.lifecycle,
    )
    return asyncio.run(_serve(loaded.plan, wanted, state, early))


def _early_hangups() -> list[int]:
    """SIGHUPs from now on, which would end us before there is a daemon to take them."""
    early: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: early.append(number))
    return early


def _check(options: argparse.Namespace) -> int:
    configure("warn", "logfmt")
    problem = arguments.of_no_effect(options)
    if problem:
        raise Unusable(problem)
    if options.source:
        return _show_checked(options, _asked_of(options))
    loaded = _load(options)
    job = _job(loaded.plan, options)
    depth = Probe(options.probe) if options.probe else job.probes[-1]
    with closing(_state(options, loaded.config)) as state:
        on_call = OnCall(job, state, identity=options.identity, send_token=options.send_token)
        if not (options.state_file or loaded.config.state_file or on_call.has_own_users) and on_call.takes_slot(depth):
            _complain(Unusable(UNSHARED))
        if options.runs is None and options.until_healthy is None:
            return _show_checked(options, asyncio.run(_until_asked(on_call.once(depth))))
        return _check_series(options, on_call, depth)


UNSHARED = (
    "note: neither --state.file nor state_file is given: an exporter on this machine does not know of this session, "
    "and the backend may run out of slots for its next ones"
)


def _check_series(options: argparse.Namespace, on_call: OnCall, depth: Probe) -> int:
    """A file that cannot be read or written is found before the first session, not after ten minutes."""
    rounds = _rounds(options)
    _check_room(on_call.least(depth), rounds)
    earlier = _earlier(options.compare) if options.compare else None
    if options.report:
        _write(Path(options.report), "", mode="a")
    _complain(Unusable(on_call.announce(depth, rounds)))
    series = asyncio.run(_until_asked(on_call.series(depth, rounds, _progress)))
    comparison = compare(earlier, series) if earlier else None
    view = View(Clock().wall(), options.fail_on)
    _summarise(options, lambda: SERIES_FORMATS["markdown"](series, view, comparison))
    _say(SERIES_FORMATS[options.output](series, view, comparison).rstrip("\n"))
    if options.report:
        kind = "json" if options.report.endswith(".json") else "markdown"
        _write(Path(options.report), SERIES_FORMATS[kind](series, view, comparison))
    if on_call.interrupted:
        raise Unusable(f"interrupted: {len(series.results)} of {rounds.runs} runs took place, which is no verdict")
    return series_exit_code(series, options.fail_on)


def _check_room(least: int, rounds: Rounds) -> None:
    """Raise Unusable for a gate that nothing can pass."""
    if rounds.until_healthy is not None and rounds.most < least:
        raise Unusable(
            f"--until-healthy: healthy means {count(least, 'run')} in a row that pass, each identity among them, and "
            f"there is room for {rounds.most}: give more --runs, more time, or a shorter --every"
        )


async def _until_asked(work: Coroutine[Any, Any, T]) -> T:
    """The outcome of the work. SIGTERM and SIGINT cancel it, so that a session closes well; a second one kills."""
    asked, task = _asked_to_stop(), asyncio.create_task(work)
    stop = asyncio.create_task(asked.wait())
    await asyncio.wait({stop, task}, return_when=asyncio.FIRST_COMPLETED)
    (task if asked.is_set() else stop).cancel()
    return await task


def _show_checked(options: argparse.Namespace, checked: Checked) -> int:
    view = View(Clock().wall(), options.fail_on)
    _summarise(options, lambda: FORMATS["markdown"](checked, view))
    _say(FORMATS[options.output](checked, view).rstrip("\n"))
    return exit_code(checked, options.fail_on)


def _summarise(options: argparse.Namespace, markdown: Callable[[], str]) -> None:
    """Append to the job summary, where GitHub runs us and names one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if options.output == "github" and path:
        try:
            _write(Path(path), markdown(), mode="a", flag="GITHUB_STEP_SUMMARY")
        except Unusable as problem:
            _complain(problem)


def _job(what: Plan, options: argparse.Namespace) -> Job:
    """The target that is asked for; raises Unusable with the names there are."""
    job = next((job for job in what.jobs if job.name == options.target), None)
    if job is None:
        known = ", ".join(job.name for job in what.jobs)
        raise Unusable(f"--target: {options.config_file} has no such target; it has {known}")
    users = job.target.check_identities or job.target.identities
    if options.identity is not None and options.identity not in users:
        raise Unusable(f"--identity: target {job.name} has no such alias; it has {', '.join(users)}")
    if options.probe is not None and options.probe not in job.probes:
        raise Unusable(f"--probe: target {job.name} has {', '.join(job.probes)}")
    return job


def _rounds(options: argparse.Namespace) -> Rounds:
    """`--until-healthy` alone means as many runs as fit into it."""
    rounds = Rounds(arguments.MOST_RUNS, options.every, options.until_healthy)
    return Rounds(rounds.most if options.runs is None else options.runs, options.every, options.until_healthy)


def _earlier(path: str) -> Earlier:
    try:
        return read_document(Path(path).read_bytes())
    except OSError as error:
        raise Unusable(f"--compare: {path}: {error.strerror}") from None
    except NotOurs as problem:
        raise Unusable(f"--compare: {path}: {problem}") from None


def _asked_of(options: argparse.Namespace) -> Checked:
    try:
        return asked_of(options.source, options.target, options.probe, _client(options))
    except NoAnswer as problem:
        raise Unusable(f"--from: {problem}") from None


def _progress(results: list[Result], total: int, left: float) -> None:
    """One line that is rewritten on a terminal, a few lines in a log: reports go to stdout, this does not."""
    if not sys.stderr.isatty():
        if worth_a_line(results, total):
            print(progress(results, total, left), file=sys.stderr, flush=True)
    else:
        print(f"\r\x1b[K{progress(results, total, left)}", end="\n" if left == 0 else "", file=sys.stderr, flush=True)


def _write(path: Path, text: str, *, mode: str = "w", flag: str = "--report") -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Unusable(f"{flag}: {path}: {error.strerror}") from None


def _healthcheck(options: argparse.Namespace) -> int:
    try:
        _say(healthy_at(options.url, _client(options)))
    except NoAnswer as problem:
        raise Unusable(f"--url: {problem}") from None
    return 0


def _client(options: argparse.Namespace) -> HttpClient | None:
    return client_of(Path(options.http_config)) if options.http_config else None


def _demo(options: argparse.Namespace) -> int:
    _check_faults(options.fault)
    configure("error", "logfmt")
    return asyncio.run(_demonstrate(options))


def _standin(options: argparse.Namespace) -> int:
    _check_faults(options.fault)
    return asyncio.run(_stand_in(options))


async def _serve(what: Plan, options: Options, state: State, early: list[int]) -> int:
    asked = _asked_to_stop()
    daemon = Daemon(what, options, state=state)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, daemon.reload)
    if early:
        daemon.reload()
    try:
        await daemon.start()
        await asked.wait()
    except ListenProblem as problem:
        raise Unusable(*problem.sentences) from None
    finally:
        await daemon.stop()
    return 0


def _asked_to_stop() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT from now on; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def on_signal(number: int) -> None:
        if asked.is_set():
            os._exit(128 + number)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return asked


# Files --------------------------------------------------------------------------------------------------------------


def _load(options: argparse.Namespace, shard: Shard | None = None) -> Loaded:
    """The checked config and its plan; raises Unusable with every mistake at once."""
    try:
        return load(Path(options.config_file), shard)
    except Unloadable as problem:
        raise Unusable(*problem.sentences) from None


def _load_again(options: argparse.Namespace, first: Config) -> Loaded:
    """As its file says now; raises Unloadable. `first`: what we started with."""
    return load(Path(options.config_file), options.shard).keeping_state_of(first, vars(options))


def _state(options: argparse.Namespace, config: Config) -> State:
    """The ledger of this machine: the flag names its file, else the config does."""
    path = options.state_file or config.state_file
    return State.open(Path(path)) if path else State.in_memory()


def _history_file(options: argparse.Namespace, config: Config) -> Path | None:
    """Where the history is kept, if it is; raises Unusable if that is the ledger's file."""
    path = options.history_file or config.history_file
    ledger = options.state_file or config.state_file
    if path and ledger and os.path.realpath(path) == os.path.realpath(ledger):
        raise Unusable(f"--history.file: {path} is the state file: name another for the history")
    return Path(path) if path else None


def _doorway(options: argparse.Namespace) -> Doorway:
    """Where the HTTP side is reached; raises Unusable for wrong flags, and for what is wrong with the web config."""
    try:
        doorway = web.read_doorway(
            options.listen or ([] if options.from_systemd else [arguments.LISTEN]),
            from_systemd=options.from_systemd,
            config_file=options.web_config,
            external=options.external,
            prefix=options.prefix,
            telemetry=options.telemetry,
            allowed=options.allowed,
        )
    except ListenProblem as problem:
        raise Unusable(*problem.sentences) from None
    problems = web.door_problems(doorway.config_file)
    if problems:
        raise Unusable(*problems)
    return doorway


# The stand-in -------------------------------------------------------------------------------------------------------


async def _demonstrate(options: argparse.Namespace) -> int:
    """A stand-in and an exporter that probes it, until a signal."""
    from exporter.standin import DEMO_PACE, StandIn, demo_config  # noqa: PLC0415 - `run` need not load it

    asked = _asked_to_stop()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ws-factory-demo-")))
        standin = await StandIn.start(pace=DEMO_PACE, control_port=0, tls_port=None)
        stack.push_async_callback(standin.close)
        standin.set_fault("*", *options.fault)
        what = checked(demo_config(standin.url(), str(standin.key_file)), folder / "demo.yml").plan
        shown = Options(
            Address("127.0.0.1", options.port),
            startup_delay=0.0,
            on_result=lambda result: _show(result, daemon.rest_of(result)),
            on_skip=lambda skip: _paint(skip_line(skip), YELLOW),
        )
        daemon: Daemon = Daemon(what, shown)
        stack.push_async_callback(daemon.stop)
        try:
            await daemon.start()
        except ListenProblem as problem:
            raise Unusable(problem, "choose another port with --port") from None
        print(
            f"stand-in backend   {standin.url()}\n"
            f"its faults         curl -X PUT '{standin.control_url}/faults?path=*' -d '[\"slot_limit\"]'\n"
            f"exporter           {daemon.url}/\n"
            f"metrics            curl -s {daemon.url}/metrics | grep ^ws_\n"
            "stop               Ctrl-C\n",
            flush=True,
        )
        await asked.wait()
    _say("stopped")
    return 0


async def _stand_in(options: argparse.Namespace) -> int:
    from exporter.standin import Pace, StandIn  # noqa: PLC0415 - `run` need not load it

    asked = _asked_to_stop()
    try:
        standin = await StandIn.start(
            port=options.port, tls_port=options.tls_port, control_port=options.control_port, pace=Pace()
        )
    except OSError as error:
        raise Unusable(f"the stand-in cannot listen: {error.strerror}; choose other ports") from None
    async with AsyncExitStack() as stack:
        stack.push_async_callback(standin.close)
        standin.set_fault("*", *options.fault)
        print(
            f"backend            {standin.url()}  {standin.url(tls=True)}\n"
            f"signing key        {standin.key_file}\n"
            f"CA certificate     {standin.ca_file}\n"
            f"control            curl {standin.control_url}/faults",
            flush=True,
        )
        await asked.wait()
    return 0


def _check_faults(specs: list[str]) -> None:
    from exporter.standin import parse  # noqa: PLC0415 - `run` need not load it

    for spec in specs:
        try:
            parse(spec)
        except ValueError as problem:
            raise Unusable(f"--fault: {problem}") from None


# Terminal -----------------------------------------------------------------------------------------------------------

RED, GREEN, YELLOW, PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"


def _show(result: Result, resting: tuple[Holdup, float | None] | None) -> None:
    """A session that sent no token is no proof that all is well: it is not green."""
    _paint(line(result, resting), RED if result.failed else YELLOW if result.impairment or resting else GREEN)


def _paint(text: str, colour: str) -> None:
    """Print a line; a reader that has gone (`demo | head`) ends the demo as Ctrl-C does."""
    if not _say(f"{colour}{text}{PLAIN}" if sys.stdout.isatty() else text):
        signal.raise_signal(signal.SIGTERM)


def _say(text: str) -> bool:
    """Print a line; False if nobody reads any more, and then nothing is written for the rest of our life."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "run": _run,
    "check": _check,
    "healthcheck": _healthcheck,
    "demo": _demo,
    "standin": _standin,
}


def _exit() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _exit()
