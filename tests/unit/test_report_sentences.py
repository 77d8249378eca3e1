"""One sentence is chosen by all facts of a result, and says nothing that they do not show."""

import json
from dataclasses import replace

import pytest
from support import report_cases as cases
from support.situations import CONTEXTS, every_situation

from exporter.report import FORMATS, UNKNOWN_CONTEXT, explain, read_document, result_document
from exporter.report.evidence import evidence_rows as witnessed
from exporter.report.situation import refused_after
from exporter.result import (
    CertificatePlace,
    Close,
    Direction,
    Ending,
    FactoryReason,
    Frame,
    Handshake,
    Initiator,
    Opcode,
    Phase,
    Probe,
    Reason,
    Software,
    TlsVerify,
    Verdict,
)

ECHO = cases.context("echo")
RPC = cases.context({"auth": {"message": {"t": "${token}"}, "match": {"id": 1}}}, auth={"secret_env": "KEY"})
HELLO = {"welcome": {"match": {"type": "hello"}}}
OWN = cases.context(HELLO)
BROWSER = cases.context(HELLO, headers={"Origin": "https://app.example.com"})
SIGNED = cases.context(HELLO, auth=cases.SIGNED)
OFFERING = cases.context({"subprotocols": ["graphql-transport-ws"]})
ASSUMED = cases.context(None, auth=cases.SIGNED)
BYPASSING = cases.context(auth=cases.SIGNED, allow_auth_bypass=True, headers={"X-E2E": "1"})

OURS = Close(1000, Initiator.LOCAL, Phase.ADMISSION)
PING = Frame(0.2, Direction.IN, Opcode.TEXT, 20, "ping")


def refused(status, **known):
    return cases.failed(Phase.UPGRADE, Reason.HTTP_STATUS, "fail/fail/fail", http_status=status, **known)


def upgrade(reason, **known):
    return cases.failed(Phase.UPGRADE, reason, "fail/fail/fail", **known)


def broken(handshake):
    return upgrade(Reason.BAD_HANDSHAKE, handshake=handshake)


def before(reason, **known):
    return cases.failed(Phase.BEFORE, reason, "fail/fail/fail", phases={}, **known)


TICKETS = {"request": "POST /t", "keep": {"t": "t"}}
ASKED = cases.context({"before": TICKETS, **HELLO})
AUTH_HOST = cases.context({"before": {**TICKETS, "origin": "https://auth.example.com"}, **HELLO}, auth=cases.SIGNED)


def silent(**passed_over):
    return replace(cases.NO_WELCOME, passed_over=passed_over)


def unanswered(**passed_over):
    return replace(cases.ZOMBIE, passed_over=passed_over)


def unlogged(reason, **known):
    return cases.failed(Phase.AUTH, reason, "pass/fail/fail", **known)


PLAIN = {Phase.RESOLVE: 0.001, Phase.TCP: 0.001, Phase.UPGRADE: 0.01}
NEVER_SPOKE = replace(cases.ZOMBIE, phases=PLAIN, transcript=(), verdicts={**cases.ZOMBIE.verdicts, Probe.AUTH: "-"})
REJECTED = cases.TOKEN_REJECTED
RATE = upgrade(Reason.RATE_LIMITED, http_status=503, retry_after=120.0)

