"""`check`: runs and explains a session now; `healthcheck`: asks a running exporter for its health."""

import argparse
import asyncio
from contextlib import closing
from typing import Any

from exporter import arguments
from exporter.commands.bare_url import config_of_url
from exporter.commands.flag_files import http_client, load_config, open_state
from exporter.commands.frames import FrameRecorder, frame_observer, print_legend
from exporter.commands.gate import run_gate
from exporter.commands.origin import origin_of
from exporter.commands.outputs import append_job_summary, render_context
from exporter.commands.stop_signals import cancelled_by_signal
from exporter.commands.terminal import UsageError, complain, say
from exporter.http_client import RemoteError
from exporter.log import configure
from exporter.oncall import Checker, check_each, fetch_check, fetch_health
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
    """Run and explain sessions; the exit code is their status. Raises UsageError."""
    with closing(configure("warn", "logfmt")):
        return _check(options)


def _check(options: argparse.Namespace) -> int:
    problem = arguments.find_useless_flag(options)
    if problem:
        raise UsageError(problem)
    if options.source:
        return _show_report(options, _check_remotely(options), f"{options.source.rstrip('/')}/runbook/{{name}}")
    loaded = config_of_url(options.url, options.profile) if options.url else load_config(options)
    jobs = _jobs(loaded.plan, options)
    pages = loaded.config.runbook_url
    recorder = FrameRecorder(options, jobs[0]) if options.record_frames else None
    with closing(open_state(options, loaded.config)) as state:
        speaker: dict[str, Any] = {
            "identity": options.identity,
            "send_token": options.send_token,
            "origin": origin_of(options),
        }
        checkers = [
            (Checker(job, state, **speaker, observer=observer), _depth(job, options.probe))
            for job, observer in ((job, frame_observer(options, job, recorder, named=len(jobs) > 1)) for job in jobs)
        ]
        is_shared = options.state_file or loaded.config.state_file
        if not is_shared and any(not one.has_own_users and one.takes_slot(depth) for one, depth in checkers):
            complain(UsageError(UNSHARED_NOTE))
        print_legend(options)
        if len(checkers) > 1:
            return _check_several(options, jobs, checkers, pages)
        checker, depth = checkers[0]
        if options.runs is None and options.until_healthy is None:
            code = _show_report(options, asyncio.run(cancelled_by_signal(checker.check_once(depth))), pages)
            if recorder is not None:
                recorder.write(options.record_frames)
            return code
        return run_gate(options, checker, depth, pages)


def _check_several(
    options: argparse.Namespace, jobs: list[Job], checkers: list[tuple[Checker, Probe]], pages: str | None
) -> int:
    """In text, print a line for each target as soon as it is checked, then explain those that are not OK."""
    width = max(len(job.name) for job in jobs)

    def on_report(report: CheckReport) -> None:
        if options.output == "text":
            say(target_line(report, width))

    reports = asyncio.run(cancelled_by_signal(check_each(checkers, on_report)))
    view = render_context(options, pages)
    append_job_summary(options, lambda: SEVERAL_FORMATS["markdown"](reports, view))
    render = explain_failing if options.output == "text" else SEVERAL_FORMATS[options.output]
    text = render(reports, view)
    if text:
        say(text.rstrip("\n"))
    return several_exit_code(reports, view)


def _show_report(options: argparse.Namespace, report: CheckReport, pages: str | None) -> int:
    view = render_context(options, pages)
    append_job_summary(options, lambda: FORMATS["markdown"](report, view))
    say(FORMATS[options.output](report, view).rstrip("\n"))
    return exit_code(report, options.fail_on)


def _jobs(plan: Plan, options: argparse.Namespace) -> list[Job]:
    """The target that `--target` names, or all; raises UsageError with the valid names."""
    names = ", ".join(job.name for job in plan.jobs)
    if options.target is None and len(plan.jobs) > 1:
        for_one = {
            "--runs": options.runs,
            "--until-healthy": options.until_healthy,
            "--identity": options.identity,
            "--record-frames": options.record_frames,
        }
        for flag, value in for_one.items():
            if value is not None:
                raise UsageError(f"{flag}: is for one target: add --target; the config has {names}")
        return list(plan.jobs)
    job = next((job for job in plan.jobs if options.target in (None, job.name)), None)
    if job is None:
        raise UsageError(f"--target: {options.config_file} has no such target; it has {names}")
    users = job.target.check_identities or job.target.identities
    if options.identity is not None and options.identity not in users:
        raise UsageError(f"--identity: target {job.name} has no such alias; it has {', '.join(users)}")
    if options.probe is not None and options.probe not in job.probes:
        raise UsageError(f"--probe: target {job.name} has {', '.join(job.probes)}")
    return [job]


def _depth(job: Job, max_depth: str | None) -> Probe:
    """The deepest probe of the target, at most `max_depth`."""
    max_rank = Probe(max_depth).rank if max_depth else job.probes[-1].rank
    return [probe for probe in job.probes if probe.rank <= max_rank][-1]


def _check_remotely(options: argparse.Namespace) -> CheckReport:
    try:
        return fetch_check(options.source, options.target, options.probe, http_client(options))
    except RemoteError as error:
        raise UsageError(f"--from: {error}") from None


def healthcheck(options: argparse.Namespace) -> int:
    """Ask a running exporter for its health; exit code 0 if it is healthy. Raises UsageError with its answer if not."""
    try:
        say(fetch_health(options.url, http_client(options)))
    except RemoteError as error:
        raise UsageError(f"--url: {error}") from None
    return 0
