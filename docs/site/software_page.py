"""runbook/servers.md: who made an answer, and who closes how, from the tables of `exporter.software`.

Rows may come in any order and number: a cell shows all of its rows, and the first version of a program is the one that
the others differ from.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from itertools import groupby
from typing import Any, Final, NamedTuple

from cells import code, codes, table

from exporter.result import PROXIES, SERVERS, Ending, Software
from exporter.software import PROXY_BEHAVIOURS, SERVER_BEHAVIOURS, ProxyBehaviour, ServerBehaviour
from exporter.software.fingerprints import MARKS, OWN_ANSWERS, Mark, OwnAnswer

NOT_RUN: Final = "not run"
NONE: Final = "none"
LOST: Final = 1006
NO_CODE: Final = 1005
ENDING_TEXTS: Final = {
    Ending.FIN: "FIN",
    Ending.RESET: "RST",
    Ending.CLOSE_NOTIFY: "`close_notify`",
    Ending.TLS_CUT: "without `close_notify`",
}
BEFORE_101: Final = frozenset(
    {
        "RAISES_BEFORE_ACCEPT",
        "RETURNS_BEFORE_ACCEPT",
        "REFUSES_LOGIN",
        "WRONG_PATH",
        "NO_WEBSOCKET",
        "FOREIGN_SUBPROTOCOL",
        "BACKEND_REFUSES",
        "BACKEND_HANGS",
        "BACKEND_CUTS",
        "NO_UPGRADE",
        "NO_ROUTE",
        "HEAD_TOO_LARGE",
        "INTERIM_ANSWER",
        "INTERIM_AT_ONCE",
    }
)
"""Names of the events that come before the WebSocket is open: a client waits for the answer to its upgrade."""
ENDS: Final = frozenset(
    {
        "BACKEND_DIES",
        "STOPPED",
        "STOPPED_GRACEFULLY",
        "RECYCLED",
        "RELOADED",
        "KILLED",
        "WORKER_KILLED",
        "NO_PONGS",
        "IDLE",
    }
)
"""Names of the events that the application has no part in."""

INTRO: Final = """\
A failure looks different behind each proxy and each server: this page says who made an answer, and who closes how. Each
cell was seen in a run of the real program, on the days in the last column; what was "not run" is not known, and cannot
be guessed from the cells around it. The page is made by `make docs-pages` from `exporter/software`, and `make layers`
runs most of the programs again. [All pages](README.md).

`check` names the program if an answer does. Where none does, `server` and `behind` of the target say it:

    targets:
      - name: staging
        url: wss://api.staging.example.com/ws
        server: uvicorn
        behind: [cloudfront, nginx]

Easily mistaken:

- A connection that is lost without a close frame (1006) is no proof of a killed process. On uvicorn, gunicorn with
  uvicorn's worker, aiohttp, Tornado and most servers in Go and Rust an ordinary exception in the handler looks so too:
  read the application's log first, and look at restarts and memory second.
- HTTP 426 or 505 is the answer of a backend that never saw the upgrade: a proxy in front of it drops `Upgrade` and
  `Connection`, or speaks HTTP/1.0.
- HTTP 502 by Envoy itself, which says 503 of a closed port, is a backend that answers in another protocol: HTTP/2 was
  asked of uvicorn or aiohttp, or plain HTTP of TLS. One that cuts such a connection, as websockets does, is a 503.
- A 101 without `Sec-WebSocket-Accept` behind Envoy is a backend that Envoy speaks HTTP/2 with, where a WebSocket has no
  such field (RFC 8441; Jetty leaves it out; hypercorn, HAProxy and a second Envoy send it): no client takes it.
- HTTP 400 by nginx behind Envoy can be an upgrade over HTTP/2, which nginx does not take; a second Envoy needs
  `allow_connect`, and without it the first says 503 after a second.
- HTTP 403 by Envoy itself is a route without `upgrade_configs`, and no matter of tokens.
- 1011 is also how hypercorn stops, and 1001 how Caddy is reloaded: neither is a fault of the application.
- The flag `UC` beside a 101 in Envoy's access log means nothing: every WebSocket that was closed cleanly has it.
- A worker whose parent was killed may go on serving while the unit is failed, and hold the port against the restart.
- uvicorn with `--limit-concurrency` answers plain requests, `/health` too, with 503 while every WebSocket works."""

AUTHORS: Final = """\
A proxy may put its name on answers that it only passed on. An answer is its own if it looks as in the first column; one
that has the name alone is the backend's, but for 502, 503 and 504, whose page may have been replaced."""

CLOSES: Final = """\
"1006" is a connection that ended without a close frame, "1005" a close frame without a code. Seconds count from the
client's last bytes, or from the event where the client sees only that; without seconds it is at once. A framework, or
another version, stands in the cell of its server where it differs. A table leaves out a server of which it has no
cell."""