SAYS = [
    # what came is said, by kind (reports 10, 11, 12; newcomer 4)
    (silent(other=2), ASSUMED, "messages came before the deadline (other: 2)"),
    (
        replace(silent(other=2), unknown_keys=("hello", "users")),
        ASSUMED,
        "came before the deadline (other: 2, with the fields hello, users), but none of them is the welcome",
    ),
    (silent(other=2), ASSUMED, "`profile: factory` was assumed"),
    (silent(binary=2), OWN, "the server speaks, but not JSON (binary: 2)"),
    (silent(ping=3), OWN, "messages came before the deadline (ping: 3), but no welcome"),
    (silent(), OWN, "SILENCE"),
    (unanswered(not_json=1), ECHO, "the server speaks, but not JSON (not_json: 1)"),
    (unanswered(foreign_reply=1), ECHO, "none is the reply to our message"),
    (NEVER_SPOKE, ECHO, "has sent no message at all"),
    (unanswered(), cases.STAGING, "zombie"),
    (unanswered(), ECHO, "our message got NO REPLY before the deadline"),
    # a loss after messages (W3)
    (unlogged(Reason.RESET, passed_over={"other": 1}), RPC, "was lost after other messages (other: 1) after our login"),
    (unlogged(Reason.CLOSED, close=cases.remote(1000, Phase.AUTH)), RPC, "closed with 1000 (normal closure) instead"),
    # refused upgrades (reports 24, 25, 33; W1, W2, W4)
    *((refused(status), OWN, "saw no WebSocket upgrade") for status in (400, 426, 501, 505)),
    (refused(403), OWN, "or the server wants an Origin header"),
    (refused(404), OWN, "or the server wants an Origin header"),
    (refused(403), SIGNED, "or the server refused the token before it accepted"),
    (refused(401), OWN, "this request carried no credential"),
    (refused(401), SIGNED, "refuses the token or did not get it"),
    (refused(503), OWN, "or a limit of connects"),
    (RATE, OWN, "with HTTP 503 and a time to wait (it asks us to wait 2 min): a limit of connects, or maintenance"),
    (replace(RATE, http_status=429), OWN, "with HTTP 429: too many connects from this address (it asks us to wait 2 m"),
    (refused(403, origin_sent=False), UNKNOWN_CONTEXT, "or the server wants an Origin header"),
    (refused(401, credential_sent=False), RPC, "this request carried no credential"),
    (refused(401, credential_sent=True), UNKNOWN_CONTEXT, "refuses the token or did not get it"),
    (upgrade(Reason.AUTH_REJECTED, http_status=401), SIGNED, "refused the token with HTTP 401, before it accepted"),
    (broken(Handshake.SUBPROTOCOL_NOT_CHOSEN), OFFERING, "chose none of the subprotocols offered: browsers refuse"),
    (broken(Handshake.SUBPROTOCOL_NOT_OFFERED), OFFERING, "chose a subprotocol that was not offered"),
    (broken(Handshake.NO_ACCEPT), OWN, "answered 101 without Sec-WebSocket-Accept: browsers refuse"),
    (replace(broken(Handshake.NO_ACCEPT), via=(Software.ENVOY,)), OWN, "Sec-WebSocket-Accept, behind envoy: browsers"),
    (broken(Handshake.TOO_LARGE), OWN, "larger than the exporter takes: its limit, and not by itself a fault"),
    (upgrade(Reason.RESET), OWN, "refuses the request's terms"),
    (upgrade(Reason.TIMEOUT, phases=PLAIN), OWN, "TCP is fine, but"),
    (upgrade(Reason.TIMEOUT), OWN, "TCP and TLS are fine, but"),
    # refused logins (realbackend G)
    (replace(REJECTED, no_token=True), cases.STAGING, "NO token arrived, though one was sent"),
    (replace(REJECTED, no_token=True), UNKNOWN_CONTEXT, "said that no token arrived"),
    (REJECTED, cases.STAGING, "refused our token: the login failed."),
    (unlogged(Reason.AUTH_REJECTED), RPC, "refused the secret in our login message"),
    # restarts and errors (13; protocols 6)
    (cases.failed(Phase.ADMISSION, Reason.CLOSED, "pass/-/fail", close=cases.remote(1012)), OWN, "stopped or recycled"),
    (cases.failed(Phase.ADMISSION, Reason.CLOSED, "pass/fail/fail", close=cases.remote(4406)), OWN, "no rule of the"),
    (cases.failed(Phase.REPLY, Reason.SERVER_ERROR, "pass/pass/fail"), OWN, "answered our message with an internal"),
    # factory
    (cases.DEGRADED, cases.STAGING, "fallback handlers may answer"),
    (replace(cases.SLOT_LIMIT, factory_reason=FactoryReason.USER_MISMATCH), BYPASSING, "it may have made one up"),
    (cases.PASSED, BYPASSING, "Nothing was verified"),
    # the request before the upgrade
    (before(Reason.REFUSED), ASKED, "where the HTTP request before the WebSocket goes"),
    (before(Reason.TIMEOUT), ASKED, "so the WebSocket was not tried"),
    (before(Reason.HTTP_STATUS, http_status=401, credential_sent=False), ASKED, "it held no credential"),
    (before(Reason.HTTP_STATUS, http_status=404), ASKED, "answered with HTTP 404: there is no such request"),
    (before(Reason.HTTP_STATUS, http_status=503), AUTH_HOST, "what answers it is broken, or not there"),
    (before(Reason.AUTH_REJECTED, http_status=403), AUTH_HOST, "refused the token with HTTP 403 in the HTTP request"),
    (before(Reason.RATE_LIMITED, http_status=429, retry_after=7.0), ASKED, "as one too many (it asks us to wait 7"),
    (before(Reason.BAD_REPLY, http_status=200), ASKED, "lacks a field that `before` keeps"),
    # what passed
    (cases.PASSED, cases.STAGING, "Our user is let in, and our message got its reply."),
    (replace(cases.PASSED, identity=None), OWN, "We are let in, and our message got its reply."),
    (
        replace(cases.PASSED, verdicts={**cases.PASSED.verdicts, Probe.AUTH: Verdict.NONE}),
        ECHO,
        "No login was asked for",
    ),
]
SAYS += [
    (refused(403), BROWSER, "does not take the Origin that the target sends"),
    (refused(403, origin_sent=True), UNKNOWN_CONTEXT, "does not take the Origin that the target sends"),
    (refused(502, answered_by=Software.NGINX), OWN, "nginx itself refused the upgrade with HTTP 502"),
    (refused(502, answered_by=Software.NGINX), OWN, "nothing listens where it sends us"),
    (refused(418, answered_by=Software.NGINX), OWN, "the request got no further"),
    (refused(403, answered_by=Software.ENVOY), OWN, "not configured to pass upgrades on"),
    (refused(500, answered_by=Software.UVICORN), OWN, "uvicorn answers so when its application raises"),
    (refused(503, answered_by=Software.BACKEND, via=(Software.NGINX,)), OWN, "by the backend itself"),
    (refused(503, via=(Software.NGINX,)), OWN, "a server behind nginx, or by nginx with a page"),
    (refused(505, via=(Software.NGINX,)), OWN, "it came through nginx"),
    (refused(200), OWN, "an ordinary page"),
    (
        upgrade(Reason.AUTH_REJECTED, http_status=401, answered_by=Software.NGINX),
        OWN,
        "nginx itself refused the login",
    ),
    (
        refused(521, answered_by=Software.CLOUDFLARE),
        OWN,
        "cloudflare itself refused the upgrade with HTTP 521: the backend",
    ),
    (refused(526), OWN, "A proxy that uses the statuses of Cloudflare refused"),
    (refused(503, answered_by=Software.TRAEFIK), OWN, "it holds no backend for healthy"),
    (refused(421), OWN, "does not serve this host name"),
    (refused(408), OWN, "did not get it whole in its time"),
    (refused(431), OWN, "larger than a proxy or the server takes"),
    (upgrade(Reason.TIMEOUT, interim_status=103), OWN, "only an interim answer came (HTTP 103)"),
    (upgrade(Reason.RESET, refused_after=5.0, answered_by=Software.DAPHNE, ending=Ending.RESET), OWN, "daphne does so"),
]

