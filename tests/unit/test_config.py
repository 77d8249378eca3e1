"""Package `config`: the museum of wrong files, the right ones, and whatever else may come."""

import copy
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.paths import DATA

from exporter.config import (
    Config,
    Problem,
    Profile,
    YamlError,
    carrier_of,
    examine,
    load_yaml,
    parse,
    profile_problems,
    seconds,
)
from exporter.files import KeyRing, key_problems
from exporter.profiles import BUILT_IN

KEYS = KeyRing({"STAGING_JWT_KEY": "k" * 64})


def problems_of(path):
    """Everything that is wrong with a file, as `--config.check` says it; the folder of the museum reads `DATA`."""
    try:
        examined = examine(load_yaml(path.read_bytes()), BUILT_IN)
    except YamlError as problem:
        return (str(problem),)
    in_files = examined.good.placed(key_problems(examined.good.config.resolved(path.parent), KEYS))
    return tuple(str(problem).replace(str(DATA), "DATA") for problem in (*examined.problems, *in_files))


def read(text):
    return parse(load_yaml(text), BUILT_IN)


def full():
    return load_yaml((DATA / "valid-full.yml").read_text())


MUSEUM = {name: tuple(sentences) for name, sentences in load_yaml((DATA / "museum.yml").read_text()).items()}
"""Each wrong file and its exact sentences."""

ELSEWHERE = "budget"
"""Files with this word in their name stand in the table of test_plan."""


@pytest.mark.parametrize("name", MUSEUM)
def test_each_mistake_has_its_words(name):
    """A wrong file is refused with exactly these sentences, each with the path of the field."""
    assert problems_of(DATA / f"invalid-{name}.yml") == MUSEUM[name]


def test_every_wrong_file_is_in_the_table():
    """No file of the museum lacks its sentence, and no sentence its file."""
    files = {path.stem.removeprefix("invalid-") for path in DATA.glob("invalid-*.yml")}
    assert {name for name in files if ELSEWHERE not in name} == MUSEUM.keys()


def test_each_wrong_file_is_wrong_once():
    """Every file of the museum has something wrong with it."""
    assert all(MUSEUM.values())


@pytest.mark.parametrize("name", ["full", "least", "merge"])
def test_good_files_are_good(name):
    """A good file becomes a config without a word."""
    assert isinstance(read((DATA / f"valid-{name}.yml").read_text()), Config)


def test_the_example_of_the_design_means_what_it_says():
    """Every setting of the full example arrives with its value and unit."""
    staging, chat = read((DATA / "valid-full.yml").read_text()).targets
    assert (staging.name, staging.url) == ("staging", "wss://api.staging.example.com/ws")
    assert (staging.interval, staging.timeout, staging.close_timeout) == (20, 10, 2)
    assert list(staging.identities) == ["pool-001", "pool-002", "uuid-001"]
    assert (staging.auth.carry, staging.auth.jwt.algorithm, staging.auth.jwt.lifetime) == ("header", "HS256", 300)
    assert staging.auth.jwt.claims["token_type"] == "access"
    assert (staging.probes.send.every, staging.confirm.runs, staging.confirm.after) == (1, 2, 6)
    assert (staging.limits.slots_per_identity, staging.limits.slot_release, staging.limits.reserve) == (5, 300, 1)
    assert staging.headers == {"User-Agent": "ws-factory-exporter"}
    assert (chat.profile, chat.auth, chat.identities, chat.ip_protocol) == ("chat", None, {}, "any")


def test_a_profile_of_the_file_means_what_it_says():
    """A profile in the file is read by the same model as the built-in ones; a bare noise pattern names its kind."""
    chat = read((DATA / "valid-full.yml").read_text()).profiles["chat"]
    assert chat.welcome.match == {"type": "hello"}
    assert chat.send[0].match == {"type": "echo_reply", "id": "${nonce}"}
    assert [(rule.kind, rule.match) for rule in chat.noise] == [("ping", {"type": "ping"})]


