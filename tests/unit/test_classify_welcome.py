"""Package `classify`: is the factory behind the socket valid? What a welcome tells, and what can be wrong with it."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import STARTED, USER, WELCOME, case, remote, session, verdicts, welcome

from exporter.classify import WelcomeReplayDetector, classify, unix_time
from exporter.config import Profile, Welcome, WelcomeCheck
from exporter.profiles import FACTORY
from exporter.result import (
    CertificateEnd,
    CertificatePlace,
    ErrorKind,
    Evidence,
    FactoryReason,
    Phase,
    Probe,
    Reason,
    Verdict,
    evidence_text,
)

calm = settings(deadline=None, database=None)  # a busy machine is no finding

INVALID, USER_MISMATCH = FactoryReason.INVALID_WELCOME, FactoryReason.USER_MISMATCH
ENVIRONMENT, DUPLICATE = FactoryReason.ENVIRONMENT_MISMATCH, FactoryReason.DUPLICATE_CONNECTION_ID
FROZEN, DEGRADED = FactoryReason.FROZEN_TIME, FactoryReason.DEGRADED
NOT_READY, STARTUP = FactoryReason.NOT_READY, FactoryReason.STARTUP_INCOMPLETE
DISABLED = FactoryReason.FACTORY_DISABLED

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


def finding(greeting, *, notices=(), **known):
    """The factory reason of a session that was greeted so, and got its reply."""
    judgement = classify(session(Phase.CLOSE, welcome=greeting, notices=notices), case(**known))
    failed = judgement.factory_reason is not None
    assert (judgement.phase, judgement.reason) == ((Phase.ADMISSION, Reason.FACTORY) if failed else (None, None))
    assert judgement.verdicts[Probe.SEND] is (Verdict.FAIL if failed else Verdict.PASS)
    refused = judgement.factory_reason is USER_MISMATCH
    assert judgement.verdicts[Probe.AUTH] is (Verdict.FAIL if refused else Verdict.PASS)
    return judgement.factory_reason


def test_a_sound_welcome_is_a_valid_factory():
    """Our own, ready, correct context: nothing is found, with the environment configured or not."""
    assert finding(WELCOME) is None
    assert finding(WELCOME, environment="staging") is None
    assert finding(WELCOME, subject=None) is None


WRONG = [
    ("user_id", "staging-e2e-user-002", USER_MISMATCH),
    ("user_id", USER.upper(), USER_MISMATCH),
    ("user_id", f" {USER}", USER_MISMATCH),
    ("user_id", "", INVALID),
    ("environment", "production", ENVIRONMENT),
    ("environment", "", INVALID),
    ("connection_id", "", INVALID),
    ("server_time", "", INVALID),
    ("server_time", "yesterday", INVALID),
    ("server_time", "2025-13-08T23:01:40", INVALID),
    ("server_time", -1, INVALID),
    ("server_time", float("nan"), INVALID),
    ("server_time", float("inf"), INVALID),
    ("server_time", 10**400, INVALID),
    ("connection_ready", False, NOT_READY),
    ("connection_ready", 1, NOT_READY),
    ("connection_ready", "true", NOT_READY),
    ("startup_complete", False, STARTUP),
    ("startup_complete", "yes", STARTUP),
    ("factory_pattern_enabled", False, DISABLED),
    ("factory_pattern_enabled", {}, DISABLED),
]


@pytest.mark.parametrize(("field", "value", "reason"), WRONG)
def test_a_wrong_field_of_the_welcome_has_its_reason(field, value, reason):
    """A field that says something else than it should is found under its own reason."""
    assert finding(welcome(**{field: value}), environment="staging") is reason


REQUIRED = [name for name in WELCOME["data"] if name not in ("event", "environment", "config")]


@pytest.mark.parametrize("gone", [..., None])
@pytest.mark.parametrize("field", REQUIRED)
def test_a_missing_field_makes_the_welcome_invalid(field, gone):
    """A welcome without a field that must be there, or with null for it, is an invalid one."""
    assert finding(welcome(**{field: gone})) is INVALID


@pytest.mark.parametrize("value", [1.5, True, [], ["x"], {}, {"id": "x"}])
@pytest.mark.parametrize("field", ["user_id", "connection_id", "environment"])
def test_a_field_of_the_wrong_type_makes_the_welcome_invalid(field, value):
    """Where an identifier belongs, nothing else will do: least of all does it count as another user."""
    assert finding(welcome(**{field: value})) is INVALID


def test_a_whole_number_is_an_identifier():
    """Users and connections are numbers on many backends: 42 is the subject "42", another number another user."""
    assert finding(welcome(user_id=42, connection_id=7), subject="42") is None
    assert finding(welcome(user_id=43, connection_id=7), subject="42") is USER_MISMATCH
    shown = classify(session(Phase.CLOSE, welcome=welcome(connection_id=7)), case()).evidence.connection_id
    assert shown == "7"


@pytest.mark.parametrize("value", [True, [], {}, ["2025-09-08T23:01:40"], {"iso": "2025-09-08T23:01:40"}])
def test_a_server_time_of_the_wrong_type_makes_the_welcome_invalid(value):
    """A server time is an ISO text or a number."""
    assert finding(welcome(server_time=value)) is INVALID


@pytest.mark.parametrize("greeting", [{}, {"data": None}, {"data": []}, {"data": "x"}, {"type": "system_message"}])
def test_a_welcome_without_data_is_invalid(greeting):
    """A welcome that lacks all of it is invalid, not an error of ours."""
    assert finding(greeting) is INVALID


@pytest.mark.parametrize("value", [..., None])
def test_the_environment_is_asked_for_only_where_it_is_configured(value):
    """Without `environment` in the config a welcome may do without it; with it, it must say so."""
    assert finding(welcome(environment=value)) is None
    assert finding(welcome(environment=value), environment="staging") is ENVIRONMENT


@pytest.mark.parametrize("config", [..., None, {}, [], "x", {"heartbeat_interval": "soon", "max_message_size": None}])
def test_what_the_server_says_of_itself_may_be_missing(config):
    """Heartbeat interval and message size are figures to show, not to fail by."""
    assert finding(welcome(config=config)) is None


ORDER = [
    ({"user_id": "another"}, USER_MISMATCH),
    ({"server_time": None}, INVALID),
    ({"environment": "production"}, ENVIRONMENT),
    ({"connection_id": "seen"}, DUPLICATE),
    ({"server_time": "2025-09-08T23:00:00+00:00"}, FROZEN),
    ({"notices": ("degraded",)}, DEGRADED),
    ({"connection_ready": False}, NOT_READY),
    ({"startup_complete": False}, STARTUP),
    ({"factory_pattern_enabled": False}, DISABLED),
]


@pytest.mark.parametrize("first", range(len(ORDER)))
@pytest.mark.parametrize("second", range(len(ORDER)))
def test_the_gravest_wrong_thing_names_the_reason(first, second):
    """Of two wrong things the graver one is told: another's context before none, a notice before what it explains."""
    memory = WelcomeReplayDetector()
    memory.is_repeated_id("seen", STARTED - 60)
    memory.is_frozen_time(unix_time("2025-09-08T23:00:00+00:00"), STARTED - 60)
    first, second = min(first, second), max(first, second)
    wrong = {**ORDER[second][0], **ORDER[first][0]}
    notices = wrong.pop("notices", ())

    assert finding(welcome(**wrong), replay_detector=memory, environment="staging", notices=notices) is ORDER[first][1]


