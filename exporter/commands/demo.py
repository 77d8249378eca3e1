"""`demo` and `standin`: run the stand-in backend, with an exporter that probes it, or alone."""

import argparse
import asyncio
import tempfile
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.commands.incidents import chosen_incident, list_incidents
from exporter.commands.stop_signals import stop_requested
from exporter.commands.terminal import GREEN, RED, YELLOW, UsageError, paint, say
from exporter.daemon import Daemon, DaemonOptions
from exporter.loading import checked
from exporter.log import configure
from exporter.report import session_line, skip_line
from exporter.result import Holdup, Result
from exporter.web import ListenAddress, ListenError

if TYPE_CHECKING:
    from exporter.standin import Incident


def demo(options: argparse.Namespace) -> int:
    """Run the stand-in and an exporter in one process, until a signal."""
    _check_faults(options.fault)
    with closing(configure("error", "logfmt")):
        return asyncio.run(_run_demo(options))


def standin(options: argparse.Namespace) -> int:
    """Run the stand-in alone, until a signal; or list the incidents that it can play."""
    _check_faults(options.fault)
    if options.list_incidents:
        return list_incidents(options)
    return asyncio.run(_run_standin(options, chosen_incident(options)))


async def _run_demo(options: argparse.Namespace) -> int:
    from exporter.standin import DEMO_TIMINGS, StandIn, demo_config  # noqa: PLC0415 - `run` need not load it

    stop = stop_requested()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ws-factory-demo-")))
        standin = await StandIn.start(timings=DEMO_TIMINGS, control_port=0, tls_port=None)
        stack.push_async_callback(standin.close)
        standin.set_fault("*", *options.fault)
        plan = checked(demo_config(standin.url(), str(standin.key_file)), folder / "demo.yml").plan
        daemon_options = DaemonOptions(
            ListenAddress("127.0.0.1", options.port),
            startup_delay=0.0,
            on_result=lambda result: _show(result, daemon.rest_of(result)),
            on_skip=lambda skip: paint(skip_line(skip), YELLOW),
        )
        daemon: Daemon = Daemon(plan, daemon_options)
        stack.push_async_callback(daemon.stop)
        try:
            await daemon.start()
        except ListenError as error:
            raise UsageError(error, "choose another port with --port") from None
        print(
            f"stand-in backend   {standin.url()}\n"
            f"its faults         curl -X PUT '{standin.control_url}/faults?path=*' -d '[\"slot_limit\"]'\n"
            f"exporter           {daemon.url}/\n"
            f"metrics            curl -s {daemon.url}/metrics | grep ^ws_\n"
            "stop               Ctrl-C\n",
            flush=True,
        )
        await stop.wait()
    say("stopped")
    return 0


async def _run_standin(options: argparse.Namespace, incident: "Incident | None") -> int:
    from exporter.standin import StandIn, Timings  # noqa: PLC0415 - `run` need not load it

    stop = stop_requested()
    try:
        standin = await StandIn.start(
            port=options.port, tls_port=options.tls_port, control_port=options.control_port, timings=Timings()
        )
    except OSError as error:
        raise UsageError(f"the stand-in cannot listen: {error.strerror}; choose other ports") from None
    async with AsyncExitStack() as stack:
        stack.push_async_callback(standin.close)
        standin.set_fault("*", *options.fault)
        if incident is not None:
            standin.play(incident)
            print(f"incident           {incident.name}: {incident.what}")
        print(
            f"backend            {standin.url()}  {standin.url(tls=True)}\n"
            f"signing key        {standin.key_file}\n"
            f"CA certificate     {standin.ca_file}\n"
            f"control            curl {standin.control_url}/faults",
            flush=True,
        )
        await stop.wait()
    return 0


def _check_faults(specs: list[str]) -> None:
    from exporter.standin import parse  # noqa: PLC0415 - `run` need not load it

    for spec in specs:
        try:
            parse(spec)
        except ValueError as error:
            raise UsageError(f"--fault: {error}") from None


def _show(result: Result, resting: tuple[Holdup, float | None] | None) -> None:
    """Print a session; it is green only if it sent a token, since without one it does not prove the login."""
    paint(session_line(result, resting), RED if result.failed else YELLOW if result.impairment or resting else GREEN)
