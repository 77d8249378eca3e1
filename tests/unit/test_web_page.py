"""The status page as values and HTML: what is said, that nothing breaks out, and what a browser may do."""

import base64
import hashlib
import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import report_cases as cases
from support import status_fixtures

from exporter import __version__
from exporter.budget import IdentityStatus
from exporter.history import CycleMark, CycleOutcome, StateKind, TargetState
from exporter.history.history import OTHER_CODE, CloseKey, FailureKey
from exporter.report import explain
from exporter.report.causes import Alert
from exporter.result import (
    Direction,
    FactoryReason,
    Frame,
    Impairment,
    Initiator,
    Opcode,
    Phase,
    Probe,
    Reason,
    Verdict,
)
from exporter.web.page import document, markdown, timefmt
from exporter.web.page.document import endpoint_links, health_section, page_head
from exporter.web.page.markup import Markup, element, text
from exporter.web.page.pictures import AXIS_UNITS, BAR_PITCH, SHOWN_CYCLES, icon_svg, timeline_picture
from exporter.web.page.sessions import group_failures, waterfall
from exporter.web.page.target import closed_row, opened_card
from exporter.web.page.values import SEVERITY_ORDER, TargetCard, TargetRow, TargetStanding
from exporter.web.runbook import FOLDER, RunbookPages

NOW = status_fixtures.NOW
STAGING = status_fixtures.staging()
CHEAP = settings(max_examples=100, deadline=None, database=None)


class Read(HTMLParser):
    """A document as a strict reader sees it: elements with their attributes, and text; all is closed in order."""

    def __init__(self, markup):
        super().__init__()
        self.elements, self.words, self._open = [], [], []
        self.feed(markup)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice: {tag} {names}"
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def said(self):
        return " ".join("".join(self.words).split())

    def attributes(self, name):
        return [found[name] for _, found in self.elements if name in found]


def read(markup):
    return Read(markup)


def whole(cards, *, own=status_fixtures.HEALTH, left_out=0):
    """A document, put together in one go."""
    standings = [TargetStanding(name, card.row.state) for name, card in cards.items()]
    top = page_head({StateKind.PASSING: len(cards)}, standings, NOW)
    rows = "".join(closed_row(card.row, NOW) for card in cards.values())
    return (
        document.document_start(top, own, "a.b.1", NOW)
        + rows
        + document.document_end(health_section(own, NOW), endpoint_links("metrics"), left_out)
    )


# Nothing breaks out -----------------------------------------------------------------------------------------------

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\r\n&lt;\u202e\ud800'`${7*7}"


@CHEAP
@given(st.text(st.characters()), st.text(st.characters()))
def test_any_text_is_text(content, value):
    """Whatever stands in an element or an attribute, a reader gets one element, and the text as it was or named."""
    found = read(element("p", content, title=value))
    assert [tag for tag, _ in found.elements] == ["p"]
    shown = "".join(found.words)
    assert shown == html.unescape(text(content))
    assert shown.isprintable()
    assert found.elements[0][1].keys() == {"title"}


def test_only_what_was_made_as_markup_is_markup():
    """A string that looks like an element is text, wherever it stands; what is None or False does not stand."""
    assert element("p", "<b>", [Markup("<i>x</i>"), "<u>"], None) == "<p>&lt;b&gt;<i>x</i>&lt;u&gt;</p>"
    assert element("a", href='"x', title=None, hidden=False, open=True) == '<a href="&quot;x" open></a>'
    assert element("rect", width=3) == '<rect width="3"/>'


def hostile_card():
    """Every text of a card is hostile, although none of them can be: names come from the config, words from lists."""
    frame = Frame(0.1, Direction.IN, Opcode.TEXT, 9, HOSTILE, HOSTILE)
    evidence = replace(cases.WITNESS, connection_id=HOSTILE, address=HOSTILE)
    result = replace(
        STAGING.row.last, identity=HOSTILE, evidence=evidence, transcript=(frame,), passed_over={HOSTILE: 3}
    )
    shown = replace(
        STAGING.row,
        name=HOSTILE,
        url=HOSTILE,
        state=TargetState(StateKind.FAILING, NOW - 60, Probe.SEND, result),
        last=result,
        marks=(CycleMark(NOW - 9, CycleOutcome.FAIL, HOSTILE),),
        identities=(IdentityStatus(HOSTILE, 1, 2, True),),
    )
    return replace(STAGING, row=shown, failures=(result,))


