"""No secret leaves us: not over the whole fault table, however a token travels, with every logger at debug level.

The backend's refusals echo fragments of the Authorization header, so what must not be seen is every slice of 12
characters of every key and token, in every form they take. What is searched: standard output and error, the lines of
both formats, what was handed to the loggers before any line was made of it, the pages of the real daemon, its state
files and its history's, and every value and exception of ours.
"""

import asyncio
import base64
import io
import json
import logging
import sys
import traceback
from contextlib import AsyncExitStack, contextmanager
from http import HTTPStatus
from urllib.parse import quote, quote_plus

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support import harness, raw_server, standin_clients, ticket_servers
from support.fault_cases import cases, meet_all, standing
from support.realservers import answered, get

import exporter.probing
from exporter import log, tokens
from exporter.__main__ import main
from exporter.config import Jwt
from exporter.daemon import Daemon, DaemonOptions
from exporter.result import Impairment, SessionObservation
from exporter.session import Session
from exporter.standin import StandIn, Timings
from exporter.state.database import StorageLimits
from exporter.web import ListenAddress

SLICE = 12
SUFFIX = 8
"""What the backend shows of a token's end."""
CARRIES = ("header", "subprotocol", "query")
TABLE = ["header", *(pytest.param(carry, marks=pytest.mark.soak) for carry in CARRIES[1:])]
"""The whole fault table takes 20 s for each carrier; the tests below it play all three in a second."""


class Secrets:
    """Keys and tokens, cut into slices."""

    def __init__(self):
        self.known = set()
        self._slices = set()
        self._suffixes = set()

    def add(self, secret):
        """A key, a token or a password: as it is, in JSON, base64url, a query and hexadecimal."""
        text = secret if isinstance(secret, str) else secret.decode("latin-1")
        if text in self.known:
            return
        self.known.add(text)
        for raw in {text.encode("latin-1"), text.encode()}:
            coded = base64.urlsafe_b64encode(raw).decode()
            for form in (text, json.dumps(text)[1:-1], coded, quote(raw), quote_plus(raw), raw.hex()):
                self._slices |= {form[at : at + SLICE] for at in range(len(form) - SLICE + 1)}
        self._suffixes.add(text[-SUFFIX:])

    def seen_in(self, text):
        """What of them stands in a text."""
        cut = (text[at : at + SLICE] for at in range(len(text) - SLICE + 1))
        return {*self._slices.intersection(cut), *(end for end in self._suffixes if end in text)}


class Shown:
    """Everything that came out, under the name of where."""

    def __init__(self):
        self.texts = {}

    def add(self, where, *values):
        parts = self.texts.setdefault(where, [])
        for value in values:
            parts += [value] if isinstance(value, str) else [repr(value), str(value)]

    def exception(self, where, error):
        """An exception, those it came from, those it hides, and its traceback."""
        self.add(where, "".join(traceback.format_exception(error)))
        while error is not None:
            self.add(where, error, repr(error.args))
            error = error.__cause__ or error.__context__

    def leaks(self, secrets):
        """Where a secret is seen, and what of it."""
        found = {where: secrets.seen_in("\n".join(parts)) for where, parts in self.texts.items()}
        return {where: slices for where, slices in found.items() if slices}


class Records(logging.Handler):
    """Keeps what loggers are handed, whole and before anything is hidden."""

    def __init__(self, shown):
        super().__init__(logging.NOTSET)
        self._shown = shown
        self.names = set()

    def emit(self, record):
        self.names.add((record.name, record.levelname))
        self._shown.add("records", record.getMessage(), repr(record.__dict__))
        if record.exc_info:
            self._shown.exception("records", record.exc_info[1])


class Watch:
    """What is kept of a run: the secrets, what was shown, and what sessions held in their hands."""

    def __init__(self, output):
        self.output = output
        self.secrets = Secrets()
        self.shown = Shown()
        self.records = Records(self.shown)
        self.refusals = []
        self.lines = io.StringIO()
        self.written = lambda: None

    def mint(self, *arguments, **more):
        token = tokens.mint(*arguments, **more)
        self.secrets.add(token)
        self.shown.add("keys", arguments[1])
        return token

    def carry(self, *arguments):
        carried = tokens.carry(*arguments)
        self.shown.add("carried", carried)
        return carried

    def session(self):
        """The session's class, which tells of its order and its facts."""
        watch = self

        class Watched(Session):
            def __init__(self, order, *arguments, **options):
                super().__init__(order, *arguments, **options)
                watch.shown.add("orders", order, order.session_messages)

            async def run(self) -> SessionObservation:
                facts = await super().run()
                watch.refusals.append(json.dumps(facts.refusal))
                watch.shown.add("facts", facts, facts.fault, facts.close)
                if facts.fault is not None:
                    watch.shown.exception("faults", facts.fault)
                return facts

        return Watched