def test_merge_keys_fill_in_what_is_not_said():
    """What a merge key brings is used where the target says nothing itself."""
    one, two = read((DATA / "valid-merge.yml").read_text()).targets
    assert (one.name, two.name, two.url) == ("one", "two", "ws://two.example.com")
    assert one.interval == two.interval == 60


def test_relative_paths_start_at_the_folder_of_the_file():
    """A relative file name is looked for beside the config file; an absolute one, and all else, stays as it is."""
    config = read((DATA / "valid-full.yml").read_text())
    staging = config.resolved(Path("/etc/exporter")).targets[0]
    assert staging.auth.jwt.key_file == "/etc/exporter/secrets/staging-jwt-key"
    assert (staging.tls.ca_file, staging.tls.key_file) == ("/etc/ssl/staging-ca.pem", "/etc/exporter/client.key")
    assert staging.tls.server_name == "api.example.com"
    assert staging.auth.jwt.token_file is None
    assert config.targets[0].tls.key_file == "client.key"


def test_resolving_changes_nothing_else():
    """A config without relative paths is the same after they are resolved."""
    config = read((DATA / "valid-least.yml").read_text())
    assert config.resolved(Path("/etc")) == config


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_profiles_keep_the_rules(name):
    """What a profile of a file must keep, the built-in ones keep too."""
    assert list(profile_problems(BUILT_IN[name])) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15s", 15),
        ("1m30s", 90),
        ("250ms", 0.25),
        ("1h", 3600),
        ("1.5s", 1.5),
        ("0s", 0),
        ("24h", 86_400),
        ("1d", 86_400),
    ],
)
def test_durations_are_seconds(text, expected):
    """A duration is written with units and read in seconds."""
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "value", ["abc", "", "15", 15, None, "s", True, "-5s", "1s1m", "1h1d", "١٥s", "1e3s", " 1s", "1s\n", []]
)
def test_a_duration_without_a_unit_is_refused(value):
    """What is no duration is refused with a sentence that shows one."""
    with pytest.raises(ValueError, match="such as 15s"):
        seconds(value)


@pytest.mark.parametrize("value", ["24h1ms", "999999999h", "86401s", "1d1s", "1w", "1y"])
def test_a_duration_over_a_day_is_refused(value):
    """Nothing here lasts longer than a day."""
    with pytest.raises(ValueError, match="at most 24h"):
        seconds(value)


ECHO = "targets: [{{name: a, url: {url}, profile: echo}}]"


@pytest.mark.parametrize(
    "url",
    [
        *("ws://a", "wss://a.b.c:443/ws?x=1", "WSS://A.example.com", "ws://10.0.0.1:1/", "ws://[2001:db8::1]:65535/x"),
        *("ws://a_b.internal", "ws://example.com.", "ws://xn--bcher-kva.example/%20"),
    ],
)
def test_good_urls_are_good(url):
    """A url with a name or an address, with or without port, path and query, is accepted."""
    assert isinstance(read(ECHO.format(url=f'"{url}"')), Config)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "a",
            "ws:",
            "ws://",
            "ws:///x",
            "//a",
            "ws://a:b",
            "ws://a:0",
            "ws://a:65536",
            "ws://[::1",
            "ws://[x]",
            "ws://a b",
        ),
        *(
            "ws://user@a",
            "ws://:p@a",
            "ws://a#",
            "ws://a/#b",
            "ws://bücher.example",
            "ws://-a",
            "ws://a..b",
            f"ws://{'a' * 64}",
        ),
        *("ws://a\\b", "ws://a?token=x", "ws://a?x=1&token=", "ws://a?%74oken=x", "ws://a\n", "ftp://a", "ws://a:1:2"),
    ],
)
def test_bad_urls_are_refused(url):
    """A url that could not be connected to, or that holds what must not stand in it, is refused by its field."""
    found = parse({"targets": [{"name": "a", "url": url, "profile": "echo"}]}, BUILT_IN)
    assert {problem.path for problem in found} == {"targets[0] (a).url"}


