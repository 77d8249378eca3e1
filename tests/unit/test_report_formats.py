"""Package `report`: the formats of one check, by golden files and by whatever stands in names and evidence."""

import json
import re
from dataclasses import fields, replace
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import report_cases as cases

from exporter.report import FORMATS, SERIES_FORMATS, RenderContext, exit_code, public_url
from exporter.report import escape as escapes
from exporter.report.escape import plain
from exporter.result import Close, Evidence, FactoryReason, Phase, Probe, Reason, Result, Verdict

RENDERED = dict(cases.renderings())


@pytest.mark.parametrize("file", RENDERED, ids=lambda file: file.name)
def test_the_report_looks_as_it_did(file):
    """Each format of each case is its golden file, byte for byte (`python -m support.report_cases` writes them)."""
    assert RENDERED[file] == file.read_text("utf-8")


def test_no_golden_file_is_left_over():
    """Each golden file is held by a case."""
    assert set(cases.DATA.glob("report-*")) == set(RENDERED)


def test_the_formats_are_those_of_the_issue():
    """`--output` takes six formats, for a check and for a series."""
    assert list(FORMATS) == list(SERIES_FORMATS) == ["text", "json", "nagios", "markdown", "junit", "github"]


# Exit codes ---------------------------------------------------------------------------------------------------------

SHALLOW = replace(cases.PASSED, depth=Probe.AUTH, verdicts={**cases.PASSED.verdicts, Probe.SEND: Verdict.NONE})
SOFT_UNPROVED = cases.failed(Phase.ADMISSION, Reason.FACTORY, "pass/-/fail", factory_reason=FactoryReason.DEGRADED)


@pytest.mark.parametrize(
    ("check", "code"),
    [
        (cases.checked(cases.PASSED), 0),
        (cases.checked(SHALLOW), 0),
        (cases.checked(cases.SLOT_LIMIT), 2),
        (cases.checked(cases.NO_WELCOME), 2),
        (cases.checked(cases.REFUSED_UPGRADE), 2),
        (cases.checked(replace(cases.PASSED, verdicts=cases.DEGRADED.verdicts, reason=Reason.FACTORY)), 2),
        (cases.checked(cases.DEGRADED), 1),
        (cases.checked(replace(cases.DEGRADED, factory_reason=FactoryReason.ENVIRONMENT_MISMATCH)), 1),
        (cases.checked(replace(cases.DEGRADED, factory_reason=FactoryReason.NOT_READY)), 1),
        (cases.checked(replace(cases.DEGRADED, factory_reason=FactoryReason.FROZEN_TIME)), 2),
        (cases.checked(SOFT_UNPROVED), 2),
        (cases.checked(replace(SHALLOW, factory_reason=FactoryReason.SLOT_LIMIT)), 2),
        (cases.checked(cases.IMPAIRED), 3),
        (cases.checked(replace(cases.PASSED, verdicts=dict.fromkeys(Probe, Verdict.NONE))), 3),
        (cases.checked(), 3),
        (cases.checked(refusal="the host rests after a rate limit"), 3),
        (cases.checked(cases.PASSED, refusal="the host rests after a rate limit"), 3),
        (cases.checked(cases.DEGRADED, refusal="the host rests after a rate limit"), 1),
        (cases.checked(cases.PASSED, cases.IMPAIRED), 3),
        (cases.checked(cases.IMPAIRED, cases.SLOT_LIMIT, cases.PASSED), 2),
    ],
)
def test_the_exit_code(check, code):
    """0 OK, 1 warning, 2 critical, 3 unknown; the gravest result speaks; the JSON says the same."""
    assert exit_code(check, "warning") == code
    assert json.loads(FORMATS["json"](check, cases.VIEW))["exit_code"] == code
    assert exit_code(check, "critical") == (0 if code == 1 else code)


def test_the_nagios_word_is_the_one_of_the_exit_code():
    """A warning that the caller does not want to hear of is called OK."""
    check = cases.checked(cases.DEGRADED)

    assert FORMATS["nagios"](check, cases.VIEW).startswith("WEBSOCKET WARNING - staging: ")
    assert FORMATS["nagios"](check, RenderContext(cases.NOW, "critical")).startswith("WEBSOCKET OK - staging: ")


# Escapes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("escape", "text", "escaped"),
    [
        (escapes.plain, "a\x1b[0m\r\n\u202e\ud800é", "a\\x1b[0m\\x0d\\x0a\\u202e\\ud800é"),
        (escapes.command_data, "50%\r\n::x,y", "50%25%0D%0A::x,y"),
        (escapes.command_property, "50%\n::x,y", "50%25%0A%3A%3Ax%2Cy"),
        (escapes.perf, "a|b\n", "a/b\\x0a"),
        (escapes.code, "pool-001", "`pool-001`"),
        (escapes.code, "a|`\n", "<code>a&#124;&#96;&#92;x0a</code>"),
        (escapes.code, "", "`-`"),
        (escapes.code, " ", "<code> </code>"),
        (escapes.prose, "slot_limit `x` _a_ <b> a|b @c", r"slot_limit \`x\` \_a\_ \<b\> a\|b \@c"),
    ],
)
def test_an_escape(escape, text, escaped):
    """Each format's escape does what its rules say."""
    assert escape(text) == escaped


