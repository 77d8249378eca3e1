"""The framing xml: one element in a message, and neither document types nor entities."""

import pytest

from exporter.framing import FramingError, codec_of

XML = codec_of("xml")

RECEIVED = [  # prosody 0.12.3
    (
        "<open from='localhost' xml:lang='en' xmlns='urn:ietf:params:xml:ns:xmpp-framing' version='1.0' id='18ab'/>",
        {
            "open": {
                "@from": "localhost",
                "@xml:lang": "en",
                "@xmlns": "urn:ietf:params:xml:ns:xmpp-framing",
                "@version": "1.0",
                "@id": "18ab",
            }
        },
    ),
    (
        (
            "<stream:features xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client'><mechanisms "
            "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism><mechanism>SCRAM-SHA-1</mechanism>"
            "</mechanisms></stream:features>"
        ),
        {
            "stream:features": {
                "@xmlns:stream": "http://etherx.jabber.org/streams",
                "@xmlns": "jabber:client",
                "mechanisms": {
                    "@xmlns": "urn:ietf:params:xml:ns:xmpp-sasl",
                    "mechanism": ["PLAIN", "SCRAM-SHA-1"],
                },
            }
        },
    ),
    (
        (
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/><text>Unable to authorize you with the "
            "authentication credentials you&apos;ve sent.</text></failure>"
        ),
        {
            "failure": {
                "@xmlns": "urn:ietf:params:xml:ns:xmpp-sasl",
                "not-authorized": None,
                "text": "Unable to authorize you with the authentication credentials you've sent.",
            }
        },
    ),
]


@pytest.mark.parametrize(
    ("text", "value"), RECEIVED, ids=lambda part: next(iter(part)) if isinstance(part, dict) else ""
)
def test_elements_of_a_real_server(text, value):
    """Attributes, prefixes, repeated elements and empty ones, as xmltodict has them."""
    assert XML.decode(text.encode(), 1).values == [value]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"close": None}, "<close/>"),
        ({"auth": {"@mechanism": "PLAIN", "#text": "AHA="}}, '<auth mechanism="PLAIN">AHA=</auth>'),
        ({"iq": {"@id": 1, "@ok": True, "ping": {"@xmlns": "u"}}}, '<iq id="1" ok="true"><ping xmlns="u"/></iq>'),
        ({"a": {"b": ["1", {"c": 2}]}}, "<a><b>1</b><b><c>2</c></b></a>"),
        ({"a": {"@b": '"<&\n', "#text": "<x/>]]>&"}}, "<a b='\"&lt;&amp;&#10;'>&lt;x/&gt;]]&gt;&amp;</a>"),
    ],
)
def test_elements_that_are_sent(value, text):
    """One element without a declaration before it; what is filled in is escaped, and opens no element."""
    assert XML.encode(value) == text.encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        '{"a":1}',
        "<a>",
        "<a/><b/>",
        "<a/>text",
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
        "<!DOCTYPE a [<!ATTLIST a b CDATA 'c'>]><a/>",
        "<a>&nbsp;</a>",
        "<a>\0</a>",
        "<a b='1' b='2'/>",
        "<a>" * 101 + "</a>" * 101,
    ],
    ids=lambda text: text[:30],
)
def test_what_is_no_element_is_refused(text):
    """Neither two elements nor a document type, with or without entities, nor more nesting than any protocol has."""
    with pytest.raises(FramingError):
        XML.decode(text.encode(), 1)


def test_another_encoding_is_not_believed():
    """WebSocket text is UTF-8, whatever a declaration says, and UTF-16 is no XML here."""
    text = "<?xml version='1.0' encoding='iso-8859-1'?><a>ü</a>"

    assert XML.decode(text.encode(), 1).values == [{"a": "ü"}]
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        with pytest.raises(FramingError):
            XML.decode("<a/>".encode(encoding), 1)


@pytest.mark.parametrize(
    "value",
    [
        "a",
        {},
        {"a": None, "b": None},
        {"a": [None, None]},
        {"a b": None},
        {"a": {"b><c": None}},
        {"@a": "b"},
        {"#text": "b"},
        {"#comment": "b"},
        {"a": {"#comment": "b"}},
        {"a": {"@b": {"c": "d"}}},
        {"a": {"@xmlns": {"c": "d"}}},
        {"a": {"b": [["c"]]}},
        {"a": {1: "b"}},
        {"a": b"b"},
        {"a": "b\0"},
        {"a": "b\r\n"},
        {"a": {"@b": "\x1b"}},
        {"a": "\ud800"},
        {"": "b"},
    ],
    ids=repr,
)
def test_what_would_not_come_back_is_refused(value):
    """Names that are none, lists of lists, comments, and characters that XML cannot hold."""
    with pytest.raises(FramingError):
        XML.encode(value)


def test_a_value_that_is_too_deep_is_refused():
    """The depth is limited before anything recursive looks at the value."""
    value = {"a": None}
    for _ in range(100):
        value = {"a": value}

    with pytest.raises(FramingError, match="deep"):
        XML.encode(value)
    assert XML.decode(XML.encode(value["a"]), 1).values == [value["a"]]