class Seen(NamedTuple):
    """One row of either table: a program, an event, and what a client sees; `note`: what sets its version apart."""

    software: Software
    event: Enum
    text: str
    status: int | None
    code: int | None
    is_own: bool
    note: str
    seen: str | None


def servers_page() -> str:
    """The whole page; its first line is its title, as on every page of the runbook."""
    proxies, servers = rows_of(PROXY_BEHAVIOURS), rows_of(SERVER_BEHAVIOURS)
    return (
        "\n\n".join(
            [
                "# Servers and proxies",
                INTRO,
                "## Who answered",
                AUTHORS,
                _marks(),
                "How servers name themselves; the others do not:",
                _server_marks(),
                "What made a proxy answer so by itself, by the status of the answer:",
                _index(("status", "proxies"), [row for row in proxies if row.status and row.is_own], _status_of),
                "What a client sees of each event at each proxy, with its defaults:",
                *_matrices("proxy", proxies, PROXY_BEHAVIOURS),
                _unrun("proxies", PROXIES, proxies),
                "## Who closes how",
                CLOSES,
                "By the status of a refused upgrade:",
                _index(("status", "servers"), [row for row in servers if row.status], _status_of),
                "By the close code:",
                _index(("code", "servers"), [row for row in servers if row.code], _code_of),
                "What a client sees of each event at each server:",
                *_matrices("server", servers, SERVER_BEHAVIOURS),
                _unrun("servers", SERVERS, servers),
            ]
        )
        + "\n"
    )


# What a row says ------------------------------------------------------------------------------------------------------


def rows_of(behaviours: Iterable[ProxyBehaviour | ServerBehaviour]) -> list[Seen]:
    """The rows of a table, in their order."""
    behaviours, first = list(behaviours), dict[Software, str]()
    for row in behaviours:
        first.setdefault(_software(row), row.version)
    return [
        Seen(
            _software(row),
            row.event,
            what_is_seen(row),
            None if getattr(row, "is_http", False) else row.status,
            row.code,
            getattr(row, "is_own", True),
            _note(row.version, first[_software(row)]),
            row.seen,
        )
        for row in behaviours
    ]


def _software(row: ProxyBehaviour | ServerBehaviour) -> Software:
    return row.proxy if isinstance(row, ProxyBehaviour) else row.server


def _note(version: str, first: str) -> str:
    """What a version has that the first one of its program has not."""
    return " + ".join(part for part in version.split(", ") if part not in first.split(", "))


def what_is_seen(row: Any) -> str:
    """A row as a client sees it, in a few words."""
    if row.seen is None:
        return NOT_RUN
    if getattr(row, "is_http", False):
        return f"HTTP {row.status} in the stream{_after(row.after)}"
    if row.status is not None:
        return f"HTTP {row.status}{'' if getattr(row, 'is_own', True) else ' of the backend'}{_after(row.after)}"
    if row.code is not None:
        return f"{row.code}{_endings(row, ' (', ')')}{_after(row.after)}"
    endings = _endings(row, ", ")
    if endings:
        return f"no answer{endings}{_after(row.after)}"
    if row.event.name in BEFORE_101:
        return "no answer at all"
    answers = getattr(row, "answers_close", None)
    return "stays open" + ("" if answers is None else ", answers our close" if answers else ", answers no close")


def _endings(row: Any, before: str, after: str = "") -> str:
    over_tls = getattr(row, "tls_ending", None)
    parts = [ENDING_TEXTS[row.ending]] if row.ending is not None and row.code in (None, LOST) else []
    parts += [f"over TLS {ENDING_TEXTS[over_tls]}"] if over_tls is not None else []
    return f"{before}{', '.join(parts)}{after}" if parts else ""


def _after(after: tuple[float, float] | None) -> str:
    if after is None:
        return ""
    least, most = after
    return f" within {most:g} s" if not least else f" after {least:g} to {most:g} s"


# Tables ---------------------------------------------------------------------------------------------------------------


def _status_of(row: Seen) -> int:
    return row.status or 0


def _code_of(row: Seen) -> int:
    return row.code or 0


def _index(head: tuple[str, str], rows: Iterable[Seen], number: Callable[[Seen], int]) -> str:
    """Which events show this number, and at which programs."""
    run = sorted((row for row in rows if row.seen is not None), key=number)
    return table(
        (head[0], f"{head[1]}, by event"),
        [(str(value), "; ".join(_by_event(list(found)))) for value, found in groupby(run, key=number)],
    )


def _by_event(rows: Sequence[Seen]) -> Iterator[str]:
    for event in dict.fromkeys(row.event for row in rows):
        names = [_named(row) for row in rows if row.event is event]
        yield f"{event.value}: {', '.join(dict.fromkeys(names))}"