def test_a_degraded_server_is_not_valid_though_it_lets_us_in():
    """A degraded notice before a sound welcome is a finding; a recovery or service notice before one is not."""
    assert finding(WELCOME, notices=("notice", "degraded")) is DEGRADED
    assert finding(WELCOME, notices=("ping", "notice", "recovery")) is None


@pytest.mark.parametrize(
    ("greeting", "expected", "reason", "phase"),
    [
        (WELCOME, "pass/pass/-", None, None),
        (welcome(connection_ready=False), "pass/pass/-", NOT_READY, None),
        (welcome(user_id=...), "pass/pass/-", INVALID, None),
        (welcome(user_id="another"), "pass/fail/-", USER_MISMATCH, Phase.ADMISSION),
    ],
)
def test_a_session_that_goes_no_deeper_than_auth_tells_of_the_factory_too(greeting, expected, reason, phase):
    """At depth auth a finding fails nobody but is told, unless it says that we were let in as somebody else."""
    judgement = classify(session(Phase.ADMISSION, welcome=greeting), case(depth=Probe.AUTH))

    assert verdicts(judgement) == expected
    assert (judgement.factory_reason, judgement.phase) == (reason, phase)
    assert judgement.reason is (Reason.FACTORY if phase else None)


def test_a_finding_outlives_what_became_of_the_reply():
    """A welcome that was wrong is the first thing that went wrong: a reply that fails too does not hide it."""
    facts = session(Phase.REPLY, ErrorKind.DEADLINE, welcome=welcome(connection_ready=False))
    judgement = classify(facts, case())

    assert verdicts(judgement) == "pass/pass/fail"
    assert (judgement.phase, judgement.reason, judgement.factory_reason) == (Phase.ADMISSION, Reason.FACTORY, NOT_READY)