def test_hostile_texts_stay_texts_wherever_they_stand():
    """No element, attribute or event handler comes of them; nothing unprintable is left."""
    good, bad = read(opened_card(STAGING, NOW)), read(opened_card(hostile_card(), NOW))
    bad_row = read(closed_row(hostile_card().row, NOW))
    known = {tag for tag, _ in good.elements}
    for found in (bad, bad_row):
        assert {tag for tag, _ in found.elements} <= known
        assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
        assert "".join(found.words).replace("\n", "").isprintable()
    assert "<script>alert(1)</script>" in bad.said
    assert "\\x1b[31m" in bad.said


def test_a_hostile_ill_sentence_and_version_stay_texts():
    """What the exporter says of itself is escaped too."""
    own = replace(status_fixtures.HEALTH, unhealthy_reason=HOSTILE, version=HOSTILE, skips={HOSTILE: 1})
    found = read(health_section(own, NOW) + document.summary_section(page_head({}, [], NOW), HOSTILE))
    assert "script" not in {tag for tag, _ in found.elements}
    assert "<script>alert(1)</script>" in found.said


def test_links_to_a_target_hold_any_name():
    """A name is escaped for the query, and the link stays below the page."""
    found = read(closed_row(replace(STAGING.row, name="a&b=c#d/../e f"), NOW))
    assert found.attributes("href") == ["?target=a%26b%3Dc%23d%2F..%2Fe%20f"]


# What is said -----------------------------------------------------------------------------------------------------

IMPAIRED = replace(
    cases.PASSED,
    impairment=Impairment.TOKEN,
    verdicts=dict.fromkeys(Probe, Verdict.NONE),
    phases={},
    durations={},
    close=None,
)
SLOT_LIMIT = "send fails in admission: factory (slot_limit)"
STATES = {
    StateKind.FAILING: (STAGING.row.state, "failing", SLOT_LIMIT),
    StateKind.IMPAIRED: (
        TargetState(StateKind.IMPAIRED, NOW - 90, result=IMPAIRED),
        "impaired",
        "our own failure: token",
    ),
    StateKind.UNKNOWN: (TargetState(StateKind.UNKNOWN), "unknown", "not probed yet"),
    StateKind.PASSING: (
        TargetState(StateKind.PASSING, NOW - 7_200, result=cases.PASSED),
        "passing",
        "since 01:06 UTC, 2 h",
    ),
}


def test_every_state_has_its_place():
    """Words, gravity and icons are complete."""
    assert set(STATES) == set(StateKind) == set(SEVERITY_ORDER)
    for word in StateKind:
        assert read(icon_svg(word)).elements[0][0] == "svg"
    assert icon_svg("nothing") is None
    assert len({icon_svg(word) for word in StateKind}) == len(StateKind)


@pytest.mark.parametrize("word", StateKind)
def test_each_state_is_said_in_a_word_and_a_cause(word):
    """Colour is never all: the badge has the word; a failure has its cause in closed words."""
    state, badge, said = STATES[word]
    row = replace(STAGING.row, state=state, last=state.result)
    for shown in (read(closed_row(row, NOW)), read(opened_card(TargetCard(row, 6), NOW))):
        assert shown.said.startswith(badge)
        assert said in shown.said
        article = next(attributes for tag, attributes in shown.elements if tag == "article")
        assert article["data-state"] == word
        assert article["id"] == "t-staging"