SAYS_NOT = [
    (silent(other=2), OWN, "SILENCE"),
    (unanswered(binary=1), ECHO, "NO REPLY"),
    (unanswered(), ECHO, "zombie"),
    (refused(505), OWN, "broke before"),
    (refused(403), BROWSER, "none was sent"),
    (refused(403), UNKNOWN_CONTEXT, "Origin"),
    (refused(403), OWN, "token"),
    (REJECTED, cases.STAGING, "factory"),
    (cases.DEGRADED, cases.STAGING, "agents"),
    (upgrade(Reason.BAD_HANDSHAKE), OWN, "subprotocol"),
    (refused(403, origin_sent=True), UNKNOWN_CONTEXT, "none was sent"),
    (replace(cases.PASSED, verdicts={**cases.PASSED.verdicts, Probe.AUTH: Verdict.NONE}), ECHO, "user"),
    (unlogged(Reason.AUTH_REJECTED, phases=PLAIN), RPC, "elcomed"),
]


@pytest.mark.parametrize(("result", "context", "words"), SAYS, ids=range(len(SAYS)))
def test_the_sentence_says_what_the_facts_show(result, context, words):
    """Each case of the reports has the words that its facts call for."""
    assert words in explain(result, context).sentence


@pytest.mark.parametrize(
    ("context", "server"), [(ASKED, "api.staging.example.com:443"), (AUTH_HOST, "auth.example.com:443")]
)
def test_the_next_step_names_the_server_that_was_asked(context, server):
    """The target's own, or the origin of the request before the upgrade."""
    assert f"is up at {server}" in explain(before(Reason.REFUSED), context).next_step
    assert server in explain(before(Reason.TLS_CERTIFICATE), context).next_step


