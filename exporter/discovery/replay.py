"""What a profile makes of recorded frames: each one's part in a session, and the rule that says so.

A transcript is a list of frames: `{"from": "server", "text": "…"}`, `{"from": "client", "binary": "base64"}`,
`{"from": "server", "values": […]}` for what the framing has made of a message (null: it could not read it), or
`{"close": 4403, "reason": "…"}` for a close frame of the server.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from exporter.config import Profile, Step, Welcome, steps_of
from exporter.discovery.shapes import FRAME_ARROWS, ShapeOptions, close_line, shape, words_of
from exporter.framing import MessageReader, ReadMessage
from exporter.profiles import (
    ANY_VALUE,
    BINARY_KIND,
    MessageMatcher,
    lookup,
    matches_noise,
    resembles,
    sort_close,
    sort_error,
    unreadable_kind,
)
from exporter.result import Direction

MAX_TRANSCRIPT_FRAMES: Final = 10_000
VARIABLE_NAME: Final = re.compile(r"\$\{(\w+)\}")
CONTENTS: Final = ("text", "binary", "values", "close")
SENDERS: Final = {"server": Direction.IN, "client": Direction.OUT}


class TranscriptError(ValueError):
    """A transcript that cannot be read; its text names the frame and the field."""


class RecordedFrame(NamedTuple):
    """One frame of a transcript: a message of `sender` (server, client), or a close frame with `code` and `reason`.

    `reading`: of a message that was recorded as its values.
    """

    sender: str
    data: bytes = b""
    is_text: bool = True
    code: int | None = None
    reason: str = ""
    reading: ReadMessage | None = None


class FrameFinding(NamedTuple):
    """What a profile makes of one value or frame. number: of the frame, from 1; line: its shape; role: its part."""

    number: int
    line: str
    role: str


def read_transcript(raw: object) -> list[RecordedFrame]:
    """Return the frames of a transcript, a list as its JSON has it; raises TranscriptError."""
    if not isinstance(raw, list):
        raise TranscriptError("must be a JSON list of frames")
    if len(raw) > MAX_TRANSCRIPT_FRAMES:
        raise TranscriptError(f"must hold at most {MAX_TRANSCRIPT_FRAMES} frames")
    return [_recorded(number, frame) for number, frame in enumerate(raw, 1)]


def _recorded(number: int, frame: object) -> RecordedFrame:
    place = f"frame {number}"
    if not isinstance(frame, Mapping):
        raise TranscriptError(f'{place}: must be an object such as {{"from": "server", "text": "…"}}')
    if frame.keys() - {"from", "reason", *CONTENTS}:
        raise TranscriptError(f"{place}: has a field that is none of from, {', '.join(CONTENTS)}, reason")
    sender = frame.get("from", "server")
    if not isinstance(sender, str) or sender not in SENDERS:
        raise TranscriptError(f"{place}: from must be server or client")
    contents = [name for name in CONTENTS if name in frame]
    if len(contents) != 1:
        raise TranscriptError(f"{place}: needs exactly one of {', '.join(CONTENTS)}")
    return _with_content(place, sender, contents[0], frame)


def _with_content(place: str, sender: str, kind: str, frame: Mapping[Any, Any]) -> RecordedFrame:
    content, reason = frame[kind], frame.get("reason", "")
    if kind == "close":
        if type(content) is not int or not 1000 <= content <= 4999 or not isinstance(reason, str):  # noqa: PLR2004
            raise TranscriptError(f"{place}: close must be a code from 1000 to 4999, and reason text")
        return RecordedFrame(sender, code=content, reason=reason)
    if kind == "values":
        if not isinstance(content, list | None) or "reason" in frame:
            raise TranscriptError(f"{place}: values must be a list or null, and reason belongs to close")
        return RecordedFrame(sender, reading=ReadMessage(content or [], is_readable=content is not None))
    if not isinstance(content, str) or "reason" in frame:
        raise TranscriptError(f"{place}: {kind} must be text, and reason belongs to close")
    try:
        data = content.encode() if kind == "text" else base64.b64decode(content, validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise TranscriptError(f"{place}: {kind} must be {'UTF-8' if kind == 'text' else 'base64'}") from None
    return RecordedFrame(sender, data, kind == "text")


def replay(profile: Profile, frames: list[RecordedFrame]) -> list[FrameFinding]:
    """Return what the profile makes of each frame, in a session that takes its steps as the frames come."""
    session = _ReplayedSession(profile)
    words = ShapeOptions(words_of(profile, messages=True))
    findings = []
    for number, frame in enumerate(frames, 1):
        if frame.code is not None:
            line = close_line(SENDERS[frame.sender], frame.code, frame.reason.encode(), words)
            findings.append(FrameFinding(number, line, session.close_role(frame)))
            continue
        values, is_readable = session.read(frame)
        arrow = FRAME_ARROWS[SENDERS[frame.sender]]
        for value in values:
            role = session.server_role(value) if frame.sender == "server" else session.client_role(value)
            findings.append(FrameFinding(number, f"{arrow} {shape(value, words)}", role))
        if not is_readable:
            kind = unreadable_kind(profile) if frame.is_text else BINARY_KIND
            what = "what follows" if values else "it"
            role = f"passed over as {kind}: the framing {profile.framing.name} cannot read {what}"
            findings.append(FrameFinding(number, f"{arrow} {_size_text(frame)}", role))
        elif not values:
            findings.append(FrameFinding(number, f"{arrow} {_size_text(frame)}", "holds no complete value yet"))
    return findings


def _size_text(frame: RecordedFrame) -> str:
    return f"{len(frame.data)} bytes" if frame.reading is None else "a message without values"


class _ReplayedSession:
    """Where a session stands: which answers are still awaited, and the values of its variables as far as known."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._matcher = MessageMatcher(profile)
        self._values: dict[str, Any] = {}
        self._readers = {sender: MessageReader(self._matcher.codec) for sender in SENDERS}
        steps = list(steps_of(profile))
        self._awaited: list[tuple[str, Step | Welcome]] = (
            [] if profile.welcome is None else [("welcome", profile.welcome)]
        )
        self._awaited += [(path, step) for path, step in steps if step.match is not None]
        self._unsent = [(path, step) for path, step in steps if step.message is not None]

    def read(self, frame: RecordedFrame) -> ReadMessage:
        """Read a message as the session does, after what its sender began before."""
        if frame.reading is not None:
            return frame.reading
        return self._readers[frame.sender].read(frame.data, MAX_TRANSCRIPT_FRAMES)

    def close_role(self, frame: RecordedFrame) -> str:
        """Return which rule sorts a close frame."""
        if frame.sender == "client":
            return "close of the client"
        found = sort_close(self._profile, frame.code or 0, frame.reason)
        return "close, which no rule of closes sorts" if found is None else f"close, sorted by {_sorting(found)}"

    def client_role(self, value: Any) -> str:
        """Return which message of the profile the client's value is, and learn the values of its variables."""
        for index, (path, step) in enumerate(self._unsent):
            captured = capture(_fill_known(step.message, self._values), value)
            if captured is not None:
                self._values |= captured
                del self._unsent[: index + 1]
                return f"the message of {path}"
        for rule in self._profile.noise:
            if rule.answer is not None and matches_noise(rule.answer, value):
                return f"the answer to noise {rule.kind}"
        bye = self._profile.bye
        is_bye = bye is not None and capture(_fill_known(bye, self._values), value) is not None
        return "bye" if is_bye else "no message of this profile"

    def server_role(self, value: Any) -> str:
        """Return what the session makes of a value of the server, and go on to the next answer."""
        path, awaited = self._awaited[0] if self._awaited else ("", None)
        pattern = None if awaited is None else _fill_known(awaited.match, self._values)
        is_match = pattern is not None and resembles(pattern, value)
        if self._matcher.refuses(value, pattern) if is_match else self._matcher.is_error(value):
            return self._error_role(value)
        if is_match and awaited is not None:
            del self._awaited[0]
            return (
                self._welcome_role(awaited, value)
                if isinstance(awaited, Welcome)
                else self._reply(path, awaited, value)
            )
        for index, rule in enumerate(self._profile.noise):
            if matches_noise(rule.match, value):
                answered = "" if rule.answer is None else ", which is answered"
                return f"noise {rule.kind} by noise.{index}{answered}"
        if self._matcher.is_welcome(value):
            return "passed over as welcome: a second one"
        why = (
            "nothing more is awaited" if pattern is None else f"{path} is awaited, where {_difference(pattern, value)}"
        )
        return f"passed over as {self._matcher.kind(value)}: no rule matches; {why}"

    def _error_role(self, value: Any) -> str:
        found = sort_error(self._profile, value)
        return "error, which no rule of errors sorts" if found is None else f"error, sorted by {_sorting(found)}"

    def _welcome_role(self, welcome: Welcome, value: Any) -> str:
        missing = [path for path in welcome.required if lookup(value, path) is None]
        wrong = [check.field for check in welcome.checks if lookup(value, check.field) != check.equals]
        faults = [f"{path} is absent" for path in missing]
        faults += [f"{path} has another value than in checks" for path in wrong if path not in missing]
        return "welcome" + (f", but {', '.join(faults)}" if faults else "")

    def _reply(self, path: str, step: Step, value: Any) -> str:
        expect = _fill_known(step.expect, self._values)
        if not resembles(expect, value):
            return f"wrong reply to {path}: of expect, {_difference(expect, value)}"
        for name, field in step.keep.items():
            kept = lookup(value, field)
            if not isinstance(kept, str | int | float) or isinstance(kept, bool):
                return f"wrong reply to {path}: keep wants a text or a number at {field}"
            self._values[name] = kept
        self._values |= capture(step.match, value) or {}
        return f"reply to {path}"