class Stderr(io.TextIOBase):
    """Standard error as it is when a line is written: pytest puts another in its place after the set-up."""

    def write(self, text):
        return sys.stderr.write(text)

    def flush(self):
        sys.stderr.flush()


@pytest.fixture
async def watch(monkeypatch, capfd):
    """Everything is watched; every logger there is, ours or not, speaks from debug level on."""
    watched = Watch(capfd)
    monkeypatch.setattr(exporter.probing, "mint", watched.mint)
    monkeypatch.setattr(exporter.probing, "carry", watched.carry)
    monkeypatch.setattr(exporter.probing, "Session", watched.session())
    with everything_logged(watched):
        yield watched


@contextmanager
def everything_logged(watched):
    names = ["", "websockets", "websockets.client", *logging.root.manager.loggerDict]
    before = {name: logging.getLogger(name).level for name in names}
    setups = [log.configure("debug", form, watched.lines) for form in ("logfmt", "json")]
    setups.append(log.configure("debug", "logfmt", Stderr()))
    watched.written = lambda: [setup.close(30.0) for setup in reversed(setups)]
    logging.getLogger().addHandler(watched.records)
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(watched.records)
        watched.written()
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def a_daemon(*targets, history_file=None):
    """A daemon whose sessions are driven by a test, and whose history keeps them all."""
    options = DaemonOptions(ListenAddress("127.0.0.1", 0), startup_delay=3600.0, history_file=history_file)
    daemon = Daemon(harness.planned(*targets), options)
    daemon._services.history._last = 1000
    if daemon._history_file is not None:
        daemon._history_file._database._limits = StorageLimits(1000, 1000, 1 << 24)
    return daemon


RESULTS = "/api/results?limit=500"


async def told_by_a_daemon(watch, folder, sessions):
    """What `sessions(observe)` gives, after a daemon was told every result, its pages and its history were read."""
    file = folder / "history"
    async with StandIn.start(tls_port=None) as standin:
        daemon = a_daemon(harness.target(standin, identities={"pool-001": "somebody"}), history_file=file)
        await daemon.start()
        try:
            met = await sessions(daemon._dispatcher.record_result)
            for path in ("/metrics", "/", "/api/fragment?target=staging", "/-/ready", "/-/healthy", RESULTS):
                watch.shown.add(path, await get(daemon.url + path))
        finally:
            await daemon.stop()
    watch.shown.add("history file", file.read_bytes().decode("latin-1"))
    return met


def leaks(watch, *, but=()):
    """Where a secret is seen, once all lines are written."""
    watch.written()
    out, err = watch.output.readouterr()
    watch.shown.add("stdout", out)
    watch.shown.add("stderr", err)
    watch.shown.add("lines", watch.lines.getvalue())
    return {where: what for where, what in watch.shown.leaks(watch.secrets).items() if where not in but}


# The fault table ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("carry", TABLE)
async def test_no_secret_is_shown_over_the_whole_fault_table(carry, watch, tmp_path):
    """Every fault over plain, those of TLS over TLS: no slice of a key or token stands anywhere."""
    asyncio.get_running_loop().set_debug(True)
    rows = [*cases("plain"), *((row, over) for row, over in cases("tls") if "plain" not in row["over"])]

    met = await told_by_a_daemon(watch, tmp_path, lambda told: meet_all(rows, tmp_path, carry=carry, told=told))

    for one in met:
        watch.secrets.add(one.key)
        watch.shown.add("results", *one.results, *(line(result) for result in one.results))
    for file in tmp_path.glob("*.state"):
        watch.shown.add("state files", file.read_text())
    assert leaks(watch) == {}
    assert_it_could_have_failed(watch, rows)
    assert_no_subject_is_shown(watch, {one.subject for one in met})