def test_the_subject_must_be_there_where_we_have_one():
    """A profile that names the subject's field wants it there, `required` or not, as soon as we are somebody."""
    profile = Profile(welcome=Welcome(match={"type": "hello"}, subject="user"), send=FACTORY.send)
    anonymous = session(Phase.CLOSE, profile=profile, welcome={"type": "hello"})

    assert classify(anonymous, case(profile)).factory_reason is INVALID
    assert classify(anonymous, case(profile, subject=None)).factory_reason is None


def test_a_profile_that_names_no_field_is_not_judged_by_it():
    """A welcome that has no environment, id or time by its profile can neither differ in them nor repeat them."""
    profile = Profile(welcome=Welcome(match={"type": "hello"}), send=FACTORY.send)
    memory = WelcomeReplayDetector()

    for started in (STARTED, STARTED + 60):
        known = case(profile, replay_detector=memory, environment="staging", started_at=started)
        assert classify(session(Phase.CLOSE, profile=profile, welcome={"type": "hello"}), known).factory_reason is None


@calm
@given(JSON)
@pytest.mark.parametrize("field", [*WELCOME["data"], "data"])
def test_no_value_of_any_field_breaks_the_judgement(field, value):
    """Whatever a stranger puts into a field, it is sound or a finding, never an error of ours."""
    greeting = welcome(**{field: value}) if field != "data" else {**WELCOME, "data": value}
    judgement = classify(session(Phase.CLOSE, welcome=greeting), case(environment="staging"))

    assert (judgement.factory_reason is None) == (judgement.verdicts[Probe.SEND] is Verdict.PASS)
    assert judgement.evidence.connection_id is None or evidence_text(judgement.evidence.connection_id)


# Told twice -------------------------------------------------------------------------------------------------------


def test_a_connection_id_seen_before_is_no_live_server():
    """The second session of the same connection id is a finding, a third with a new one is none."""
    memory = WelcomeReplayDetector()

    found = [
        finding(welcome(connection_id=name, server_time=at), replay_detector=memory) for at, name in enumerate("aab")
    ]

    assert found == [None, DUPLICATE, None]


def seen(memory, names, every=15.0):
    """Whether each of these ids, told one after the other, was known as a repetition."""
    return [memory.is_repeated_id(name, STARTED + number * every) for number, name in enumerate(names)]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["a", "a", "b", "a"], [False, True, False, True]),
        (["a", "b", "a", "b", "a"], [False, False, False, False, True]),
        (["ws_9f3a2b11", "ws_9f3a2b11"], [False, True]),
        (["4d1f9c7e-0b5a-4c1d-9f00-446655440000"] * 2, [False, True]),
        (["c-1", "c-2", "c-3", "c-1", "c-2", "c-3", "c-4"], [False] * 7),
        (["1", "2", "3", "1", "2", "1", "1"], [False] * 7),
        (["c1", "c1", "c1", "c2", "c2", "c2"], [False] * 6),
        (["7"] * 5, [False, False, False, True, True]),
    ],
)
def test_a_sequence_that_begins_again_is_a_restart_and_one_id_over_and_over_is_none(names, found):
    """Counters begin again with each process, and count in step on three instances: neither is a frozen context."""
    assert seen(WelcomeReplayDetector(), names) == found


def test_what_is_remembered_ends():
    """After ten minutes an id proves nothing, and neither does a time; the ring of ids is bounded."""
    memory = WelcomeReplayDetector(age=600.0)

    assert seen(memory, ["a", "a"], every=600.0) == [False, True]
    assert not memory.is_repeated_id("a", STARTED + 1200.1)
    assert not memory.is_frozen_time(7.0, STARTED)
    assert memory.is_frozen_time(7.0, STARTED + 600)
    assert not memory.is_frozen_time(7.0, STARTED + 600.1)


OTHER_SERVER = welcome(connection_id="new", server_time=STARTED - 3600)