def test_the_bypass_can_be_allowed():
    """A header that switches off the token check is accepted by who says so."""
    raw = full()
    raw["targets"][0] |= {"headers": {"X-E2E-Test": "x"}, "allow_auth_bypass": True}
    assert isinstance(parse(raw, BUILT_IN), Config)


def test_auth_needs_somebody_to_speak_for():
    """A token is somebody's: with auth and no identity a file is wrong, whatever the profile."""
    raw = {"targets": [{"name": "a", "url": "ws://a", "profile": "echo", "auth": {"jwt": {"token_file": "t"}}}]}
    assert [problem.path for problem in parse(raw, BUILT_IN)] == ["targets[0] (a).identities"]
    raw["targets"][0]["identities"] = {"pool-001": "user-one"}
    assert isinstance(parse(raw, BUILT_IN), Config)


SCRIPT = {"send": {"message": {"id": "${nonce}"}, "match": {"id": "${nonce}"}}}


@pytest.mark.parametrize(
    ("profile", "paths"),
    [
        ({**SCRIPT, "auth": {"message": {"token": "${token}"}, "match": {"ok": True}}}, ["identities", "auth"]),
        ({**SCRIPT, "auth": {"message": {"me": "${identity}"}, "match": {"ok": True}}}, ["identities"]),
        ({"send": {**SCRIPT["send"], "expect": {"user": "${identity}"}}}, ["identities"]),
        ({**SCRIPT, "welcome": {"match": {"a": 1}, "subject": "user"}}, ["identities"]),
        ({**SCRIPT, "auth": {"message": {"hello": 1}, "match": {"ok": True}}}, []),
        (SCRIPT, []),
        ({}, []),
    ],
)
def test_a_profile_says_whether_it_needs_somebody(profile, paths):
    """An identity, and auth, are asked for by what the profile fills in or compares, and by nothing else."""
    raw = {"targets": [{"name": "a", "url": "ws://a", "profile": "p"}], "profiles": {"p": profile}}
    found = parse(raw, BUILT_IN)
    problems = () if isinstance(found, Config) else found
    assert [problem.path.split(".")[-1] for problem in problems] == paths


def test_a_probe_that_the_profile_cannot_make_is_refused():
    """Who asks for a send that cannot be sent would believe that it is watched."""
    target = {"name": "a", "url": "ws://a", "profile": "p", "probes": {"send": {"every": 2}}}
    found = parse({"targets": [target], "profiles": {"p": {"welcome": {"match": {"a": 1}}}}}, BUILT_IN)
    assert [str(problem) for problem in found] == [
        "targets[0] (a).probes.send: has no effect: the profile has no send message"
    ]


@pytest.mark.parametrize(
    "noise", [[{"type": "ping", "kind": "x"}], [{"match": {"a": 1}}], [{}], ["ping"], [{"type": {}}, 3]]
)
def test_a_noise_entry_is_a_rule_or_a_pattern(noise):
    """An entry with a key of a rule is read as one, so that a half-written rule is not taken for a pattern."""
    raw = {**full(), "profiles": {"chat": {**SCRIPT, "noise": noise}}}
    assert all(problem.path.startswith("profiles.chat.noise[") for problem in parse(raw, BUILT_IN))


def places(value, place=()):
    """Every place of a JSON value, containers included."""
    yield place
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*place, key))


def with_value(raw, place, value):
    changed = copy.deepcopy(raw)
    inner = changed
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    return changed


