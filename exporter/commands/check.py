"""`check`: one session now, explained; and `healthcheck`, which asks a running exporter how it is."""

import argparse
import asyncio
from contextlib import closing

from exporter import arguments
from exporter.commands.flag_files import http_client, load_config, open_state
from exporter.commands.gate import run_gate
from exporter.commands.outputs import summarise
from exporter.commands.stop_signals import cancelled_by_signal
from exporter.commands.terminal import UsageError, complain, say
from exporter.host import Clock
from exporter.log import configure
from exporter.oncall import NoAnswer, OnCall, asked_of, healthy_at
from exporter.plan import Job, Plan
from exporter.report import FORMATS, Checked, View, exit_code
from exporter.result import Probe

UNSHARED = (
    "note: neither --state.file nor state_file is given: an exporter on this machine does not know of this session, "
    "and the backend may run out of slots for its next ones"
)


def check(options: argparse.Namespace) -> int:
    """Sessions now, explained; the exit code of what they found. Raises UsageError."""
    configure("warn", "logfmt")
    problem = arguments.of_no_effect(options)
    if problem:
        raise UsageError(problem)
    if options.source:
        return _show_checked(options, _asked_of(options))
    loaded = load_config(options)
    job = _job(loaded.plan, options)
    depth = Probe(options.probe) if options.probe else job.probes[-1]
    with closing(open_state(options, loaded.config)) as state:
        on_call = OnCall(job, state, identity=options.identity, send_token=options.send_token)
        if not (options.state_file or loaded.config.state_file or on_call.has_own_users) and on_call.takes_slot(depth):
            complain(UsageError(UNSHARED))
        if options.runs is None and options.until_healthy is None:
            return _show_checked(options, asyncio.run(cancelled_by_signal(on_call.once(depth))))
        return run_gate(options, on_call, depth)


def _show_checked(options: argparse.Namespace, checked: Checked) -> int:
    view = View(Clock().wall(), options.fail_on)
    summarise(options, lambda: FORMATS["markdown"](checked, view))
    say(FORMATS[options.output](checked, view).rstrip("\n"))
    return exit_code(checked, options.fail_on)


def _job(what: Plan, options: argparse.Namespace) -> Job:
    """The target that is asked for; raises UsageError with the names there are."""
    job = next((job for job in what.jobs if job.name == options.target), None)
    if job is None:
        known = ", ".join(job.name for job in what.jobs)
        raise UsageError(f"--target: {options.config_file} has no such target; it has {known}")
    users = job.target.check_identities or job.target.identities
    if options.identity is not None and options.identity not in users:
        raise UsageError(f"--identity: target {job.name} has no such alias; it has {', '.join(users)}")
    if options.probe is not None and options.probe not in job.probes:
        raise UsageError(f"--probe: target {job.name} has {', '.join(job.probes)}")
    return job


def _asked_of(options: argparse.Namespace) -> Checked:
    try:
        return asked_of(options.source, options.target, options.probe, http_client(options))
    except NoAnswer as problem:
        raise UsageError(f"--from: {problem}") from None


def healthcheck(options: argparse.Namespace) -> int:
    """Ask a running exporter; exit code 0 if it is well. Raises UsageError with what it says else."""
    try:
        say(healthy_at(options.url, http_client(options)))
    except NoAnswer as problem:
        raise UsageError(f"--url: {problem}") from None
    return 0
