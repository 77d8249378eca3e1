"""The request before the upgrade, as pure functions: what is kept, where it fits, and what a session costs by it."""

import re
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import harness

from exporter.budget import Grant, Ledger, Refusal, admit
from exporter.budget.admission import settle
from exporter.config import Before, Config, Profile, connects_without_token, needs_token, parse
from exporter.discovery import profile_yaml
from exporter.plan import plan, plan_lines
from exporter.profiles import (
    BUILT_IN,
    UnfitValueError,
    fill_headers,
    fill_resource,
    fill_subprotocols,
    kept_values,
    phases_of,
)
from exporter.result import Phase, Probe, Reason, Result, Trigger, Verdict

TICKETS = {
    "before": {"request": "POST /ticket", "headers": {"Authorization": "Bearer ${token}"}, "keep": {"ticket": "t"}},
    "send": {"message": {"id": "${nonce}"}, "match": {"id": "${nonce}"}},
}
PAGES = {**TICKETS, "before": {"request": "GET /json/list", "keep": {"page": "0.id"}}}


def planned(profile=TICKETS, *, url="wss://chat.example/ws?t=${ticket}", interval="20s", **settings):
    """The plan of one target of this profile, or its problems."""
    target = {
        "name": "a",
        "url": url,
        "profile": "own",
        "interval": interval,
        "identities": {"one": "user-one"},
        "auth": {"secret_env": "SECRET"},
    }
    return plan(Config.model_validate({"targets": [target], "profiles": {"own": profile}, **settings}), BUILT_IN)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_a_value_is_one_value_of_the_url(value):
    """Whatever is filled in arrives as it was given, in a segment and in a parameter, and nothing is added."""
    try:
        filled = fill_resource("/a/${v}/b?x=${v}&y=1", {"v": value})
    except UnfitValueError:
        assert value in (".", "..")
        return
    parts = urlsplit(filled)

    assert [unquote(segment) for segment in parts.path.split("/")] == ["", "a", value, "b"]
    assert parse_qsl(parts.query, keep_blank_values=True) == [("x", value), ("y", "1")]
    assert parts.fragment == ""
    assert filled.isascii()


@pytest.mark.parametrize("value", [".", ".."])
def test_a_value_takes_no_segment_out(value):
    """Dots that are a part of a longer segment, and those of the config, stay."""
    with pytest.raises(UnfitValueError):
        fill_resource("/a/${v}", {"v": value})
    assert fill_resource("/a/../x${v}", {"v": value}) == f"/a/../x{value}"


@pytest.mark.parametrize("value", ["ä", "a\r\nb", " a", "a\t", ""])
def test_a_header_takes_printable_ascii_only(value):
    """Another value could add a header, or change on its way."""
    with pytest.raises(UnfitValueError):
        fill_headers({"X-Ticket": "${v}"}, {"v": value})


def test_headers_and_subprotocols_are_filled_in():
    """A number is its decimal text; what holds no variable is left as it is."""
    assert fill_headers({"A": "x ${v}", "B": "ä"}, {"v": 7}) == {"A": "x 7", "B": "ä"}
    assert fill_subprotocols(("v1", "t.${v}"), {"v": "abc"}) == ("v1", "t.abc")
    for value in ("a b", "v1", ""):
        with pytest.raises(UnfitValueError):
            fill_subprotocols(("v1", "${v}"), {"v": value})


@pytest.mark.parametrize(
    ("answer", "path"),
    [([{"id": "p"}], "0.id"), ({"a": {"b": ["x", "p"]}}, "a.b.1"), ({"id": "p"}, "id")],
)
def test_a_field_is_kept_by_its_path(answer, path):
    """As `keep` of a step: dotted, a number is an index of a list."""
    assert kept_values(Before(request="GET /", keep={"page": path}), answer) == {"page": "p"}


@pytest.mark.parametrize("value", [None, True, [], {}, "", "x" * 4097, "a\nb", "\ud800", float("inf"), 10**4096])
def test_what_is_no_short_text_and_no_number_is_not_kept(value):
    """The whole answer is a bad one then."""
    with pytest.raises(UnfitValueError):
        kept_values(Before(request="GET /", keep={"page": "id"}), {"id": value})


def test_the_phase_is_there_for_such_a_profile_alone():
    """It is the first; other profiles have no series of it."""
    assert phases_of(Profile.model_validate(TICKETS), tls=False)[0] is Phase.BEFORE
    assert Phase.BEFORE not in phases_of(BUILT_IN["factory"], tls=True)


def test_a_profile_whose_request_holds_the_token_needs_one_at_every_depth():
    """A session that only connects gets no ticket without it; a request that names nobody changes nothing."""
    profile, pages = Profile.model_validate(TICKETS), Profile.model_validate(PAGES)
    job = planned().jobs[0]

    assert needs_token(profile)
    assert not needs_token(pages)
    assert not connects_without_token(job.target.auth, profile)
    assert (job.carrier.by, job.carrier.in_upgrade) == ("before", False)
    assert job.session_cost("", Probe.CONNECT, "one", Trigger.SCHEDULE).key is not None