@pytest.mark.parametrize(("result", "context", "words"), SAYS_NOT, ids=range(len(SAYS_NOT)))
def test_the_sentence_says_nothing_else(result, context, words):
    """What a fact of the same result, or of the target, speaks against is not said."""
    assert words not in explain(result, context).sentence


def untrusted(verify, place=None, **told):
    """A certificate that was refused."""
    evidence = replace(cases.WITNESS, certificate_place=place, **told)
    return cases.failed(Phase.TLS, Reason.TLS_CERTIFICATE, "fail/fail/fail", tls_verify=verify, evidence=evidence)


CERTIFICATES = [
    (TlsVerify.EXPIRED, CertificatePlace.LEAF, "The TLS certificate of the server has expired (2025-10-20"),
    (TlsVerify.EXPIRED, CertificatePlace.INTERMEDIATE, "of an intermediate authority above the server's has expired"),
    (TlsVerify.NOT_YET_VALID, None, "is not valid yet"),
    (TlsVerify.WRONG_NAME, None, "is not for api.staging.example.com."),
    (TlsVerify.UNKNOWN_ISSUER, None, "leads to no authority that the exporter trusts"),
    (TlsVerify.SELF_SIGNED, None, "is self-signed"),
    (TlsVerify.INCOMPLETE_CHAIN, None, "without the intermediate one above it"),
    (TlsVerify.WRONG_PURPOSE, None, "not issued for servers"),
    (TlsVerify.WEAK, None, "too weak"),
    (TlsVerify.OTHER, None, "for a reason that has no word here"),
]


@pytest.mark.parametrize(("verify", "place", "words"), CERTIFICATES, ids=range(len(CERTIFICATES)))
def test_a_refused_certificate_says_why(verify, place, words):
    """One sentence for each reason, and the word of the closed list among the evidence."""
    result = untrusted(verify, place)

    assert words in explain(result, OWN).sentence
    assert dict(witnessed(result, 0.0))["certificate refused"] == verify.value.replace("_", " ")


def test_the_certificate_that_ends_first_is_named_if_it_is_not_the_servers():
    """The evidence says that the end is an intermediate's, so that the right one is renewed."""
    above = replace(cases.WITNESS, certificate_place=CertificatePlace.INTERMEDIATE)
    own = replace(cases.WITNESS, certificate_place=CertificatePlace.LEAF)

    assert dict(witnessed(replace(cases.PASSED, evidence=above), cases.NOW))["certificate"] == (
        "expires in 41 days (2025-10-20): an intermediate above the server's, which itself ends later"
    )
    assert dict(witnessed(replace(cases.PASSED, evidence=own), cases.NOW))["certificate"] == (
        "expires in 41 days (2025-10-20)"
    )


