"""`check`: one session now, explained; and `healthcheck`, which asks a running exporter how it is."""

import argparse
import asyncio
from contextlib import closing

from exporter import arguments
from exporter.commands.bare_url import config_of_url
from exporter.commands.flag_files import http_client, load_config, open_state
from exporter.commands.gate import run_gate
from exporter.commands.outputs import append_job_summary, render_context
from exporter.commands.runbook import pages_at
from exporter.commands.stop_signals import cancelled_by_signal
from exporter.commands.terminal import UsageError, complain, say
from exporter.log import configure
from exporter.oncall import Checker, RemoteError, check_each, fetch_check, fetch_health
from exporter.plan import Job, Plan
from exporter.report import (
    FORMATS,
    SEVERAL_FORMATS,
    CheckReport,
    exit_code,
    explain_failing,
    several_exit_code,
    target_line,
)
from exporter.result import Probe

UNSHARED_NOTE = (
    "note: neither --state.file nor state_file is given: an exporter on this machine does not know of this session, "
    "and the backend may run out of slots for its next ones"
)


def check(options: argparse.Namespace) -> int:
    """Sessions now, explained; the exit code of what they found. Raises UsageError."""
    with closing(configure("warn", "logfmt")):
        return _check(options)


def _check(options: argparse.Namespace) -> int:
    problem = arguments.find_useless_flag(options)
    if problem:
        raise UsageError(problem)
    if options.source:
        return _show_checked(options, _check_remotely(options), f"{options.source.rstrip('/')}/runbook/{{name}}")
    loaded = config_of_url(options.url, options.profile) if options.url else load_config(options)
    jobs = _jobs(loaded.plan, options)
    pages = loaded.config.runbook_url and pages_at(loaded.config.runbook_url)
    with closing(open_state(options, loaded.config)) as state:
        named = {"identity": options.identity, "send_token": options.send_token}
        asked = [(Checker(job, state, **named), _depth(job, options.probe)) for job in jobs]
        is_shared = options.state_file or loaded.config.state_file
        if not is_shared and any(not one.has_own_users and one.takes_slot(depth) for one, depth in asked):
            complain(UsageError(UNSHARED_NOTE))
        if len(asked) > 1:
            return _check_several(options, jobs, asked, pages)
        on_call, depth = asked[0]
        if options.runs is None and options.until_healthy is None:
            return _show_checked(options, asyncio.run(cancelled_by_signal(on_call.check_once(depth))), pages)
        return run_gate(options, on_call, depth, pages)


def _check_several(
    options: argparse.Namespace, jobs: list[Job], asked: list[tuple[Checker, Probe]], pages: str | None
) -> int:
    """A line for each target as soon as it is checked, where people read them; then what explains the others."""
    width = max(len(job.name) for job in jobs)

    def tell(checked: CheckReport) -> None:
        if options.output == "text":
            say(target_line(checked, width))

    checks = asyncio.run(cancelled_by_signal(check_each(asked, tell)))
    view = render_context(options, pages)
    append_job_summary(options, lambda: SEVERAL_FORMATS["markdown"](checks, view))
    rest = explain_failing(checks, view) if options.output == "text" else SEVERAL_FORMATS[options.output](checks, view)
    if rest:
        say(rest.rstrip("\n"))
    return several_exit_code(checks, view)


def _show_checked(options: argparse.Namespace, checked: CheckReport, pages: str | None) -> int:
    view = render_context(options, pages)
    append_job_summary(options, lambda: FORMATS["markdown"](checked, view))
    say(FORMATS[options.output](checked, view).rstrip("\n"))
    return exit_code(checked, options.fail_on)


def _jobs(what: Plan, options: argparse.Namespace) -> list[Job]:
    """The target that is asked for, or all; raises UsageError with the names there are."""
    known = ", ".join(job.name for job in what.jobs)
    if options.target is None and len(what.jobs) > 1:
        for_one = {"--runs": options.runs, "--until-healthy": options.until_healthy, "--identity": options.identity}
        for flag, value in for_one.items():
            if value is not None:
                raise UsageError(f"{flag}: is for one target: add --target; the config has {known}")
        return list(what.jobs)
    job = next((job for job in what.jobs if options.target in (None, job.name)), None)
    if job is None:
        raise UsageError(f"--target: {options.config_file} has no such target; it has {known}")
    users = job.target.check_identities or job.target.identities
    if options.identity is not None and options.identity not in users:
        raise UsageError(f"--identity: target {job.name} has no such alias; it has {', '.join(users)}")
    if options.probe is not None and options.probe not in job.probes:
        raise UsageError(f"--probe: target {job.name} has {', '.join(job.probes)}")
    return [job]


def _depth(job: Job, wished: str | None) -> Probe:
    """The deepest probe of the target that goes no deeper than is wished for."""
    most = Probe(wished).rank if wished else job.probes[-1].rank
    return [probe for probe in job.probes if probe.rank <= most][-1]


def _check_remotely(options: argparse.Namespace) -> CheckReport:
    try:
        return fetch_check(options.source, options.target, options.probe, http_client(options))
    except RemoteError as problem:
        raise UsageError(f"--from: {problem}") from None


def healthcheck(options: argparse.Namespace) -> int:
    """Ask a running exporter; exit code 0 if it is well. Raises UsageError with what it says else."""
    try:
        say(fetch_health(options.url, http_client(options)))
    except RemoteError as problem:
        raise UsageError(f"--url: {problem}") from None
    return 0
