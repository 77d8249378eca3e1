"""Parses the command line: commands, flags, defaults, and the errors about wrong ones.

Rule 1: this module knows names and types of flags and nothing of what a command does; `commands` runs it by its name.
"""

import argparse
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from exporter import __version__
from exporter.config import checked_name, link_url, seconds
from exporter.config.otlp import otlp_endpoint
from exporter.log import LEVELS
from exporter.plan import Shard
from exporter.report import FORMATS
from exporter.result import Probe

T = TypeVar("T")

DEFAULT_LISTEN_ADDRESS: Final = ":11011"
ORIGIN_VARIABLE: Final = "WS_FACTORY_EXPORTER_ORIGIN"
MAX_RUNS: Final = 1_000
MAX_SHARDS: Final = 1_000
CHECK_CODES: Final = (
    "exit codes: 0 OK, 1 warning, 2 critical, 3 unknown: "
    "wrong usage, no room in the budget, interrupted, a defect of the exporter"
)

TRANSCRIPT_FORMAT: Final = (
    'The frames are a JSON list of {"from": "server", "text": "…"}, {"from": "client", "text": "…"}, the same with '
    '"binary" in base64 in place of "text", and {"close": 4403, "reason": "…"} for a close frame of the server.'
)


def _checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A type of an argument: `parse`, whose ValueError has the sentence for the user."""

    def parse_argument(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_argument


_link = _checked(link_url)
_name = _checked(checked_name)
_endpoint = _checked(otlp_endpoint)
_seconds = _checked(seconds)


def _file(text: str) -> str:
    """A path; refuses empty text, as of an unset variable, which would look like a flag that is not given."""
    if not text:
        raise argparse.ArgumentTypeError("is empty: name a file, or leave the flag out")
    return text


FILE_ARGUMENT: Final[Mapping[str, Any]] = {"type": _file, "metavar": "FILE"}


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; `command` is the name of the command."""
    root = argparse.ArgumentParser(
        prog="ws-factory-exporter",
        description="Probes WebSocket backends as a test user and exposes the results to Prometheus.",
        allow_abbrev=False,
    )
    root.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = root.add_subparsers(required=True, dest="command", metavar="COMMAND")
    _add_run(commands.add_parser("run", help="probe on a schedule and serve /metrics", allow_abbrev=False))
    _add_init(commands.add_parser("init", help="look at a backend and write its config", allow_abbrev=False))
    _add_check(commands.add_parser("check", help="one session now, explained; for people on call", allow_abbrev=False))
    _add_healthcheck(commands.add_parser("healthcheck", help="ask an exporter for its health", allow_abbrev=False))
    _add_demo(commands.add_parser("demo", help="stand-in and exporter, nothing else needed", allow_abbrev=False))
    _add_standin(commands.add_parser("standin", help="the stand-in backend alone", allow_abbrev=False))
    _add_assets(
        commands.add_parser("assets", help="write the rules, examples, dashboards and runbook", allow_abbrev=False)
    )
    _add_profiles(commands.add_parser("profiles", help="list, show and try profiles", allow_abbrev=False))
    _add_runbook(commands.add_parser("runbook", help="show a page of the runbook", allow_abbrev=False))
    return root


def _add_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--config.file",
        dest="config_file",
        default="exporter.yml",
        **FILE_ARGUMENT,
        help="default: %(default)s",
    )
    add(
        "--config.check",
        dest="config_check",
        action="store_true",
        help="print every error in the config, or the plan; then exit",
    )
    _add_web(parser)
    add("--log.level", dest="log_level", choices=list(LEVELS), default="info", help="default: %(default)s")
    add("--log.format", dest="log_format", choices=["logfmt", "json"], default="logfmt", help="default: %(default)s")
    add(
        "--state.file",
        dest="state_file",
        **FILE_ARGUMENT,
        help="keeps the ledger of slots over restarts; all exporters and checks on this machine share it",
    )
    add(
        "--history.file",
        dest="history_file",
        **FILE_ARGUMENT,
        help="keeps the last results and failures over restarts; for one exporter only",
    )
    add(
        "--startup.delay",
        dest="startup_delay",
        type=_seconds,
        default="15s",
        metavar="DURATION",
        help="wait this long, and for a scrape (60s at most), before the first session; default: %(default)s; 0s: now",
    )
    add(
        "--timeout-offset",
        dest="timeout_offset",
        type=_seconds,
        default="500ms",
        metavar="DURATION",
        help="answer /probe this long before the timeout of its scrape; default: %(default)s",
    )
    add(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="probe only the targets of the I-th (from 0) of N exporters that share this config",
    )
    _add_origin(parser)
    _add_otlp(parser)