def assert_it_could_have_failed(watch, rows):
    """Tokens were sent and echoed, lines written, files kept."""
    sent = [token for token in watch.secrets.known if token.count(".") == 2]
    assert len(sent) > 0.8 * len(rows)
    assert any(watch.secrets.seen_in(refusal) for refusal in watch.refusals)
    assert watch.shown.texts["stderr"][0].count("msg=session") >= len(rows)
    assert len(watch.shown.texts["state files"]) >= len(rows)  # a case that was distorted is repeated
    shown = json.loads(watch.shown.texts[RESULTS][0])["results"]
    assert len(shown) >= len(rows)
    frames = [frame for result in shown for frame in result["transcript"]]
    assert {frame["kind"] for frame in frames} >= {"error", "welcome", "send", "reply"}
    assert watch.shown.texts["history file"][0].count('"target":"staging"') >= len(rows)
    assert all(text and text[0] for where, text in watch.shown.texts.items() if where != "stdout")


def assert_no_subject_is_shown(watch, subjects):
    """A label is an alias; the subject behind it stands in no page, line or file."""
    for where in ("/metrics", "/", "lines", "records", "results", "state files", RESULTS, "history file"):
        text = "\n".join(watch.shown.texts[where])
        assert not [subject for subject in subjects if subject in text], where


PROBES = ("", "&debug=true")
AT_ONCE = 16
ATTEMPTS = 4
"""How often a session is asked for: one during which the machine was late proves nothing, and is no result."""


@pytest.mark.parametrize("carry", TABLE)
async def test_no_secret_is_shown_by_a_probe_over_the_whole_fault_table(carry, watch):
    """`/probe` and its debug text of every fault: no slice of a key or token, no subject, in page or line."""
    rows = [*cases("plain"), *((row, over) for row, over in cases("tls") if "plain" not in row["over"])]
    resting = [case for case in rows if case[0]["reason"] == "rate_limited"]
    together = [case for case in rows if case not in resting]

    statuses = await probed(watch, together, PROBES, carry)
    for case in resting:  # the host of all stand-ins rests after it, and the next one would not be asked
        statuses += [
            *(await probed(watch, [case], PROBES[:1], carry)),
            *(await probed(watch, [case], PROBES[1:], carry)),
        ]

    assert leaks(watch) == {}
    assert statuses.count(200) > 1.5 * len(rows)
    assert len([token for token in watch.secrets.known if token.count(".") == 2]) > 1.5 * len(rows)
    assert any(watch.secrets.seen_in(refusal) for refusal in watch.refusals)
    assert sum("probe_success" in text for text in watch.shown.texts["/probe"]) > 0.9 * len(rows)
    assert sum("Without debug=true" in text for text in watch.shown.texts["/probe&debug=true"]) > 0.9 * len(rows)
    assert "staging-e2e-user" not in "\n".join(watch.shown.texts["/probe"] + watch.shown.texts["/probe&debug=true"])


async def probed(watch, rows, queries, carry):
    """The statuses of a daemon that is asked for each row, as two users in turn; what it says is shown."""
    async with AsyncExitStack() as stack:
        targets = []
        for number, (row, over) in enumerate(rows):
            name = f"row-{number}"
            standin, target = await stack.enter_async_context(standing(number, row, over, carry=carry, target=name))
            watch.secrets.add(standin.key)
            targets.append(target)
            target["interval"] = "10m"
            target["identities"]["pool-002"] = f"staging-e2e-user-{number:03d}-b"
        daemon = a_daemon(*targets)
        await daemon.start()
        stack.push_async_callback(daemon.stop)
        gate = asyncio.Semaphore(AT_ONCE)

        async def ask(number, depth):
            async with gate:
                statuses = []
                for query in queries:
                    url = f"{daemon.url}/probe?target=row-{number}&probe={depth}{query}"
                    for _ in range(ATTEMPTS):
                        status, text = await answered(url)
                        watch.shown.add(f"/probe{query}", text)
                        if status == HTTPStatus.OK:
                            break
                    statuses.append(status)
                return statuses

        told = await asyncio.gather(*(ask(number, row["depth"]) for number, (row, _) in enumerate(rows)))
        return [status for statuses in told for status in statuses]


