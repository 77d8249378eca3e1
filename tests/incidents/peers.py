"""What blackbox_exporter and Gatus say of each incident, as deploy/incidents/peers.md; in tests/, four minutes:

    python -m incidents.peers PATH/blackbox_exporter VERSION PATH/gatus VERSION

Get the two by `go install github.com/prometheus/blackbox_exporter@…` (a version with the websocket prober) and
`go install github.com/TwiN/gatus/v5@…`. Every incident is played by a stand-in of its own; each tool probes it as
each of the three users, with the deepest config that it has, three times in a row.

Rule 1: what counts as noticed or named is decided by `noticed` and `clues`, for both tools alike, and not by hand.
"""

import asyncio
import contextlib
import json
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from support.harness import POOL
from support.incident_recording import FILE, FOLDER
from support.realservers import answered, free_port, until
from support.standin_clients import token

from exporter.standin import StandIn, load_incidents

TIMES = 3
"""Probes in a row: an alert wants a few (`for:` of Prometheus, Gatus' failure-threshold)."""
TIMEOUT = 10.0
GRACE = 5.0
"""Seconds after the timeout at which a probe without a result is given up."""
PATIENCE = 75.0
"""Seconds for `TIMES` probes in a row of Gatus, with five between them."""
MESSAGE = json.dumps({"type": "example_request_1"})

CAUSES = {
    "refused": ("refused",),
    "tls_certificate": ("certificate has expired",),
    "timeout": ("deadline exceeded", "timeout", "timed out"),
    "reset": ("connection reset", "close 1006", "EOF"),
    "user_mismatch": ("somebody-else",),
    "environment_mismatch": ("production",),
    "degraded": ("degraded_mode", "service_info"),
    "other": ("connection_recovery",),
}
"""Reason → words of the server or the system that name it, if neither a status nor a close says more."""


@dataclass
class Played:
    """An incident that is being played. `said`: by tool, what each probe as each user said."""

    incident: dict
    standin: StandIn
    tokens: list
    said: dict = field(default_factory=dict)

    @property
    def name(self):
        return self.incident["name"]

    @property
    def url(self):
        return self.standin.url(tls=self.incident["transport"] == "wss")


@dataclass
class Probe:
    """One probe. `up` None: no result came. `text`: all that the tool shows of it."""

    up: bool | None
    text: str


@contextlib.asynccontextmanager
async def played():
    """The incidents, each by a stand-in of its own."""
    data = {one["name"]: one for one in map(json.loads, FILE.read_text("utf-8").splitlines())}
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for name, incident in load_incidents().items():
            if incident.why_not is None:
                tls = 0 if incident.tls else None
                standin = await stack.enter_async_context(StandIn.start(tls_port=tls))
                standin.play(incident)
                tokens = [token(standin.key, time.time(), user, lifetime=3600.0) for user in POOL.values()]
                found.append(Played(data[name], standin, tokens))
        yield found


@contextlib.asynccontextmanager
async def program(*words, **environment):
    """A program that is ended with the block."""
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *map(str, words), stdin=quiet, stdout=quiet, stderr=quiet, env={**os.environ, **environment}
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


# blackbox_exporter --------------------------------------------------------------------------------------------------


def blackbox_config(user, token_file):
    """The module of one user: the welcome with its name, the application's ping, then a message and its reply."""
    welcome = f'"event":"connection_established".*"user_id":"{user}".*"environment":"staging","startup_complete":true'
    steps = [
        {"expect": welcome},
        {"expect": '"type":"ping"', "send": MESSAGE},
        {"expect": '"received_type":"example_request_1"'},
    ]
    authorization = {"credentials_file": str(token_file)}
    websocket = {
        "http_config": {"authorization": authorization},
        "query_response": steps,
        "preferred_ip_protocol": "ip4",
    }
    return {"prober": "websocket", "timeout": f"{TIMEOUT:.0f}s", "websocket": websocket}


