"""What a profile says of its own codes and errors is the next step that a failure shows."""

import pytest
from support.builders import case, remote, session

from exporter.catalog import CATALOG
from exporter.classify import classify
from exporter.config import Profile
from exporter.profiles import causes_of
from exporter.report import TargetContext, explain
from exporter.result import ErrorKind, Phase, Probe, Reason, Result, Trigger, Verdict

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
        "closes.0",
        "onConnect said no. Compare the token.",
    ),
    "an error": (
        session(Phase.AUTH, ErrorKind.REFUSAL, refusal={"type": "error", "code": 2}, profile=GRAPHQL),
        "errors.1",
        "Two. Do that.",
    ),
    "an HTTP answer": (
        session(Phase.UPGRADE, ErrorKind.STATUS, status=403, profile=GRAPHQL),
        "statuses.0",
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
    ("phase", "reason", "verdict"),
    [(Phase.AUTH, Reason.AUTH_REJECTED, Verdict.FAIL), (Phase.REPLY, Reason.CLOSED, Verdict.PASS)],
)
def test_a_bare_1000_refuses_a_graphql_login_and_nothing_later(phase, reason, verdict):
    """Ariadne refuses a login so; after the login it is a close like any other."""
    profile = CATALOG["graphql"]
    observation = session(phase, ErrorKind.CLOSED, close=remote(1000, "", phase), profile=profile)

    classification = classify(observation, case(profile))

    assert (classification.reason, classification.verdicts[Probe.AUTH]) == (reason, verdict)


def test_a_rule_without_a_cause_leaves_the_general_next_step():
    """A cause is taken from the rule that matched, and from no other one."""
    observation = session(Phase.AUTH, ErrorKind.REFUSAL, refusal={"type": "error", "code": 1}, profile=GRAPHQL)

    classification = classify(observation, case(GRAPHQL))

    assert (classification.rule, classification.verdicts[Probe.AUTH]) == ("errors.0", Verdict.FAIL)
    assert "errors.0" not in causes_of(GRAPHQL)