# Our own failures ---------------------------------------------------------------------------------------------------


def pem():
    """A private key in PEM, and the base64 in it."""
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return text, "".join(text.splitlines()[1:-1])


PEM, PEM_SECRET = pem()
READY = tokens.mint(
    Jwt(key_env="K"), tokens.load_key(Jwt(key_env="K"), b"another-backend-key-of-64-bytes" * 2), "u", 0, "i"
)
FILES = {
    "wrong key": ("a-key-that-the-backend-does-not-know-at-all", {}),
    "other algorithm": (PEM, {"algorithm": "ES256"}),
    "pem for a secret": (PEM, {}),
    "secret for a pem": ("a-key-that-is-no-pem-although-one-is-expected", {"algorithm": "ES256"}),
    "damaged pem": (PEM.replace(PEM_SECRET[:20], "#" + PEM_SECRET[1:20]), {"algorithm": "ES256"}),
    "too short": ("only-thirty-one-bytes-long-4567", {}),
    "no utf-8": ("\udcff" * 40 + "and-some-words-after-it", {}),
    "expired ready token": (READY, {"token_file": True}),
    "two lines for a token": (f"{READY}\n{READY}", {"token_file": True}),
    "a token in words": (f"Bearer {READY}", {"token_file": True}),
}


def with_key_file(standin, folder, name, carry):
    """A target whose key or token stands in the file of that row."""
    content, settings = FILES[name]
    file = folder / "the.key"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    mapping = harness.target(standin, identities={"pool-001": "staging-e2e-user-001"})
    source = {"token_file": str(file)} if "token_file" in settings else {"key_file": str(file), **settings}
    mapping["auth"] = {"carry": carry, "jwt": source}
    return mapping


def know(watch, name):
    """The secrets of a row."""
    content, _ = FILES[name]
    watch.secrets.add(PEM_SECRET if content.startswith("-----") else content.encode("utf-8", "surrogateescape"))
    watch.secrets.add(READY)


@pytest.mark.parametrize("carry", CARRIES)
@pytest.mark.parametrize("name", FILES)
async def test_no_secret_is_shown_when_the_key_or_token_is_not_good(name, carry, watch, tmp_path):
    """Refused by the backend or of no use to us: results, lines, and what `--config.check` says of the file."""
    know(watch, name)

    async def sessions(told):
        async with StandIn.start(tls_port=None, timings=Timings.quick()) as standin:
            target = with_key_file(standin, tmp_path, name, carry)
            prober, job = harness.Rig(), harness.planned(target).jobs[0]
            results = [await prober.run(job) for _ in range(3)]
            for result in results:
                told(result)
            return target, results

    target, results = await told_by_a_daemon(watch, tmp_path, sessions)
    (tmp_path / "exporter.yml").write_text(yaml.safe_dump({"targets": [target]}))
    main(["run", "--config.check", "--config.file", str(tmp_path / "exporter.yml")])
    watch.shown.add("results", *results, *(line(result) for result in results))

    assert leaks(watch) == {}
    refused = any(watch.secrets.seen_in(refusal) for refusal in watch.refusals)
    assert refused or all(result.impairment is Impairment.TOKEN for result in results)


def in_the_resolver(monkeypatch, _watch):
    monkeypatch.setattr("exporter.resolver.Resolver.resolve", breaking(lambda: "no such thing"))


def in_the_judgement(monkeypatch, _watch):
    monkeypatch.setattr(exporter.probing, "classify", breaking(lambda: "no such thing"))


def quoting_the_refusal(monkeypatch, watch):
    monkeypatch.setattr(exporter.probing, "classify", breaking(lambda: watch.refusals[-1]))


def quoting_the_token(monkeypatch, watch):
    monkeypatch.setattr(exporter.probing, "classify", breaking(lambda: max(watch.secrets.known, key=len)))


def breaking(words):
    """A function with a defect, whose error has these words."""

    def broken(*_arguments, **_options):
        raise RuntimeError(words()) from KeyError(words())

    return broken


DEFECTS = {
    in_the_resolver: (),
    in_the_judgement: (),
    quoting_the_refusal: ("records",),
    quoting_the_token: ("records",),
}
"""A defect of ours, and where its words may stand: a defect that quotes a token is hidden in the line, not before."""


