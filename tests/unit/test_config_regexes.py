"""Rules of profiles: what an expression means is what Python says, and no text makes it run for long."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import parse, regex
from exporter.config.regexes import UnsupportedRegexError
from exporter.profiles import BUILT_IN, MAX_MATCHED_CHARACTERS, sort_close
from exporter.result import Reason

ITEMS = ["a", "b", "é", ".", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", "[ab]", "[^a]", r"[^\W_]", r"[\S\d]", r"\.", "٣"]
TEXTS = st.text(alphabet="abAé_ \n\t.٣7-ß\u00a0\u2028", max_size=12)


def patterns():
    """Expressions of all that RE2 can."""
    return st.recursive(
        st.sampled_from(ITEMS),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?", "+?", "{0,2}?"])).map(
                lambda parts: f"(?:{parts[0]}){parts[1]}"
            ),
            st.lists(inner, min_size=1, max_size=3).map("".join),
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
            inner.map(lambda part: f"(?i:{part})"),
            inner.map(lambda part: f"(?s:{part})"),
            inner.map(lambda part: f"^{part}"),
        ),
        max_leaves=8,
    )


@given(patterns(), st.sampled_from(["", "$", r"\Z"]), st.sampled_from(["", "(?a)", "(?m)", "(?x) "]), TEXTS)
def test_what_is_found_is_what_python_finds(pattern, end, flags, text):
    """Whatever is written with what both know."""
    if "(?a)" in flags and "i" in pattern:
        flags = ""  # Python then folds ASCII letters only
    whole = flags + pattern + end
    assert (regex(whole).search(text) is not None) is (re.search(whole, text) is not None)


@pytest.mark.parametrize(
    ("pattern", "text", "groups"),
    [
        (r"\((?P<limit>\d{1,6})\)", "managers (20)", {"limit": "20"}),
        (r"retry after (?P<retry_after>\d+)s", "retry after 30s", {"retry_after": "30"}),
        (r"(?:in (?P<retry_after>\d+)s)?", "soon", {"retry_after": None}),
        (r"(?P<limit>\d+)/(?P<retry_after>\d+)", "3/4", {"limit": "3", "retry_after": "4"}),
        (r"(?P<limit>\d)+", "12", {"limit": "2"}),
        (r"\u00e9(?x: a )", "éa", {}),
        ("", "anything", {}),
        ("x", "\ud800 x", {}),  # JSON brings what has no UTF-8
    ],
)
def test_named_groups_are_read(pattern, text, groups):
    """The figures of a text, where there are any."""
    assert regex(pattern).search(text) == groups


@pytest.mark.parametrize(
    ("pattern", "construct"),
    [
        (r"(?=a)b", "looks around"),
        (r"(?<!a)b", "looks around"),
        (r"(?!)", "looks around"),
        (r"(a)\1", "refers to a group"),
        (r"(?P<limit>a)(?P=limit)", "refers to a group"),
        (r"(a)?(?(1)b|c)", "asks for a group"),
        (r"(?>a)", "atomic group"),
        (r"x(y|a*+)", "possessively"),
        (r"a{1,2000}", "more than 1000 times"),
        (r"((a{1,100}){1,100}){1,100}", "too large"),
        (r"(", "is no regular expression: see character 1"),
        (r"[[a]", "cannot be relied on"),
    ],
)
def test_what_has_no_bound_is_named_by_the_check(pattern, construct):
    """The field, and what of it cannot be; nothing of the expression itself."""
    with pytest.raises(UnsupportedRegexError, match=re.escape(construct)):
        regex(pattern)
    problems = parse(with_close(pattern), BUILT_IN)
    assert len(problems) == 1
    assert str(problems[0]).startswith("profiles.chat.closes[0].text: ")
    assert construct in str(problems[0])


def with_close(pattern):
    chat = {"closes": [{"text": pattern, "reason": "auth_rejected"}]}
    return {"profiles": {"chat": chat}, "targets": [{"name": "a", "url": "ws://localhost/ws", "profile": "chat"}]}


@pytest.mark.parametrize("pattern", ["(x+x+)+y", "(x|xx)+y", "(x*)*y", "x*x*x*x*x*x*y"])
def test_no_close_reason_takes_long(pattern):
    """A text that almost meets a rule: going back in it would double the work with each letter, or every few."""
    config = parse(with_close(pattern), BUILT_IN)
    profile = config.profiles["chat"]
    began = time.thread_time()
    for length in 26, 60, MAX_MATCHED_CHARACTERS - 1:
        assert sort_close(profile, 1008, "x" * length) is None
    assert time.thread_time() - began < 1.0
    assert sort_close(profile, 1008, "xxy").rule.reason is Reason.AUTH_REJECTED


def test_the_largest_that_is_taken_is_done_in_time():
    """The bound of the size is a bound of the time."""
    known, began = regex("(.{1,50}a){1,20}b"), time.thread_time()
    assert known.search("a" * MAX_MATCHED_CHARACTERS) is None
    assert time.thread_time() - began < 1.0
