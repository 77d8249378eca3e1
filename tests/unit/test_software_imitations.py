"""Answers that imitate fingerprints, beside a token: words of the closed list come out, and nothing else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.result import PROXIES, Software
from exporter.software import MAX_BODY_BYTES, Answer, find_author
from exporter.software.fingerprints import MARKS, MAX_MARK_CHARACTERS, MAX_MARK_FIELDS, OWN_ANSWERS

TOKEN = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0LXBheWxvYWQ.c2VjcmV0LXNpZ25hdHVyZQ"
NAMES = sorted({mark.header for mark in MARKS} | {name for row in OWN_ANSWERS for name in row.has} | {"x-token", ""})
WORDS = sorted({text for mark in MARKS for text in (mark.begins, mark.contains)})
VALUES = st.lists(st.sampled_from([*WORDS, TOKEN, "\xff\x00", ", ", "1.1 "]), max_size=4).map("".join)
BODIES = st.lists(
    st.sampled_from([*(text for row in OWN_ANSWERS for text in row.body), TOKEN.encode(), b"\xff\xfe\x00", b"<html>"]),
    max_size=4,
).map(b"".join)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    fields=st.dictionaries(st.sampled_from(NAMES), st.lists(VALUES, max_size=3), max_size=5),
    status=st.integers(100, 599),
    body=BODIES,
)
def test_only_words_of_the_list_come_out(fields, status, body):
    """Any mix of marks, of all programs at once, with a token beside them."""
    author = find_author(Answer(status, fields, body[:MAX_BODY_BYTES]))

    assert author.by is None or type(author.by) is Software
    assert {type(word) for word in author.via} <= {Software}
    assert set(author.via) <= PROXIES - {author.by}
    assert len(set(author.via)) == len(author.via)
    assert TOKEN not in repr(author)


@pytest.mark.parametrize(
    ("fields", "by"),
    [
        ({"content-length": ["0"]}, Software.CADDY),
        ({"content-length": ["900"]}, None),
        ({"transfer-encoding": ["chunked"]}, None),
    ],
)
def test_a_body_that_is_late_is_not_an_empty_one(fields, by):
    """Caddy's own answers have no body; a page of its backend may come after we stopped waiting."""
    assert find_author(Answer(502, {"server": ["Caddy"], **fields})).by is by


class Counted(str):
    """A header value that knows whether anybody looked at it."""

    __slots__ = ("seen",)

    def __getitem__(self, key):
        self.seen = True
        return str(self)[key]


@pytest.mark.parametrize("name", ["server", "via", "cache-control"])
def test_a_head_of_many_fields_is_looked_at_only_at_its_beginning(name):
    """A head may hold tens of thousands of one name, and the loop waits while they are compared."""
    values = [Counted("nginx") for _ in range(5_000)]
    find_author(Answer(503, {name: values}, b""))
    assert sum(hasattr(value, "seen") for value in values) == MAX_MARK_FIELDS


def test_a_long_value_is_compared_only_at_its_beginning():
    """What stands behind is nobody's mark."""
    long = "x" * MAX_MARK_CHARACTERS
    assert find_author(Answer(200, {"via": [f"1.1 Caddy, {long}"]})).via == (Software.CADDY,)
    assert find_author(Answer(200, {"via": [f"{long}, 1.1 Caddy"]})).via == ()