def test_no_line_is_a_command():
    """What GitHub would take for a command at the start of a line is put out of its reach, at the same length."""
    assert escapes.lines(["  ::error::x", "##[error]", "a ::b", ":c "]) == "  \\:error::x\n\\#[error]\na ::b\n:c\n"


def test_a_nagios_line_is_cut():
    """However long the words, the line stays below the 4 KB that every version of Nagios reads."""
    long = replace(cases.checked(*[cases.PASSED] * 2, refusal="x" * 9_000), target="y" * 9_000)

    assert len(FORMATS["nagios"](long, cases.VIEW)) <= 4_096


# Addresses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://api.example.com/ws", "wss://api.example.com/ws"),
        ("wss://me:secret@api.example.com:8443/ws?token=secret#secret", "wss://api.example.com:8443/ws"),
        ("ws://[2001:db8::1]:80/", "ws://[2001:db8::1]:80/"),
        ("ws://127.0.0.1", "ws://127.0.0.1"),
        ("ws://host:secret/ws", "-"),
        ("ws://[secret", "-"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url, shown):
    """User, password, query and fragment are not shown, nor is what is no URL."""
    assert public_url(url) == shown


# Whatever stands in it ----------------------------------------------------------------------------------------------

NASTY = st.sampled_from(
    [
        "\x1b[31mred\x1b[0m",
        "::error::x",
        "\n::set-output::",
        "##[error]",
        "a|b",
        "']='|x",
        "]]>",
        "<b>",
        "`",
        "``",
        "| x |",
        "\u202eevil",
        "\ud800",
        "\ufffe",
        "\x00",
        "%0A::error",
        "@admin",
        "https://x",
        "\r",
        "\u2028",
        "",
        " ",
        "x" * 300,
    ]
)
TEXTS = st.one_of(NASTY, st.text(alphabet=st.characters(), max_size=40), st.lists(NASTY, max_size=4).map("".join))
FIGURES = st.one_of(st.none(), st.floats())


@st.composite
def checks(draw):
    """Any of the cases, with any text where a name or an id stands, and any figure where a server tells one."""
    result = draw(st.sampled_from([cases.PASSED, cases.SLOT_LIMIT, cases.DEGRADED, cases.ZOMBIE, cases.IMPAIRED]))
    told = Evidence(
        *[draw(TEXTS), *(draw(FIGURES) for _ in range(5)), draw(TEXTS)],
    )
    strange = replace(
        result,
        target=draw(TEXTS),
        identity=draw(st.none() | TEXTS),
        run=draw(TEXTS),
        evidence=told,
        passed_over={draw(TEXTS): 1},
        started_at=draw(st.floats(allow_nan=False)),
        close=result.close and replace(result.close, text="the peer's own words"),
    )
    refusal = draw(st.none() | TEXTS)
    return replace(cases.checked(strange, refusal=refusal), target=draw(TEXTS), url=draw(TEXTS))


quick = settings(max_examples=50, deadline=None)


@quick
@given(checks())
def test_text_is_harmless(check):
    """Text fits 100 columns, is printable, and no line of it is a command to GitHub."""
    for line in FORMATS["text"](check, cases.VIEW).removesuffix("\n").split("\n"):
        assert len(line) <= 100
        assert line.isprintable()
        assert not line.lstrip().startswith(("::", "##["))


@quick
@given(checks())
def test_json_reads_back(check):
    """JSON is ASCII, reads back, and holds the names as they are."""
    shown = FORMATS["json"](check, cases.VIEW)
    read = json.loads(shown, parse_constant=pytest.fail)

    assert shown.isascii()
    assert (read["target"], read["results"][0]["identity"]) == (check.target, check.results[0].identity)
    assert read["results"][0]["evidence"]["connection_id"] == check.results[0].evidence.connection_id


PERF = re.compile(r"(?:'[\w]+'=(?:U|\d+\.\d{3}s);[\d.]*;[\d.]*;0;10(?: |$))+")


@quick
@given(checks())
def test_nagios_is_one_line_with_one_bar(check):
    """One printable line of at most 4 KB: a word, a text without `|`, performance data by its grammar."""
    shown = FORMATS["nagios"](check, cases.VIEW)
    words, bar, figures = shown.removesuffix("\n").partition(" | ")

    assert shown.endswith("\n")
    assert shown.removesuffix("\n").isprintable()
    assert len(shown) <= 4096
    assert (bar, shown.count("|")) == (" | ", 1)
    assert re.match(r"WEBSOCKET (OK|WARNING|CRITICAL|UNKNOWN) - ", words)
    assert PERF.fullmatch(figures)