@pytest.mark.parametrize("carry", CARRIES)
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
async def test_no_secret_is_shown_when_a_session_breaks_on_our_side(defect, carry, monkeypatch, watch, tmp_path):
    """The traceback is logged, even one whose words quote the backend's frame; the secret in it is not."""
    know(watch, "wrong key")
    defect(monkeypatch, watch)

    async def sessions(told):
        async with StandIn.start(tls_port=None, timings=Timings.quick()) as standin:
            job = harness.planned(with_key_file(standin, tmp_path, "wrong key", carry)).jobs[0]
            result = await harness.Rig().run(job)
            told(result)
            return result

    result = await told_by_a_daemon(watch, tmp_path, sessions)
    watch.shown.add("results", result, line(result))

    assert leaks(watch, but=DEFECTS[defect]) == {}
    assert result.impairment is Impairment.INTERNAL
    assert "Traceback" in watch.shown.texts["stderr"][0]


def line(result):
    return json.dumps(log.session_fields(result))


# Cookies, API keys, passwords, tokens in messages ------------------------------------------------------------------


PASSWORD = 'p@ss wörd, of "any" letters; 0123456789abcdef'
API_KEY = "sk live_51!AbCdEfGhIjKlMnOpQrStUvWxYz"
CLAIM = "a-claim-that-is-nobodys-affair-but-the-backends"
LOGIN = {"message": {"password": "${token}"}, "match": {"ok": True}}
ERROR = {"error": {"type": "error"}, "errors": [{"match": {"type": "error"}, "reason": "auth_rejected"}]}
CLOSES = {"closes": [{"code": 4401, "reason": "auth_rejected"}]}
WAYS = {
    "cookie": ({}, None, {"header": "Cookie", "value": "access=${token}"}),
    "api key": ({}, API_KEY, {"header": "X-Api-Key"}),
    "encoded password": ({}, PASSWORD, {"header": "Authorization", "value": "Basic ${token_base64url}"}),
    "password in the query": ({}, PASSWORD, "query"),
    "password in a message": ({"auth": LOGIN}, PASSWORD, "message"),
    "token in a message": ({"auth": LOGIN}, None, None),
    "token in the message to send": (
        {"send": {"message": ["${nonce}", "${token}"], "match": ["${nonce}"]}},
        None,
        "message",
    ),
}
"""The profile's messages, the secret (None: a token that we sign), and how it is carried."""


async def quoting(peer):
    """A backend that says back all that it was sent: in an error frame, and in the reason of its close."""
    await peer.upgrade()
    text = json.dumps({"line": peer.line, **peer.headers})
    if peer.line.startswith("GET /message"):
        text += json.dumps(await peer.message(), ensure_ascii=False)
    peer.send(raw_server.text({"type": "error", "code": text[-60:], "you_sent": text}))
    peer.close(4401, text[-100:])


async def refusing(peer):
    """A backend that says all of it in the answer to the upgrade."""
    await peer.request()
    sent = json.dumps(peer.headers)
    peer.send(f"HTTP/1.1 403 {peer.line[:60]}\r\nX-You-Sent: {sent}\r\nContent-Length: 0\r\n\r\n".encode())
    peer.end()


def carrying(port, folder, way):
    """A target that carries its secret this way, of a backend with nested claims."""
    messages, secret, carry = WAYS[way]
    file = folder / "secret"
    file.write_text("a-key-that-signs-tokens-with-forty-letters" if secret is None else secret, "utf-8")
    claims = {"https://a.example/claims": {"who": "${identity}", "note": [CLAIM]}}
    source = {"secret_file": str(file)} if secret else {"jwt": {"key_file": str(file), "claims": claims}}
    target = {
        "name": "staging",
        "url": f"ws://127.0.0.1:{port}{'/message' if messages else '/'}",
        "profile": "own",
        "interval": "10s",
        "timeout": "3s",
        "close_timeout": "300ms",
        "identities": {"pool-001": "staging-e2e-user-001"},
        "auth": {**source, **({} if carry is None else {"carry": carry})},
    }
    return target, {"own": {**(messages or {"welcome": {"match": {"type": "hello"}}}), **ERROR, **CLOSES}}