def _add_otlp(parser: argparse.ArgumentParser) -> None:
    """Flags of the export by OTLP; a receiver's names follow from variables of OpenTelemetry."""
    add = parser.add_argument
    add(
        "--otlp.endpoint",
        dest="otlp_endpoint",
        type=_endpoint,
        metavar="URL",
        help="also send the metrics to this receiver of OTLP over HTTP, for example http://collector:4318/v1/metrics; "
        "needs the extra otlp",
    )
    add(
        "--otlp.interval",
        dest="otlp_interval",
        type=_positive,
        metavar="DURATION",
        help="time between two exports; default: 15s",
    )
    add(
        "--otlp.headers-file",
        dest="otlp_headers",
        **FILE_ARGUMENT,
        help="headers of each export, a line NAME: VALUE each; read again when it changes",
    )
    add(
        "--otlp.http-config-file",
        dest="otlp_client",
        **FILE_ARGUMENT,
        help="file with user and password, CA and client certificate for the receiver, in the format of promtool",
    )


def _add_origin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--origin",
        type=_name,
        metavar="NAME",
        help=f"the place that is probed from, for rules over several exporters; default: ${ORIGIN_VARIABLE}, or none",
    )


def _add_web(parser: argparse.ArgumentParser) -> None:
    """Flags with the names and meanings of the exporter-toolkit and of the blackbox exporter."""
    add = parser.add_argument
    add(
        "--web.listen-address",
        dest="listen",
        action="append",
        metavar="[HOST]:PORT",
        help=f"may be given several times; default: {DEFAULT_LISTEN_ADDRESS}",
    )
    add(
        "--web.systemd-socket",
        dest="from_systemd",
        action="store_true",
        help="listen on the sockets that systemd hands over, in place of addresses",
    )
    add(
        "--web.config.file",
        dest="web_config",
        **FILE_ARGUMENT,
        help="TLS, users, headers, rate limit; default: none",
    )
    add(
        "--web.external-url",
        dest="external",
        metavar="URL",
        help="under which others reach the exporter; default: none",
    )
    add(
        "--web.allowed-host",
        dest="allowed",
        action="append",
        default=[],
        metavar="HOST",
        help="host whose pages may reload or check, beside the addresses and the external URL; may be repeated",
    )
    add(
        "--web.route-prefix",
        dest="prefix",
        metavar="PATH",
        help="prefix of all paths; default: the path of the external URL",
    )
    add("--web.telemetry-path", dest="telemetry", metavar="PATH", help="path of the metrics; default: /metrics")
    add(
        "--web.enable-lifecycle",
        dest="lifecycle",
        action="store_true",
        help="allow POST /-/reload to load the config again; SIGHUP always does",
    )


def _add_init(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Connects to a WebSocket URL at most three times, without credentials, shows what it saw, recognises the "
        "protocol, and writes a config with comments. It asks nothing."
    )
    parser.epilog = "What it saw goes to stderr, the config to stdout or into the file of --output."
    add = parser.add_argument
    add("url", metavar="URL", help="a ws:// or wss:// URL, without credentials")
    add("--identity", metavar="SUBJECT", help="the test user, as the backend calls it; default: a placeholder")
    add("--token-file", dest="token_file", **FILE_ARGUMENT, help="file with the token or password of the test user")
    add("--output", **FILE_ARGUMENT, help="where to write the config; default: stdout")
    add("--force", action="store_true", help="replace the file of --output if it is there")


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.epilog = CHECK_CODES
    add = parser.add_argument
    add("--target", metavar="NAME", help="a target of the config; default: one session of each")
    add("--url", metavar="URL", help="probe this ws:// or wss:// URL instead, without config, token or message")
    add("--profile", metavar="NAME", help="profile of --url: echo sends a message and expects it back")
    add("--config.file", dest="config_file", default="exporter.yml", **FILE_ARGUMENT, help="default: %(default)s")
    add(
        "--from",
        dest="source",
        metavar="URL",
        help="ask the exporter at this URL, for example http://exporter:11011",
    )
    _add_http_config(parser)
    add(
        "--state.file",
        dest="state_file",
        **FILE_ARGUMENT,
        help="the ledger that the exporter on this machine keeps",
    )
    add(
        "--probe",
        choices=[probe.value for probe in Probe],
        help="deepest probe of the session; default: the deepest of the profile",
    )
    add("--identity", metavar="ALIAS", help="identity of the session; default: the first with a slot to spare")
    _add_origin(parser)
    add(
        "--send-token",
        action="store_true",
        help="send a token even while it rests after rejections; one more may open a breaker of the backend",
    )
    add("--output", choices=list(FORMATS), default="text", help="default: %(default)s")
    add("--fail-on", choices=["warning", "critical"], default="warning", help="default: %(default)s")
    add(
        "--show-frames",
        dest="show_frames",
        action="store_true",
        help="also print each frame of the session: its fields, and the type of every value, but no value",
    )
    add(
        "--unsafe-show-values",
        dest="show_values",
        action="store_true",
        help="with --show-frames or --record-frames: the values too, which may be private; tokens, secrets and headers "
        "stay hidden",
    )
    add(
        "--record-frames",
        dest="record_frames",
        **FILE_ARGUMENT,
        help="write the frames of the session for profiles try --frames: fields, types and words of the profile, other "
        "values masked",
    )
    _add_series(parser)