def test_a_profile_is_shown_as_it_is_written():
    """`profiles show` gives a YAML that can be copied."""
    shown = profile_yaml(Profile.model_validate(TICKETS), "own")

    assert "request: POST /ticket" in shown
    assert "keep: {ticket: t}" in shown
    assert "origin" not in shown


# The budget -------------------------------------------------------------------------------------------------------


def cost(profile=TICKETS, run="run", **settings):
    return planned(profile, **settings).jobs[0].session_cost(run, Probe.SEND, "one", Trigger.SCHEDULE)


def test_a_session_counts_as_two_connects_to_its_host():
    """Two of a limit of three are taken by the first session: the second has to wait."""
    ledger, now = Ledger(), 1_800_000_000.0
    request = cost()._replace(rate=3, before_rate=3, user=None)

    assert isinstance(admit(ledger, request, now), Grant)
    refusal = admit(ledger, request._replace(run="two"), now + 1)
    assert isinstance(refusal, Refusal)
    assert (refusal.cause, refusal.until) == ("rate", now + 60)
    assert isinstance(admit(ledger, request._replace(run="three"), now + 60), Grant)


def test_an_origin_has_a_rate_of_its_own():
    """The request before the upgrade counts for the host that it goes to."""
    before = {**TICKETS["before"], "origin": "https://auth.example:8443"}
    request = cost({**TICKETS, "before": before})._replace(before_rate=1, user=None, key=None)
    ledger, now = Ledger(), 1_800_000_000.0

    assert (request.host, request.before_host) == ("chat.example", "auth.example")
    assert isinstance(admit(ledger, request, now), Grant)
    assert isinstance(admit(ledger, request._replace(run="two"), now + 1), Refusal)
    assert isinstance(admit(ledger, request._replace(run="three", before_host=None), now + 2), Grant)


def test_a_schedule_that_asks_too_often_is_refused():
    """Three cycles a minute are six connects; the sentence names the host and a safe interval."""
    (problem,) = planned(max_connects_per_minute=5)
    safe = re.search(r"Safe: interval (\d+)s", problem.sentence)

    assert problem.sentence.startswith("chat.example would see up to 6 connects a minute from 1 target, but")
    assert safe is not None
    assert not isinstance(planned(max_connects_per_minute=5, interval=f"{safe[1]}s"), tuple)
    assert planned(max_connects_per_minute=6).jobs[0].scheduled_rate == 6


def test_an_origin_is_planned_as_a_host():
    """Its connects are counted apart from the target's, over all targets; loopback has no limit."""
    before = {**TICKETS["before"], "origin": "https://auth.example"}
    job = planned({**TICKETS, "before": before}).jobs[0]
    local = planned(
        {**TICKETS, "before": {**before, "origin": "http://127.0.0.1:8080"}}, url="ws://a.example/${ticket}"
    )

    assert (job.scheduled_rate, job.scheduled_before_rate, dict(job.connects)) == (
        3,
        3,
        {"chat.example": 1, "auth.example": 1},
    )
    assert local.jobs[0].before_rate is None
    assert local.jobs[0].rate == 60


def test_the_plans_table_names_an_origin_as_a_host():
    """`--config.check` prints what each host will see; the server of the tickets sees connects too."""
    before = {**TICKETS["before"], "origin": "https://auth.example"}
    lines = [line.split() for line in plan_lines(planned({**TICKETS, "before": before}))]

    assert ["chat.example", "3", "60"] in lines
    assert ["auth.example", "3", "60"] in lines


@pytest.mark.parametrize(("phase", "restarted"), [(Phase.BEFORE, False), (Phase.TCP, True)])
def test_a_refused_connection_before_the_upgrade_is_no_restart_of_the_backend(phase, restarted):
    """It may be another server's: what the breakers have counted stays."""
    ledger, now = Ledger(), 1_800_000_000.0
    request = cost({**TICKETS, "breaker": {"opens_at": 2}})._replace(user=None)
    facts = {"target": "a", "identity": "one", "depth": Probe.SEND, "trigger": Trigger.SCHEDULE, "started_at": now}
    verdicts = dict.fromkeys(Probe, Verdict.FAIL)
    rejected = Result(run="1", verdicts=verdicts, phase=Phase.BEFORE, reason=Reason.AUTH_REJECTED, **facts)
    refused = Result(run="2", verdicts=verdicts, phase=phase, reason=Reason.REFUSED, **facts)

    assert isinstance(admit(ledger, request, now), Grant)
    settle(ledger, request, rejected, now + 1, slot_taken=False)
    assert isinstance(admit(ledger, request._replace(run="2"), now + 400), Refusal)
    settle(ledger, request._replace(run="2"), refused, now + 401, slot_taken=False)
    assert isinstance(admit(ledger, request._replace(run="3"), now + 800), Grant) is restarted


def test_a_wrong_config_is_refused_by_the_same_parser():
    """The config of the tests is one that a user could write."""
    target = {"name": "a", "url": "ws://h/${page}", "profile": "own"}
    assert isinstance(parse({"targets": [target], "profiles": {"own": PAGES}}, BUILT_IN), Config)
    assert harness.planned(target, profiles={"own": PAGES}).jobs[0].before is not None
