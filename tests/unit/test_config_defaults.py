"""`defaults:`, `labels:` and `slow_over:` of a config: what holds for every target, and where a mistake is reported."""

import pytest

from exporter.config import examine, load_yaml, located, parse
from exporter.config.scalars import OUR_LABELS
from exporter.loading import ConfigLoadError, checked
from exporter.metrics.families import ALL
from exporter.plan import plan
from exporter.profiles import BUILT_IN
from exporter.result import Software

ECHO = "targets: [{name: a, url: 'ws://a.example.com/', profile: echo}, {name: b, url: 'ws://b.example.com/'}]\n"
SECOND_OWN = (
    "targets: [{name: a, url: 'ws://a.example.com/'}, {name: b, url: 'ws://b.example.com/', %s}]\ndefaults: {%s}\n"
)


def read(text):
    return parse(load_yaml(text), BUILT_IN)


def targets(text):
    config = read(text)
    assert not isinstance(config, tuple), [str(problem) for problem in config]
    return config.targets


def sentences(text):
    return [str(problem) for problem in read(text)]


def test_a_setting_of_the_defaults_holds_for_every_target_that_has_none():
    """The target's own wins; what neither says is the usual default."""
    one, two = targets(SECOND_OWN % ("interval: 30s", "profile: echo, interval: 1m, timeout: 5s"))

    assert [(each.profile, each.interval, each.timeout, each.close_timeout) for each in (one, two)] == [
        ("echo", 60.0, 5.0, 2.0),
        ("echo", 30.0, 5.0, 2.0),
    ]


def test_mappings_are_joined_and_logins_are_not():
    """Headers and labels of a target come on top of those of the defaults; identities replace them whole."""
    one, two = targets(
        SECOND_OWN
        % (
            "headers: {X-A: '2', X-B: '2'}, labels: {env: prod}, identities: {own: user-2}",
            "profile: echo, headers: {X-A: '1', X-C: '1'}, labels: {team: pay}, identities: {shared: user-1}",
        )
    )

    assert (one.headers, two.headers) == ({"X-A": "1", "X-C": "1"}, {"X-A": "2", "X-C": "1", "X-B": "2"})
    assert (one.labels, two.labels) == ({"team": "pay"}, {"team": "pay", "env": "prod"})
    assert (one.identities, two.identities) == ({"shared": "user-1"}, {"own": "user-2"})


def test_software_of_the_defaults_holds_for_every_target_that_names_none():
    """One proxy may be a word; a target's own list replaces that of the defaults."""
    one, two = targets(SECOND_OWN % ("behind: [cloudfront, nginx]", "profile: echo, server: uvicorn, behind: envoy"))

    assert (one.server, one.behind) == (Software.UVICORN, [Software.ENVOY])
    assert (two.server, two.behind) == (Software.UVICORN, [Software.CLOUDFRONT, Software.NGINX])


@pytest.mark.parametrize(
    ("own", "defaults", "said"),
    [
        ("profile: echo", "intervall: 1m", ["defaults.intervall: unknown field, did you mean `interval`?"]),
        ("profile: echo", "timeout: 6", ["defaults.timeout: must be a duration such as 15s, 1m30s or 250ms"]),
        (
            "profile: echo, timeout: 5s",
            "profile: echo, timeout: 6",
            ["defaults.timeout: must be a duration such as 15s, 1m30s or 250ms (in a)"],
        ),
        (
            "interval: 6s",
            "profile: echo, interval: 1m, timeout: 5s",
            ["defaults.timeout: timeout 5s and close_timeout 2s must together be less than interval 6s: raise"],
        ),
        ("timeout: 6", "profile: echo", ["targets[1] (b).timeout: must be a duration such as 15s, 1m30s or 250ms"]),
        ("profile: echo", "profile: echo, name: x", ["defaults.name: belongs to a target: each has its own"]),
        ("profile: echo", "profile: echo, headers: {Host: x}", ["defaults.headers.Host: "]),
        ("profile: echo", "profile: echo, behind: [caddy, ws]", ["defaults.behind[1]: must be one of: nginx, haproxy"]),
        (
            "profile: echo, behind: nginx, server: backend",
            "profile: echo, behind: ws, server: ws",
            ["defaults.behind: must be one of: nginx, haproxy", "targets[1] (b).server: must be one of: uvicorn, "],
        ),
    ],
)
def test_a_mistake_is_reported_where_it_is_written(own, defaults, said):
    """Under `defaults` once, with the targets that have it where those are not all; a target's own at the target."""
    found = sentences(SECOND_OWN % (own, defaults))

    assert len(found) == len(said), found
    for sentence, start in zip(found, said, strict=True):
        assert sentence.startswith(start)


@pytest.mark.parametrize("value", ["5", "[]", "text"])
def test_defaults_must_be_a_mapping(value):
    """Anything else is a sentence with an example."""
    assert any(each.startswith("defaults: must be a mapping") for each in sentences(f"{ECHO}defaults: {value}\n"))