@pytest.mark.parametrize(
    ("counts", "gravest", "line"),
    [
        ({}, [], "No target is configured"),
        ({StateKind.PASSING: 1}, [], "The one target passes"),
        ({StateKind.PASSING: 12}, [], "All 12 targets pass"),
        (
            {StateKind.PASSING: 10, StateKind.IMPAIRED: 1, StateKind.UNKNOWN: 1},
            [],
            "10 of 12 targets passing; 1 impaired, 1 unknown",
        ),
        (
            {StateKind.FAILING: 1, StateKind.PASSING: 10, StateKind.UNKNOWN: 1},
            ["staging"],
            f"1 of 12 targets failing: staging – {SLOT_LIMIT} since 02:52 UTC, 14 min; 1 unknown",
        ),
        ({StateKind.FAILING: 2, StateKind.PASSING: 10}, ["b", "a"], "2 of 12 targets failing: b, a"),
        ({StateKind.FAILING: 5}, ["e", "d", "c"], "5 of 5 targets failing: e, d, c and 2 more"),
    ],
)
def test_the_line_on_top_says_it_all(counts, gravest, line):
    """How many fail, which, why and since when; what is not known is said, not hidden."""
    top = page_head(counts, [TargetStanding(name, STAGING.row.state) for name in gravest], NOW)
    assert read(element("h1", top.line)).said == line
    assert top.spoken == re.sub(r" since [^;]*", "", line), "what a screen reader is told must not change with time"


def test_a_failure_whose_session_is_not_kept_is_still_told():
    """After a restart the state may be known and the session not."""
    state = TargetState(StateKind.FAILING, NOW - 60, Probe.AUTH)
    assert (
        "1 of 1 target failing: staging – auth fails since"
        in read(page_head({StateKind.FAILING: 1}, [TargetStanding("staging", state)], NOW).line).said
    )
    assert "auth fails" in read(opened_card(TargetCard(replace(STAGING.row, state=state, last=None), 6), NOW)).said


def test_the_title_and_the_icon_of_the_tab_tell():
    """A tab in the background says that something fails, and what."""
    top = page_head({StateKind.FAILING: 1, StateKind.PASSING: 11}, [TargetStanding("staging", STAGING.row.state)], NOW)
    begun = document.document_start(top, status_fixtures.HEALTH, "a.b.1", NOW)
    assert "<title>✗ 1/12 failing: staging</title>" in begun
    assert 'href="icon/failing.svg"' in begun


def test_a_card_has_all_that_is_known():
    """The sentence and its page, phases, evidence, closes, causes, identities, failures, transcript."""
    shown = read(opened_card(STAGING, NOW))
    told = explain(STAGING.row.last)
    for words in (
        told.sentence,
        f"Layer: {told.fault}",
        told.next_step,
        "Runbook: WebSocketFactorySlotsExhausted",
        "connect pass auth pass send fail",
        "✗ factory (slot_limit)",
        "slot limit20 per user, says the backend",
        "1000 (normal closure) by us1,036",
        "1011 (internal error) by the server, in admission44",
        "1006 (connection lost) without a close frame, in reply1",
        "admission: factory (slot_limit)42",
        "pool-001resting19 of 19",
        "pool-002ready17 of 19",
        "No token of pool-001 is sent: the identity rests after a slot limit, until 2025-09-09 03:10:00 UTC.",
        "The backend says that it keeps 20 slots per user.",
        "23 times since 02:58:36 UTC",
        "wss://staging.example.com/ws · every 20 s · last 60 cycles: 16 passed, 42 failed, 2 skipped",
        "Transcript, 1 frame",
    ):
        assert words in shown.said
    assert shown.attributes("href") == [
        "runbook/WebSocketFactorySlotsExhausted",
        "runbook/WebSocketFactoryValidationFailing",
        "?target=staging",
        "api/results?target=staging",
    ]


def test_what_is_said_above_is_not_said_again():
    """The sentence of the present failure stands once; that of an older, other one stands with it."""
    said = read(opened_card(STAGING, NOW)).said
    for result in STAGING.failures:
        assert said.count(explain(result).sentence) == 1