async def ask_blackbox(path, folder, incidents, ca_file):
    """Probe every incident as every user, `TIMES` times in a row."""
    port = free_port()
    modules = {}
    for one in incidents:
        for number, (user, bearer) in enumerate(zip(POOL.values(), one.tokens, strict=True)):
            file = folder / f"{one.name}-{number}.token"
            file.write_text(bearer)
            modules[f"{one.name}-{number}"] = blackbox_config(user, file)
    config = folder / "blackbox.yml"
    config.write_text(yaml.safe_dump({"modules": modules}))
    words = (path, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error")
    async with program(*words, SSL_CERT_FILE=str(ca_file)):
        await until(lambda: listens(port), 20)
        asked = [(one, number) for one in incidents for number in range(len(POOL))]
        await asyncio.gather(*(_ask_blackbox(port, one, number) for one, number in asked))


async def _ask_blackbox(port, one, number):
    said = one.said.setdefault("blackbox_exporter", {}).setdefault(number, [])
    target = f"target={one.url}&module={one.name}-{number}&debug=true"
    for _ in range(TIMES):
        try:
            async with asyncio.timeout(TIMEOUT + GRACE):
                _, text = await answered(f"http://127.0.0.1:{port}/probe?{target}")
        except TimeoutError:
            said.append(Probe(None, ""))
            return
        logs, _, rest = text.partition("Metrics that would have been returned:")
        metrics = rest.partition("Module configuration:")[0]
        status = "\n".join(line for line in metrics.splitlines() if line.startswith("probe_websocket_status_code "))
        said.append(Probe("probe_success 1" in metrics, f"{logs}{status}"))


async def listens(port):
    """Whether something accepts a connection."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


# Gatus --------------------------------------------------------------------------------------------------------------


UNLIMITED = {"disable-monitoring-lock": True}
"""By default it probes three endpoints at a time, and one without a result would hold up those of other incidents."""


def gatus_endpoint(one, number, user):
    """It sends its message, reads one, and judges that by conditions."""
    return {
        "name": f"{one.name}-{number}",
        "url": one.url,
        "interval": "5s",
        "headers": {"Authorization": f"Bearer {one.tokens[number]}"},
        "body": MESSAGE,
        "client": {"timeout": f"{TIMEOUT:.0f}s"},
        "conditions": [
            "[CONNECTED] == true",
            "[BODY].data.event == connection_established",
            f"[BODY].data.user_id == {user}",
            "[BODY].data.environment == staging",
            "[BODY].data.startup_complete == true",
            f"[RESPONSE_TIME] < {TIMEOUT * 1000:.0f}",
        ],
    }


async def ask_gatus(path, folder, incidents, ca_file):
    """Let it run until each endpoint has `TIMES` results, or `PATIENCE` is over."""
    port = free_port()
    endpoints = [gatus_endpoint(one, number, user) for one in incidents for number, user in enumerate(POOL.values())]
    config = folder / "gatus.yml"
    web = {"address": "127.0.0.1", "port": port}
    config.write_text(yaml.safe_dump({"web": web, **UNLIMITED, "endpoints": endpoints}))
    results = {}

    async def all_have_results():
        async with asyncio.timeout(10):
            _, text = await answered(f"http://127.0.0.1:{port}/api/v1/endpoints/statuses?pageSize=100")
        results.update({one["name"]: one.get("results", []) for one in json.loads(text)})
        return len(results) == len(endpoints) and all(len(found) >= TIMES for found in results.values())

    async with program(path, GATUS_CONFIG_PATH=str(config), SSL_CERT_FILE=str(ca_file)):
        await until(lambda: listens(port), 30)
        with contextlib.suppress(TimeoutError):
            await until(all_have_results, PATIENCE)
    for one in incidents:
        said = one.said.setdefault("Gatus", {})
        for number in range(len(POOL)):
            found = results.get(f"{one.name}-{number}", [])[:TIMES]
            said[number] = [Probe(result["success"], gatus_text(result)) for result in found] or [Probe(None, "")]


def gatus_text(result):
    """What its page and its alerts show: errors, and the conditions that failed."""
    failed = [each["condition"] for each in result.get("conditionResults", ()) if not each["success"]]
    return " | ".join([*result.get("errors", ()), *failed])


# What it comes to ---------------------------------------------------------------------------------------------------


def ill(incident):
    """The entries of an incident in which our own session fails."""
    return [one for one in incident["connections"] if "fail" in (one["expected"][each] for each in ("connect", "send"))]


def clues(incident):
    """Words that name the cause, those of each failing entry: its error code, its close, its status, or its reason."""
    for entry in ill(incident):
        expected, close = entry["expected"], entry["expected"]["close"]
        frames = [step["json"] for step in entry["steps"] if step["from"] == "server" and "json" in step]
        codes = [frame["error_code"] for frame in frames if "error_code" in frame]
        if codes:
            yield from codes
            yield from (step["reason"] for step in entry["steps"] if step["kind"] == "close" and step.get("reason"))
        elif expected["http_status"]:
            yield str(expected["http_status"])
        elif close and close["by"] == "server":
            yield f"close {close['code']}"
        else:
            yield from CAUSES[expected["factory_reason"] or expected["reason"]]


def noticed(probes):
    """Whether some user's probes failed every time, or gave no result."""
    return any(all(probe.up is False for probe in one) and len(one) >= TIMES for one in probes.values())


def verdict(probes):
    """`up`, `down`, `no result`, or how many of the users' probes failed."""
    flat = [probe for one in probes.values() for probe in one]
    if any(probe.up is None for probe in flat):
        return "no result"
    failed = sum(not probe.up for probe in flat)
    return {0: "up", len(flat): "down"}.get(failed, f"down in {failed} of {len(flat)} probes")


def failed(probes):
    """What the failed probes show."""
    return [probe.text for one in probes.values() for probe in one if probe.up is False]


def named(incident, probes):
    """The first word that names the cause and that the tool shows; None if it shows none."""
    text = " ".join(failed(probes))
    return next((clue for clue in clues(incident) if re.search(rf"(?<![\w.]){re.escape(clue)}(?![\w.])", text)), None)


def placed(incident, probes):
    """Whether it says rightly on which side of the 101 the failure was."""
    phases = {one["expected"]["phase"] for one in ill(incident)}
    texts = failed(probes)
    return bool(texts) and all(("dialing" in text) == (phases <= BEFORE) for text in texts)


BEFORE = {"tcp", "tls", "upgrade"}
TOOLS = ("blackbox_exporter", "Gatus")
TEMPLATE = Path(__file__).with_name("PEERS.in.md")


def cell(one, tool):
    """What a tool said of an incident, in a few words."""
    probes = one.said[tool]
    said, clue = verdict(probes), named(one.incident, probes)
    return said if clue is None else f"{said}; `{clue}`"


def table(head, rows):
    """A Markdown table."""
    return "\n".join([f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)])


