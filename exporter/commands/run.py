"""`run`: probe on a schedule and serve the metrics; with `--config.check`, print the plan."""

import argparse
import asyncio
import logging
import signal
import sys
from contextlib import closing
from functools import partial

from exporter.commands.flag_files import history_path, listen_options, load_again, load_config, open_state
from exporter.commands.stop_signals import early_hangups, stop_requested
from exporter.commands.terminal import UsageError, say
from exporter.daemon import Daemon, DaemonOptions
from exporter.log import configure
from exporter.plan import Plan, plan_lines
from exporter.state import LedgerFile
from exporter.web import ListenError

_logger = logging.getLogger("exporter.main")


def run(options: argparse.Namespace) -> int:
    """Probe until a signal; exit code 0. Raises UsageError for a config that cannot be used."""
    early = early_hangups() if not options.config_check else []
    listen = listen_options(options)
    loaded = load_config(options, options.shard)
    history_file = history_path(options, loaded.config)
    if options.config_check:
        say("\n".join([*plan_lines(loaded.plan), "", *(f"note: {note}" for note in loaded.notes)]).rstrip("\n"))
        for warning in loaded.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        return 0
    with closing(configure(options.log_level, options.log_format)):
        for warning in loaded.warnings:
            _logger.warning("%s", warning)
        state = open_state(options, loaded.config)
        wanted = DaemonOptions(
            listen,
            startup_delay=options.startup_delay,
            timeout_offset=options.timeout_offset,
            history_file=history_file,
            load=partial(load_again, options, loaded.config),
            lifecycle=options.lifecycle,
        )
        return asyncio.run(_serve(loaded.plan, wanted, state, early))


async def _serve(what: Plan, options: DaemonOptions, state: LedgerFile, early: list[int]) -> int:
    asked = stop_requested()
    daemon = Daemon(what, options, state=state)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, daemon.reload)
    if early:
        daemon.reload()
    try:
        await daemon.start()
        await asked.wait()
    except ListenError as problem:
        raise UsageError(*problem.sentences) from None
    finally:
        await daemon.stop()
    return 0
