"""The layer at fault: every event of a program has its meaning."""

from exporter.report.programs import EVENT_MEANINGS
from exporter.software import ProxyEvent, ServerEvent


def test_every_event_has_its_meaning():
    """What proxies and servers were seen to do belongs to a layer, and has a next step."""
    assert set(EVENT_MEANINGS) == {*ProxyEvent, *ServerEvent}
    assert all(meaning.next_step.endswith(".") for meaning in EVENT_MEANINGS.values())
