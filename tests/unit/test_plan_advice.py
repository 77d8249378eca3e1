"""Packages `config` and `plan`: what is said of a config that can be used all the same."""

import pytest

from exporter.config import Config, Problem, Profile, load_yaml, parse, unreachable_rules
from exporter.plan import plan, plan_notes, plan_warnings
from exporter.profiles import BUILT_IN

ECHO = {"send": {"message": {"id": "${nonce}"}, "match": {"id": "${nonce}"}}}
LOGIN = {"message": {"token": "${token}"}, "match": {"ok": True}}


def jobs(*targets, profile=None):
    """The jobs of targets that are good, with a profile of their own if one is given."""
    base = {"url": "wss://a.example/ws", "interval": "60s", "identities": {"pool-001": "u"}}
    listed = [{"name": f"t{number}", **base, **fields} for number, fields in enumerate(targets)]
    made = plan(parse({"targets": listed, "profiles": {"own": profile or {}}}, BUILT_IN), BUILT_IN)
    return made.jobs


def warned(target, profile=None):
    """Path below its target or profile, and sentence, of each warning."""
    target = {"profile": "own" if profile else "factory", "auth": {"jwt": {"key_env": "K"}}, **target}
    return [
        (problem.path.split(").")[-1], problem.sentence) for problem in plan_warnings(jobs(target, profile=profile))
    ]


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_profiles_have_no_rule_in_vain(name):
    """Each rule that we ship can apply."""
    assert list(unreachable_rules(BUILT_IN[name])) == []


UNREACHABLE = [
    ({"noise": [{"kind": "ping", "match": {}}, {"kind": "push", "match": {"push": "${any}"}}]}, []),
    ({"error": {"error": {}}, "send": {**ECHO["send"], "match": {"id": "${nonce}", "error": {"code": 1}}}}, ["error"]),
    ({"error": {"id": "${any}"}, **ECHO}, ["error"]),
    ({"errors": [{"match": {"ok": True}, "reason": "closed"}], "auth": LOGIN}, ["errors[0].match"]),
    ({"errors": [{"match": {"ok": True}, "text": {"a": "b"}, "reason": "closed"}], "auth": LOGIN}, []),
    ({"error": {"type": "hello"}, "welcome": {"match": {"type": "hello", "v": 1}}}, ["error"]),
    ({"error": {"type": "error"}, **ECHO}, []),
    (
        {"errors": [{"match": {"e": {}}, "reason": "closed"}, {"match": {"e": {"c": 1}}, "reason": "auth_rejected"}]},
        ["errors[1]"],
    ),
    (
        {"errors": [{"match": {"e": {"c": 1}}, "reason": "auth_rejected"}, {"match": {"e": {}}, "reason": "closed"}]},
        [],
    ),
    (
        {
            "errors": [
                {"match": {"e": 1}, "text": {"m": "slots"}, "reason": "closed"},
                {"match": {"e": 1}, "text": {"m": "^no slots", "n": "x"}, "reason": "auth_rejected"},
                {"match": {"e": 1}, "text": {"n": "slots"}, "reason": "auth_rejected"},
            ]
        },
        ["errors[1]"],
    ),
    (
        {"closes": [{"code": 4401, "reason": "auth_rejected"}, {"code": 4401, "text": "x", "reason": "closed"}]},
        ["closes[1]"],
    ),
    ({"closes": [{"code": 4401, "text": "x", "reason": "auth_rejected"}, {"code": 4401, "reason": "closed"}]}, []),
    (
        {"closes": [{"text": "bad", "reason": "closed"}, {"code": 4000, "text": "^so bad$", "reason": "closed"}]},
        ["closes[1]"],
    ),
    ({"closes": [{"text": "^bad", "reason": "closed"}, {"text": "^bad token", "reason": "closed"}]}, ["closes[1]"]),
    ({"closes": [{"text": "^bad", "reason": "closed"}, {"text": "so bad", "reason": "closed"}]}, []),
    ({"closes": [{"text": "^bad$", "reason": "closed"}, {"text": "^bad token$", "reason": "closed"}]}, []),
    ({"closes": [{"text": "bad$", "reason": "closed"}, {"text": "so bad$", "reason": "closed"}]}, ["closes[1]"]),
    ({"closes": [{"text": "b.d", "reason": "closed"}, {"text": "a b.d", "reason": "closed"}]}, []),
    ({"closes": [{"text": "b|d", "reason": "closed"}, {"text": "b|d", "reason": "closed"}]}, ["closes[1]"]),
    (
        {"error": {"type": "e"}, "noise": [{"type": "e", "a": 1}, {"type": "f"}, {"type": "f", "b": 1}]},
        ["noise[0]", "noise[2]"],
    ),
    ({"welcome": {"match": {"type": "hi"}}, "noise": [{"kind": "hi", "match": {"type": "hi", "n": 2}}]}, ["noise[0]"]),
]