NEXT = [
    (cases.SLOT_LIMIT, cases.context(limits={"slot_release": "30s"}), "slot_release (30 s)"),
    (cases.SLOT_LIMIT, UNKNOWN_CONTEXT, "rest for slot_release, then"),
    (REJECTED, cases.context(auth=cases.SIGNED, auth_retry="30s"), "auth_retry (30 s)"),
    (REJECTED, UNKNOWN_CONTEXT, "for auth_retry."),
    (REJECTED, cases.STAGING, "`iss` and `aud`"),
    (REJECTED, cases.context(auth={"jwt": {"token_file": "t"}}), "the token of `token_file`"),
    (unlogged(Reason.AUTH_REJECTED), RPC, "the secret with the backend's"),
    (replace(REJECTED, no_token=True), cases.STAGING, "drops the header Authorization"),
    (untrusted(TlsVerify.WRONG_NAME), OWN, "-connect 203.0.113.7:443 -servername api.staging.example.com -showcerts"),
    (untrusted(TlsVerify.WRONG_NAME), OWN, "If api.staging.example.com is right"),
    (
        untrusted(TlsVerify.EXPIRED),
        cases.context(url="wss://api.example.com.:8443/"),
        ":8443 -servername api.example.com ",
    ),
    (
        untrusted(TlsVerify.WEAK, address="2001:db8::7"),
        cases.context(url="wss://[::1]:1/"),
        "[2001:db8::7]:1 -showcerts",
    ),
    (untrusted(None, address=None), UNKNOWN_CONTEXT, "-connect HOST:PORT -servername NAME"),
    (
        untrusted(TlsVerify.WRONG_NAME),
        cases.context(url="wss://192.0.2.1/", tls={"server_name": "inner.example"}),
        "-servername inner.example ",
    ),
    (refused(403), OWN, "Compare the path of the URL with the backend's routes"),
    (silent(other=2), OWN, "`profile: own`"),
]


@pytest.mark.parametrize(("result", "context", "words"), NEXT, ids=range(len(NEXT)))
def test_the_next_step_has_the_figures_in_force(result, context, words):
    """Host, port, profile and settings stand as this target has them; where they are not known, by their names."""
    assert words in explain(result, context).next_step


LORE = ("manager", "zombie", "five bad messages", "(300 s)", "greeted", "not reached", "agents", "on record")


def test_what_one_backend_does_is_told_of_no_other():
    """Without the factory's profile no sentence has its lore, whatever the result."""
    for result, context in every_situation():
        said = explain(result, context)
        if not context.factory:
            assert not [word for word in LORE if word in f"{said.sentence} {said.next_step}"], said


def test_welcomed_is_said_of_a_welcome_only():
    """Where no welcome came, nobody is called welcomed."""
    for result, context in every_situation():
        if Phase.ADMISSION not in result.phases and result.factory_reason is None:
            assert "elcomed" not in explain(result, context).sentence.replace("before it welcomed us", "")


def test_a_refusal_has_its_time():
    """The seconds until the refusing frame stand in the waterfall: how fast it came tells causes apart."""
    late = replace(cases.SLOT_LIMIT, transcript=(replace_at(cases.REFUSAL[0], 0.109),))

    assert refused_after(late) == pytest.approx(0.012)
    assert "admission    0.012 s" in FORMATS["text"](cases.checked(late), cases.VIEW)


def replace_at(frame, at):
    return frame._replace(at=at)


def test_a_refused_upgrade_has_its_time():
    """Seconds of the request until its answer, from what the session measured."""
    start = sum(cases.REFUSED_UPGRADE.phases.values())
    late = replace(cases.REFUSED_UPGRADE, refused_after=start + 1.25)

    assert refused_after(late) == pytest.approx(1.25)
    assert "upgrade      1.250 s" in FORMATS["text"](cases.checked(late), cases.VIEW)


@pytest.mark.parametrize("result", [cases.NO_WELCOME, cases.PASSED, cases.REFUSED_UPGRADE, cases.IMPAIRED])
def test_what_nobody_refused_has_no_such_time(result):
    """An answer to our own close is no refusal, nor is a phase that was completed."""
    answered = replace(result, transcript=(*result.transcript, Frame(9.0, Direction.IN, Opcode.CLOSE, 2, code="1000")))

    assert refused_after(answered) is None


@pytest.mark.parametrize("output", ["text", "markdown", "junit"])
def test_a_check_names_its_profile_and_what_it_is_treated_by(output):
    """The profile, whether it was assumed, and the headers by which a backend may treat us otherwise."""
    context = cases.context(None, headers={"X-Tenant": "a", "Origin": "https://app.example.com"})
    shown = FORMATS[output](cases.checked(cases.NO_WELCOME, context=context), cases.VIEW)

    assert "factory (assumed: the target names none)" in shown.replace("&#40;", "(").replace("&#58;", ":").replace(
        "&#41;", ")"
    )
    assert "X&#45;Tenant" in shown or "X-Tenant, Origin, the exporter's User-Agent" in shown
    assert "no Origin" not in shown


