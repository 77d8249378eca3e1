"""Package `config`: what flags and variables of the export by OTLP may say, and that no error quotes them."""

import pytest

from exporter.config.otlp import attribute_pairs, header_lines, header_pairs, otlp_endpoint, public_endpoint

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://collector:4318", "http://collector:4318/v1/metrics"),
        ("http://collector:4318/", "http://collector:4318/v1/metrics"),
        ("https://[::1]/api/v1/otlp/v1/metrics?a=b", "https://[::1]/api/v1/otlp/v1/metrics?a=b"),
    ],
)
def test_an_endpoint_is_the_whole_url(text, url):
    """Without a path it is the default one of OTLP."""
    assert otlp_endpoint(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "collector:4318",
        "grpc://collector:4317",
        "http://",
        "http://a b/",
        "http://a:x/",
        "http://a/#b",
        "http://[a",
    ],
)
def test_what_is_no_endpoint_is_refused(text):
    """The sentence shows an example and not the value."""
    with pytest.raises(ValueError, match=r"^must be an http or https URL in ASCII without #, such as http://collector"):
        otlp_endpoint(text)


def test_of_an_endpoint_scheme_host_and_port_are_shown():
    """User, path and query may be secret."""
    assert public_endpoint(f"https://me:{SECRET}@[::1]:4318/{SECRET}?{SECRET}") == "https://[::1]:4318"


def test_headers_stand_in_lines_or_pairs():
    """Comments and blank lines are passed over; in a variable values are percent-encoded."""
    text = f"# of the gateway\n\nAuthorization: Bearer {SECRET}\nX-Scope-OrgID:  team:a \n"
    assert header_lines(text) == {"Authorization": f"Bearer {SECRET}", "X-Scope-OrgID": "team:a"}
    assert header_pairs(f"Authorization=Bearer%20{SECRET}, b=c") == {"Authorization": f"Bearer {SECRET}", "b": "c"}
    assert attribute_pairs("service.instance.id=a%2Cb,team=ü") == {"service.instance.id": "a,b", "team": "ü"}
    assert (header_lines(""), header_pairs(""), attribute_pairs(" ")) == ({}, {}, {})


@pytest.mark.parametrize(
    ("parse", "text", "sentence"),
    [
        (header_lines, f"a: b\n{SECRET}", "line 2 is no header: write NAME: VALUE, in ASCII"),
        (header_lines, f"na me: {SECRET}", "line 1 is no header: write NAME: VALUE, in ASCII"),
        (header_lines, f"Host: {SECRET}", "line 1 is no header: write NAME: VALUE, in ASCII"),
        (header_lines, f"a: {SECRET}é", "line 1 is no header: write NAME: VALUE, in ASCII"),
        (header_lines, "a:", "line 1 is no header: write NAME: VALUE, in ASCII"),
        (header_pairs, f"a={SECRET}%0d%0ab", "entry 1 is no key=value: separate entries by commas"),
        (header_pairs, f"a=b,c:d={SECRET}", "entry 2 is no header: write name=value, in ASCII"),
        (attribute_pairs, f"a=b,{SECRET}", "entry 2 is no key=value: separate entries by commas"),
        (attribute_pairs, f"={SECRET}", "entry 1 is no key=value: separate entries by commas"),
    ],
)
def test_a_wrong_header_or_attribute_is_named_by_its_place(parse, text, sentence):
    """And never quoted."""
    with pytest.raises(ValueError, match=f"^{sentence}") as raised:
        parse(text)
    assert SECRET not in str(raised.value)
