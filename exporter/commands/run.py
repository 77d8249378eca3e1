"""`run`: probes on a schedule and serves the metrics; with `--config.check`, prints the plan."""

import argparse
import asyncio
import logging
import signal
import sys
from contextlib import closing
from functools import partial

from exporter.commands.flag_files import history_path, listen_options, load_again, load_config, open_state
from exporter.commands.origin import origin_of
from exporter.commands.otlp_flags import otlp_settings
from exporter.commands.stop_signals import collect_early_hangups, stop_requested
from exporter.commands.terminal import UsageError, say
from exporter.daemon import Daemon, DaemonOptions
from exporter.log import configure
from exporter.plan import Plan, plan_lines
from exporter.state import LedgerFile
from exporter.web import ListenError

_logger = logging.getLogger("exporter.main")


def run(options: argparse.Namespace) -> int:
    """Probe until a signal; exit code 0. Raises UsageError for a config that cannot be used."""
    hangups = collect_early_hangups() if not options.config_check else []
    listen = listen_options(options)
    origin = origin_of(options)
    otlp = otlp_settings(options)
    loaded = load_config(options, options.shard)
    history_file = history_path(options, loaded.config)
    if options.config_check:
        say("\n".join([*plan_lines(loaded.plan), "", *(f"note: {note}" for note in loaded.notes)]).rstrip("\n"))
        for warning in loaded.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        return 0
    with closing(configure(options.log_level, options.log_format, origin=origin)):
        for warning in loaded.warnings:
            _logger.warning("%s", warning)
        state = open_state(options, loaded.config)
        daemon_options = DaemonOptions(
            listen,
            startup_delay=options.startup_delay,
            timeout_offset=options.timeout_offset,
            history_file=history_file,
            load=partial(load_again, options, loaded.config),
            lifecycle=options.lifecycle,
            origin=origin,
            otlp=otlp,
        )
        return asyncio.run(_serve(loaded.plan, daemon_options, state, hangups))


async def _serve(plan: Plan, options: DaemonOptions, state: LedgerFile, early_hangups: list[int]) -> int:
    stop = stop_requested()
    daemon = Daemon(plan, options, state=state)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, daemon.reload)
    if early_hangups:
        daemon.reload()
    try:
        await daemon.start()
        await stop.wait()
    except ListenError as error:
        raise UsageError(*error.sentences) from None
    finally:
        await daemon.stop()
    return 0