PLACES = [place for place in places(full()) if place]
STRANGE = [
    None,
    True,
    3,
    -1,
    10**400,
    1.5,
    float("nan"),
    [],
    {},
    "",
    " ",
    "\ud800",
    "\x00",
    [[]],
    {"": ""},
    {1: 2},
    ["x"],
]
BORROWED = ("Input should", "Value error", "valid dictionary", "not valid here", "None", "should be", "Extra inputs")


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_strange_value_anywhere_is_refused_in_our_words(place):
    """Whatever stands in a field, the answer is a config or problems with a path, in sentences of our own."""
    for value in STRANGE:
        found = parse(with_value(full(), place, value), BUILT_IN)
        for problem in () if isinstance(found, Config) else found:
            assert isinstance(problem, Problem)
            assert problem.path
            assert not any(words in problem.sentence for words in BORROWED), problem


SECRET = "s3cr3t \\d/valüe-0123456789"


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_no_sentence_quotes_a_value(place):
    """A secret that was pasted into the wrong field is not printed, nor any longer part of it."""
    pieces = {SECRET[start : start + 6] for start in range(len(SECRET) - 5)}
    for value in (SECRET, [SECRET], {"key_file": SECRET}):
        found = parse(with_value(full(), place, value), BUILT_IN)
        said = "" if isinstance(found, Config) else " ".join(map(str, found))
        assert not any(piece in said for piece in pieces)


FREE = ("identities", "claims", "headers", "profiles", "match", "message")
FIXED = [place for place in PLACES if isinstance(place[-1], str) and not set(place[-2:-1]) & {*FREE}]
"""Where a key is the name of a field, not the user's own word, and no pattern of the user's."""


@pytest.mark.parametrize("place", [place for place in FIXED if "noise" not in place[:-1]], ids=str)
def test_a_misspelt_key_anywhere_is_found(place):
    """A key with a letter too many is refused by its path wherever fields are fixed, and the right one is suggested."""
    raw = full()
    inner = raw
    for part in place[:-1]:
        inner = inner[part]
    inner[f"{place[-1]}x"] = inner.pop(place[-1])
    found = parse(raw, BUILT_IN)
    sentences = [problem.sentence for problem in found if problem.path.endswith(f"{place[-1]}x")]
    assert sentences == [f"unknown field, did you mean `{place[-1]}`?"]


def test_the_rest_of_a_wrong_file_can_be_examined():
    """Targets with good fields, and those with nothing wrong at all, are handed on with their places in the file."""
    good = {"url": "ws://a", "profile": "echo"}
    raw = {
        "targets": [
            {"name": "zero", **good, "interval": "x"},
            {"name": "one", **good},
            {"name": "two", **good, "timeout": "20s"},
            {"name": "three", **good, "profile": "chat"},
            {"name": "one", **good},
        ],
        "profiles": {"chat": {"send": {"message": {"a": 1}, "match": {"a": 1}}}},
        "max_connects_per_minute": 7,
    }
    examined = examine(raw, BUILT_IN)
    assert [target.name for target in examined.good.config.targets] == ["one", "two", "three", "one"]
    assert examined.good.positions == (1, 2, 3, 4)
    assert examined.sound.positions == (1,)
    assert examined.sound.config.max_connects_per_minute == 7
    found = [Problem("targets[0] (one).limits", "is so"), Problem("targets[2] (three)", "too"), Problem("", "all")]
    assert [problem.path for problem in examined.good.placed(found)] == [
        "targets[1] (one).limits",
        "targets[3] (three)",
        "",
    ]


def test_nothing_is_left_of_what_is_no_file():
    """What is no mapping leaves nothing to examine, and a wrong setting of the file leaves its targets."""
    assert examine(None, BUILT_IN).good.config.targets == []
    raw = {**full(), "max_connects_per_minute": "many"}
    assert len(examine(raw, BUILT_IN).sound.config.targets) == 2


def test_a_thousand_wrong_targets_are_refused_quickly():
    """Many mistakes are all reported, in a time one can wait."""
    started = time.monotonic()
    found = parse({"targets": [{"name": f"t{number}", "ulr": "x" * 1000} for number in range(1000)]}, BUILT_IN)
    assert len(found) == 2000
    assert time.monotonic() - started < 10


