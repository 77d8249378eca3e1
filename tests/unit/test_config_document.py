"""The file `config/document`: YAML text to plain values."""

import string
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config import YamlError, document, load_yaml

LOADERS = [loader for loader in (getattr(yaml, "CSafeLoader", None), yaml.SafeLoader) if loader]


@pytest.fixture(params=LOADERS, ids=lambda loader: loader.__name__)
def _loader(request, monkeypatch):
    monkeypatch.setattr(document, "LOADER", request.param)


@pytest.mark.usefixtures("_loader")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing", None),
        ("a: 1", {"a": 1}),
        ("\ufeffa: 1", {"a": 1}),
        (b"\xef\xbb\xbfa: \xc3\xa9", {"a": "é"}),
        ("[0, -7, +7, 1.5, -0.5, 1., .5, 1.0e+3]", [0, -7, 7, 1.5, -0.5, 1.0, 0.5, 1000.0]),
        ("[yes, No, on, OFF, true, False]", [True, False, True, False, True, False]),
        ("[~, null, ]", [None, None]),
        ("['on', \"1:30\", '0123', 1e3, 2025-09-09, =]", ["on", "1:30", "0123", "1e3", "2025-09-09", "="]),
        ("!!str 12", "12"),
        ("{a: &x {b: 1, c: 2}, d: {<<: *x, c: 3}}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("[&x {b: 1}, &y {b: 2, c: 2}, {<<: [*x, *y]}]", [{"b": 1}, {"b": 2, "c": 2}, {"b": 1, "c": 2}]),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
    ],
)
def test_yaml_is_read_as_it_is_written(text, value):
    """Plain YAML gives plain values; what is quoted is text; a date is the text it was written as."""
    assert load_yaml(text) == value


TRAPS = [
    ("a: 1\nb: 2\na: 3", "line 3, column 1: the key `a` is already set on line 1"),
    ("a: {b: 1, c: {d: 1, d: 2}}", "line 1, column 21: the key `d` is already set on line 1"),
    ("a: &x {b: 1}\nb: {<<: *x, <<: *x}", "line 2, column 13: the key `<<` is already set on line 2"),
    *(
        (f"a: {number}", f"line 1, column 4: {document.NOT_PLAIN}")
        for number in ("0123", "1:30", "0x1f", "0b1", "1_000")
    ),
    *((f"a: {number}", f"line 1, column 4: {document.NOT_FINITE}") for number in (".nan", "-.inf", "1:30.5", "1_0.5")),
    (f"a: {'9' * 18}", "line 1, column 4: a number of more than 17 digits: quote it"),
    (f"a: {'9' * 9999}", "line 1, column 4: a number of more than 17 digits: quote it"),
    ("a: !!bool maybe", "line 1, column 4: neither true nor false"),
    *(
        (f"{{{key}: 1}}", f"line 1, column 2: {document.KEY_IS_TEXT}")
        for key in ("on", "NO", "1", "1.5", "~", "2025-09-09")
    ),
    ("{[a]: 1}", f"line 1, column 2: {document.KEY_IS_TEXT}"),
    ("<<: 3", "line 1, column 5: a merge key (<<) takes a mapping, or a list of mappings"),
    ("a: !!python/object:os.system x", "line 1, column 4: a tag (!…) that is not known here: remove it"),
    ("a: !!set {b}", "line 1, column 4: a tag (!…) that is not known here: remove it"),
    ("a: \x07", "holds a control character"),
    (b"a: \xff", "is not UTF-8 text"),
    ("a:\n\tb: 1", "line 2, column 1: a tab: indent with spaces"),
    ("a: @b", "line 1, column 4: a character that cannot begin a value: quote the value"),
    ("a: [*b]", "line 1, column 5: an alias whose anchor is not there"),
    ("a" * 10_000_001, "is longer than 10000000 characters: is it the right file?"),
    ("[" * 100_000, f"line 1, column 41: {document.TOO_DEEP}"),
    ("- " * 1000, f"line 1, column 81: {document.TOO_DEEP}"),
    ("&a {b: *a}", f"line 1, column 1: {document.TOO_DEEP}"),
    ("[" + "a," * 500_000, f"line 1, column 799998: {document.TOO_MANY}"),
]


@pytest.mark.usefixtures("_loader")
@pytest.mark.parametrize(("text", "sentence"), TRAPS, ids=range(len(TRAPS)))
def test_traps_of_yaml_are_refused_where_they_stand(text, sentence):
    """What YAML would quietly change, repeat or blow up is refused with its line and column."""
    with pytest.raises(YamlError) as refused:
        load_yaml(text)
    assert str(refused.value) == sentence


@pytest.mark.usefixtures("_loader")
def test_merges_cannot_multiply():
    """A few lines of aliases and merge keys cannot cost more than a short while."""
    lines = ["a: &a {x: 1, y: 2}"]
    lines += [
        f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}"
        for old, new in zip("abcdefghi", "bcdefghij", strict=True)
    ]
    started = time.monotonic()
    with pytest.raises(YamlError, match="each alias counted in full"):
        load_yaml("\n".join(lines))
    assert time.monotonic() - started < 10


yaml_text = st.text(alphabet=st.sampled_from("ab01:.-_ \n\t#&*!<>|{}[],?'\"%@`~=\\/$\x00é\ud800"), max_size=60)


pieces = st.sampled_from(
    [
        *("a: ", "- ", "\n", "  ", "&x ", "*x", "<<: ", "{", "}", "[", "]", ", ", "!!int ", "!!map "),
        *("|\n", ">\n", "'", "on", "0123", "---\n"),
    ]
)


@pytest.mark.parametrize("loader", LOADERS, ids=lambda loader: loader.__name__)
@settings(max_examples=300, deadline=5000, database=None)
@given(text=st.text() | st.binary() | yaml_text | st.lists(pieces).map("".join))
def test_any_text_is_a_value_or_a_problem(loader, text):
    """No text makes the loader raise anything else than YamlProblem, whichever parser is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "LOADER", loader)
        said = _refusal(text)
    assert said is None or said[0] in string.ascii_lowercase


def _refusal(text):
    try:
        load_yaml(text)
    except YamlError as problem:
        return str(problem)
    return None
