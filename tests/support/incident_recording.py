"""Makes deploy/incidents/incidents.jsonl: `python -m support.incident_recording` in tests/, whenever a test says so.

A plain client meets each row of `data/signatures.yml` on the stand-in and notes what it sees; one of our sessions meets
it again and gives the verdicts. Each on a clock of its own that jumps, so that every time is exact and the same again.
"""

import asyncio
import itertools
import json
import ssl

import yaml

from exporter.host import Clock
from exporter.report import explain
from exporter.result import Initiator, Probe, Verdict
from exporter.standin import StandIn, Timings, parse
from support import harness, virtual_clock
from support.paths import DATA, ROOT
from support.standin_clients import Peer, token

FOLDER = ROOT / "deploy" / "incidents"
FILE = FOLDER / "incidents.jsonl"
VERSION = "1.0.0"
"""Of the data set: a new incident is a new minor version, a field that changes its meaning a new major one."""

TABLE = yaml.safe_load((DATA / "signatures.yml").read_text(encoding="utf-8"))
LABELS = yaml.safe_load((DATA / "incidents.yml").read_text(encoding="utf-8"))
ROWS = [*TABLE["incidents"], *TABLE["quiet"]]

PATIENCE = 10.0
"""Seconds that the client waits for a message, as the exporter of the drill does."""
UPGRADE_PATIENCE = 200.0
"""Seconds that it waits for the answer to its request, so that one after minutes is recorded."""
THINKING = 0.01
"""Seconds between what the client has read and what it sends."""
BRIEFLY = 0.5
MESSAGE_TYPE = "example_request_1"

HEADERS = {
    "Host": "127.0.0.1",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
NO_STATUS = 1005
EXPIRED = 10
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED."""

SCRUBBED = {
    "client": "127.0.0.1:50000",
    "authorization_preview": "Bearer <the first 23 characters>",
    "token_prefix": "<first 12>",
    "token_suffix": "<last 8>",
    "token_length": 300,
}
"""Keys of a refusal that show parts of the token and the client's port: no two runs have the same."""


class Recorder:
    """The steps of one connection."""

    def __init__(self, loop, user):
        self.steps = []
        self._loop, self._user, self._began = loop, user, loop.time()

    def add(self, sender, kind, **values):
        at = round(self._loop.time() - self._began, 3)
        self.steps.append({"t": at, "from": sender, "kind": kind, **values})

    def message(self, kind, data):
        """A frame of the server as a step; the JSON value of a text message, else None."""
        if kind == "close":
            code, _, reason = data.partition(" ")
            self.add("server", "close", code=int(code), reason=reason)
            return None
        if kind in ("eof", "reset"):
            self.add("server", {"eof": "fin", "reset": "rst"}[kind])
            return None
        if kind != "text":
            self.add("server", kind)
            return None
        value = json.loads(data)
        self.add("server", "text", json=self.general(value))
        return value

    def general(self, value, key=""):
        """The value with variables in place of what differs from one connection to the next."""
        if isinstance(value, dict):
            return {name: self.general(each, name) for name, each in value.items()}
        if key in SCRUBBED:
            return SCRUBBED[key]
        if key in ("timestamp", "server_time"):
            return "${time}" if isinstance(value, float) else "${iso_time}"
        if key == "connection_id":
            return "${connection_id}"
        if isinstance(value, str):
            return value.replace(MESSAGE_TYPE, "${received.type}").replace(self._user, "${user}")
        return value


async def record(loop, specs, user, *, tls=False):
    """What a client with a good token sees of a stand-in with these faults: the steps, in their order."""
    async with started(loop, specs, tls=tls) as standin:
        return await seen(loop, standin, user, tls=tls)


async def seen(loop, standin, user, *, tls=False):
    """The steps of one connection."""
    recorder = Recorder(loop, user)
    recorder.add("client", "connect")
    try:
        peer = await Peer.connect(standin, tls=tls)
    except ConnectionRefusedError:
        recorder.add("server", "refuse")
        return recorder.steps
    except ssl.SSLCertVerificationError as error:
        recorder.add("server", "tls", certificate={EXPIRED: "expired"}[error.verify_code])
        recorder.add("client", "fin")
        return recorder.steps
    try:
        await _converse(recorder, peer, token(standin.key, loop.wall(), user))
    finally:
        await peer.close()
    return recorder.steps


def started(loop, specs, *, tls=False):
    """A stand-in with these faults, in the loop's time."""
    return _Spoiled(specs, tls_port=0 if tls else None, clock=loop.time, wall=loop.wall, timings=Timings())


class _Spoiled:
    def __init__(self, specs, **options):
        self._specs, self._options = specs, options

    async def __aenter__(self):
        self._standin = await StandIn.start(**self._options)
        path = "*" if any(parse(spec).needs_listener for spec in self._specs) else "/ws"
        self._standin.set_fault(path, *self._specs)
        return self._standin

    async def __aexit__(self, *_):
        await self._standin.close()


async def _converse(recorder, peer, bearer):
    headers = {**HEADERS, "Authorization": "Bearer ${token}"}
    recorder.add("client", "http_request", method="GET", target="/ws", headers=headers)
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).replace("${token}", bearer)
    peer.writer.write(f"GET /ws HTTP/1.1\r\n{fields}\r\n".encode())
    if not await _upgraded(recorder, peer):
        return
    if not await _read(recorder, peer, lambda value: value.get("data", {}).get("event") == "connection_established"):
        return
    recorder.add("client", "text", json={"type": MESSAGE_TYPE})
    peer.send_json({"type": MESSAGE_TYPE})
    if not await _read(recorder, peer, lambda value: value.get("received_type") == MESSAGE_TYPE):
        return
    await _close(recorder, peer)


