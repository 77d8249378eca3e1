"""What a profile says of its own codes and errors is the next step that a failure shows."""

from dataclasses import replace
from typing import NamedTuple

import pytest
from support.builders import case, remote, session

from exporter.catalog import CATALOG
from exporter.classify import classify
from exporter.config import BackendLimits, Profile, Target, parse
from exporter.profiles import causes_of
from exporter.report import TargetContext, explain
from exporter.report.situation import Credential
from exporter.result import Direction, ErrorKind, Frame, Opcode, Phase, Probe, Reason, Result, Trigger, Verdict

GRAPHQL = Profile.model_validate(
    {
        "auth": {"message": {"type": "connection_init", "token": "${token}"}, "match": {"type": "connection_ack"}},
        "send": {"message": {"id": "${nonce}"}, "match": {"id": "${nonce}"}},
        "error": {"type": "error"},
        "errors": [
            {"match": {"code": 1}, "reason": "rate_limited"},
            {"match": {"code": 2}, "reason": "auth_rejected", "cause": "Two. Do that."},
        ],
        "closes": [{"code": 4403, "reason": "auth_rejected", "cause": "onConnect said no. Compare the token."}],
        "statuses": [{"status": 403, "reason": "auth_rejected", "cause": "The gateway said no. Ask it."}],
    }
)
FAILURES = {
    "a close": (
        session(Phase.AUTH, ErrorKind.CLOSED, close=remote(4403, "Forbidden", Phase.AUTH), profile=GRAPHQL),
        "closes[0]",
        "onConnect said no. Compare the token.",
    ),
    "an error": (
        session(Phase.AUTH, ErrorKind.REFUSAL, refusal={"type": "error", "code": 2}, profile=GRAPHQL),
        "errors[1]",
        "Two. Do that.",
    ),
    "an HTTP answer": (
        session(Phase.UPGRADE, ErrorKind.STATUS, status=403, profile=GRAPHQL),
        "statuses[0]",
        "The gateway said no. Ask it.",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_the_rule_that_sorts_a_failure_says_what_to_do_next(name):
    """The result names the rule by its place in the profile, and the explanation takes its next step from there."""
    observation, rule, next_step = FAILURES[name]
    classification = classify(observation, case(GRAPHQL))
    result = Result(
        "t",
        None,
        "run",
        Probe.SEND,
        Trigger.CHECK,
        0.0,
        classification.verdicts,
        phase=classification.phase,
        reason=classification.reason,
        rule=classification.rule,
    )
    context = TargetContext(profile="graphql", causes=causes_of(GRAPHQL))

    assert classification.reason is Reason.AUTH_REJECTED
    assert classification.rule == rule
    assert explain(result, context).next_step == next_step
    assert explain(result).next_step not in ("", next_step)


@pytest.mark.parametrize(
    ("phase", "reason", "verdict", "rule"),
    [
        (Phase.AUTH, Reason.AUTH_REJECTED, Verdict.FAIL, "closes[0]"),
        (Phase.REPLY, Reason.CLOSED, Verdict.PASS, None),
    ],
)
def test_a_bare_1000_refuses_a_graphql_login_and_nothing_later(phase, reason, verdict, rule):
    """Ariadne refuses a login so; after an answered login the rule says nothing, and shows no cause."""
    profile = CATALOG["graphql"]
    observation = session(phase, ErrorKind.CLOSED, close=remote(1000, "", phase), profile=profile)

    classification = classify(observation, case(profile))

    assert (classification.reason, classification.verdicts[Probe.AUTH], classification.rule) == (reason, verdict, rule)


def test_a_rule_without_a_cause_leaves_the_general_next_step():
    """A cause is taken from the rule that matched, and from no other one."""
    observation = session(Phase.AUTH, ErrorKind.REFUSAL, refusal={"type": "error", "code": 1}, profile=GRAPHQL)

    classification = classify(observation, case(GRAPHQL))

    assert (classification.rule, classification.verdicts[Probe.AUTH]) == ("errors[0]", Verdict.FAIL)
    assert "errors[0]" not in causes_of(GRAPHQL)


NATS_REFUSAL = Result(
    "t",
    None,
    "run",
    Probe.SEND,
    Trigger.CHECK,
    0.0,
    {Probe.CONNECT: Verdict.PASS, Probe.AUTH: Verdict.FAIL, Probe.SEND: Verdict.FAIL},
    phase=Phase.AUTH,
    reason=Reason.AUTH_REJECTED,
    transcript=(Frame(0.1, Direction.IN, Opcode.TEXT, 20, "error"),),
)


@pytest.mark.parametrize(("rule", "unnamed"), [("errors[0]", False), ("closes[0]", True), (None, True)])
def test_an_error_that_a_rule_sorts_by_its_text_alone_is_not_called_unnamed(rule, unnamed):
    """The rules of NATS differ by their text alone, and have no word of their own that a frame could show."""
    text = explain(
        replace(NATS_REFUSAL, rule=rule), TargetContext(profile="nats", credential=Credential.SECRET)
    ).sentence
    assert ("that no rule of `profile: nats` names" in text) is unnamed


class ResolvedTarget(NamedTuple):
    """The part of a job that a context needs."""

    target: Target
    profile: Profile
    limits: BackendLimits


def context_of(profile, **settings):
    raw = {"targets": [{"name": "t", "url": "ws://a", "profile": profile, **settings}]}
    config = parse(raw, CATALOG)
    return TargetContext.of(ResolvedTarget(config.targets[0], CATALOG[profile], CATALOG[profile].limits))


WITH_TOKEN = {"identities": {"a": "probe"}, "auth": {"secret_env": "KEY"}}
REFUSED = replace(NATS_REFUSAL, transcript=(), rule="closes[0]")
PASSED = replace(
    NATS_REFUSAL, verdicts=dict.fromkeys(Probe, Verdict.PASS), phase=None, reason=None, transcript=(), rule=None
)


@pytest.mark.parametrize("profile", ["graphql", "nats", "mqtt", "stomp", "socketio", "trpc", "centrifugo"])
def test_of_a_login_without_a_token_no_token_is_spoken_of(profile):
    """Neither is a token said to be refused or accepted that was never sent, nor is it to be compared."""
    bare, full = context_of(profile), context_of(profile, **WITH_TOKEN)

    refused = explain(replace(REFUSED, rule=rule_of_login(profile)), bare)
    assert "which had no token: the target has no `auth`." in refused.sentence
    assert refused.next_step.startswith("Give the target a test user")
    assert CATALOG[profile].proves.auth not in explain(PASSED, bare).sentence
    assert "The server answered a login without a token" in explain(PASSED, bare).sentence

    assert (
        explain(replace(REFUSED, rule=rule_of_login(profile)), full).next_step
        == causes_of(CATALOG[profile])[rule_of_login(profile)]
    )
    assert CATALOG[profile].proves.auth in explain(PASSED, full).sentence


def rule_of_login(profile):
    """The path of the first rule that says that a login was refused."""
    rules = CATALOG[profile]
    paths = (
        (f"{name}[{index}]", rule) for name in ("errors", "closes") for index, rule in enumerate(getattr(rules, name))
    )
    return next(path for path, rule in paths if rule.reason is Reason.AUTH_REJECTED)