def test_a_pattern_without_end_is_refused():
    """A pattern that holds itself, or that is too deep or too wide, is refused and not walked to its end."""
    endless = {"a": 1}
    endless["b"] = endless
    wide = {"a": [1] * 3000}
    for pattern in (endless, wide):
        raw = {**full(), "profiles": {"chat": {"send": {"message": pattern, "match": {"id": "${nonce}"}}}}}
        (problem,) = parse(raw, BUILT_IN)
        assert problem.sentence == "must be at most 16 levels deep and hold at most 2000 values"


def test_problems_are_reported_once():
    """The same sentence about the same field is not said twice."""
    for path in DATA.glob("invalid-*.yml"):
        found = problems_of(path)
        assert len(found) == len(set(found)), path.name


words = st.sampled_from(
    sorted({part for place in PLACES for part in place if isinstance(part, str)} | {"auth_retry", "factory", "echo"})
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | words
    | st.sampled_from(["1s", "20s", "ws://a", "wss://a.b/c?d=e", "${nonce}", "${token}", "(", "a.b"])
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=6), inner, max_size=6),
    max_leaves=30,
)


@settings(max_examples=300, deadline=5000, database=None)
@given(anything | st.fixed_dictionaries({"targets": st.lists(anything), "profiles": anything}))
def test_any_value_is_a_config_or_problems(raw):
    """No JSON value makes the parser raise or wait."""
    found = parse(raw, BUILT_IN)
    assert isinstance(found, Config) or (found and all(isinstance(problem, Problem) for problem in found))


@settings(max_examples=300, deadline=5000, database=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), anything), min_size=1, max_size=3))
def test_any_change_of_a_good_file_is_a_config_or_problems(changes):
    """A good file with anything in any of its places is a config or problems."""
    raw = full()
    for place, value in changes:
        try:
            raw = with_value(raw, place, value)
        except (KeyError, IndexError, TypeError):  # an earlier change has taken the place away
            continue
    found = parse(raw, BUILT_IN)
    assert isinstance(found, Config) or all(problem.path and problem.sentence for problem in found)


def test_a_breaker_stands_alone_or_in_a_list():
    """Both forms make a list; `success` is the way that nothing but a success resets."""
    one = {"counts": ["rejected", "no_token"], "opens_at": 5}
    alone, listed = (Profile.model_validate({"breaker": form}) for form in (one, [one]))
    assert alone == listed
    assert (alone.breaker[0].reset_by, alone.breaker[0].window) == ("success", None)


@pytest.mark.parametrize(
    ("breaker", "field"),
    [
        ({"opens_at": 1}, "breaker.opens_at"),
        ({"opens_at": 3, "counts": []}, "breaker.counts"),
        ({"opens_at": 3, "counts": ["closed"]}, "breaker.counts[0]"),
        ({"opens_at": 3, "reset_by": "time"}, "breaker"),
        ({"opens_at": 3, "window": "30s"}, "breaker"),
    ],
    ids=["never anything", "counts nothing", "counts another", "time without window", "window without time"],
)
def test_a_breaker_that_cannot_be_is_refused(breaker, field):
    """With the path of the field, in words of ours."""
    target = {"name": "a", "url": "ws://localhost/", "profile": "chat"}
    problems = parse({"targets": [target], "profiles": {"chat": {"breaker": breaker}}}, {})
    assert [problem.path for problem in problems] == [f"profiles.chat.{field}"]


# What carries the token, and what is sent ----------------------------------------------------------------------------


def one(profile=None, **target):
    """A file of one target, with a profile of its own if one is given."""
    raw = {"name": "a", "url": "ws://a", "profile": "echo", "identities": {"pool-001": "user-one"}, **target}
    return {"targets": [{**raw, "profile": "own"} if profile is not None else raw], "profiles": {"own": profile or {}}}