@pytest.mark.parametrize(("profile", "paths"), UNREACHABLE)
def test_a_rule_that_never_applies_is_named(profile, paths):
    """What comes before it, or the reply that it would be, takes all that the rule could; else nothing is said."""
    assert [path for path, _ in unreachable_rules(Profile.model_validate(profile))] == paths


def test_the_sentence_of_a_rule_in_vain_says_what_comes_before_it():
    """A warning names the rule, by its profile, and the one that hides it."""
    profile = {**ECHO, "closes": [{"code": 4401, "reason": "closed"}, {"code": 4401, "text": "x", "reason": "closed"}]}
    (problem,) = plan_warnings(jobs({"profile": "own"}, profile=profile))
    words = "never applies: closes[0] takes all that it would; put it before that one"
    assert problem == Problem("profiles.own.closes[1]", words)


TICKET = {"request": "GET /ticket", "keep": {"t": "ticket"}}
WARNED = [
    ({"auth": {"jwt": {"key_env": "K"}, "carry": "query"}}, None, "auth.carry", "access logs"),
    ({"auth": {"secret_env": "K", "carry": "header"}}, {"auth": LOGIN}, "auth.carry", "sends the token a second time"),
    ({"headers": {"X-Api-Key": "abc"}}, None, "headers.X-Api-Key", "looks like a credential"),
    ({"headers": {"Cookie": "a=b"}}, None, "headers.Cookie", "looks like a credential"),
    ({"url": "wss://a.example/${t}"}, {"before": {**TICKET, "headers": {"Cookie": "a=b"}}}, "headers.Cookie", "looks"),
    ({"limits": {"slot_release": "10s"}}, None, "limits.slot_release", "10s is far below the 300s"),
    ({"limits": {"slot_release": "0s"}}, None, "limits.slot_release", "0s is far below the 300s"),
    ({"auth": {"secret_env": "K"}}, {"auth": {**LOGIN, "message": "LOGIN ${token}"}}, "auth.message", "sent as JSON"),
]


@pytest.mark.parametrize(("target", "profile", "path", "words"), WARNED)
def test_what_can_be_used_but_was_hardly_meant_is_warned_of(target, profile, path, words):
    """One warning, at the path of its field."""
    ((found, sentence),) = warned(target, profile)
    assert found.endswith(path)
    assert words in sentence


@pytest.mark.parametrize(
    ("target", "profile"),
    [
        ({}, None),
        ({"auth": {"secret_env": "K"}}, {"auth": LOGIN}),
        ({"auth": {"secret_env": "K", "carry": "message"}}, {"auth": LOGIN}),
        ({"auth": {"secret_env": "K", "carry": {"header": "Cookie", "value": "a=${token}"}}}, ECHO),
        ({"limits": {"slot_release": "150s"}, "headers": {"Origin": "https://a.example"}}, None),
        ({"profile": "echo", "limits": {"slot_release": "1s"}}, None),
        ({"headers": {"Cookie": "a=${t}"}}, {"before": {**TICKET, "headers": {"Cookie": "a=${token}"}}}),
    ],
)
def test_what_is_meant_is_not_warned_of(target, profile):
    """A plain config is used without a word."""
    assert warned(target, profile) == []


def test_the_notes_say_what_was_assumed_and_what_can_change_what_is_measured():
    """The profile of a target that names none, and the headers by which a backend may treat us otherwise."""
    notes = [str(note) for note in plan_notes(jobs({"auth": {"jwt": {"key_env": "K"}}}, {"profile": "echo"}))]
    assumed, headers, *_ = notes
    assert assumed == "targets[0] (t0).profile: factory was assumed: the target names none"
    assert headers.startswith(
        "targets[0] (t0).headers and of 1 more: a backend may treat a session by what these say: "
    )
    assert headers.endswith("User-Agent (the exporter's own), no Origin, which browsers send")


def test_a_user_agent_by_which_backends_switch_is_noted():
    """A word in the configured User-Agent that backends are known to act on is named."""
    headers = {"User-Agent": "my-E2E-probe", "Origin": "https://a.example"}
    note, _ = plan_notes(jobs({"profile": "echo", "headers": headers}))
    assert note.path == "targets[0] (t0).headers"
    assert "User-Agent (from headers), Origin (from headers); the User-Agent holds `e2e`" in note.sentence


THREE = {"a": "u1", "b": "u2", "c": "u3"}
KINDS = (
    "connects that are refused",
    "connects that nothing answers",
    "clients turned away after the 101",
    "refused tokens",
)
FROM_OUTAGE_TO_PAGE = (
    "from an outage to its page, in the median and at most, if Prometheus scrapes and evaluates every 5 s "
    "(every 15 s): "
)


