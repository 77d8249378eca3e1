"""Package `log`: one line per event, in a promised order, with nothing secret in it."""

import io
import json
import logging
import re
import threading
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import log, tokens
from exporter.config import Auth, Jwt, Profile, carrier_of
from exporter.result import (
    Close,
    Evidence,
    FactoryReason,
    Impairment,
    Initiator,
    Phase,
    Probe,
    Reason,
    Result,
    TlsVerify,
    Trigger,
    Verdict,
)

KEYS = (
    "target identity run probe_depth connect auth send phases close_code close_initiator close_phase reason "
    "factory_reason distorted"
)
PAIR = re.compile(r'([^\s="]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))(?: |$)')
KEY = b"a-staging-key-of-thirty-two-bytes-and-more"

REFUSED = Result(
    target="staging",
    identity="pool-001",
    run="9f2c",
    depth=Probe.SEND,
    trigger=Trigger.SCHEDULE,
    started_at=1_000.0,
    verdicts={Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.PASS, Probe.SEND: Verdict.FAIL},
    phases={Phase.TCP: 0.0021239, Phase.UPGRADE: 0.051},
    phase=Phase.ADMISSION,
    reason=Reason.FACTORY,
    factory_reason=FactoryReason.SLOT_LIMIT,
    close=Close(1011, Initiator.REMOTE, Phase.ADMISSION, "secret words of the peer"),
)
PASSED = Result(
    target="staging",
    identity=None,
    run="9f2d",
    depth=Probe.CONNECT,
    trigger=Trigger.SCHEDULE,
    started_at=1_000.0,
    verdicts={Probe.CONNECT: Verdict.PASS},
)


def parse(line):
    """A logfmt line as a reader of logfmt takes it."""
    pairs = PAIR.findall(line)
    assert "".join(match[0] for match in PAIR.finditer(line)) or not line
    return {key: json.loads(f'"{quoted}"') if quoted else bare for key, quoted, bare in pairs}


@pytest.fixture
def written():
    """Logs at debug level, closes, and gives the lines."""

    def write(say, form="logfmt", level="debug"):
        stream = io.StringIO()
        logs = log.configure(level, form, stream)
        try:
            say()
        finally:
            logs.close()
        return stream.getvalue().splitlines()

    return write


def fail(error):
    raise error


def line_of(msg, form="logfmt", **keys):
    record = logging.LogRecord("exporter.probing", logging.INFO, "f", 1, msg, None, None)
    record.keys = keys
    return log.LineFormatter(form).format(record)


# The line of a session --------------------------------------------------------------------------------------------


def test_session_line_keys_and_their_order():
    """A session line has these keys in this order; further keys come after them."""
    assert " ".join(list(log.session_fields(PASSED))) == KEYS
    assert list(log.session_fields(REFUSED))[: len(KEYS.split())] == KEYS.split()


def test_session_line_with_tls_verify_and_address(written):
    """`tls_verify` is present for a refused certificate, `address` only for a name with several addresses."""
    evidence = Evidence(address="192.0.2.7", address_number=2, addresses=2)
    refused = replace(REFUSED, tls_verify=TlsVerify.WRONG_NAME, evidence=evidence)
    (line,) = written(lambda: log.log_session(refused))

    assert parse(line)["tls_verify"] == "wrong_name"
    assert parse(line)["address"] == "192.0.2.7"
    assert "address" not in log.session_fields(replace(refused, evidence=replace(evidence, addresses=1)))