def _named(row: Seen) -> str:
    return f"{row.software} with {row.note}" if row.note else str(row.software)


def _matrices(noun: str, rows: Sequence[Seen], behaviours: Sequence[ProxyBehaviour | ServerBehaviour]) -> Iterator[str]:
    """Programs × events, in tables that a page can hold: before the 101, after it, and without the application."""
    events = list(type(rows[0].event)) if rows else []
    groups = (
        [event for event in events if event.name in BEFORE_101],
        [event for event in events if event.name not in BEFORE_101 | ENDS],
        [event for event in events if event.name in ENDS],
    )
    programs = list(dict.fromkeys(row.software for row in rows))
    runs = {program: _run(program, behaviours) for program in programs}
    for group in filter(None, groups):
        cells = {program: [cell_of(rows, program, event) for event in group] for program in programs}
        shown = [(str(program), *found, runs[program]) for program, found in cells.items() if set(found) != {NOT_RUN}]
        if shown:
            yield table((noun, *(event.value for event in group), "run"), shown)


def cell_of(rows: Sequence[Seen], program: Software, event: Enum) -> str:
    """All that was seen of an event at a program; statuses that differ by the backend stand together."""
    found = [row for row in rows if row.software is program and row.event is event]
    base = [row for row in found if not row.note]
    statuses = sorted({row.status for row in base if row.status is not None and not row.is_own})
    texts = [f"HTTP {', '.join(map(str, statuses))} of the backend"] if statuses else []
    texts += dict.fromkeys(row.text for row in base if row.is_own or row.status is None)
    texts += dict.fromkeys(f"{row.note}: {row.text}" for row in found if row.note)
    return "; ".join(texts) or NOT_RUN


def _run(program: Software, behaviours: Sequence[ProxyBehaviour | ServerBehaviour]) -> str:
    """The first version of a program, and the days of its runs."""
    own = [row for row in behaviours if _software(row) is program]
    days = sorted({row.seen for row in own if row.seen is not None})
    dates = f"{days[0]} to {days[-1]}" if len(days) > 1 else "".join(days) or NOT_RUN
    return f"{own[0].version}, {dates}"


def _unrun(noun: str, known: Iterable[Software], rows: Sequence[Seen]) -> str:
    """The programs that have a word and no row."""
    run = {row.software for row in rows}
    names = sorted(str(program) for program in known if program not in run)
    return f"Not run at all, of the {noun} that have a word: {', '.join(names) or 'none'}."


# How an answer names its author ---------------------------------------------------------------------------------------


def _marks() -> str:
    programs = [program for program in Software if program in PROXIES]
    return table(
        ("proxy", "its own answer", "its name, on its own answers or on those that it passed on", "seen"),
        [(str(program), _own(program), _name(program), _sources(program)) for program in programs],
    )


def _server_marks() -> str:
    """Servers that an answer identifies: by a header field of any answer, or by the form of their refusals."""
    programs = [program for program in Software if program in SERVERS]
    rows = [(str(program), _name(program), _own(program)) for program in programs]
    shown = [
        (name, mark, "" if look == NOT_RUN else look) for name, mark, look in rows if (mark, look) != (NONE, NOT_RUN)
    ]
    return table(("server", "a field of its answers", "a refusal of its own"), shown)


def _own(program: Software) -> str:
    return "; or ".join(_look(row) for row in OWN_ANSWERS if row.software is program) or NOT_RUN


def _look(row: OwnAnswer) -> str:
    """How an answer looks, in words."""
    parts = [f"HTTP {', '.join(map(str, sorted(row.statuses)))}"] if row.statuses is not None else []
    parts += [code(f"{name}: {begin}…" if begin else name) for name, begin in row.has.items()]
    parts += [f"no {code(name)}" for name in row.lacks]
    parts += [f"a body with {' or '.join(_snippet(text) for text in row.body)}"] if row.body else []
    parts += ["no body" if row.is_empty else "a body"] if row.is_empty is not None else []
    parts += [f"{code(row.last)} as the last field"] if row.last is not None else []
    return ", ".join(parts)


def _snippet(text: bytes) -> str:
    return code(" ".join(text.decode().split()))


def _name(program: Software) -> str:
    return codes(_mark(mark) for mark in MARKS if mark.software is program) or NONE


def _mark(mark: Mark) -> str:
    text = f"{mark.begins}…" if mark.begins else f"…{mark.contains}…" if mark.contains else ""
    return f"{mark.header}: {text}" if text else mark.header


def _sources(program: Software) -> str:
    return ", ".join(dict.fromkeys(row.source for row in OWN_ANSWERS if row.software is program)) or NOT_RUN