@pytest.mark.parametrize(
    ("target", "figures"),
    [
        (
            {"profile": "echo", "interval": "20s"},
            ["26 and 40 s (36 and 60 s)", "36 and 50 s (46 and 70 s)", "36 and 50 s (46 and 70 s)"],
        ),
        (
            {"profile": "echo", "interval": "20s", "identities": {}},
            ["26 and 40 s (36 and 60 s)", "36 and 50 s (46 and 70 s)", "26 and 40 s (36 and 60 s)"],
        ),
        (
            {"profile": "echo", "interval": "20s", "identities": THREE},
            ["26 and 40 s (36 and 60 s)", "36 and 50 s (46 and 70 s)", "26 and 40 s (36 and 60 s)"],
        ),
        (
            {"profile": "echo", "interval": "20s", "identities": THREE, "confirm": {"runs": 1}},
            ["36 and 50 s (46 and 70 s)", "46 and 60 s (56 and 80 s)", "36 and 50 s (46 and 70 s)"],
        ),
        (
            {"profile": "echo", "interval": "6m"},
            [
                "3.3 and 6.3 min (3.4 and 6.7 min)",
                "3.4 and 6.5 min (3.6 and 6.8 min)",
                "3.4 and 6.5 min (3.6 and 6.8 min)",
            ],
        ),
        (
            {"profile": "echo", "interval": "24h"},
            ["12 and 24 h (12 and 24 h)", "12 and 24 h (12 and 24 h)", "12 and 24 h (12 and 24 h)"],
        ),
        (
            {"profile": "echo", "interval": "20s", "identities": THREE, "probes": {"send": {"every": 3}}},
            ["26 and 40 s (36 and 60 s)", "36 and 50 s (46 and 70 s)", "46 and 80 s (56 and 100 s)"],
        ),
        (
            {"interval": "20s", "identities": THREE, "auth": {"jwt": {"key_env": "K"}}},
            [
                "26 and 40 s (36 and 60 s)",
                "36 and 50 s (46 and 70 s)",
                "26 and 40 s (36 and 60 s)",
                "26 and 40 s (36 and 60 s)",
            ],
        ),
        (
            {
                "interval": "16s",
                "timeout": "10s",
                "identities": {"a": "u1", "b": "u2"},
                "auth": {"jwt": {"key_env": "K"}},
            },
            [
                "24 and 36 s (34 and 56 s)",
                "34 and 46 s (44 and 66 s)",
                "24 and 36 s (34 and 56 s)",
                "24 and 36 s (34 and 56 s)",
            ],
        ),
        (
            {"interval": "20s", "timeout": "10s", "profile": "echo", "identities": {}, "sentinel": {"every": "5s"}},
            ["18 and 26 s (28 and 46 s)", "28 and 36 s (38 and 56 s)", "26 and 40 s (36 and 60 s)"],
        ),
        (
            {
                "interval": "20s",
                "timeout": "10s",
                "identities": {"a": "u1"},
                "auth": {"jwt": {"key_env": "K"}},
                "limits": {"slots_per_identity": 17},
                "sentinel": {"every": "10s"},
            },
            [
                "20 and 30 s (30 and 50 s)",
                "30 and 40 s (40 and 60 s)",
                "56 and 70 s (66 and 90 s)",
                "36 and 50 s (46 and 70 s)",
            ],
        ),
    ],
)
def test_the_notes_say_what_a_schedule_means_for_detection(target, figures):
    """How long an outage of each kind goes on before it pages, in the median and at most, in units that fit."""
    notes = [note.sentence for note in plan_notes(jobs(target)) if note.path.endswith(").interval")]
    assert notes == [FROM_OUTAGE_TO_PAGE + "; ".join(map(" ".join, zip(KINDS, figures, strict=False)))]


def test_the_example_of_the_readme_is_used_without_a_warning():
    """A profile that the file brings, its noise in the short form."""
    text = "{send: {message: {id: '${nonce}'}, match: {id: '${nonce}'}}, noise: [{type: ping}, {type: pong}]}"
    assert list(unreachable_rules(Profile.model_validate(load_yaml(text)))) == []


LOGIN = {"message": {"id": 1, "token": "${token}"}, "match": {"id": 1}}


@pytest.mark.parametrize(
    ("profile", "noted"),
    [
        ({"auth": LOGIN}, True),
        ({"auth": {**LOGIN, "expect": {"result": "${any}"}}}, False),
        ({"auth": LOGIN, "error": {"error": {}}}, False),
        ({}, False),
    ],
)
def test_a_login_that_any_answer_passes_is_noted(profile, noted):
    """An error that carries the id of the login is an answer too, if the profile knows neither errors nor results."""
    target = {"name": "a", "url": "ws://a.example.com/", "profile": "rpc", "identities": {"u": "v"}}
    if "auth" in profile:
        target["auth"] = {"secret_env": "SECRET"}
    config = Config.model_validate({"targets": [target], "profiles": {"rpc": profile}})

    notes = [note.sentence for note in plan_notes(plan(config, BUILT_IN).jobs)]
    assert any(sentence.startswith("rpc.auth has no expect: ") for sentence in notes) is noted