@pytest.mark.parametrize("backend", [quoting, refusing], ids=lambda script: script.__name__)
@pytest.mark.parametrize("way", WAYS)
async def test_no_secret_is_shown_whatever_carries_it(way, backend, watch, tmp_path):
    """A cookie, an API key, a password, a token in a message, nested claims: said back to us, and shown nowhere."""
    watch.secrets.add(WAYS[way][1] or "a-key-that-signs-tokens-with-forty-letters")
    watch.secrets.add(CLAIM)

    async def sessions(told):
        async with raw_server.serving(backend) as server:
            target, profiles = carrying(server.port, tmp_path, way)
            job = harness.planned(target, profiles=profiles).jobs[0]
            results = [await harness.Rig().run(job) for _ in range(2)]
            for result in results:
                told(result)
            (tmp_path / "exporter.yml").write_text(yaml.safe_dump({"targets": [target], "profiles": profiles}))
            main(["run", "--config.check", "--config.file", str(tmp_path / "exporter.yml")])
            return results, [repr((peer.line, peer.headers, peer.messages)) for peer in server.peers]

    results, sent = await told_by_a_daemon(watch, tmp_path, sessions)
    watch.shown.add("results", *results, *(line(result) for result in results))

    assert leaks(watch) == {}
    assert all(result.reason is not None for result in results)
    assert len(sent) == 2
    assert all(map(watch.secrets.seen_in, sent)) or (backend is refusing and "message" in way)


# Tickets that an answer gives -----------------------------------------------------------------------------------------


TICKET = "one-time/ticket of+the%network 7f3a9c2e51d8"
"""Of 42 characters: an id of a connection may have as many."""
PLAIN_TICKET = "tkt-0123456789abcdef.of-the-network"
"""As an identifier is written: what a result may show of a server's."""
TICKET_WAYS = {
    "query": ("/ws?ticket=${ticket}", {}, TICKET),
    "path": ("/ws/${ticket}", {}, TICKET),
    "header": ("/ws", {"X-Ticket": "${ticket}"}, TICKET),
    "message": ("/ws", {}, TICKET),
    "welcome": ("/ws?t=${ticket}", {}, PLAIN_TICKET),
}


def giving(ticket, refusal):
    """A backend that gives a ticket, and says all that it was sent wherever it can: in each answer and each frame."""

    async def script(peer):
        head = await ticket_servers.read_request(peer)
        if head.startswith("POST"):
            body = json.dumps({"ticket": ticket, "you_sent": head}).encode()
            peer.send(
                ticket_servers.answer(
                    "403 No" if refusal == "before" else "200 OK", body, f"X-Ticket: {quote(ticket)}\r\n"
                )
            )
            peer.end()
            return
        peer.line, *lines = head.strip().split("\r\n")
        peer.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        if refusal == "upgrade":
            peer.send(ticket_servers.answer(f"401 {quote(ticket)}", head.encode(), f"X-You-Sent: {quote(head)}\r\n"))
            peer.end()
            return
        peer.send(peer.switching(), raw_server.text({"type": "hello", "id": ticket, ticket[:20]: ticket}))
        sent = await peer.message()
        peer.send(raw_server.text({"type": "error", "code": ticket[-60:], "you_sent": [head, sent]}))
        peer.close(4401, f"{ticket} {json.dumps(sent)}"[-100:])

    return script


def with_ticket(port, folder, way):
    """A target whose ticket is filled in this way; its messages and welcome name it too."""
    path, headers, _ = TICKET_WAYS[way]
    before = ticket_servers.PROFILE["before"]
    messages = {"message": {"id": "${nonce}", "ticket": "${ticket}"}, "match": {"id": "${nonce}"}}
    welcome = {"match": {"type": "hello"}, "connection_id": "id"}
    profile = {"before": before, "welcome": welcome, "send": messages, **ERROR, **CLOSES}
    file = folder / "token"
    file.write_text(ticket_servers.TOKEN, "utf-8")
    target = {
        "name": "staging",
        "url": f"ws://127.0.0.1:{port}{path}",
        "profile": "own",
        "interval": "10s",
        "timeout": "3s",
        "close_timeout": "300ms",
        "identities": {"pool-001": "staging-e2e-user-001"},
        "headers": headers,
        "auth": {"secret_file": str(file)},
    }
    return target, {"own": profile}