async def _upgraded(recorder, peer):
    """Note the answer to the request; true for a 101."""
    try:
        async with asyncio.timeout(UPGRADE_PATIENCE):
            head = (await peer.reader.readuntil(b"\r\n\r\n")).decode()
    except TimeoutError:
        recorder.steps.append({**recorder.steps[-1], "from": "server", "kind": "silence", "answers": []})
        for name in ("method", "target", "headers"):
            del recorder.steps[-1][name]
        recorder.add("client", "fin")
        return False
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        recorder.message("reset" if isinstance(error, ConnectionError) else "eof", None)
        return False
    line, *fields = head.rstrip().split("\r\n")
    _, status, reason = line.split(" ", 2)
    if status == "101":
        recorder.add("server", "101")
        return True
    headers = dict(field.split(": ", 1) for field in fields)
    body = (await peer.reader.read()).decode()
    headers["Date"] = "${http_date}"
    recorder.add("server", "http_status", status=int(status), reason=reason, headers=headers, body=body)
    recorder.add("server", "fin")
    return False


async def _read(recorder, peer, wanted):
    """Note frames up to the wanted message and what comes with it; false if the connection ended or fell silent."""
    since = len(recorder.steps)
    while True:
        begun = recorder._loop.time()
        kind, data = await peer.frame(PATIENCE)
        if kind == "silence":
            await _silent(recorder, peer, begun)
            return False
        value = recorder.message(kind, data)
        if kind == "ping":
            peer.send("pong", data)
        if kind in ("close", "eof", "reset"):
            await _ended(recorder, peer, data)
            return False
        if value is not None and wanted(value):
            break
    while (frame := await peer.frame(THINKING))[0] != "silence":
        if recorder.message(*frame) is None:
            await _ended(recorder, peer, frame[1])
            return False
    assert len(recorder.steps) > since
    return True


async def _ended(recorder, peer, close):
    """Answer the close (`code reason`) with its own code, and note how the connection ends; None: it has ended."""
    if close is None:
        return
    code = int(close.partition(" ")[0])
    recorder.add("client", "close", code=code, reason="")
    peer.send("close", b"" if code == NO_STATUS else code.to_bytes(2))
    recorder.message((await peer.frame(BRIEFLY))[0], None)


async def _silent(recorder, peer, begun):
    """Note the silence, what is still answered in it, and how our close is."""
    step = {"t": round(begun - recorder._began, 3), "from": "server", "kind": "silence", "answers": []}
    recorder.steps.append(step)
    peer.send("ping", b"?")
    if (await peer.frame(BRIEFLY))[0] == "pong":
        step["answers"].append("ping")
    await _close(recorder, peer)


async def _close(recorder, peer):
    """Close first, and note what follows."""
    recorder.add("client", "close", code=1000, reason="")
    peer.send_close()
    while (frame := await peer.frame(BRIEFLY))[0] not in ("silence", "eof", "reset"):
        recorder.message(*frame)
    if frame[0] != "silence":
        recorder.message(*frame)