@pytest.mark.parametrize("context", CONTEXTS, ids=range(len(CONTEXTS)))
def test_the_document_explains_by_the_same_context(context):
    """`explanation` in the JSON is what the other formats say."""
    document = result_document(cases.NO_WELCOME, context)

    assert document["explanation"]["sentence"] == explain(cases.NO_WELCOME, context).sentence


@pytest.mark.parametrize("context", CONTEXTS, ids=range(len(CONTEXTS)))
def test_what_is_read_back_is_explained_alike(context):
    """`check --from` knows of the target what the exporter there knows."""
    written = FORMATS["json"](cases.checked(cases.NO_WELCOME, context=context), cases.VIEW)

    assert read_document(written).context == context


@pytest.mark.parametrize("hostile", ["\x1b[31mred", "a\nb", "x" * 400, "\u202e"])
def test_a_context_of_a_stranger_is_not_shown(hostile):
    """A text that no config can have is not taken from a document; without a context nothing is known."""
    document = json.loads(FORMATS["json"](cases.checked(cases.NO_WELCOME), cases.VIEW))
    known = document["context"]
    for field in ({"profile": hostile}, {"carrier": hostile}, {"headers": [hostile]}, {"host": hostile}):
        document["context"] = {**known, **field}
        assert read_document(json.dumps(document)).context == UNKNOWN_CONTEXT
    del document["context"]
    assert read_document(json.dumps(document)).context == UNKNOWN_CONTEXT


def test_software_of_a_target_is_read_back_with_a_document():
    """A document names it only where the config does."""
    context = cases.context(server="uvicorn", behind=["cloudfront", "nginx"])
    written = FORMATS["json"](cases.checked(cases.NO_WELCOME, context=context), cases.VIEW)

    assert (context.server, context.behind) == (Software.UVICORN, (Software.CLOUDFRONT, Software.NGINX))
    assert read_document(written).context == context
    assert (
        not {"server", "behind"}
        & json.loads(FORMATS["json"](cases.checked(cases.NO_WELCOME), cases.VIEW))["context"].keys()
    )


@pytest.mark.parametrize("field", [{"server": "nginx"}, {"server": "backend"}, {"behind": ["nginx", "uvicorn"]}])
def test_software_that_no_config_can_have_is_not_taken_from_a_document(field):
    """A proxy is no server, and a server no proxy."""
    document = json.loads(FORMATS["json"](cases.checked(cases.NO_WELCOME), cases.VIEW))
    document["context"].update(field)

    assert read_document(json.dumps(document)).context == UNKNOWN_CONTEXT


WORDS = {"causes": {"closes[0]": "The gateway said no…"}, "proves": {"auth": "It knows us."}}


def test_what_the_profile_says_is_read_back_with_a_document():
    """`check --from` shows the same next step, and the same of a pass, as a check beside the config."""
    context = cases.context(
        {
            "auth": {"message": {"a": 1}, "match": {"b": 1}},
            "closes": [{"code": 4403, "reason": "auth_rejected", "cause": "The gateway said no…"}],
            "proves": {"auth": "It knows us."},
        }
    )
    failed = cases.failed(Phase.AUTH, Reason.AUTH_REJECTED, "pass/fail/fail", rule="closes[0]")
    read = read_document(FORMATS["json"](cases.checked(failed, context=context), cases.VIEW))

    assert read.context == context
    assert explain(read.results[0], read.context) == explain(failed, context)
    assert explain(read.results[0], read.context).next_step == "The gateway said no…"


@pytest.mark.parametrize("field", WORDS)
@pytest.mark.parametrize("hostile", ["\x1b[31mred", "a\nb", "x" * 4_000, "\u202e"])
def test_a_sentence_of_a_stranger_that_no_config_can_have_is_not_shown(field, hostile):
    """It is dropped with the profile's other texts; what else is known of the target stays."""
    document = json.loads(FORMATS["json"](cases.checked(cases.NO_WELCOME), cases.VIEW))
    document["context"] |= WORDS | {field: dict.fromkeys(WORDS[field], hostile)}

    context = read_document(json.dumps(document)).context

    assert (context.causes, context.proves) == ({}, {})
    assert context.host is not None