def test_failures_that_are_alike_are_one_group():
    """Neighbours with the same sentence are told once, with their number; another one between them parts them."""
    slot, other = STAGING.failures[0], STAGING.failures[-1]
    assert [len(group.results) for group in group_failures([slot, slot, other, slot])] == [2, 1, 1]


def test_a_passing_session_with_a_finding_is_explained():
    """A soft finding fails no probe; the card says it all the same."""
    found = replace(cases.PASSED, factory_reason=FactoryReason.DEGRADED)
    row = replace(STAGING.row, state=TargetState(StateKind.PASSING, NOW, result=found), last=found)
    assert explain(found).sentence in read(opened_card(TargetCard(row, 6), NOW)).said


def test_a_card_of_which_nothing_is_known_says_so():
    """Before the first session, and for a target without identities."""
    row = TargetRow("new", "wss://new.example.com/ws", 20.0, TargetState(StateKind.UNKNOWN))
    said = read(opened_card(TargetCard(row, 6), NOW)).said
    for words in ("not probed yet", "No session yet.", "None.", "This target has none.", "no cycle yet"):
        assert words in said


def test_codes_that_a_server_invents_are_counted_together():
    """The history counts them under one; the page says so."""
    card = replace(STAGING, closes={CloseKey(OTHER_CODE, Initiator.REMOTE, Phase.REPLY): 7}, reasons={})
    assert "other codes by the server, in reply7" in read(opened_card(card, NOW)).said


def test_a_cause_without_a_factory_reason_is_two_words():
    """As the log and the series have it."""
    card = replace(STAGING, reasons={FailureKey(Phase.TCP, Reason.REFUSED): 1_234})
    assert "tcp: refused1,234" in read(opened_card(card, NOW)).said


def test_a_host_that_sent_us_away_is_told():
    """A 429 rests the host; the card says for how long."""
    card = replace(STAGING, host_cooldown_until=NOW + 125)
    assert "no session for 2 min 5 s" in read(opened_card(card, NOW)).said


# Moments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (60, "1 min"), (119, "1 min"), (3599, "59 min"), (3660, "1 h 1 min"),
     (7200, "2 h"), (90_000, "25 h"), (172_800, "2 days"), (1e12, "11,574,074 days")],
)  # fmt: skip
def test_ages_are_short(seconds, words):
    """One unit, or two where it matters."""
    assert timefmt.age_text(seconds) == words


def test_every_time_is_utc_with_its_age_and_for_machines():
    """Today by the clock, another day with its date; what no calendar has is said so."""
    shown = read(timefmt.time_and_age(NOW - 840, NOW))
    assert shown.said == "02:52:00 UTC (14 min ago)"
    assert shown.elements[0] == ("time", {"datetime": "2025-09-09T02:52:00Z"})
    assert read(timefmt.since_and_age(NOW - 86_400 * 3, NOW)).said == "since 6 Sep 03:06 UTC, 3 days"
    assert "beyond the calendar" in timefmt.time_element(1e18, NOW)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0.0 ms"),
        (0.00042, "0.4 ms"),
        (0.00996, "10 ms"),
        (0.2314, "231 ms"),
        (0.9996, "1000 ms"),
        (1.0, "1.00 s"),
        (12.345, "12.35 s"),
    ],
)
def test_what_a_phase_took_is_told_in_three_figures(seconds, words):
    """Small ones in milliseconds: 0.000 s says nothing."""
    assert timefmt.duration_text(seconds) == words


# Pictures ---------------------------------------------------------------------------------------------------------