# What our own session makes of it -----------------------------------------------------------------------------------

VERDICTS = {Verdict.PASS: "pass", Verdict.FAIL: "fail", Verdict.NONE: "unproved"}
SIDES = {Initiator.LOCAL: "client", Initiator.REMOTE: "server", Initiator.NONE: "nobody"}


def ticking(loop):
    """The loop's clock, later by 1 ms at each look: an answer must come later than the kernel's round trip allows."""
    looks = itertools.count()
    return Clock(monotonic=lambda: loop.time() + next(looks) * 1e-3, wall=loop.wall, kernel_stamps=False)


async def judge(loop, standin, row, alias):
    """The result of one session of ours as the user of that alias, and the layer that its diagnosis names."""
    setup = row.get("setup", {})
    tls = setup.get("tls", False)
    mapping = harness.target(
        standin, tls=tls, timeout=f"{PATIENCE:.0f}s", interval="20s", close_timeout="2s", limits=None
    )
    if tls:  # a certificate of localhost, and no look-up of a name
        mapping["url"] = mapping["url"].replace("localhost", "127.0.0.1")
        mapping["tls"]["server_name"] = "localhost"
    mapping.update({field: value for field, value in setup.get("target", {}).items() if field == "environment"})
    (job,) = harness.planned(mapping).jobs
    result = await harness.Rig(clock=ticking(loop)).run(job, depth=Probe.SEND, identity=alias)
    return expected(result), explain(result)


def expected(result):
    """The labels of one connection, as the data set has them."""
    close = result.close
    return {
        "timeout_s": PATIENCE,
        **{probe.value: VERDICTS[result.verdicts[probe]] for probe in Probe},
        **{name: getattr(result, name) for name in ("phase", "reason", "factory_reason", "http_status")},
        "close": close and {"code": close.code, "by": SIDES[close.initiator], "phase": close.phase},
    }


# The whole data set -------------------------------------------------------------------------------------------------


def connections(row):
    """What each of the three users meets: those who meet the same stand together."""
    faulty = _entries(row, row["faults"])
    pulses = row.get("setup", {}).get("pulses")
    if pulses is None:
        return faulty
    pulse = {"connections": pulses["sessions"], "every_s": pulses["apart"], "times": pulses["times"]}
    return [{**entry, "pulse": pulse} for entry in faulty] + _entries(row, ["none"])


def _entries(row, specs):
    tls = row.get("setup", {}).get("tls", False)
    entries = []
    for alias, user in harness.POOL.items():
        steps = virtual_clock.run(lambda loop, user=user: record(loop, specs, user, tls=tls))
        entry = next((entry for entry in entries if entry["steps"] == steps), None)
        if entry is None:
            labels = virtual_clock.run(lambda loop, alias=alias: _judged(loop, row, specs, alias))
            entries.append({"users": [user], "pulse": None, "expected": labels, "steps": steps})
        else:
            entry["users"].append(user)
    return entries


async def _judged(loop, row, specs, alias):
    async with started(loop, specs, tls=row.get("setup", {}).get("tls", False)) as standin:
        return (await judge(loop, standin, row, alias))[0]


def incident(row):
    """One line of the data set."""
    labels = LABELS[row["name"]]
    why_not = labels.get("why_not")
    return {
        "version": VERSION,
        "name": row["name"],
        "what": row["what"],
        "users_feel": labels["users"],
        "layer": labels["layer"],
        "source": row["row"],
        "transport": "wss" if row.get("setup", {}).get("tls") else "ws",
        "played": why_not is None,
        "why_not": why_not,
        "client": {"environment": row.get("setup", {}).get("target", {}).get("environment")},
        "alerts": {
            "speed": row.get("speed", "quiet"),
            "fires": row.get("firing", []),
            "notifies": row.get("notify"),
            "words": row.get("text", []),
        },
        "connections": [] if why_not else connections(row),
    }


def lines():
    """The whole file, line by line."""
    return [json.dumps(incident(row), separators=(",", ":"), ensure_ascii=False) for row in ROWS]


def main():
    FILE.write_text("".join(f"{line}\n" for line in lines()), encoding="utf-8")


if __name__ == "__main__":
    main()