def _add_series(parser: argparse.ArgumentParser) -> None:
    """Flags of `check` as a gate."""
    add = parser.add_argument
    add("--runs", type=_count, metavar="N", help="a series of sessions, each as the next identity")
    add(
        "--every",
        type=_positive,
        default="20s",
        metavar="DURATION",
        help="time between two sessions of a series; default: %(default)s",
    )
    add(
        "--until-healthy",
        type=_positive,
        metavar="DURATION",
        help="stop when three in a row have passed, each identity among them; give up after this time",
    )
    add("--report", **FILE_ARGUMENT, help="also write the series to this file: JSON if it ends in .json, else Markdown")
    add("--compare", **FILE_ARGUMENT, help="an earlier report in JSON to compare the series with")


def _add_healthcheck(parser: argparse.ArgumentParser) -> None:
    parser.description = "Asks /-/healthy of an exporter: exit code 0 if it is healthy, 1 with the reason if not."
    parser.epilog = (
        "An exporter with --web.config.file requires user, password or client certificate of this command too; its "
        "certificate is always verified."
    )
    add = parser.add_argument
    add(
        "--url",
        default=f"http://127.0.0.1{DEFAULT_LISTEN_ADDRESS}",
        help="where it listens, and its prefix; default: %(default)s",
    )
    _add_http_config(parser)


def _add_http_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--http.config.file",
        dest="http_config",
        **FILE_ARGUMENT,
        help="file with user and password, CA and client certificate for it, in the format of promtool",
    )


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fault", action="append", default=[], metavar="NAME[:KEY=VALUE,…]", help="what the stand-in does wrong"
    )
    parser.add_argument("--port", type=_port, default=11011, help="port of the exporter; default: %(default)s, 0: any")