def test_a_strip_is_a_line_for_each_run():
    """Sixty like bars cost one element; each outcome has a class, the newest stands right, and all is said in words."""
    shown = read(timeline_picture(STAGING.row.marks))
    lines = [(found["class"], found["d"]) for tag, found in shown.elements if tag == "path"]
    assert lines == [
        ("passed", f"M0 11h{11 * BAR_PITCH - 2}"),
        ("skipped", f"M{11 * BAR_PITCH} 11h{2 * BAR_PITCH - 2}"),
        ("passed", f"M{13 * BAR_PITCH} 11h{5 * BAR_PITCH - 2}"),
        ("failed", f"M{18 * BAR_PITCH} 11h{42 * BAR_PITCH - 2}"),
    ]
    assert shown.elements[0][1]["aria-label"] == "last 60 cycles: 16 passed, 42 failed, 2 skipped"
    assert f"M{(SHOWN_CYCLES - 1) * BAR_PITCH} " in timeline_picture(STAGING.row.marks[-1:])


@pytest.mark.parametrize("outcome", CycleOutcome)
def test_every_outcome_is_drawn(outcome):
    """Each has a colour and a height in the style."""
    shown = read(timeline_picture((CycleMark(NOW, outcome, "late"),), with_tooltips=True))
    name = next(found["class"] for tag, found in shown.elements if tag == "path")
    assert re.search(rf"\.strip \.{name}\b", document.STYLE)
    assert ("late" in shown.said) is (outcome is not CycleOutcome.PASS)


def test_a_cycle_that_only_connected_is_no_whole_pass():
    """While identities rest, cycles go connect-deep: their bars are lower, and words say so, for send is not mended."""
    marks = status_fixtures.marks(
        (CycleOutcome.PASS, 3, "send"), (CycleOutcome.PASS, 2, "connect"), (CycleOutcome.PASS, 1, "auth")
    )
    shown = read(timeline_picture(marks))
    names = [found["class"] for tag, found in shown.elements if tag == "path"]
    assert names == ["passed", "passed connect", "passed auth"]
    assert shown.elements[0][1]["aria-label"] == "last 6 cycles: 3 passed, 2 connected, 1 let in"
    widths = [int(width) for width in re.findall(r"\.strip \.(?:auth|connect) { stroke-width: (\d+)", document.STYLE)]
    assert len(widths) == 2
    assert max(widths) < int(re.search(r"\.strip path { [^}]*stroke-width: (\d+)", document.STYLE)[1])


def test_bars_stand_on_one_axis():
    """Each begins where the one before ended, and none leaves the axis however small or large it is."""
    found = replace(cases.PASSED, phases={Phase.TCP: 1.0, Phase.TLS: 1e-9, Phase.UPGRADE: 3.0, Phase.CLOSE: 1e-9})
    bars = [(int(one["x"]), int(one["width"])) for tag, one in read(waterfall(found)).elements if tag == "rect"]
    assert bars[0] == (0, 250)
    assert bars[2] == (250, 750)
    assert all(left + width <= AXIS_UNITS and width > 0 for left, width in bars)


def test_a_session_without_a_phase_has_no_bars():
    """Impaired ones never began."""
    assert read(waterfall(IMPAIRED)).said == "No phase was completed."


# The exporter -----------------------------------------------------------------------------------------------------


def test_the_exporters_own_health_is_told():
    """Version, age, config, scrape, lateness, sessions, skips."""
    assert read(health_section(status_fixtures.HEALTH, NOW)).said == (
        f"This exporterversion{__version__}, up for 6 daysconfigloaded 7 Sep 19:54:00 UTC (31 h ago)last scrape7 s ago"
        "late at worst, last minute3 mssessions318,402, 14 distortedcycles skipped12 budget, 3 late, 1 distorted"
    )


def test_the_exporters_origin_is_told_if_it_has_one():
    """Two tabs with the pages of two places can be told apart."""
    shown = read(health_section(replace(status_fixtures.HEALTH, origin="site-a"), NOW))
    assert "up for 6 daysoriginsite-aconfig" in shown.said


def test_bad_news_of_ourselves_are_marked():
    """A config that did not load, no scrape, a late loop; and on top that we are ill."""
    own = replace(
        status_fixtures.HEALTH,
        config_ok=False,
        last_scrape=None,
        loop_lag=0.4,
        unhealthy_reason="the task tidy has died",
    )
    shown = read(health_section(own, NOW))
    assert "configthe last one did NOT load; this one did 7 Sep 19:54:00 UTC" in shown.said
    assert sum(found.get("class") == "wrong" for _, found in shown.elements) == 3
    assert (
        "The exporter does not do its work: the task tidy has died."
        in read(whole(status_fixtures.incident(), own=own)).said
    )