def test_a_failed_session_reads_back_from_logfmt(written):
    """Time, level, source, msg first; phases flattened; the failed phase at the end; it is a warning."""
    (line,) = written(lambda: log.log_session(REFUSED))
    fields = parse(line)
    assert list(fields)[:4] == ["time", "level", "source", "msg"]
    assert datetime.fromisoformat(fields.pop("time")).utcoffset().total_seconds() == 0
    assert fields == {
        "level": "warn",
        "source": "log",
        "msg": "session",
        "target": "staging",
        "identity": "pool-001",
        "run": "9f2c",
        "probe_depth": "send",
        "connect": "pass",
        "auth": "pass",
        "send": "fail",
        "phase_tcp": "0.002124",
        "phase_upgrade": "0.051",
        "close_code": "1011",
        "close_initiator": "remote",
        "close_phase": "admission",
        "reason": "factory",
        "factory_reason": "slot_limit",
        "distorted": "false",
        "failed_phase": "admission",
    }


def test_a_failed_session_reads_back_from_json(written):
    """The same as an object, phases an object of seconds, figures as figures."""
    (line,) = written(lambda: log.log_session(REFUSED), form="json")
    fields = json.loads(line)
    assert list(fields)[:4] == ["time", "level", "source", "msg"]
    assert fields["phases"] == {"tcp": 0.002124, "upgrade": 0.051}
    assert fields["close_code"] == 1011
    assert fields["distorted"] is False
    assert [*fields][4 : 4 + len(KEYS.split())] == KEYS.split()


def test_missing_values_are_a_dash_or_null(written):
    """A passed shallow session is info; absent values are `-` in logfmt, null in JSON; verdicts are `-` in both."""
    (line,) = written(lambda: log.log_session(PASSED))
    fields = parse(line)
    assert [fields[key] for key in ("level", "identity", "auth", "close_code", "reason")] == [
        "info",
        "-",
        "-",
        "-",
        "-",
    ]
    (line,) = written(lambda: log.log_session(PASSED), form="json")
    fields = json.loads(line)
    assert [fields[key] for key in ("identity", "auth", "close_code", "reason")] == [None, "-", None, None]


def test_an_impaired_session_is_a_warning(written):
    """An impaired session is a warning with its `impairment`."""
    impaired = Result(
        target="t",
        identity=None,
        run="r",
        depth=Probe.SEND,
        trigger=Trigger.SCHEDULE,
        started_at=0,
        verdicts={},
        impairment=Impairment.TOKEN,
    )
    fields = parse(written(lambda: log.log_session(impaired))[0])
    assert (fields["level"], fields["impairment"], fields["send"]) == ("warn", "token", "-")


def test_the_close_reason_of_the_peer_is_in_no_line(written):
    """A result may carry a close with its text by mistake; the line does not."""
    assert "secret words" not in "".join(written(lambda: log.log_session(REFUSED)))


@pytest.mark.parametrize(("level", "heard"), [("info", 2), ("warn", 1), ("error", 0)])
def test_session_lines_obey_the_level(written, level, heard):
    """A passed session is logged at info, a failed one as a warning, and the level filters both."""
    assert len(written(lambda: (log.log_session(PASSED), log.log_session(REFUSED)), level=level)) == heard


# Lines ------------------------------------------------------------------------------------------------------------


@given(st.text(), st.text(), st.sampled_from(["logfmt", "json"]))
def test_no_text_breaks_a_line_or_leaves_one_unprintable(msg, value, form):
    """Whatever is logged, it is one printable line."""
    line = line_of(msg.replace("%", ""), form, value=value, nested={"inner": value})
    assert line.isprintable()
    assert len(line.splitlines()) == 1
    if form == "json":
        assert json.loads(line)["msg"] == msg.replace("%", "") or "<secret>" in line