@quick
@given(checks())
def test_junit_is_xml(check):
    """JUnit parses whatever the text, and its names are the check's."""
    suite = ET.fromstring(FORMATS["junit"](check, cases.VIEW)).find("testsuite")
    result = check.results[0]

    assert suite.get("name") == plain(f"ws-factory-exporter {check.target}")
    assert suite.find("testcase").get("classname") == plain(f"{check.target}.{result.identity or '-'}")
    assert int(suite.get("tests")) == len(suite.findall("testcase")) == 3 + (check.refusal is not None)
    assert int(suite.get("failures")) == sum(verdict is Verdict.FAIL for verdict in result.verdicts.values())


COMMAND = re.compile(r"::(error|warning|notice) title=([^:,\r\n]*)::([^\r\n]*)")


def unescaped(text):
    """What GitHub's runner makes of an escaped text."""
    for sign, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(sign, char)
    return text


@quick
@given(checks())
def test_github_gives_no_command_but_ours(check):
    """One command for each session and one for a refusal; their titles read back."""
    told = FORMATS["github"](check, cases.VIEW).split("\n")[:-1]
    found = [COMMAND.fullmatch(line) for line in told]

    assert len(found) == 1 + (check.refusal is not None)
    assert all(found)
    assert unescaped(found[0][2]).startswith(plain(f"{check.target}, {check.results[0].identity or 'no identity'}: "))


CELLS = re.compile(r"(?<!\\)\|")


@quick
@given(checks())
def test_markdown_keeps_its_shape(check):
    """No name ends a cell, starts a tag, mentions anybody or breaks a line: the tables keep their columns."""
    shown = FORMATS["markdown"](check, cases.VIEW)
    lines = shown.split("\n")[:-1]
    calm = FORMATS["markdown"](cases.checked(check.results[0], refusal=check.refusal), cases.VIEW)

    assert all(line.isprintable() for line in lines)
    assert len(lines) == len(calm.split("\n")) - 1
    assert {len(CELLS.split(line)) for line in lines if line.startswith("|")} <= {4, 5}
    assert not re.search(r"(?<!\\)<(?!/?code>)|(?<!\\)@", shown)


@quick
@given(checks(), st.sampled_from(list(FORMATS)))
def test_the_peers_words_are_never_told(check, output):
    """A close reason of the network reaches no report, even if a result should hold one."""
    assert "the peer's own words" not in FORMATS[output](check, cases.VIEW)


def test_json_holds_every_field_of_a_result():
    """Nothing that a result knows is left out of the JSON; the close loses its text, and nothing else."""
    read = json.loads(FORMATS["json"](cases.checked(cases.SLOT_LIMIT), cases.VIEW))["results"][0]

    assert set(read) == {field.name for field in fields(Result)} | {"status", "explanation"}
    assert set(read["evidence"]) == {field.name for field in fields(Evidence)}
    assert set(read["close"]) == {field.name for field in fields(Close)} - {"text"}


def test_json_is_the_same_for_equal_results():
    """Keys stand in one order, in whatever order they were measured."""
    turned = replace(
        cases.PASSED,
        phases=dict(reversed(list(cases.PASSED.phases.items()))),
        passed_over={"recovery": 1, "ping": 2},
    )
    straight = replace(turned, phases=cases.PASSED.phases, passed_over={"ping": 2, "recovery": 1})

    assert FORMATS["json"](cases.checked(turned), cases.VIEW) == FORMATS["json"](cases.checked(straight), cases.VIEW)


def test_a_certificate_is_counted_from_now():
    """The days to the end of a certificate are those from the given time; one that is over says so."""
    later = RenderContext(cases.STARTED + 45 * 86_400)

    assert "expires in 41 days (2025-10-20)" in FORMATS["text"](cases.CASES["healthy"], cases.VIEW)
    assert "EXPIRED 3 days ago (2025-10-20)" in FORMATS["text"](cases.CASES["healthy"], later)


def bars(result):
    """Column where each bar starts and ends, by phase."""
    told = FORMATS["text"](cases.checked(result), cases.VIEW).split("\n")
    drawn = {line.split()[0]: line[24:] for line in told if re.match(r" +\w+ +[\d.]+ s  ", line)}
    return {phase: (len(bar) - len(bar.lstrip()), len(bar)) for phase, bar in drawn.items()}


def test_the_bars_stand_one_after_the_other():
    """Each bar starts where the one before it ended, none is empty, and the last ends where the axis does."""
    drawn = list(bars(cases.PASSED).values())

    assert len(drawn) == len(cases.PHASES)
    assert all(start < end <= 40 for start, end in drawn)
    assert all(abs(following[0] - before[1]) <= 1 for before, following in pairwise(drawn))
    assert drawn[-1][1] >= 39


def test_one_long_phase_hides_no_other():
    """Where a cold start takes nearly all of the time, the short phases still have a bar."""
    drawn = bars(replace(cases.PASSED, phases={**cases.PHASES, Phase.ADMISSION: 179.0}))

    assert set(drawn) == {str(phase) for phase in cases.PHASES}
    assert all(start < end for start, end in drawn.values())