LOGIN = {"message": {"token": "${token}"}, "match": {"ok": True}}
CARRIED = [
    ({}, {}, ("header", "Authorization", ("Bearer ${token}",))),
    ({"auth": LOGIN}, {}, ("message", "", ())),
    ({"send": {"message": ["${nonce}", "${token}"], "match": ["${nonce}"]}}, {}, ("message", "", ())),
    ({"auth": LOGIN}, {"carry": "header"}, ("header", "Authorization", ("Bearer ${token}",))),
    ({"carry": {"header": "Token ${token}"}}, {}, ("header", "Authorization", ("Token ${token}",))),
    ({"carry": {"header": "X-Key", "value": "${token}"}}, {}, ("header", "X-Key", ("${token}",))),
    ({}, {"carry": {"header": "Cookie", "value": "s=${token}"}}, ("header", "Cookie", ("s=${token}",))),
    ({}, {"carry": {"header": "X-Key"}}, ("header", "X-Key", ("${token}",))),
    ({"carry": {"query": "ticket"}}, {"carry": "query"}, ("query", "ticket", ())),
    (
        {"subprotocols": ["v1"], "carry": {"subprotocols": ["t", "${token}"]}},
        {"carry": "subprotocol"},
        ("subprotocol", "", ("t", "${token}")),
    ),
]


@pytest.mark.parametrize(("profile", "auth", "way"), CARRIED)
@pytest.mark.parametrize("source", [{"jwt": {"key_env": "K"}}, {"secret_env": "S"}, {"secret_file": "s"}])
def test_a_token_goes_one_way(profile, auth, way, source):
    """The target's `carry`, else the message that holds the token, else the header: one of them and no other."""
    config = parse(one(profile, auth={**source, **auth}), BUILT_IN)
    carrier = carrier_of(config.targets[0].auth, config.profiles["own"])
    assert (carrier.by, carrier.name, carrier.templates) == way
    assert carrier.in_upgrade is (way[0] != "message")


def test_a_secret_stands_beside_the_config_file():
    """The path of a secret, as of every file, starts at the folder of the config."""
    config = parse(one(auth={"secret_file": "secrets/api-key"}), BUILT_IN)
    auth = config.resolved(Path("/etc/exporter")).targets[0].auth
    assert auth.secret_file == auth.source.secret_file == "/etc/exporter/secrets/api-key"
    assert auth.source.secret_env is None


@pytest.mark.parametrize(
    "profile",
    [
        {"send": {"message": [2, "${nonce}", "Heartbeat", {}], "match": [3, "${nonce}", {}]}},
        {"send": {"message": {"id": "${number}"}, "match": {"id": "${number}"}, "expect": {"result": "${any}"}}},
        {"send": {"message": "${nonce}", "match": "${nonce}"}},
        {"send": {"message": {"id": "${number}"}, "match": {"id": "${number}"}}, "error": {"error": "${any}"}},
        {"auth": {"message": {}, "match": {"ok": True}}},
        {"auth": {"message": 1, "match": True, "expect": "${any}"}},
        {"welcome": {"match": [1, "${any}", {"roles": "${any}"}]}, "noise": [[5, "${any}"], {"type": "ping"}]},
        {"errors": [{"match": [4, "${any}", "NotSupported"], "text": {"3": "x"}, "reason": "bad_reply"}]},
        {"subprotocols": ["ocpp1.6"], "auth_by": "upgrade", "statuses": [{"status": 403, "reason": "auth_rejected"}]},
    ],
)
def test_messages_and_patterns_are_any_json(profile):
    """Objects, lists, texts, numbers: what JSON can say is said, and a reply is told by the nonce or its number."""
    assert isinstance(parse(one(profile, auth={"jwt": {"key_env": "K"}, "carry": "header"}), BUILT_IN), Config)


