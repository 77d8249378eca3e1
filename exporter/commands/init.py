"""`init URL`: looks at a backend, recognises its protocol, and writes a config to begin with.

Rule 1: connects at most three times, without credentials, and asks nothing of the person who runs it.
Rule 2: what is written passes `run --config.check`; a file that is there is kept unless `--force` is given.
"""

import argparse
import asyncio
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final

from exporter.catalog import CATALOG
from exporter.commands.bare_url import config_of_url
from exporter.commands.flag_files import write
from exporter.commands.stop_signals import cancelled_by_signal
from exporter.commands.terminal import UsageError, say
from exporter.config import Framing, Profile, YamlError, load_yaml
from exporter.discovery import (
    TYPES_ONLY,
    UNKNOWN_SUBPROTOCOL,
    BackendEvidence,
    Recognised,
    ShapeOptions,
    Sighting,
    Starter,
    candidates,
    close_line,
    decoded,
    message_lines,
    recognise,
    starter_config,
    words_of,
)
from exporter.host import Clock
from exporter.loading import ConfigLoadError, checked
from exporter.oncall.first_look import first_look
from exporter.plan import Job
from exporter.report import public_url
from exporter.report.formatting import count, moment, span
from exporter.result import PROXIES, Direction, ErrorKind, Handshake, Software

ERROR_TEXTS: Final = {
    ErrorKind.DNS: "the host name does not resolve",
    ErrorKind.REFUSED: "the connection was refused: nobody listens at this port",
    ErrorKind.UNREACHABLE: "the address cannot be reached",
    ErrorKind.RESET: "the connection was reset",
    ErrorKind.EOF: "the server ended the connection without an answer",
    ErrorKind.DEADLINE: "there was no answer in time",
    ErrorKind.CERTIFICATE: "the certificate is not trusted; a private CA is named in the config, under tls.ca_file",
    ErrorKind.TLS: "the TLS handshake failed",
    ErrorKind.UPGRADE: "the answer is no valid WebSocket handshake",
    ErrorKind.PROTOCOL: "the server broke the WebSocket protocol",
    ErrorKind.TOO_BIG: "the server sent more than is read",
}
"""What ended a connection, unless the time to listen was over."""
MAX_SHOWN_MESSAGES_COUNT: Final = 10
TOKEN_STATUSES: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
"""Answers to an upgrade without a token that one with a token may not get."""
PATH_STATUSES: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND})
ENVOY_ADVICE: Final = "Envoy answers so where its route has no upgrade_configs for websocket"
USUAL_PATHS: Final = "Socket.IO has /socket.io/, Action Cable /cable, Centrifugo /connection/websocket, Pusher /app/KEY"


def init(options: argparse.Namespace) -> int:
    """Write the config; exit code 0. Raises UsageError, without a config, if there is no WebSocket at the URL."""
    _check_flags(options)
    output = None if options.output is None else Path(options.output)
    job = config_of_url(options.url, None, flag="URL").plan.jobs[0]
    _check_files(options.token_file, output, force=options.force)
    try:
        sightings = asyncio.run(cancelled_by_signal(first_look(job)))
    except asyncio.CancelledError:
        raise UsageError("interrupted: nothing was written") from None
    except OSError as error:
        raise UsageError(f"init: this machine cannot connect: {error.strerror}") from None
    evidence = BackendEvidence(sightings)
    recognised = recognise(evidence)
    for line in _findings(job, evidence, recognised):
        print(line, file=sys.stderr)
    if not recognised and not any(one.opened for one in sightings):
        _check_refusal(options, sightings[-1])
    text = _config(options, job, evidence, recognised, output)
    _store(text, output, mode="w" if options.force else "x")
    before = "" if output is not None else "save the config as exporter.yml, then: "
    config = "exporter.yml" if output is None else shlex.quote(str(output))
    print(f"\nnext: {before}ws-factory-exporter check --config.file {config}", file=sys.stderr)
    return 0


def _check_flags(options: argparse.Namespace) -> None:
    """Raise UsageError, before any connection, for a flag that cannot be used."""
    if options.identity is not None and not options.identity.strip():
        raise UsageError("--identity: must not be empty: name the test user as the backend calls it, or leave it out")


def _check_files(token_file: str | None, output: Path | None, *, force: bool) -> None:
    """Raise UsageError, before any connection, for a file that cannot be read, or not be written."""
    if output is not None and output.exists() and not force:
        raise UsageError(f"--output: {output} is there: add --force to replace it")
    if output is not None and not output.parent.is_dir():
        raise UsageError(f"--output: {output}: there is no such folder")
    if token_file is None:
        return
    try:
        with Path(token_file).open("rb"):
            pass
    except OSError as error:
        raise UsageError(f"--token-file: {token_file}: {error.strerror}") from None


def _check_refusal(options: argparse.Namespace, last: Sighting) -> None:
    """Raise UsageError if there is nothing to write a config of: a refusal that a token may change is enough."""
    refusal = f"URL: no WebSocket was opened: {_outcome(last)}"
    if last.status in PATH_STATUSES:
        raise UsageError(f"{refusal}; nothing was written. Compare the path: {USUAL_PATHS}")
    if last.answered_by is Software.ENVOY and last.status == HTTPStatus.FORBIDDEN and options.token_file is None:
        raise UsageError(f"{refusal}; nothing was written. {ENVOY_ADVICE}")
    if last.status not in TOKEN_STATUSES:
        raise UsageError(f"{refusal}; nothing was written")
    if options.token_file is None:
        raise UsageError(
            f"{refusal}; nothing was written. If the backend wants a token in the upgrade, add --identity and "
            "--token-file"
        )