@given(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"]), min_size=1))
def test_printable_texts_read_back_from_logfmt(value):
    """Quotes, equal signs and backslashes come back as they were."""
    line = line_of("m", value=value, end="x")
    if "<secret>" not in line and not ("\\" in value and not set(' ="') & set(value)):
        assert parse(line)["value"] == value
    assert line.endswith(" end=x")


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_every_line_names_the_origin(form):
    """An exporter that has one says so before the caller's keys, and no caller can say another."""
    formatter = log.LineFormatter(form, "site-a")
    record = logging.LogRecord("exporter.probing", logging.INFO, "f", 1, "words", None, None)
    record.keys = {"origin": "elsewhere", "target": "x"}

    line = formatter.format(record)

    read = json.loads(line) if form == "json" else parse(line)
    assert list(read) == ["time", "level", "source", "msg", "origin", "origin_", "target"]
    assert (read["origin"], read["origin_"]) == ("site-a", "elsewhere")


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_a_line_cannot_be_forged(form):
    """A newline in a value, a message or a key makes no second line, and no key hides one of ours."""
    line = line_of("a\nlevel=error msg=forged", form, **{"x\n y=": "b\r\nlevel=error", "level": "error", "time": "0"})
    assert len(line.splitlines()) == 1
    fields = json.loads(line) if form == "json" else parse(line)
    assert fields["level"] == "info"
    assert fields["level_"] == "error"
    assert "\x1b" not in line_of("\x1b[31mred\u202e")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"\xff", {1: {2}}, [None, 1.5]])
def test_any_value_makes_a_line(value):
    """Values that JSON cannot hold are written as text, and the line stays valid JSON."""
    json.loads(line_of("m", "json", value=value), parse_constant=pytest.fail)
    assert line_of("m", value=value).startswith("time=")


def test_an_exception_is_one_value_of_one_line(written):
    """A traceback stays within its line."""

    def say():
        try:
            fail(RuntimeError("first\nsecond"))
        except RuntimeError:
            logging.getLogger("exporter.daemon").exception("it broke")

    (line,) = written(say)
    fields = parse(line)
    assert (fields["level"], fields["source"], fields["msg"]) == ("error", "daemon", "it broke")
    assert "RuntimeError: first\nsecond" in fields["exception"]


def test_a_message_that_cannot_be_formatted_raises_nothing(written):
    """Wrong arguments of a log call make a line about it, not an exception."""
    wrong = logging.LogRecord("exporter.daemon", logging.INFO, "f", 1, "%d", ("x",), None)
    (line,) = written(lambda: logging.getLogger().handlers[-1].handle(wrong))
    assert parse(line)["msg"] == "unprintable"


# Secrets ----------------------------------------------------------------------------------------------------------


def minted():
    spec = Jwt(key_env="K")
    return tokens.mint(spec, tokens.load_key(spec, KEY), "user-1", 1_000_000.0, "run-1")


TEMPLATES = [
    "Authorization: Bearer {token}",
    "authorization=bearer {token}",
    "{{'Authorization': 'Bearer {token}'}}",
    "connect to wss://host/ws?token={token}&x=1",
    "Sec-WebSocket-Protocol: jwt-auth, jwt.{token64}",
    "the token is {token}.",
    '{{"access_token": "{token}"}}',
    "fragment {head}...",
    "Bearer%20{token}",
    "offered {token64}",
]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("form", ["logfmt", "json"])
@pytest.mark.parametrize("place", ["msg", "argument", "key", "exception"])
def test_no_token_reaches_a_line(written, template, form, place):
    """No token, no part of one and no 12-character slice of one reaches a line, wherever it came from."""
    token = minted()
    token64 = (
        tokens.carry(carrier_of(Auth(jwt=Jwt(key_env="K"), carry="subprotocol"), Profile()), token)
        .subprotocols[-1]
        .removeprefix("jwt.")
    )
    text = template.format(token=token, token64=token64, head=token[:30])
    logger = logging.getLogger("exporter.session")

    def say():
        if place == "msg":
            logger.info(text)
        elif place == "argument":
            logger.info("met %s", text)
        elif place == "key":
            logger.info("met", extra={"keys": {"what": text, "deep": {"er": [text]}}})
        else:
            try:
                fail(ValueError(text))
            except ValueError:
                logger.exception("met")

    (line,) = written(say, form=form)
    for whole in (token, token64):
        assert not [start for start in range(len(whole) - 12) if whole[start : start + 12] in line], line
    assert "<secret>" in line