def test_a_list_of_noise_names_its_kind():
    """A list that stands for a noise rule is a pattern, whose first text is its kind."""
    rules = parse(one({"noise": [[5, "${any}"], [2, "event"]]}), BUILT_IN).profiles["own"].noise
    assert [(rule.kind, rule.match) for rule in rules] == [("noise", [5, "${any}"]), ("event", [2, "event"])]


def test_a_noise_rule_may_mean_the_empty_object():
    """In a rule, with its kind; alone in the list it is neither a rule nor a pattern."""
    rules = parse(one({"noise": [{"kind": "ping", "match": {}, "answer": {}}]}), BUILT_IN).profiles["own"].noise
    assert [(rule.kind, rule.match, rule.answer) for rule in rules] == [("ping", {}, {})]
    for empty in ([], ""):
        refused = parse(one({"noise": [{"kind": "ping", "match": empty}]}), BUILT_IN)
        assert [problem.path for problem in refused] == ["profiles.own.noise[0].match"]


CLAIMS = [
    {"user_id": "${identity}"},
    {
        "https://hasura.io/jwt/claims": {
            "x-hasura-user-id": "${identity}",
            "x-hasura-allowed-roles": ["user", "${alias}"],
        }
    },
    {"realm_access": {"roles": []}, "level": 1.5, "nothing": [None]},
]


@pytest.mark.parametrize("claims", CLAIMS)
def test_claims_are_any_json(claims):
    """Claims may be nested, and name the subject and its alias at any depth."""
    assert isinstance(parse(one(auth={"jwt": {"key_env": "K", "claims": claims}}), BUILT_IN), Config)


@pytest.mark.parametrize(
    "limits",
    [{"slots_per_identity": 1, "reserve": 0}, {"slots_per_identity": 5, "reserve": 0}, {"slots_per_identity": 1}],
)
def test_one_slot_and_no_reserve_are_legal(limits):
    """A backend may keep one seat for a user, and nobody else may need one."""
    assert isinstance(parse(one(limits=limits), BUILT_IN), Config)


@pytest.mark.parametrize("address", ["10.0.0.1", "2001:db8::1", "node-1.internal", "node-1.internal."])
def test_the_address_is_a_name_or_an_address(address):
    """What is connected to instead of the url's host is a host."""
    assert isinstance(parse(one(address=address), BUILT_IN), Config)


@pytest.mark.parametrize("address", ["", "[::1]", "10.0.0.1:80", "wss://a", "a b", "${A}", 7])
def test_what_is_no_address_is_refused(address):
    """No scheme, no port, no brackets, no variable."""
    assert {problem.path for problem in parse(one(address=address), BUILT_IN)} == {"targets[0] (a).address"}


SHOWN_AS_VARIABLE = ["${token}", "x${identity}", "${", "${}", "${HOME}"]


@pytest.mark.parametrize("text", SHOWN_AS_VARIABLE)
@pytest.mark.parametrize(
    "place",
    [
        ("url",),
        ("headers", "X-Y"),
        ("identities", "pool-001"),
        ("check_identities", "check-001"),
        ("environment",),
        ("address",),
        ("tls", "server_name"),
        ("tls", "ca_file"),
        ("auth", "jwt", "headers", "kid"),
        ("auth", "jwt", "key_file"),
    ],
    ids=".".join,
)
def test_a_variable_that_nothing_fills_in_is_refused(place, text):
    """Wherever a `${…}` would be sent as it is written, it is a mistake in the file, at the path of its field."""
    raw = one(auth={"jwt": {"key_file": "key"}}, tls={"ca_file": "ca.pem"}, headers={"X-Z": "1"})
    target = raw["targets"][0] | {"url": "wss://a", "profile": "factory"}
    inner = target
    for part in place[:-1]:
        inner = inner.setdefault(part, {})
    inner[place[-1]] = f"wss://a/{text}" if place == ("url",) else text
    found = parse({"targets": [target]}, BUILT_IN)
    assert f"targets[0] (a).{'.'.join(place)}" in {problem.path for problem in found}
