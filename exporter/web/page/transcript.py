"""What passed in a session, frame by frame: kinds, sizes and moments, none of what was in it."""

from exporter.report.formatting import count
from exporter.result import Direction, Frame, Result
from exporter.web.page.markup import Markup, element
from exporter.web.page.timefmt import duration_text

ARROWS = {Direction.IN: ("←", "received"), Direction.OUT: ("→", "sent")}


def transcript(result: Result) -> Markup | None:
    """Opens on demand; None of a session without a frame."""
    if not result.transcript:
        return None
    left = result.frames_left_out
    note = element("p", f"{count(left, 'frame')} in the middle left out.", class_="aside") if left else None
    whole = count(len(result.transcript) + left, "frame")
    table = element("table", element("tbody", list(map(_line, result.transcript))), class_="counts")
    return element("details", element("summary", f"Transcript, {whole}"), table, note, class_="transcript")


def _line(frame: Frame) -> Markup:
    arrow, words = ARROWS[frame.direction]
    what = " ".join(part for part in (frame.opcode, frame.code) if part)
    return element(
        "tr",
        element("td", duration_text(frame.at)),
        element("td", element("span", arrow, role="img", aria_label=words)),
        element("th", f"{frame.kind} ({what})" if frame.kind else what, scope="row"),
        element("td", f"{frame.size:,} B", class_="figure"),
    )