def _add_standin(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "deploy/incidents has the incidents as data; README.md there says what a line of a file must be."
    add = parser.add_argument
    add("--fault", action="append", default=[], metavar="NAME[:KEY=VALUE,…]", help="what it does wrong")
    add("--incident", metavar="NAME", help="play this incident of the data set to every client, in place of a backend")
    add(
        "--incident-file",
        dest="incident_file",
        **FILE_ARGUMENT,
        help="a data set of your own; default: the shipped one",
    )
    add("--list-incidents", dest="list_incidents", action="store_true", help="name the incidents, and exit")
    for flag, what in {"--port": "ws", "--tls-port": "wss", "--control-port": "the control endpoint"}.items():
        add(flag, type=_port, default=0, help=f"port of {what}; default: any free one")


def _add_assets(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes the alert rules, the examples for Prometheus, Alertmanager, systemd and the exporter itself, the "
        "Grafana dashboard and the runbook of this version into a folder, and fills in the URLs of your site."
    )
    add = parser.add_argument
    add("--to", type=_file, required=True, metavar="DIR", help="the folder; created if it does not exist")
    add(
        "--runbook-url",
        type=_link,
        metavar="URL",
        help="where you serve the runbook: pages are NAME.md below it, or as {name} in it says; default: a path",
    )
    add("--dashboard-url", type=_link, metavar="URL", help="of the dashboard in your Grafana; default: a placeholder")
    add(
        "--exporter-url",
        type=_link,
        metavar="URL",
        help="of the exporter's status page, for the dashboard; default: http://127.0.0.1:11011/",
    )
    add("--force", action="store_true", help="replace files that are there with other content")


def _add_profiles(parser: argparse.ArgumentParser) -> None:
    parser.description = "A profile says how one kind of backend is spoken to."
    actions = parser.add_subparsers(required=True, dest="action", metavar="ACTION")
    config = {**FILE_ARGUMENT, "dest": "config_file", "help": "a config, whose profiles count too; default: none"}
    listed = actions.add_parser("list", help="list the profiles that there are", allow_abbrev=False)
    listed.add_argument("--config.file", **config)
    shown = actions.add_parser("show", help="show a profile as YAML, to be copied into a config", allow_abbrev=False)
    shown.add_argument("name", metavar="NAME", help="name of the profile")
    shown.add_argument("--config.file", **config)
    tried = actions.add_parser("try", help="say what a profile makes of recorded frames", allow_abbrev=False)
    tried.description = (
        "Says of each recorded frame what a session would take it for, and which rule of the profile says so: welcome, "
        "reply, error with its reason, noise, or passed over and why. Connects to nothing."
    )
    tried.epilog = TRANSCRIPT_FORMAT
    tried.add_argument("file", type=_file, metavar="FILE", help="a config, or a file that holds one profile alone")
    tried.add_argument("--frames", **FILE_ARGUMENT, required=True, help="the recorded frames, in JSON")
    tried.add_argument("--profile", metavar="NAME", help="which profile of the config; default: its only one")


def _add_runbook(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="name of an alert, or README; default: list the names")


def _port(text: str) -> int:
    if not _is_number(text) or int(text) > 65_535:  # noqa: PLR2004 - RFC 9293 section 3.1: sixteen bits
        raise argparse.ArgumentTypeError("must be 0 (any free one) to 65535")
    return int(text)


def _shard(text: str) -> Shard:
    index, slash, count = text.partition("/")
    if not slash or not _is_number(index) or not _is_number(count) or not int(index) < int(count) <= MAX_SHARDS:
        raise argparse.ArgumentTypeError(f"must be I/N, from 0/N to N-1/N, with N at most {MAX_SHARDS}: 0/3, 1/3, 2/3")
    return Shard(int(index), int(count))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


OTHER_OUTPUTS: Final = "--show-frames: needs --output text: the other outputs are read by programs"
NO_FRAMES: Final = "--unsafe-show-values: needs --show-frames or --record-frames"
SERIES_OF_FRAMES: Final = "--record-frames: records one session: remove --runs and --until-healthy"


def find_useless_flag(options: argparse.Namespace) -> str | None:
    """The error about a flag of `check` that would have no effect; None: all have one."""
    series = {"--runs": options.runs, "--until-healthy": options.until_healthy}
    outputs = {"--report": options.report, "--compare": options.compare}
    speaker = {"--identity": options.identity, "--send-token": options.send_token or None}
    frames = {"--show-frames": options.show_frames or None, "--record-frames": options.record_frames}
    config_flags = {"--target": options.target, "--from": options.source, **speaker}
    excluded = (
        (
            "--from",
            options.source,
            {**series, **outputs, **speaker, **frames, "--origin": options.origin},
            "the remote exporter runs a single session, picks the identity itself and knows where it is",
        ),
        ("--url", options.url, config_flags, "a URL alone is one target, without identity or token"),
    )
    for main, given, others, why in excluded:
        for flag, value in others.items() if given else ():
            if value is not None:
                return f"{flag}: cannot be combined with {main}: {why}"
    needs = (
        ("--http.config.file", options.http_config, options.source, "--from: it says how to reach another exporter"),
        ("--profile", options.profile, options.url, "--url: a target of the config names its profile itself"),
        ("--from", options.source, options.target, "--target: the exporter there checks one target at a time"),
    )
    for flag, given, needed, what in needs:
        if given is not None and needed is None:
            return f"{flag}: needs {what}"
    wants_frames = options.show_frames or options.record_frames
    is_series = set(series.values()) != {None}
    misuses = (
        (options.show_frames and options.output != "text", OTHER_OUTPUTS),
        (options.show_values and not wants_frames, NO_FRAMES),
        (options.record_frames and is_series, SERIES_OF_FRAMES),
    )
    for is_misused, sentence in misuses:
        if is_misused:
            return sentence
    for flag, value in () if is_series else outputs.items():
        if value is not None:
            return f"{flag}: needs a series: add --runs or --until-healthy"
    return None


def _count(text: str) -> int:
    if not _is_number(text) or not 1 <= int(text) <= MAX_RUNS:
        raise argparse.ArgumentTypeError(f"must be 1 to {MAX_RUNS}")
    return int(text)


def _positive(text: str) -> float:
    value = _seconds(text)
    if value == 0:
        raise argparse.ArgumentTypeError("must be more than 0s")
    return value