# The document -----------------------------------------------------------------------------------------------------


def test_the_policy_permits_this_style_and_this_script_only():
    """The hashes are those of what stands in the page, byte by byte; no inline handler or style attribute would run."""
    served = whole(status_fixtures.incident())
    for name in ("style", "script"):
        (content,) = re.findall(rf"<{name}[^>]*>(.*?)</{name}>", served, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in document.CONTENT_SECURITY_POLICY
    found = read(served)
    assert not [name for _, attributes in found.elements for name in attributes if name == "style" or name[:2] == "on"]
    for directive in ("default-src 'none'", "form-action 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert directive in document.CONTENT_SECURITY_POLICY.split("; ")
    assert "unsafe" not in document.CONTENT_SECURITY_POLICY
    assert "http" not in document.CONTENT_SECURITY_POLICY


def test_the_page_asks_nobody_else():
    """No address of another origin stands in page, style or script; every link is relative, for any prefix."""
    found = read(whole(status_fixtures.incident()))
    for link in found.attributes("href") + found.attributes("src"):
        assert re.match(r"(?!/|[a-z]+:)", link), link
    for source in (document.STYLE, document.SCRIPT):
        assert not re.search(r"https?:|url\(|@import", source)


def test_ids_stand_once_and_headings_in_order():
    """What assistive technology needs: one h1, no level left out, a language, landmarks."""
    found = read(whole(status_fixtures.incident(), left_out=4_500))
    ids = found.attributes("id")
    assert len(ids) == len(set(ids))
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    assert ("html", {"lang": "en"}) in found.elements
    assert {"header", "main", "footer", "nav"} <= {tag for tag, _ in found.elements}
    assert "4500 more targets not shown" in found.said


def words_of(written):
    """The words of a page of Markdown, without its marks."""
    text = re.sub(r"^\|[-| ]+\|$|^#+ |^(?:-|\d\.) |</?(?:details|summary)>", " ", written, flags=re.MULTILINE)
    return re.sub(r"\]\(\w+\.md\)|[`|*\[\]]", " ", text).split()


@pytest.mark.parametrize("name", ["README", "servers", *(str(alert) for alert in Alert)])
def test_every_runbook_page_is_at_hand(name):
    """The pages that sentences lead to are packed with the exporter, whole, as headings, tables and links that lead."""
    shown = RunbookPages().page(name)
    main = re.search(r"<h1>.*</main>", shown, re.DOTALL)[0]
    written = FOLDER.joinpath(f"{name}.md").read_text("utf-8")
    said = html.unescape(re.sub(r"<[^>]+>", " ", main))

    assert re.sub(r"[`|*\[\]]", " ", said).split() == words_of(written)
    assert said.count("|---") == 0
    assert set(re.findall(r'href="([^"]*)"', main)) == set(re.findall(r"\]\((\w+)\.md\)", written))
    assert all(RunbookPages().page(link) for link in re.findall(r'href="([^"]*)"', main))
    assert main.count("<table") == len(re.findall(r"^\|[-| ]+\|$", written, re.MULTILINE))


def test_what_is_no_page_of_the_runbook_is_not_read():
    """Nor is anything beside its folder."""
    assert FOLDER.is_dir()
    assert RunbookPages().page("../server") is None


def test_markdown_of_a_page_is_harmless():
    """What stands in a page is text, whatever it looks like; what is no mark of ours stays as it is written."""
    shown = markdown.markdown_html("a <b>&</b> `<i>` [x](javascript:y)\n\n- <img src=x>\n\n| <a> |\n|---|\n| `b` |\n")

    assert "<b>" not in shown
    assert "<img" not in shown
    assert "href" not in shown
    assert "<code>&lt;i&gt;</code>" in shown