@pytest.mark.parametrize(
    "text",
    [
        "reason=token",
        "impairment=token",
        "a basic fact",
        "tokens per second",
        "the api is up",
        "jwt.io",
        "host=eya.example",
        "targets[0] (a).auth.jwt.key_file: /run/key can be read by everybody (mode 0644): chmod o-rwx",
        "auth.jwt.claims.tenant: must be text",
        "auth.jwt.algorithm: must be one of",
        "target=Bearer identity=pool-001",
    ],
)
def test_plain_words_are_not_redacted(text):
    """Text that only resembles a secret stays unchanged."""
    assert log.redact(text) == text


def test_library_loggers_stay_quiet_at_debug(written):
    """At debug, `websockets` would print the Authorization header: libraries are logged from warning on."""

    def say():
        for name in ("websockets.client", "aiohttp.server", "apscheduler.scheduler", "asyncio", "anything"):
            logging.getLogger(name).debug("leak")
            logging.getLogger(name).info("leak")
        logging.getLogger("apscheduler.executors").warning("missed")
        logging.getLogger("aiohttp.server").error("a port scanner's doing")
        logging.getLogger("asyncio").error("heard")
        logging.getLogger("exporter.plan").debug("ours")

    assert [parse(line)["msg"] for line in written(say)] == ["heard", "ours"]


@pytest.mark.parametrize(("level", "heard"), [("debug", 4), ("info", 3), ("warn", 2), ("error", 1)])
def test_log_level_filters_lines(written, level, heard):
    """Each level passes its own lines and graver ones."""

    def say():
        logger = logging.getLogger("exporter.plan")
        for speak in (logger.debug, logger.info, logger.warning, logger.error):
            speak("x")

    assert len(written(say, level=level)) == heard


# Not in the way ---------------------------------------------------------------------------------------------------


class Stuck(io.StringIO):
    """A stream that takes nothing until it is let go."""

    def __init__(self):
        super().__init__()
        self.entered, self.free = threading.Event(), threading.Event()

    def write(self, text):
        self.entered.set()
        assert self.free.wait(100)
        return super().write(text)


def test_a_stuck_stream_never_holds_the_caller_and_says_what_it_lost():
    """A full queue drops lines and counts them; when the stream takes lines again it is told how many."""
    stream = Stuck()
    logs = log.configure("info", "logfmt", stream)
    logger = logging.getLogger("exporter.probing")
    logger.info("first")
    assert stream.entered.wait(100)
    for _ in range(log.MAX_QUEUED_LINES + 7):
        logger.info("more")
    assert logs._writer._thread.is_alive(), "the caller went on while the stream was still stuck"
    stream.free.set()
    logs.close(timeout_seconds=100)
    lines = [parse(line) for line in stream.getvalue().splitlines()]
    assert len(lines) == 1 + log.MAX_QUEUED_LINES + 1
    assert [line["count"] for line in lines if line["msg"] == "lines dropped"] == ["7"]


def test_closing_waits_for_a_stuck_stream_only_so_long():
    """The exit is not held up by who reads our log."""
    stream = Stuck()
    logs = log.configure("info", "logfmt", stream)
    logging.getLogger("exporter.probing").info("first")
    logs.close(timeout_seconds=0.1)
    assert logs._writer._thread.is_alive(), "closing returned while the stream was still stuck"
    stream.free.set()
    logs.close()


def test_a_closed_stderr_ends_nothing():
    """A closed stderr costs lines, not the process."""
    stream = io.StringIO()
    logs = log.configure("info", "logfmt", stream)
    stream.close()
    logging.getLogger("exporter.probing").info("into the void")
    logs.close()


def test_close_restores_logging():
    """After `close` the root logger has its handlers and levels back."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level, logging.getLogger("websockets").level)
    log.configure("debug", "json", io.StringIO()).close()
    assert (list(root.handlers), root.level, logging.getLogger("websockets").level) == before
