"""Strategies of values that each framing can hold, as they come back; and pieces of bytes that are much work."""

from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LINE = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
WORD = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=10)
OBJECT = st.dictionaries(st.text(max_size=5), JSON, max_size=3)
EVENT = st.builds(lambda name, data: [name, *data], st.text() | st.integers(), st.lists(JSON, max_size=2))
NAME = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_.-]{0,5}(:[A-Za-z_][a-z]{0,3})?\Z")


def record(required, optional=None):
    """Objects with fixed fields; a plain value stands for itself."""
    plain = {
        name: value if isinstance(value, st.SearchStrategy) else st.just(value) for name, value in required.items()
    }
    return st.fixed_dictionaries(plain, optional=optional)


def elements():
    """What xmltodict makes of elements: it strips texts, and an element without anything is null."""
    text = st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=9
    )
    stripped = text.filter(lambda each: each == each.strip())
    some = st.dictionaries(NAME.map(lambda name: f"@{name}"), text | st.just(""), min_size=1, max_size=2)
    attributes = st.just({}) | some

    def parent(inner):
        children = st.dictionaries(NAME, inner | st.lists(inner, min_size=2, max_size=3), min_size=1, max_size=2)
        return st.builds(lambda first, second: {**first, **second}, attributes, children)

    leaf = st.none() | stripped | st.builds(lambda first, last: {**first, "#text": last}, some, stripped)
    return st.builds(lambda name, inner: {name: inner}, NAME, st.recursive(leaf, parent, max_leaves=6))


def frames():
    """STOMP: CONNECT and CONNECTED have no escapes."""
    headers = st.dictionaries(WORD.map(lambda name: name.replace(":", "")).filter(bool), LINE, max_size=3)
    escaped = st.text(
        st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\r\n:\\"), min_size=1, max_size=9
    )
    body = ANY.map(lambda text: text.replace("\0", ""))
    return record({"command": st.sampled_from(["CONNECT", "CONNECTED"]), "headers": headers, "body": body}) | st.builds(
        lambda command, names, text, counted: {
            "command": command,
            "headers": {**names, **({"content-length": str(len(text.encode()))} if counted else {})},
            "body": text if counted else text.replace("\0", ""),
        },
        st.sampled_from(["STOMP", "SEND", "SUBSCRIBE", "MESSAGE", "RECEIPT", "ERROR", "DISCONNECT"]),
        st.dictionaries(escaped, escaped | st.just(""), max_size=3),
        ANY,
        st.booleans(),
    )


def operations():
    """NATS: what a line counts may hold anything."""
    queue, reply = {"queue": WORD}, {"reply": WORD}
    return st.one_of(
        *(record({"op": name}) for name in ("PING", "PONG", "+OK")),
        record({"op": "INFO", "info": OBJECT}),
        record({"op": "CONNECT", "options": OBJECT}),
        record({"op": "-ERR", "message": LINE}),
        record({"op": "SUB", "subject": WORD, "sid": WORD}, queue),
        record({"op": "PUB", "subject": WORD, "payload": ANY}, reply),
        record({"op": "MSG", "subject": WORD, "sid": WORD, "payload": ANY}, reply),
        record({"op": "HMSG", "subject": WORD, "sid": WORD, "headers": ANY, "payload": ANY}, reply),
    )


def packets():
    """MQTT: all fields, those with a default too."""
    number, topic, yes_or_no = st.integers(1, 65535), LINE.filter(bool), st.booleans()
    name = topic.map(lambda text: text.translate({ord("+"): "p", ord("#"): "h"}))
    login = {"packet": "CONNECT", "client_id": topic, "keep_alive": st.integers(0, 65535), "clean_session": yes_or_no}
    publish = {"packet": "PUBLISH", "topic": name, "payload": ANY, "retain": yes_or_no}
    return st.one_of(
        record(login),
        record({**login, "client_id": "", "clean_session": True}),
        record({**login, "username": LINE}, {"password": LINE}),
        record({"packet": "CONNACK", "return_code": st.integers(0, 255), "session_present": yes_or_no}),
        record({**publish, "qos": 0, "dup": False}),
        record({**publish, "qos": 1, "dup": yes_or_no, "id": number}),
        *(record({"packet": kind, "id": number}) for kind in ("PUBACK", "UNSUBACK")),
        *(
            record({"packet": kind, "id": number, "topics": st.lists(topic, min_size=1, max_size=3)})
            for kind in ("SUBSCRIBE", "UNSUBSCRIBE")
        ),
        record({"packet": "SUBACK", "id": number, "return_codes": st.lists(st.integers(0, 255), max_size=3)}),
        *(record({"packet": kind}) for kind in ("PINGREQ", "PINGRESP", "DISCONNECT")),
    )


def engine_packets():
    """Socket.IO and Engine.IO packets, without attachments, which are no text."""
    space = {"namespace": st.just("/") | LINE.map(lambda text: "/" + text.replace(",", ""))}
    number, count = st.integers(0, 10**15 - 1), st.integers(0, 999)
    engine = st.sampled_from(["close", "ping", "pong", "upgrade", "noop"])
    return st.one_of(
        record({"type": engine}, {"data": LINE.filter(bool)}),
        record({"type": "open"}, {"data": JSON}),
        record({"type": "connect", **space}, {"data": OBJECT}),
        record({"type": "disconnect", **space}),
        record({"type": "event", **space, "data": EVENT}, {"id": number}),
        record({"type": "ack", **space, "id": number, "data": st.lists(JSON, max_size=3)}),
        record({"type": "connect_error", **space, "data": OBJECT | st.text()}),
        record({"type": "binary_event", **space, "attachments": count, "data": EVENT}, {"id": number}),
        record({"type": "binary_ack", **space, "attachments": count, "id": number, "data": st.lists(JSON, max_size=3)}),
    )


VALUES = {
    "json": JSON,
    "text": ANY,
    "xml": elements(),
    "socketio": engine_packets(),
    "stomp": frames(),
    "nats": operations(),
    "mqtt": packets(),
}

MUCH_WORK = {
    "json": [b"[", b"0 ", b" ", b'"\\', b'{"a":', b"\n", b'"a":', b"1e9 "],
    "text": [b"x", b"\xff"],
    "xml": [b"<a>", b"<a/>", b"&amp;", b"<a b='c'>", b"<!-- ", b"<a>x</a>", b"<![CDATA["],
    "socketio": [b"42", b"4", b"42[", b"40/", b"451-/a,", b"0{", b"2", b"42/a,9", b"["],
    "stomp": [b"\n", b"\r", b"MESSAGE\n", b"MESSAGE\n\n\0", b"a:b\n", b"\\n", b"SEND\ncontent-length:0\n\n\0", b"\n\r"],
    "nats": [b"PING\r\n", b"MSG a 1 0\r\n\r\n", b"-ERR ", b"MSG ", b" ", b"\r", b"SUB a 1\r\n", b"INFO {}\r\n", b"["],
    "mqtt": [b"\xc0\x00", b"\x30\x03\x00\x01a", b"\x30", b"\xff", b"\x90\x02\x00\x01", b"\x82\x06\x00\x01\x00\x01a\0"],
}
"""Pieces of bytes which, repeated, would be read again and again by a codec that starts over."""
BEGINNINGS = {
    "xml": [b"<r>"],
    "socketio": [b"42", b"40/"],
    "stomp": [b"MESSAGE\n", b"MESSAGE\na:"],
    "nats": [b"MSG ", b"INFO ", b"PUB a 60000\r\n"],
    "mqtt": [b"\x82\xf8\xff\x03\x00\x01", b"\x90\xf8\xff\x03"],
}