@pytest.mark.parametrize(
    "ended",
    [
        session(Phase.TCP, ErrorKind.REFUSED),
        session(Phase.UPGRADE, ErrorKind.RESET),
        session(Phase.ADMISSION, ErrorKind.EOF),
        session(Phase.ADMISSION, ErrorKind.CLOSED, close=remote(1001)),
        session(Phase.CLOSE, welcome=OTHER_SERVER, close=remote(1012, phase=Phase.CLOSE)),
        session(Phase.REPLY, ErrorKind.CLOSED, welcome=OTHER_SERVER, close=remote(1013, phase=Phase.REPLY)),
    ],
)
def test_a_server_that_may_have_restarted_is_another_one(ended):
    """What the server showed is forgotten as soon as it refuses or breaks a connection, or says that it stops."""
    memory = WelcomeReplayDetector()
    memory.is_repeated_id("ws_staging-_1757372500_9f3a2b1c", STARTED - 60)
    memory.is_frozen_time(unix_time(WELCOME["data"]["server_time"]), STARTED - 60)

    classify(ended, case(replay_detector=memory))
    assert finding(WELCOME, replay_detector=memory) is None


def test_a_time_that_went_back_is_another_server():
    """An earlier server time than the last: a restart or another instance, whose ids are its own."""
    memory = WelcomeReplayDetector()
    memory.is_repeated_id("a", STARTED)
    memory.is_frozen_time(STARTED, STARTED)
    memory.is_frozen_time(STARTED - 1, STARTED + 15)

    assert not memory.is_repeated_id("a", STARTED + 15)


def test_a_welcome_that_is_wrong_is_remembered_too():
    """An id is seen and a time is told whatever else was wrong with the welcome."""
    memory = WelcomeReplayDetector()

    assert finding(welcome(user_id="another"), replay_detector=memory) is USER_MISMATCH
    assert finding(welcome(server_time=STARTED + 1), replay_detector=memory) is DUPLICATE
    assert finding(welcome(connection_id="new"), replay_detector=memory, started_at=STARTED + 2) is FROZEN


def test_long_connection_ids_are_told_apart_and_not_kept():
    """A hostile server cannot fill our memory with ids of its own length."""
    memory = WelcomeReplayDetector()
    tracemalloc.start()
    for number in range(100):
        assert not memory.is_repeated_id("x" * 100_000 + str(number), STARTED)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert seen(memory, ["x" * 100_000 + "7"] * 4)[-1]
    assert kept < 100_000


@pytest.mark.parametrize(
    ("told", "apart", "frozen"),
    [
        (0.0, 0.0, False),
        (0.0, 1.99, False),
        (0.0, 2.0, True),
        (0.0, 600.0, True),
        (0.0, 600.1, False),
        (0.001, 60.0, False),
        (-1.0, 60.0, False),
        (0.0, -3600.0, False),
    ],
)
def test_a_server_time_must_move_on(told, apart, frozen):
    """The same server time after 2 s or more is frozen; an earlier one is another instance's, not a frozen one's."""
    memory = WelcomeReplayDetector()

    assert not memory.is_frozen_time(STARTED, STARTED)
    assert memory.is_frozen_time(STARTED + told, STARTED + apart) is frozen


def test_a_frozen_server_is_found_however_often_we_ask():
    """Sessions a tenth of a second apart find the server frozen as soon as 2 s have passed."""
    memory = WelcomeReplayDetector()

    found = [memory.is_frozen_time(7.0, STARTED + number / 10) for number in range(40)]

    assert found == [number >= 20 for number in range(40)]


def test_two_instances_are_not_one_frozen_one():
    """Instances that take turns, each with a clock of its own, are live; when both stand still both are found."""
    memory = WelcomeReplayDetector()

    assert not any(memory.is_frozen_time(STARTED + at + 30 * (at % 2), STARTED + at) for at in range(0, 100, 5))
    assert [memory.is_frozen_time(value, STARTED + 200 + at) for at, value in ((0, 1), (1, 2), (2, 1), (3, 2))] == [
        False,
        False,
        True,
        True,
    ]


def test_the_time_of_arrival_decides_how_far_apart_two_welcomes_are():
    """Two sessions are as far apart as their welcomes arrived, not as they started."""
    memory = WelcomeReplayDetector()
    early = session(Phase.CLOSE)
    late = session(Phase.CLOSE, welcome=welcome(connection_id="new"))
    late.marks[Phase.ADMISSION] = early.marks[Phase.ADMISSION] + 2.0

    assert classify(early, case(replay_detector=memory)).factory_reason is None
    assert classify(late, case(replay_detector=memory)).factory_reason is FROZEN


END = CertificateEnd(1.8e9, CertificatePlace.INTERMEDIATE)