def test_a_missing_file_of_the_defaults_is_said_once(tmp_path):
    """Files are looked for by target: the sentence still stands where the file is named."""
    text = """
    defaults: {interval: 1m, identities: {a: u}, auth: {jwt: {key_file: gone}}}
    targets: [{name: a, url: 'wss://a.example.com/ws'}, {name: b, url: 'wss://b.example.com/ws'}]
    """
    with pytest.raises(ConfigLoadError) as refused:
        checked(load_yaml(text), tmp_path / "exporter.yml")

    (sentence,) = refused.value.sentences
    assert "exporter.yml: defaults.auth.jwt.key_file: " in sentence


def test_every_file_of_defaults_and_targets_ends_in_values_or_problems():
    """Whatever stands there: no exception, and no problem is lost by being moved."""
    parts = ("5", "[]", "{}", "{name: a}", "{headers: 5}", "{auth: {jwt: 5}}", "{labels: {a: b}}", "'x'", "null")
    for defaults in parts:
        for target in parts:
            raw = load_yaml(f"defaults: {defaults}\ntargets: [{target}, {target}]\n")
            problems = examine(raw, BUILT_IN).problems
            assert bool(located(problems, raw)) == bool(problems)
            assert len({each.sentence.partition(" (in")[0] for each in located(problems, raw)}) == len(
                {each.sentence for each in problems}
            )


# Labels -------------------------------------------------------------------------------------------------------------


def test_all_targets_have_the_label_names_of_all():
    """Empty where a target sets none: one metric has the same labels on each of its series."""
    config = read(SECOND_OWN % ("labels: {env: prod}", "profile: echo, labels: {team: pay}"))

    jobs = plan(config, BUILT_IN).jobs

    assert [job.target.labels for job in jobs] == [{"env": "", "team": "pay"}, {"env": "prod", "team": "pay"}]


@pytest.mark.parametrize("name", sorted({name for family in ALL for name in family.labels} | {"job", "instance", "le"}))
def test_a_label_of_ours_cannot_be_taken(name):
    """Each label of our metrics, and those that Prometheus sets, are refused."""
    assert name in OUR_LABELS
    (sentence,) = sentences(SECOND_OWN % (f"labels: {{{name}: x}}", "profile: echo"))
    assert sentence.startswith(f"targets[1] (b).labels.{name}: is a label of the exporter")


@pytest.mark.parametrize("name", ["1a", "a-b", "__a", "ü", "a" * 64, "a.b"])
def test_a_label_name_is_one_of_prometheus(name):
    """Letters, digits and underscores, bounded, and not one that Prometheus keeps for itself."""
    (sentence,) = sentences(SECOND_OWN % (f"labels: {{{name}: x}}", "profile: echo"))
    assert "must be a label name" in sentence


def test_the_number_of_labels_is_bounded_over_all_targets():
    """Ten are fine, the eleventh is refused with all their names."""
    ten = ", ".join(f"l{number}: x" for number in range(10))

    assert targets(SECOND_OWN % ("labels: {l3: y}", f"profile: echo, labels: {{{ten}}}"))
    (sentence,) = sentences(SECOND_OWN % ("labels: {more: y}", f"profile: echo, labels: {{{ten}}}"))
    assert "all targets together have more than 10 label names: l0, l1" in sentence
    (sentence,) = sentences(SECOND_OWN % (f"labels: {{a: {'x' * 129}}}", "profile: echo"))
    assert sentence == "targets[1] (b).labels.a: must be at most 128 characters long"


# Slow -----------------------------------------------------------------------------------------------------------------


def test_slow_over_is_one_duration_or_one_for_each_probe():
    """Two seconds where nothing is said."""
    one, two = targets(SECOND_OWN % ("slow_over: {send: 3s}", "profile: echo, slow_over: 500ms"))
    (plain, _) = targets(SECOND_OWN % ("profile: echo", "profile: echo"))

    assert one.slow_over.model_dump() == {"connect": 0.5, "auth": 0.5, "send": 0.5}
    assert two.slow_over.send == 3.0
    assert plain.slow_over.model_dump() == {"connect": 2.0, "auth": 2.0, "send": 2.0}


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("slow_over: 11s", "targets[1] (b).slow_over: 11s is never exceeded: timeout is 10s"),
        ("slow_over: {send: 10s}", "targets[1] (b).slow_over.send: 10s is never exceeded: timeout is 10s"),
        ("slow_over: {reply: 1s}", "targets[1] (b).slow_over.reply: unknown field, known here: auth, connect, send"),
        ("slow_over: 0s", "targets[1] (b).slow_over.connect: must be more than 0s"),
        ("slow_over: 2", "targets[1] (b).slow_over: must be a mapping of probe: duration"),
    ],
)
def test_a_wrong_slow_over_is_a_sentence(own, said):
    """What could never be exceeded, or is no duration."""
    found = sentences(SECOND_OWN % (own, "profile: echo"))

    assert found[0].startswith(said), found


def test_the_plan_takes_a_short_timeout_as_before():
    """A timeout below the default of slow_over stays valid: nothing was said about what is slow."""
    assert targets(SECOND_OWN % ("timeout: 1s", "profile: echo"))