@pytest.mark.parametrize("refusal", ["before", "upgrade", "message"])
@pytest.mark.parametrize("way", TICKET_WAYS)
async def test_no_ticket_is_shown_wherever_it_is_filled_in(way, refusal, watch, tmp_path):
    """What an answer gave is a secret from then on: said back by every later answer, and shown nowhere."""
    ticket = TICKET_WAYS[way][2]
    watch.secrets.add(ticket_servers.TOKEN)
    watch.secrets.add(ticket)

    async def sessions(told):
        async with raw_server.serving(giving(ticket, refusal)) as server:
            target, profiles = with_ticket(server.port, tmp_path, way)
            result = await harness.Rig().run(harness.planned(target, profiles=profiles).jobs[0])
            told(result)
            (tmp_path / "exporter.yml").write_text(yaml.safe_dump({"targets": [target], "profiles": profiles}))
            main(["run", "--config.check", "--config.file", str(tmp_path / "exporter.yml")])
            return result, [repr((peer.line, peer.headers, peer.messages)) for peer in server.peers]

    result, sent = await told_by_a_daemon(watch, tmp_path, sessions)
    watch.shown.add("results", result, line(result))

    assert leaks(watch) == {}
    assert result.phase == {"before": "before", "upgrade": "upgrade", "message": "reply"}[refusal]
    assert len(sent) == (1 if refusal == "before" else 2)
    if refusal == "message":
        assert watch.secrets.seen_in(sent[1]), "the ticket was sent to the target"


# The test itself ----------------------------------------------------------------------------------------------------


async def test_the_stand_in_echoes_what_the_backend_echoes():
    """A refused token comes back: 30 characters of the header, 12 of its beginning, 8 of its end."""
    async with StandIn.start(tls_port=None, timings=Timings.quick()) as standin:
        peer = await standin_clients.Peer.connect(standin)
        token = standin_clients.token(b"a-key-that-the-backend-does-not-know-at-all", 0.0)
        assert await peer.upgrade("/ws", [f"Authorization: Bearer {token}"]) == "101"
        kind, frame = await peer.frame()
        await peer.close()

    context = json.loads(frame)["details"]["failure_context"]
    assert kind == "text"
    assert context["authorization_preview"] == f"Bearer {token}"[:30]
    assert (context["token_prefix"], context["token_suffix"]) == (token[:12], token[-8:])
    assert searching(token).seen_in(frame.decode()) >= {token[:12], token[3:15], token[-8:]}


def searching(*secrets):
    search = Secrets()
    for secret in secrets:
        search.add(secret)
    return search


def test_the_search_finds_every_slice_and_nothing_else():
    """Any 12 characters of a token, its base64url, a key in hexadecimal, the token's last 8; not 11 of its middle."""
    key = b"\x00a-key-\xff-of-thirty-two-bytes-and-more"
    search = searching(READY, key)
    carried = base64.urlsafe_b64encode(READY.encode()).decode()

    for text in (READY, carried, key.hex(), quote(key)):
        for at in range(len(text) - SLICE + 1):
            assert search.seen_in(f" {text[at : at + SLICE]} ")
    assert search.seen_in(READY[-SUFFIX:])
    assert not search.seen_in(f"{READY[20:31]} {carried[20:31]}")
    assert not search.seen_in("level=warn source=probing msg=session target=staging run=0123456789abcdef")


@pytest.mark.parametrize("name", ["exporter.session", "websockets.client", "aiohttp.access", "apscheduler.scheduler"])
def test_a_secret_that_a_logger_is_handed_is_seen(name, watch):
    """In a message, in the keys, in an exception that hides it: at debug level, whatever the line makes of it."""
    watch.secrets.add(READY)
    part = READY[-20:]
    logger = logging.getLogger(name)
    logger.debug("got %s", part)
    assert watch.shown.leaks(watch.secrets)
    watch.shown.texts.clear()
    logger.debug("got it", extra={"keys": {"frame": part}})
    assert watch.shown.leaks(watch.secrets)
    watch.shown.texts.clear()
    try:
        breaking(lambda: part)()
    except RuntimeError:
        logger.exception("broken")
    assert "records" in watch.shown.leaks(watch.secrets)
    assert {"lines", "stderr"} <= set(leaks(watch)), "a part without a sign of a token is not hidden"