# Evidence ---------------------------------------------------------------------------------------------------------


def test_the_welcome_tells_of_the_server():
    """Connection id, time, skew against the moment of arrival, heartbeat interval and message size are read."""
    facts = session(Phase.CLOSE, certificate_end=END, address="127.0.0.1")
    evidence = classify(facts, case(started_at=STARTED - 3)).evidence

    assert evidence.connection_id == "ws_staging-_1757372500_9f3a2b1c"
    assert evidence.server_time == pytest.approx(1757372500.3)
    assert evidence.clock_skew == pytest.approx(1757372500.3 - (STARTED - 3 + facts.marks[Phase.ADMISSION]))
    assert (evidence.heartbeat_interval, evidence.max_message_size) == (25, 8192)
    assert (evidence.certificate_expiry, evidence.address) == (1.8e9, "127.0.0.1")


@pytest.mark.parametrize(("ended", "kind"), [(Phase.UPGRADE, ErrorKind.EOF), (Phase.ADMISSION, ErrorKind.DEADLINE)])
def test_without_a_welcome_the_wire_tells_what_it_can(ended, kind):
    """A session that failed early still tells its address and the certificate's end, and nothing it was not told."""
    evidence = classify(session(ended, kind, certificate_end=END, address="127.0.0.1"), case()).evidence

    assert evidence == Evidence(
        certificate_expiry=1.8e9, address="127.0.0.1", certificate_place=CertificatePlace.INTERMEDIATE
    )


@pytest.mark.parametrize(
    ("value", "read"),
    [
        *((25, 25.0), (0, 0.0), (1.5, 1.5), (-1, None), (True, None), ("25", None), (None, None), ([25], None)),
        *((float("nan"), None), (float("inf"), None), (10**15, None), (10**400, None)),
    ],
)
def test_figures_of_the_server_are_believed_within_reason(value, read):
    """A figure is a finite non-negative number below 10¹⁵, else it was not told."""
    evidence = classify(session(Phase.CLOSE, welcome=welcome(config={"heartbeat_interval": value})), case()).evidence

    assert evidence.heartbeat_interval == read


def test_a_connection_id_that_cannot_be_shown_is_not():
    """An id with anything but plain characters counts as seen, and is not handed on."""
    memory = WelcomeReplayDetector()
    greeting = welcome(connection_id="<script>alert(1)</script>")
    judgement = classify(session(Phase.CLOSE, welcome=greeting), case(replay_detector=memory))

    assert (judgement.factory_reason, judgement.evidence.connection_id) == (None, None)
    assert memory.is_repeated_id("<script>alert(1)</script>", STARTED)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1970-01-01T00:01:00Z", 60),
        ("1970-01-01T00:01:00+00:00", 60),
        ("1970-01-01T01:01:00+01:00", 60),
        ("1970-01-01T00:01:00", 60),
        ("1970-01-01T00:01:00.250", 60.25),
        ("1970-01-02", 86400),
        (60, 60),
        (60.5, 60.5),
        ("60", None),
        ("", None),
        ("now", None),
        ("1970-01-01T00:01:00Z and more", None),
        ("1970-02-30T00:00:00", None),
        ("\ud800", None),
        (-1, None),
        (True, None),
        (None, None),
        ({}, None),
    ],
)
def test_server_times_are_read(value, seconds):
    """A server time is unix seconds or ISO 8601, in UTC where it names no zone; all else is none."""
    assert unix_time(value) == seconds


@calm
@given(JSON | st.datetimes().map(str) | st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()))
def test_no_server_time_breaks_us(value):
    """Whatever stands where a time belongs, it is read as finite seconds or not at all."""
    seconds = unix_time(value)

    assert seconds is None or abs(seconds) < 1e15


def test_the_checks_of_a_profile_are_its_own():
    """What must hold in a welcome, and what it means if it does not, is the profile's word."""
    checks = [
        WelcomeCheck(field="shard", equals=3, factory=DUPLICATE),
        WelcomeCheck(field="ok", equals=True, factory=FROZEN),
    ]
    profile = Profile(welcome=Welcome(match={"type": "hello"}, checks=checks), send=FACTORY.send)

    def found(**fields):
        return classify(session(Phase.CLOSE, profile=profile, welcome=fields), case(profile)).factory_reason

    assert found(shard=3, ok=True) is None
    assert found(shard=3.0, ok=True) is None
    assert found(shard="3", ok=True) is DUPLICATE
    assert found(shard=3, ok=1) is FROZEN
    assert found() is DUPLICATE
