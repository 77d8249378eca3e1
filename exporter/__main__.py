"""The command line: reads files, makes words and exit codes of errors.

Rule 1: the only print, sys.exit and signal of the house. Rule 2: an error a user can mend is a sentence on stderr and
exit code 1 (2 for wrong usage), never a traceback.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NoReturn

from exporter import __version__, web
from exporter.config import Config, Problem, YamlProblem, examine, load_yaml, seconds
from exporter.daemon import Daemon, Options
from exporter.files import key_problems, mode_warnings
from exporter.log import LEVELS, configure
from exporter.plan import Plan, plan, plan_lines
from exporter.profiles import BUILT_IN
from exporter.report import line, skip_line
from exporter.result import Result, Skip
from exporter.state import State
from exporter.web import Address, ListenProblem

LISTEN = ":11011"
MULTIPROCESS = frozenset({"PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"})
"""Each of them, even when empty, switches prometheus_client over at its import."""
LOG = logging.getLogger("exporter.main")


class Unusable(Exception):  # noqa: N818
    """What the user must mend first, a sentence each."""

    def __init__(self, *sentences: object) -> None:
        super().__init__(*sentences)
        self.sentences = [str(sentence) for sentence in sentences]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    options = _parser().parse_args(argv)
    for name in MULTIPROCESS & os.environ.keys():
        return _complain(Unusable(f"{name} is set: unset it, one process holds all series here"))
    try:
        return int(options.command(options))
    except Unusable as problem:
        return _complain(problem)


def _complain(problem: Unusable) -> int:
    for sentence in problem.sentences:
        print(f"ws-factory-exporter: {sentence}", file=sys.stderr)
    return 1


# Commands -----------------------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    config, what = _load(Path(options.config_file))
    if options.config_check:
        print("\n".join(plan_lines(what)))
        for problem in mode_warnings(config):
            print(f"warning: {problem}", file=sys.stderr)
        return 0
    listen = _address(options.listen)
    configure(options.log_level, options.log_format)
    for problem in mode_warnings(config):
        LOG.warning("%s", problem)
    state = State.open(Path(options.state_file)) if options.state_file else State.in_memory()
    daemon_options = Options(listen, startup_delay=options.startup_delay)
    return asyncio.run(_serve(config, what, daemon_options, state))


def _demo(options: argparse.Namespace) -> int:
    _check_faults(options.fault)
    configure("error", "logfmt")
    return asyncio.run(_demonstrate(options))


def _standin(options: argparse.Namespace) -> int:
    _check_faults(options.fault)
    return asyncio.run(_stand_in(options))


async def _serve(config: Config, what: Plan, options: Options, state: State) -> int:
    asked = _asked_to_stop()
    daemon = Daemon(config, what, options, state=state)
    try:
        await daemon.start()
        await asked.wait()
    except ListenProblem as problem:
        raise Unusable(problem) from None
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


def _load(path: Path) -> tuple[Config, Plan]:
    """The checked config and its plan; raises Unusable with every mistake at once."""
    try:
        raw = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}; name the config with --config.file") from None
    except (YamlProblem, UnicodeDecodeError) as problem:
        raise Unusable(f"{path}: {problem}") from None
    return _checked(raw, path)


def _checked(raw: object, path: Path) -> tuple[Config, Plan]:
    """Every problem that can be seen at once: fields, then files and schedule of the targets whose fields are good."""
    seen = examine(raw, BUILT_IN)
    files = seen.good.placed(key_problems(seen.good.config.resolved(path.parent)))
    sound = seen.sound.config.resolved(path.parent)
    planned = plan(sound, BUILT_IN)
    schedule = () if isinstance(planned, Plan) else seen.sound.placed(planned)
    problems: list[Problem] = [*seen.problems, *files, *schedule]
    if problems or not isinstance(planned, Plan):
        raise Unusable(*(f"{path}: {problem}" for problem in dict.fromkeys(problems)))
    return sound, planned


def _address(text: str) -> Address:
    try:
        return web.parse(text)
    except ListenProblem as problem:
        raise Unusable(problem) from None


# The stand-in -------------------------------------------------------------------------------------------------------

DEMO_SPEED = 0.1


async def _demonstrate(options: argparse.Namespace) -> int:
    """A stand-in and an exporter that probes it, until a signal."""
    from exporter.standin import Pace, StandIn  # noqa: PLC0415 - `run` need not load it

    asked = _asked_to_stop()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ws-factory-demo-")))
        standin = await StandIn.start(pace=Pace().scaled(DEMO_SPEED), control_port=0, tls_port=None)
        stack.push_async_callback(standin.close)
        standin.set_fault("*", *options.fault)
        config, what = _checked(_demo_config(standin.url(), str(standin.key_file)), folder / "demo.yml")
        shown = Options(Address("127.0.0.1", options.port), startup_delay=0.0, on_result=_show, on_skip=_show_skip)
        daemon = Daemon(config, what, shown)
        stack.push_async_callback(daemon.stop)
        try:
            await daemon.start()
        except ListenProblem as problem:
            raise Unusable(problem, "choose another port with --port") from None
        print(
            f"stand-in backend   {standin.url()}\n"
            f"its faults         curl -X PUT '{standin.control_url}/faults?path=/ws' -d '[\"slot_limit\"]'\n"
            f"exporter           {daemon.url}/\n"
            f"metrics            curl -s {daemon.url}/metrics | grep ^ws_\n"
            "stop               Ctrl-C\n",
            flush=True,
        )
        await asked.wait()
    _say("stopped")
    return 0


def _demo_config(url: str, key_file: str) -> dict[str, object]:
    users = {f"pool-00{n}": f"staging-demo-user-00{n}" for n in (1, 2)}
    return {
        "targets": [
            {
                "name": "demo",
                "url": url,
                "interval": "3s",
                "timeout": "2s",
                "close_timeout": "500ms",
                "identities": {**users, "uuid-001": "6f1d0f3e-8a57-4b8e-9d0e-2f6a1f0c9a11"},
                "auth": {
                    "jwt": {
                        "key_file": key_file,
                        "claims": {"iss": "netra-auth-service", "aud": "netra-platform", "token_type": "access"},
                    }
                },
                "confirm": {"after": "500ms"},
                "limits": {"slot_release": f"{300 * DEMO_SPEED:.0f}s"},
            }
        ]
    }


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


def _show(result: Result) -> None:
    _paint(line(result), RED if result.failed else YELLOW if result.impairment else GREEN)


def _show_skip(skip: Skip) -> None:
    _paint(skip_line(skip), YELLOW)


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


# Arguments ----------------------------------------------------------------------------------------------------------


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:  # noqa: PLR2004 - RFC 9293 section 3.1: sixteen bits
        raise argparse.ArgumentTypeError("must be 0 (any free one) to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ws-factory-exporter",
        description="Probes WebSocket backends as a test user and tells Prometheus.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands.add_parser("run", help="probe on a schedule and serve /metrics", allow_abbrev=False))
    _add_demo(commands.add_parser("demo", help="stand-in and exporter, nothing else needed", allow_abbrev=False))
    _add_standin(commands.add_parser("standin", help="the stand-in backend alone", allow_abbrev=False))
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--config.file", dest="config_file", default="exporter.yml", metavar="FILE", help="default: %(default)s")
    add(
        "--config.check",
        dest="config_check",
        action="store_true",
        help="say every mistake, or print the plan; then exit",
    )
    add("--web.listen-address", dest="listen", default=LISTEN, metavar="[HOST]:PORT", help="default: %(default)s")
    add("--log.level", dest="log_level", choices=list(LEVELS), default="info", help="default: %(default)s")
    add("--log.format", dest="log_format", choices=["logfmt", "json"], default="logfmt", help="default: %(default)s")
    add(
        "--state.file",
        dest="state_file",
        metavar="FILE",
        help="keeps the ledger of slots over restarts; shared by all here",
    )
    add(
        "--startup.delay",
        dest="startup_delay",
        type=_seconds,
        default="15s",
        metavar="DURATION",
        help="wait so long, and for a scrape (60s at most), before the first session; default: %(default)s; 0s: now",
    )
    parser.set_defaults(command=_run)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fault", action="append", default=[], metavar="NAME[:KEY=VALUE,…]", help="what the stand-in does wrong"
    )
    parser.add_argument("--port", type=_port, default=11011, help="of the exporter; default: %(default)s, 0: any")
    parser.set_defaults(command=_demo)


def _add_standin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fault", action="append", default=[], metavar="NAME[:KEY=VALUE,…]", help="what it does wrong")
    for flag, what in {"--port": "ws", "--tls-port": "wss", "--control-port": "the control endpoint"}.items():
        parser.add_argument(flag, type=_port, default=0, help=f"of {what}; default: any free one")
    parser.set_defaults(command=_standin)


def _exit() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _exit()