def _sorting(found: Any) -> str:
    """The path of the rule that matched, and what it says."""
    rule = found.rule
    outcome = f"reason {rule.reason}" if rule.reason is not None else f"factory {rule.factory}"
    proof = ", which proves auth" if rule.proves_auth else ""
    numbers = [
        f"{name} {number:g}" for name, number in (("limit", found.limit), ("retry_after", found.retry_after)) if number
    ]
    return f"{found.path}: {', '.join([outcome + proof, *numbers])}"


def capture(template: Any, value: Any) -> dict[str, Any] | None:
    """Return the values of the template's variables in a value that is made of it; None if it is not."""
    captured: dict[str, Any] = {}
    for part, found in _pairs(template, value):
        names = _captured_text(part, found)
        if names is None or any(captured.get(name, inner) != inner for name, inner in names.items()):
            return None
        captured |= names
    return captured


_ABSENT: Final = object()


def _pairs(template: Any, value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each scalar of a template with what stands in its place."""
    if isinstance(template, dict) and isinstance(value, dict):
        for name, inner in template.items():
            yield from _pairs(inner, value.get(name, _ABSENT))
    elif isinstance(template, list) and isinstance(value, list) and len(template) == len(value):
        for inner, item in zip(template, value, strict=True):
            yield from _pairs(inner, item)
    else:
        yield template, value


def _captured_text(template: Any, value: Any) -> dict[str, Any] | None:
    """Return the variables of one text, by name; None if it cannot have become this value."""
    if not isinstance(template, str) or "${" not in template:
        is_same = template == value and isinstance(template, bool) is isinstance(value, bool)
        return {} if is_same else None
    whole = VARIABLE_NAME.fullmatch(template)
    if whole is not None:
        return {whole[1]: value} if isinstance(value, str | int | float) else None
    names = VARIABLE_NAME.findall(template)
    pieces = map(re.escape, re.split(r"\$\{\w+\}", template))
    found = re.fullmatch("(.*?)".join(pieces), value, re.DOTALL) if isinstance(value, str) else None
    return None if found is None else dict(zip(names, found.groups(), strict=True))


def _fill_known(template: Any, values: Mapping[str, Any]) -> Any:
    """Return the template with the variables that are known by now; others stay."""
    if isinstance(template, dict):
        return {name: _fill_known(inner, values) for name, inner in template.items()}
    if isinstance(template, list):
        return [_fill_known(inner, values) for inner in template]
    if not isinstance(template, str) or template == ANY_VALUE:
        return template
    whole = VARIABLE_NAME.fullmatch(template)
    if whole is not None:
        return values.get(whole[1], template)
    return VARIABLE_NAME.sub(lambda name: str(values.get(name[1], name[0])), template)


def _difference(pattern: Any, value: Any, path: str = "") -> str:
    """Return the first place where a value is not what a pattern wants; no value of the network is in it."""
    if isinstance(pattern, dict) and isinstance(value, dict):
        for name, inner in pattern.items():
            place = f"{path}.{name}".removeprefix(".")
            if name not in value:
                return f"{place} is absent"
            if not resembles(inner, value[name]):
                return _difference(inner, value[name], place)
    if isinstance(pattern, dict) and not isinstance(value, dict):
        return f"{path or 'the value'} is no object"
    return f"{path or 'the value'} has another value"