def should_say(incident):
    """Phase and reason of the failing entries."""
    words = [[one["expected"][key] for key in ("phase", "reason", "factory_reason")] for one in ill(incident)]
    return "; ".join(" ".join(filter(None, found)) for found in words)


def figures(loud):
    """Rows of the first table."""

    def count(judge):
        return [str(sum(bool(judge(one.incident, one.said[tool])) for one in loud)) for tool in TOOLS]

    rows = {
        "noticed": lambda _incident, probes: noticed(probes),
        "no result": lambda _incident, probes: verdict(probes) == "no result",
        "said to be up, or down now and then": lambda _incident, probes: (
            not noticed(probes) and verdict(probes) != "no result"
        ),
        "noticed, and on which side of the 101": lambda incident, probes: noticed(probes) and placed(incident, probes),
        "noticed, and the cause named": lambda incident, probes: noticed(probes) and named(incident, probes),
    }
    return "\n".join(f"| {what} | {' | '.join(count(judge))} |" for what, judge in rows.items())


def indented(value):
    """YAML as a block of Markdown."""
    return "\n".join(
        f"    {line}" for line in yaml.safe_dump(value, sort_keys=False, width=1000, allow_unicode=True).splitlines()
    )


def page(incidents, blackbox, gatus):
    """The whole of peers.md."""
    loud = [one for one in incidents if one.incident["alerts"]["speed"] != "quiet"]
    quiet = [one for one in incidents if one not in loud]
    user = POOL["pool-001"]
    example = next(one for one in incidents if one.name == "slots-of-all")
    endpoint = gatus_endpoint(example, 0, user) | {"name": "staging", "url": "ws://HOST/ws"}
    return TEMPLATE.read_text("utf-8").format(
        blackbox=blackbox,
        gatus=gatus,
        day=time.strftime("%Y-%m-%d"),
        timeout=TIMEOUT,
        grace=GRACE,
        count=len(loud),
        figures=figures(loud),
        incidents=table(
            ["incident", "what should be said", *TOOLS],
            [[one.name, should_say(one.incident), *(cell(one, tool) for tool in TOOLS)] for one in loud],
        ),
        quiet=table(["incident", *TOOLS], [[one.name, *(cell(one, tool) for tool in TOOLS)] for one in quiet]),
        blackbox_config=indented({"modules": {"staging": blackbox_config(user, "/run/secrets/token")}}),
        gatus_config=indented({"endpoints": [endpoint | {"headers": {"Authorization": "Bearer …"}}]}),
    )


def main():
    """Run both and write the page."""
    blackbox, blackbox_version, gatus, gatus_version = sys.argv[1:5]
    incidents = asyncio.run(ask(blackbox, gatus))
    (FOLDER / "peers.md").write_text(page(incidents, blackbox_version, gatus_version), encoding="utf-8")


async def ask(blackbox, gatus):
    """The incidents with what both said: each tool meets players of its own, so that neither uses up a pulse."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with played() as incidents:
            await ask_blackbox(blackbox, folder, incidents, authority(incidents))
        async with played() as again:
            await ask_gatus(gatus, folder, again, authority(again))
    for before, one in zip(incidents, again, strict=True):
        before.said |= one.said
    return incidents


def authority(incidents):
    """The file of the authority that both tools trust: that of the one incident with TLS."""
    return next(one.standin.ca_file for one in incidents if one.incident["transport"] == "wss")


if __name__ == "__main__":
    main()