def _config(
    options: argparse.Namespace,
    job: Job,
    evidence: BackendEvidence,
    recognised: Sequence[Recognised],
    output: Path | None,
) -> str:
    """The text of the config, checked as a user's; raises UsageError for what its flags make wrong."""
    sightings = evidence.sightings
    starter = Starter(
        url=sightings[-1].url,
        name=job.name,
        recognised=recognised,
        profile=_profile_of(recognised),
        shapes=[line for one in sightings if not one.asked for line in _message_lines(one, Framing())],
        subprotocol=sightings[0].chosen,
        refused_status=sightings[-1].status if sightings[-1].status in TOKEN_STATUSES else None,
        subject=options.identity,
        token_file=_path_from(options.token_file, output),
        server=evidence.server,
        proxies=evidence.proxies,
        candidates=candidates(evidence),
    )
    text = starter_config(starter)
    try:
        checked(load_yaml(text.encode()), output or Path("exporter.yml"))
    except ConfigLoadError as error:
        raise UsageError(*error.sentences) from None
    except YamlError as error:
        raise UsageError(f"init: {error}") from None
    return text


def _profile_of(recognised: Sequence[Recognised]) -> Profile | None:
    """The built-in profile that fits best."""
    name = next((one.profile for one in recognised if one.profile is not None), None)
    return None if name is None else CATALOG[name]


def _path_from(path: str | None, output: Path | None) -> str | None:
    """The path as it stands in a config that lies at `output`: relative ones begin at its folder."""
    if path is None or output is None or Path(path).is_absolute():
        return path
    return os.path.relpath(path, output.parent)


def _store(text: str, output: Path | None, *, mode: str) -> None:
    if output is None:
        say(text.rstrip("\n"))
    else:
        write(output, text, mode=mode, flag="--output")
        say(f"wrote {output}")


def _findings(job: Job, evidence: BackendEvidence, recognised: Sequence[Recognised]) -> Iterator[str]:
    """What was seen: each connection, the certificate, who answered, and what fits."""
    sightings = evidence.sightings
    profile = _profile_of(recognised) or Profile()
    view = ShapeOptions(words_of(profile, messages=True))
    yield f"{public_url(job.target.url)}: {count(len(sightings), 'connection')}, without credentials"
    for number, one in enumerate(sightings, 1):
        yield f"{number}. {_purpose(one)}: {_outcome(one)}"
        if one.phases:
            yield "   " + ", ".join(f"{phase} {seconds * 1000:.0f} ms" for phase, seconds in one.phases.items())
        yield from (f"   {line}" for line in _message_lines(one, profile.framing, view))
        if one.close_code is not None:
            yield f"   {close_line(Direction.IN, one.close_code, b'')}"
    end = next((one.certificate_end for one in sightings if one.certificate_end is not None), None)
    if end is not None:
        left = end.at - Clock().wall()
        yield f"certificate: ends {moment(end.at)}, " + (f"in {span(left)}" if left > 0 else "which is over")
    if evidence.server or evidence.proxies:
        yield f"answers name: {_named_text(evidence)}"
    for found in recognised:
        built_in = f"profile {found.profile}" if found.profile else "no profile is built in"
        yield f"recognised: {found.protocol} ({built_in}), because {', and '.join(found.sentences)}"
    yield from () if recognised else _unrecognised(evidence)


def _unrecognised(evidence: BackendEvidence) -> Iterator[str]:
    found = candidates(evidence)
    yield "recognised: nothing; docs/profiles.md says how to describe a protocol"
    if found is not None:
        yield f"seen: {found.advice}"
    elif not any(one.messages for one in evidence.sightings):
        yield "The server said nothing by itself. If you know its protocol, see ws-factory-exporter profiles list"


def _named_text(evidence: BackendEvidence) -> str:
    """The server and the proxies that answers name."""
    server = evidence.server or "no server"
    return f"{server}, behind {' and '.join(evidence.proxies)}" if evidence.proxies else f"{server}, and no proxy"


def _purpose(one: Sighting) -> str:
    if one.asked:
        return "made a JSON-RPC call of a method that no server has"
    offers = [name for name in one.offered if name != UNKNOWN_SUBPROTOCOL]
    return f"offered {count(len(offers), 'subprotocol')}" if UNKNOWN_SUBPROTOCOL in one.offered else "listened"


def _outcome(one: Sighting) -> str:
    """How a connection went, in a few words."""
    if one.status is not None:
        author = f"{one.answered_by} itself" if one.answered_by in PROXIES else "the server"
        return f"{author} refused the upgrade with HTTP {one.status}"
    if one.handshake is Handshake.SUBPROTOCOL_NOT_CHOSEN:
        return "the server chose none"
    if not one.opened:
        return ERROR_TEXTS.get(one.error or ErrorKind.EOF, "the connection failed")
    if UNKNOWN_SUBPROTOCOL in one.offered:
        return "the server chooses whatever it is offered" if one.chosen is None else f"the server chose {one.chosen}"
    if one.close_code is not None:
        return "the server closed"
    return f"{count(len(one.messages), 'message')} came" if one.messages else "no message came"


def _message_lines(one: Sighting, framing: Framing, view: ShapeOptions = TYPES_ONLY) -> list[str]:
    """The server's messages as keys and types, and words of the profile, in the framing of what was recognised."""
    lines: list[str] = []
    for message in one.messages[:MAX_SHOWN_MESSAGES_COUNT]:
        values = decoded([message], framing) or None
        lines += message_lines(Direction.IN, message.data, values, view, is_text=message.is_text)
    return lines
